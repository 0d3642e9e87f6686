// What has rows and columns in a step, as a small picture of the step that is shown.
import { element } from "./dom.js";
import { dye } from "./scale.js";
import { short } from "./numbers.js";

const MOST = 16; // panels

/** Whether a step of an observation is a picture, (H, W, C) or (C, H, W). */
export function layoutOf(tensor) {
  const { shape, told } = tensor;
  if (shape.length !== 3) return null;
  const bytes = told.high > 32 && told.low >= 0 && told.kind === "u8";
  const last = shape[2] === 3 || shape[2] === 1;
  const first = shape[0] === 3 || shape[0] === 1;
  if (bytes && last && shape[0] >= 8) return { rows: shape[0], columns: shape[1], at: (r, c, k) => (r * shape[1] + c) * shape[2] + (k % shape[2]) };
  if (bytes && first && shape[1] >= 8)
    return { rows: shape[1], columns: shape[2], at: (r, c, k) => ((k % shape[0]) * shape[1] + r) * shape[2] + c };
  return null;
}

/** Panels of rows × columns that a step of a tensor is made of; the last axis of an observation counts its panels. */
export function panelsOf(tensor, observed = false) {
  const { shape } = tensor;
  if (observed && shape.length === 3 && shape[2] <= 8 && shape[2] < shape[0]) {
    const [rows, columns, count] = shape;
    return { rows, columns, count, at: (panel, r, c) => (r * columns + c) * count + panel };
  }
  const [rows, columns] = shape.length > 1 ? shape.slice(-2) : [1, shape[0] ?? 1];
  const count = Math.max(1, Math.round(tensor.size / (rows * columns)));
  return { rows, columns, count, at: (panel, r, c) => (panel * rows + r) * columns + c };
}

/** Draw a step of an observation that is a picture. */
function drawPicture(canvas, tensor, layout, step) {
  const { rows, columns, at } = layout;
  canvas.width = columns;
  canvas.height = rows;
  const image = canvas.getContext("2d").createImageData(columns, rows);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) {
      const pixel = 4 * (r * columns + c);
      for (let k = 0; k < 3; k++) image.data[pixel + k] = tensor.at(step, at(r, c, k));
      image.data[pixel + 3] = 255;
    }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Draw one panel of a step. */
export function drawPanel(canvas, { rows, columns, value, range }) {
  canvas.width = columns;
  canvas.height = rows;
  const ctx = canvas.getContext("2d");
  const image = ctx.createImageData(columns, rows);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) dye(image.data, 4 * (r * columns + c), value(r, c), range);
  ctx.putImageData(image, 0, 0);
}

/** A step of an observation as canvases, drawn once. */
export function still(tensor, range, step) {
  const layout = layoutOf(tensor);
  const side = element("div", { className: "still" });
  if (layout) {
    const canvas = element("canvas", { className: "pixels whole" });
    drawPicture(canvas, tensor, layout, step);
    side.append(canvas);
    return side;
  }
  const { rows, columns, count, at } = panelsOf(tensor, true);
  for (let panel = 0; panel < Math.min(count, 4); panel++) {
    const canvas = element("canvas", { className: "pixels" });
    drawPanel(canvas, { rows, columns, range, value: (r, c) => tensor.at(step, at(panel, r, c)) });
    canvas.style.aspectRatio = rows === 1 ? "auto" : `${columns} / ${rows}`;
    if (rows === 1) canvas.classList.add("row");
    side.append(canvas);
  }
  return side;
}

/**
 * Add small pictures of the shown step.
 * @param picture rows, columns, count, range, steps; value(step, panel, r, c); panel(k), row, column name them;
 *   caption, and key, a legend beside it
 */
export function images(store, host, picture) {
  const text = element("span", { className: "readout" });
  const box = element("div", { className: "panels" });
  const count = Math.min(MOST, picture.count);
  const wide = Math.max(picture.columns, picture.rows);
  const cell = Math.max(2, Math.min(12, Math.floor((count > 1 ? 168 : 320) / wide)));
  const canvases = Array.from({ length: count }, (_, k) => {
    const canvas = element("canvas", { className: "pixels" });
    canvas.style.width = `${cell * picture.columns}px`;
    canvas.style.aspectRatio = `${picture.columns} / ${picture.rows}`;
    canvas.addEventListener("mousemove", (event) => {
      const area = canvas.getBoundingClientRect();
      const c = Math.min(picture.columns - 1, Math.floor(((event.clientX - area.left) / area.width) * picture.columns));
      const r = Math.min(picture.rows - 1, Math.floor(((event.clientY - area.top) / area.height) * picture.rows));
      if (c < 0 || r < 0 || store.step >= picture.steps) return;
      const names = [`step ${store.step}`, picture.panel(k), `${picture.row} ${r}`, `${picture.column} ${c}`];
      text.textContent = [...names, short(picture.value(store.step, k, r, c))].filter(Boolean).join(" · ");
    });
    canvas.addEventListener("mouseleave", () => rest());
    box.append(element("figure", {}, canvas, element("figcaption", {}, picture.panel(k))));
    return canvas;
  });
  const left = picture.count - count;
  if (left > 0) box.append(element("p", { className: "soft" }, `and ${left} more`));
  const rest = () => {
    text.textContent = store.step < picture.steps ? `step ${store.step}` : "";
  };
  const show = () => {
    rest();
    if (store.step >= picture.steps) return;
    canvases.forEach((canvas, k) =>
      drawPanel(canvas, { ...picture, value: (r, c) => picture.value(store.step, k, r, c) }),
    );
  };
  host.append(
    element("div", { className: "map-head" }, element("span", { className: "caption" }, picture.caption ?? ""), picture.key, text),
    box,
  );
  store.on("step", show);
  show();
}

/** Add an observation that is a picture, at the shown step. */
export function observedPicture(store, host, tensor, layout) {
  const canvas = element("canvas", { className: "pixels whole" });
  const show = () => store.step < tensor.steps && drawPicture(canvas, tensor, layout, store.step);
  host.append(canvas);
  store.on("step", show);
  show();
}
