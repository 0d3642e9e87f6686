// Elements of the page. Text goes in as text: nothing that comes from a recording is ever read as HTML.

/** Make an element: properties are set as they are, `aria-…` and `role` as attributes; children are nodes or text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Call a function once, when an element comes near the screen. */
export function whenNear(node, build) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      build();
    },
    { rootMargin: "400px" },
  );
  observer.observe(node);
}

/** The value of a colour of the stylesheet, such as `--text`. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
