// Heat maps over the steps of an episode: a column a step, a row a slot, a unit, an age, …
import { element } from "./dom.js";
import { dye, GRADIENT } from "./scale.js";
import { largest, short } from "./numbers.js";

/** Height of a map's plot: rows that can be told apart where that fits. */
export function heightOf(rows) {
  return Math.round(Math.max(rows === 1 ? 22 : 44, Math.min(rows * (rows <= 8 ? 16 : 9), 260)));
}

/** The legend of a range of colours. */
export function legend([low, high]) {
  const bar = element("span", { className: "gradient", "aria-hidden": "true" });
  bar.style.background = GRADIENT;
  if (Number.isNaN(low)) return element("span", { className: "legend" }, "no numbers");
  const ends = low === high ? [element("span", {}, `all ${short(low)}`)] : [short(low), bar, short(high)];
  return element("span", { className: "legend", title: `colours from ${short(low)} to ${short(high)}` }, ...ends);
}

/**
 * Add a heat map.
 * @param map rows, steps, range; value(step, row); row(k) names a row, such as "slot 3"; mark(trail) is the cell to frame
 * @param key legend beside the caption, of a map whose colours are not those of its block
 * @param onCell called with the step and the row of a click
 */
export function heatMap(charts, host, map, { caption, key, onCell, axis = true } = {}) {
  const { store } = charts;
  const text = element("span", { className: "readout" });
  const plot = element("div", { className: "plot" });
  host.append(element("div", { className: "map-head" }, element("span", { className: "caption" }, caption ?? ""), key, text), plot);
  const say = (step, row) => {
    text.textContent = step < map.steps ? `step ${step} · ${map.row(row)} · ${short(map.value(step, row))}` : "";
  };
  const rest = () => {
    const { step } = store;
    const most = step < map.steps ? largest(map.rows, (row) => Math.abs(map.value(step, row))) : -1;
    if (most < 0) text.textContent = step < map.steps ? `step ${step} · nothing` : "";
    else if (map.rows === 1) say(step, 0);
    else if (map.value(step, most) === 0) text.textContent = `step ${step} · all 0`;
    else text.textContent = `step ${step} · most: ${map.row(most)} · ${short(map.value(step, most))}`;
  };
  const inside = (row) => Math.max(0, Math.min(map.rows - 1, Math.round(row)));
  let painted = null;
  const xs = Array.from({ length: store.steps }, (_, k) => k);
  charts.add(plot, {
    height: heightOf(map.rows),
    data: [xs, xs.map(() => null)],
    series: [{ scale: "y", paths: () => null, points: { show: false } }],
    y: { range: [-0.5, map.rows - 0.5], flip: true, whole: true, ...ticks(map) },
    axis,
    draw: (u) => {
      painted = paint(u, map, painted);
      const cell = store.trail && map.mark?.(store.trail);
      if (cell) frame(u, cell);
    },
    click: (step, row) => step < map.steps && onCell?.(step, inside(row)),
    hover: (step, row) => (step === null ? rest() : say(step, inside(row))),
  });
  store.on("step", rest);
  rest();
}

function ticks(map) {
  if (map.labels) return { splits: () => map.labels.map((_, k) => k), values: (k) => map.labels[k] ?? "", space: 1 };
  return { values: (k) => (Number.isInteger(k) && k >= 0 && k < map.rows ? String(map.tick?.(k) ?? k) : "") };
}

/** Paint the steps in view; where there are more than pixels, each pixel is the one that stands out most. */
function paint(u, map, before) {
  const { min, max } = u.scales.x;
  const first = Math.max(0, Math.ceil(min));
  const last = Math.min(map.steps - 1, Math.floor(max));
  if (last < first) return before;
  const steps = last - first + 1;
  const columns = Math.min(steps, Math.max(1, Math.floor(u.bbox.width)));
  const key = `${first} ${last} ${columns}`;
  const picture = before?.key === key ? before.picture : drawn(map, first, steps, columns);
  const left = u.valToPos(first - 0.5, "x", true);
  const right = u.valToPos(last + 0.5, "x", true);
  u.ctx.save();
  u.ctx.imageSmoothingEnabled = false;
  u.ctx.drawImage(picture, left, u.bbox.top, right - left, u.bbox.height);
  u.ctx.restore();
  return { key, picture };
}

function drawn(map, first, steps, columns) {
  const picture = element("canvas", { width: columns, height: map.rows });
  const ctx = picture.getContext("2d");
  const image = ctx.createImageData(columns, map.rows);
  for (let column = 0; column < columns; column++) {
    const from = first + Math.floor((column * steps) / columns);
    const to = first + Math.floor(((column + 1) * steps) / columns);
    for (let row = 0; row < map.rows; row++) {
      let value = map.value(from, row);
      for (let step = from + 1; step < to; step++) {
        const other = map.value(step, row);
        if (Math.abs(other) > Math.abs(value) || Number.isNaN(value)) value = other;
      }
      dye(image.data, 4 * (row * columns + column), value, map.range);
    }
  }
  ctx.putImageData(image, 0, 0);
  return picture;
}

function frame(u, [step, row]) {
  const left = u.valToPos(step - 0.5, "x", true);
  const right = u.valToPos(step + 0.5, "x", true);
  const top = u.valToPos(row - 0.5, "y", true);
  const bottom = u.valToPos(row + 0.5, "y", true);
  const [width, height] = [Math.max(4, right - left), Math.max(4, bottom - top)];
  u.ctx.save();
  for (const [style, line] of [["#000", 4], ["#fff", 2]]) {
    u.ctx.strokeStyle = style;
    u.ctx.lineWidth = line;
    u.ctx.strokeRect(left, top, width, height);
  }
  u.ctx.restore();
}
