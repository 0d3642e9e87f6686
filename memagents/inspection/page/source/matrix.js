// A number for each pair of slots at the shown step, such as the links of a DNC: a row a slot, a column a slot.
import { LEFT } from "./chart.js";
import { element } from "./dom.js";
import { drawPanel } from "./image.js";
import { short } from "./numbers.js";

const MOST = 16; // panels
const SIDE = { one: 416, several: 208 }; // of a panel in pixels, at most
const CELL = 24; // pixels of a cell, at most
const [GAP, DIGIT] = [8, 6]; // pixels that a number beside the map needs
const EVERY = [1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000];

/** The words for a pair: of an axis "from slot" and one "to slot" an arrow from the one to the other. */
function pairName(picture, r, c) {
  const [row, column] = [picture.row, picture.column].map((axis) => axis.replace(/^(to|from) /, ""));
  const [to, from] = [`${row} ${picture.down[r]}`, `${column} ${picture.across[c]}`];
  return picture.column.startsWith("from ") && picture.row.startsWith("to ") ? `${from} → ${to}` : `${to} · ${from}`;
}

/**
 * Add the maps of the shown step.
 * @param picture count, range, steps; down and across, the slots of its rows and columns; value(step, panel, r, c) of
 *   the r-th and c-th of them; panel(k), row, column name the panels and the axes; about says what it is;
 *   caption, and key, a legend beside it
 */
export function matrices(store, host, picture) {
  const readout = element("span", { className: "readout" });
  const box = element("div", { className: "matrices" });
  const head = element("div", { className: "map-head" }, element("span", { className: "caption" }, picture.caption ?? ""), picture.key, readout);
  host.append(head, box);
  const count = Math.min(MOST, picture.count);
  const { down, across } = picture;
  const size = Math.max(down.length, across.length);
  const most = Math.min(count > 1 ? SIDE.several : SIDE.one, size * CELL);
  const side = Math.max(60, Math.min(most, host.clientWidth - LEFT - 10));
  const cell = side / size >= 4 ? Math.floor(side / size) : side / size; // as many pixels each, where that is seen
  const number = GAP + DIGIT * Math.max(...[down, across].map((slots) => String(slots[slots.length - 1]).length));
  const shape = { width: cell * across.length, every: EVERY.find((one) => one * cell >= number) ?? size };
  const said = (k, r, c) => {
    const { step } = store;
    const parts = [`step ${step}`, picture.panel(k), pairName(picture, r, c), short(picture.value(step, k, r, c))];
    readout.textContent = step < picture.steps ? parts.filter(Boolean).join(" · ") : "";
  };
  let looked = null; // panel, row and column that the pointer or the keys are at
  const show = () => {
    panels.forEach((panel) => panel.draw());
    say();
  };
  const say = () => {
    panels.forEach((panel, k) => panel.frame(looked?.[0] === k ? looked : null));
    if (looked) return said(...looked);
    const best = store.step < picture.steps ? strongest(picture, count, store.step) : null;
    if (best) return said(...best);
    readout.textContent = store.step < picture.steps ? `step ${store.step} · all 0` : "";
  };
  const look = (place) => {
    looked = place;
    say();
  };
  const panels = Array.from({ length: count }, (_, k) => panelOf(store, box, picture, k, shape, look, readout));
  if (picture.count > count) box.append(element("p", { className: "soft" }, `and ${picture.count - count} more`));
  store.on("step", show);
  show();
}

/** Panel, row and column of the largest number of a step, null where all are 0. */
function strongest({ down, across, value }, count, step) {
  let [best, most] = [null, 0];
  for (let k = 0; k < count; k++)
    for (let r = 0; r < down.length; r++)
      for (let c = 0; c < across.length; c++) {
        const size = Math.abs(value(step, k, r, c));
        if (size > most) [best, most] = [[k, r, c], size];
      }
  return best;
}

/** One map with the numbers of its slots; `look` is told of the cell that is looked at, null for none. */
function panelOf(store, box, picture, k, { width, every }, look, readout) {
  const { down, across } = picture;
  const sizes = [down.length, across.length];
  const canvas = element("canvas", { className: "pixels", "aria-hidden": "true" });
  const cell = element("span", { className: "cell", hidden: true });
  const field = element("div", { className: "field", tabIndex: 0, role: "img" }, canvas, cell);
  const name = [picture.panel(k), picture.about].filter(Boolean).join(" · ");
  field.setAttribute("aria-label", `${name}: slot by slot at the shown step; arrow keys go over the cells`);
  const ticks = (where, slots) =>
    element(
      "div",
      { className: `ticks ${where}`, "aria-hidden": "true" },
      ...slots.flatMap((slot, n) => {
        if (n % every) return [];
        const tick = element("span", {}, String(slot));
        tick.style[where === "beside" ? "top" : "left"] = `${(100 * (n + 0.5)) / slots.length}%`;
        return [tick];
      }),
    );
  const figure = element(
    "figure",
    { className: "matrix" },
    element("span", { className: "axis across" }, picture.column),
    element("span", { className: "axis down" }, picture.row),
    ticks("above", across),
    ticks("beside", down),
    field,
    element("figcaption", {}, picture.panel(k)),
  );
  field.style.width = `${width}px`;
  field.style.aspectRatio = `${across.length} / ${down.length}`;
  box.append(figure);

  let at = [0, 0]; // where the keys are
  const under = (event) => {
    const area = field.getBoundingClientRect();
    const [c, r] = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    at = [r, c].map((share, axis) => Math.max(0, Math.min(sizes[axis] - 1, Math.floor(share * sizes[axis]))));
    look([k, ...at]);
  };
  field.addEventListener("mousemove", under);
  field.addEventListener("mousedown", (event) => event.preventDefault()); // the keys stay the film's
  field.addEventListener("mouseleave", () => look(document.activeElement === field ? [k, ...at] : null));
  field.addEventListener("focus", () => {
    readout.setAttribute("aria-live", "polite");
    look([k, ...at]);
  });
  field.addEventListener("blur", () => {
    readout.removeAttribute("aria-live");
    look(null);
  });
  field.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Escape") field.blur();
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    at = at.map((place, axis) => Math.max(0, Math.min(sizes[axis] - 1, place + move[axis])));
    look([k, ...at]);
  });
  return {
    draw() {
      const { step } = store;
      field.classList.toggle("ended", step >= picture.steps);
      if (step >= picture.steps) return;
      const value = (r, c) => picture.value(step, k, r, c);
      drawPanel(canvas, { rows: down.length, columns: across.length, range: picture.range, value });
    },
    frame(looked) {
      cell.hidden = looked === null;
      if (looked === null) return;
      const [, r, c] = looked;
      const [height, width] = sizes.map((size) => 100 / size);
      Object.assign(cell.style, { top: `${r * height}%`, left: `${c * width}%`, width: `${width}%`, height: `${height}%` });
    },
  };
}
