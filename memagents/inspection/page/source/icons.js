// Signs of the buttons, drawn, since not every system's fonts have them.
const SPACE = "http://www.w3.org/2000/svg";
const SHAPES = {
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M11 3v10L4 8z",
  play: "M4 2.5v11L13 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  on: "M5 3v10l7-5z",
  last: "M11 3h2v10h-2zM3 3v10l7-5z",
  close: "M4 2.6 8 6.6l4-4L13.4 4l-4 4 4 4-1.4 1.4-4-4-4 4L2.6 12l4-4-4-4z",
  light: "M8 4.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM7.2.8h1.6v2.4H7.2zM7.2 12.8h1.6v2.4H7.2zM.8 7.2h2.4v1.6H.8zM12.8 7.2h2.4v1.6h-2.4z",
  dark: "M6 1.5A6.6 6.6 0 1 0 14.5 10 5.6 5.6 0 0 1 6 1.5z",
  chosen: "M5 3v10l7-5z",
};

/** A drawn sign. */
export function icon(name) {
  const svg = document.createElementNS(SPACE, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true" }))
    svg.setAttribute(key, value);
  const path = document.createElementNS(SPACE, "path");
  path.setAttribute("d", SHAPES[name]);
  path.setAttribute("fill", "currentColor");
  svg.append(path);
  return svg;
}
