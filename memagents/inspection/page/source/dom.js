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

const waiting = new Map(); // elements that are still to be filled, and what fills them
const idle = window.requestIdleCallback ?? ((act) => setTimeout(act, 50));
let filling = false;

const observer = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => fill(entry.target)),
  { rootMargin: "400px" },
);

/** Fill an element, unless that was done. */
function fill(node) {
  const build = waiting.get(node);
  waiting.delete(node);
  observer.unobserve(node);
  return node.isConnected ? build?.() : null; // what is no longer on the page needs no filling
}

/** Fill what waits, one after the other, whenever there is nothing else to do. */
async function fillNext() {
  const [node] = waiting.keys();
  if (node) await fill(node);
  filling = waiting.size > 0;
  if (filling) idle(fillNext);
}

/** Fill all that waits, at once. */
export function fillAll() {
  [...waiting.keys()].forEach(fill);
}

/** Call a function once: when an element comes near the screen, before the page is printed, or else when there is time. */
export function whenNear(node, build) {
  waiting.set(node, build);
  observer.observe(node);
  if (!filling) idle(fillNext);
  filling = true;
}

/** The value of a colour of the stylesheet, such as `--text`. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
