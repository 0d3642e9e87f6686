// Reward, value and entropy over the steps.
import { colour, element } from "./dom.js";
import { short, tick } from "./numbers.js";
import { sideName } from "./names.js";
import uPlot from "uplot";

const STYLES = [
  { stroke: () => colour("--first"), width: 1.75 },
  { stroke: () => colour("--second"), width: 1.75, dash: [5, 3] },
];

/** Add a chart of lines: one number a step, of one or two recordings; `of` names the lines of a tensor with several. */
export function lines(charts, host, recordings, tensors, caption, { bars = false, axis = false } = {}) {
  const { store } = charts;
  const text = element("span", { className: "readout" });
  const plot = element("div", { className: "plot" });
  const keys = tensors.length > 1 ? recordings.map((_, side) => key(recordings, side)) : [];
  host.append(
    element("div", { className: "map-head" }, element("span", { className: "caption" }, caption), ...keys, text),
    plot,
  );
  const xs = Array.from({ length: store.steps }, (_, k) => k);
  const number = (tensor, step, k = 0) => (tensor && step < tensor.steps && k < tensor.size ? tensor.at(step, k) : NaN);
  const columns = tensors.flatMap((tensor, side) => {
    const count = tensor ? Math.min(tensor.size, 4) : 1;
    return Array.from({ length: count }, (_, k) => ({ tensor, side, k, count }));
  });
  const values = columns.map(({ tensor, k }) => xs.map((step) => number(tensor, step, k)));
  const finite = values.flat().filter(Number.isFinite);
  let low = Math.min(...bounds(finite), bars ? 0 : Infinity);
  let high = Math.max(...bounds(finite), bars ? 0 : -Infinity);
  if (!(low < high)) [low, high] = Number.isFinite(low) ? [low - 0.5, low + 0.5] : [0, 1];
  const least = 0.01 * Math.max(Math.abs(low), Math.abs(high)); // what hardly changes looks so
  if (high - low < least) [low, high] = [(low + high - least) / 2, (low + high + least) / 2];
  const pad = 0.06 * (high - low);
  const single = store.steps === 1 || tensors.some((tensor) => tensor && tensor.steps === 1);
  charts.add(plot, {
    height: 64,
    data: [xs, ...values.map((line) => line.map((value) => (Number.isFinite(value) ? value : null)))],
    series: columns.map(({ side }) => ({
      scale: "y",
      ...STYLES[side],
      points: { show: single, size: 6 },
      ...(bars ? { paths: uPlot.paths.bars({ size: [0.7, 12, 1] }), fill: STYLES[side].stroke, width: 0 } : {}),
    })),
    y: { range: [low - pad, high + pad], values: tick },
    axis,
    hover: (step) => say(step ?? store.step),
  });
  const say = (step) => {
    text.textContent = `step ${step} · ${columns.map(({ tensor, k }) => short(number(tensor, step, k))).join(" · ")}`;
  };
  store.on("step", () => say(store.step));
  say(store.step);
}

function bounds(numbers) {
  return numbers.length ? [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))] : [];
}

function key(recordings, side) {
  const line = element("span", { className: side ? "key second" : "key" });
  return element("span", { className: "keyed", title: recordings[side].name }, line, sideName(recordings, side));
}

/** Add a row of numbers about past steps that belongs to the shown step, such as what its value hangs on. */
export function pastRow(charts, host, layer, name) {
  const { store } = charts;
  const text = element("span", { className: "readout" });
  const plot = element("div", { className: "plot" });
  host.append(element("div", { className: "map-head" }, element("span", { className: "caption" }, name), text), plot);
  const xs = Array.from({ length: store.steps }, (_, k) => k);
  const value = (past) => (store.step < layer.steps && past < layer.size ? layer.at(store.step, past) : NaN);
  const row = () => xs.map((past) => (Number.isFinite(value(past)) ? value(past) : null));
  const u = charts.add(plot, {
    height: 48,
    data: [xs, row()],
    series: [{ scale: "y", paths: uPlot.paths.bars({ size: [0.8, 40, 1] }), fill: () => colour("--first"), points: { show: false } }],
    y: { range: [Math.min(0, layer.low || 0), Math.max(layer.high || 0, 1e-9)], values: tick },
    axis: false,
    hover: (step) => say(step),
  });
  const say = (past) => {
    const about = `at step ${store.step}`;
    text.textContent = past === null || past === undefined ? about : `${about}, of step ${past}: ${short(value(past))}`;
  };
  store.on("step", () => {
    u.setData([xs, row()], false);
    u.redraw();
    say(null);
  });
  say(null);
}
