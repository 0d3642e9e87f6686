// The heat maps of the memory, in groups; each is drawn when it comes near the screen.
import { element, whenNear } from "./dom.js";
import { heatMap, heightOf, legend } from "./heat.js";
import { images, panelsOf } from "./image.js";
import { lines } from "./curves.js";
import { matrices } from "./matrix.js";
import { axesOf, bare, GROUPS, groupOf, ofCritic, ofSlotPairs, plain, sentence, sideName } from "./names.js";
import { neighboursIn, neighbourTable } from "./neighbours.js";
import { clipped } from "./numbers.js";
import { readsOf } from "./provenance.js";
import { rangeOf } from "./scale.js";
import { followAge, followSlot, followWrite, memoryOf, writesOf } from "./trail.js";

const DUST = 1e-6; // shares, nats and returns below it are rounding
const SEPARATE = 16; // heads at most that have a map each
const MANY = 24; // slots from which on those that are hardly touched are left out
const TOUCHED = 0.05; // weight of a read or a write

/** The slots of a memory that are ever read or written to speak of; null where all are to be shown. */
async function touched(memory, slots) {
  const weights = ["write_weights", "read_weights"].map((name) => memory.get(name)).filter((one) => one && one.shape[one.shape.length - 1] === slots);
  if (slots <= MANY || !weights.length) return null;
  await Promise.all(weights.map((one) => one.load()));
  const seen = new Set();
  for (const one of weights)
    for (let step = 0; step < one.steps; step++)
      for (let k = 0; k < one.size; k++) if (one.at(step, k) > TOUCHED) seen.add(k % slots);
  return seen.size && seen.size <= slots / 2 ? [...seen].sort((one, other) => one - other) : null;
}

/** The map of some of its rows. */
function some(map, kept) {
  if (!kept) return map;
  return {
    ...map,
    rows: kept.length,
    kept,
    value: (step, row) => map.value(step, kept[row]),
    row: (k) => map.row(kept[k]),
    tick: (k) => kept[k],
  };
}

/** The button that brings the other slots in. */
function others(charts, kept, slots) {
  const text = `${kept.length} of ${slots} slots; the others are hardly touched. Show all`;
  return element("button", { type: "button", className: "others", onclick: () => charts.showAll() }, text);
}

/** Whether the first of two axes of a step counts heads or the like, which have a map each, or is of one place. */
function separate(axes, shape) {
  if (axes.length !== 2) return false;
  return shape[0] === 1 || (shape[0] <= SEPARATE && ["head", "action"].includes(axes[0]));
}

/** Whether a tensor has several maps or pictures. */
function several(tensor) {
  const axes = axesOf(tensor);
  return separate(axes, tensor.shape) ? tensor.shape[0] > 1 : axes.length > 2;
}

/** The maps of one tensor of one recording: one, or one a head. */
function mapsOf(tensor, range) {
  const axes = axesOf(tensor);
  const heads = separate(axes, tensor.shape) ? tensor.shape[0] : 1;
  const axis = axes[axes.length - 1] ?? "number";
  const ages = axis === "age";
  const stored = tensor.size / heads;
  const rows = ages ? Math.min(stored, tensor.steps) : stored; // older than the episode is nothing
  const words = axis.split(", ");
  return Array.from({ length: heads }, (_, head) => ({
    caption: heads > 1 ? `${axes[0]} ${head}` : "",
    rows,
    steps: tensor.steps,
    range,
    value: (step, row) => tensor.at(step, head * stored + (ages ? stored - 1 - row : row)),
    row: (k) => (words.length === rows && rows > 1 ? words[k] : `${words.length > 1 ? "number" : axis} ${k}`),
    labels: words.length === rows && rows > 1 ? words.map(clipped) : null,
  }));
}

/** Add the maps of all memories: what both recordings have of one name stands together. */
export function memoryMaps(charts, host, recordings, sides) {
  const traces = sides.map(({ episode }) => episode.trace());
  const names = [...new Set(traces.flatMap((trace) => [...trace.keys()]))];
  if (!names.length) {
    host.append(
      element("p", { className: "empty" }, "This agent has no memory that shows itself: its recording holds no trace."),
    );
    return;
  }
  for (const critic of [false, true])
    for (const group of GROUPS) {
      const own = names.filter((name) => {
        const tensor = traces.find((trace) => trace.has(name)).get(name);
        return ofCritic(name) === critic && groupOf(name, axesOf(tensor)) === group;
      });
      if (!own.length) continue;
      const title = critic ? `${group} of the critic's own memory` : group;
      const box = element("section", { className: "group", "aria-label": title }, element("h2", {}, title));
      host.append(box);
      if (group === "Neighbours") neighbours(charts.store, box, recordings, sides, traces);
      else own.forEach((name) => block(charts, box, recordings, sides, traces, name));
    }
}

function neighbours(store, box, recordings, sides, traces) {
  traces.forEach((trace, side) => {
    const found = neighboursIn(trace);
    if (!found) return;
    const inner = element("div", { className: "block" });
    if (recordings.length > 1) inner.append(element("h3", {}, sideName(recordings, side)));
    box.append(inner);
    neighbourTable(store, inner, recordings[side], sides[side].episode, found);
  });
}

/** Add all that is shown of one tensor. */
function block(charts, box, recordings, sides, traces, name) {
  const tensors = traces.map((trace) => trace.get(name) ?? null);
  const there = tensors.filter(Boolean);
  const numbers = there.filter((one) => !Number.isNaN(one.low));
  const [low, high] = [numbers.map((one) => one.low), numbers.map((one) => one.high)];
  const range = numbers.length ? rangeOf(Math.min(...low), Math.max(...high)) : [NaN, NaN];
  const head = element("div", { className: "block-head" }, element("h3", {}, plain(name)));
  const inner = element("div", { className: "block", dataset: { tensor: name } }, head);
  const about = sentence(name);
  box.append(inner);
  if (there.every((one) => one.size === 1)) {
    const own = element("div", { className: "map" });
    own.style.minHeight = "75px";
    inner.append(own);
    whenNear(own, async () => {
      await Promise.all(there.map((one) => one.load()));
      own.style.minHeight = "";
      lines(charts, own, recordings, tensors, about);
    });
    return;
  }
  head.append(legend(range));
  const alone = recordings.length === 1 && !several(there[0]);
  if (about && !alone) inner.append(element("p", { className: "soft" }, about));
  tensors.forEach((tensor, side) => {
    if (!tensor) return;
    const of = recordings.length > 1 ? sideName(recordings, side) : alone ? about : "";
    shown(charts, inner, tensor, range, of, sides[side].scene, memoryOf(traces[side], name), name);
  });
  const [one, other] = tensors;
  const memories = traces.map((trace) => memoryOf(trace, name));
  if (one && other && String(one.shape) === String(other.shape)) difference(charts, inner, one, other, memories);
}

/** Add the maps or pictures of one tensor of one recording. */
function shown(charts, inner, tensor, range, of, scene, memory, name) {
  const axes = axesOf(tensor);
  if (axes.length > 1 && !separate(axes, tensor.shape)) {
    const own = element("div", { className: "map" });
    inner.append(own);
    whenNear(own, async () => {
      await tensor.load();
      const picture = pictureOf(tensor, axes, range, of);
      if (ofSlotPairs(axes)) await slotPairs(charts, own, picture, plain(name), [memory]);
      else images(charts.store, own, picture);
    });
    return;
  }
  const slots = axes[axes.length - 1] === "slot";
  mapsOf(tensor, range).forEach((whole, number, all) => {
    const caption = [of, whole.caption].filter(Boolean).join(" · ");
    const last = number === all.length - 1;
    lazily(inner, whole, last, async (own) => {
      await tensor.load();
      const writes = slots ? await writesOf(memory) : null;
      const kept = slots && !charts.allSlots ? await touched(memory, whole.rows) : null;
      const map = some(whole, kept);
      map.mark = (trail) => (trail.map === map ? trail.cell : null);
      const onCell = (step, row) => {
        const cell = { map, step, row, slot: map.kept?.[row] ?? row };
        if (axes[axes.length - 1] === "age") followAge(charts.store, scene, cell);
        else if (!writes || cell.slot >= writes.slots) charts.store.follow(null);
        else if (bare(name) === "write_weights") followWrite(charts.store, scene, cell, writes, readsOf(memory, writes));
        else followSlot(charts.store, scene, cell, writes, bare(name) === "read_weights" ? map.caption || "it" : "");
      };
      heatMap(charts, own, map, { caption, onCell, axis: last });
      if (kept && last) own.append(others(charts, kept, whole.rows));
    });
  });
}

/** Add the maps of pairs of slots: of many slots, those that are touched. */
async function slotPairs(charts, own, picture, about, memories) {
  const { rows, columns } = picture; // as many, but where the input stands beside the slots
  const found = charts.allSlots || rows !== columns ? [null] : await Promise.all(memories.map((one) => touched(one, rows)));
  const kept = found.every(Boolean) ? [...new Set(found.flat())].sort((a, b) => a - b) : null;
  const [down, across] = [rows, columns].map((count) => kept ?? Array.from({ length: count }, (_, k) => k));
  const value = (step, panel, r, c) => picture.value(step, panel, down[r], across[c]);
  matrices(charts.store, own, { ...picture, about, down, across, value });
  if (kept) own.append(others(charts, kept, rows));
}

/** Keep room for a map, and build it when it comes near the screen. */
function lazily(inner, map, axis, build) {
  const own = element("div", { className: "map" });
  own.style.minHeight = `${heightOf(map.rows) + (axis ? 45 : 33)}px`;
  inner.append(own);
  whenNear(own, async () => {
    await build(own);
    own.style.minHeight = "";
  });
}

function pictureOf(tensor, axes, range, caption) {
  const { rows, columns, count, at } = panelsOf(tensor);
  const [row, column] = axes.slice(-2);
  const leading = axes.slice(0, -2).join(" × ");
  return {
    caption,
    rows,
    columns,
    count,
    range,
    row,
    column,
    steps: tensor.steps,
    value: (step, panel, r, c) => tensor.at(step, at(panel, r, c)),
    panel: (k) => (count > 1 ? `${leading} ${k}` : ""),
  };
}

/** Add where two memories differ, in colours of its own: from 0 to the largest difference. */
function difference(charts, inner, one, other, memories) {
  const axes = axesOf(one);
  const steps = Math.min(one.steps, other.steps);
  const dust = apart(one, other);
  const gap = (step, k) => {
    const far = Math.abs(one.at(step, k) - other.at(step, k));
    return far <= dust ? 0 : far;
  };
  let range = null;
  const load = async () => {
    await Promise.all([one.load(), other.load()]);
    range ??= farthest(gap, steps, one.size);
    return range;
  };
  if (axes.length > 1 && !separate(axes, one.shape)) {
    const own = element("div", { className: "map" });
    inner.append(own);
    whenNear(own, async () => {
      const picture = pictureOf(one, axes, await load(), "|A − B|");
      const { at } = panelsOf(one);
      const value = (step, panel, r, c) => gap(step, at(panel, r, c));
      const gaps = { ...picture, steps, value, key: legend(picture.range) };
      own.classList.add("difference");
      if (ofSlotPairs(axes)) await slotPairs(charts, own, gaps, "where they differ", memories);
      else images(charts.store, own, gaps);
    });
    return;
  }
  const both = { at: gap, steps, size: one.size, shape: one.shape, axes: one.axes };
  mapsOf(both, null).forEach((whole, number, all) => {
    const last = number === all.length - 1;
    lazily(inner, whole, last, async (own) => {
      whole.range = await load();
      const slots = axes[axes.length - 1] === "slot" && !charts.allSlots;
      const kept = slots ? await Promise.all(memories.map((memory) => touched(memory, whole.rows))) : [null];
      const map = some(whole, kept.every(Boolean) ? [...new Set(kept.flat())].sort((a, b) => a - b) : null);
      own.classList.add("difference");
      const caption = ["|A − B|", map.caption].filter(Boolean).join(" · ");
      heatMap(charts, own, map, { caption, key: number ? null : legend(map.range), axis: last });
    });
  });
}

/** How far equal numbers may be apart for the rounding of codes in either tensor: 0 where both are coded alike. */
function apart(...tensors) {
  const [one, other] = tensors.map(({ told }) => told ?? { kind: "f32" });
  if (one.kind === other.kind && one.low === other.low && one.step === other.step) return 0;
  const exact = ({ kind, low, step }) => kind === "f32" || (step === 1 && Number.isInteger(low));
  return [one, other].reduce((sum, told) => sum + (exact(told) ? 0 : 0.5001 * told.step), 0);
}

/** The range from 0 to the largest of some numbers, NaN where there is none. */
function farthest(gap, steps, size) {
  let most = NaN;
  for (let step = 0; step < steps; step++)
    for (let k = 0; k < size; k++) {
      const far = gap(step, k);
      if (!(far <= most) && !Number.isNaN(far)) most = far;
    }
  return Number.isNaN(most) ? [NaN, NaN] : [0, most];
}

/** Add the layers of others: ablations, what a value hangs on, … */
export function layerMaps(charts, host, layers, title) {
  if (!layers.length) return;
  const box = element("section", { className: "group", "aria-label": title }, element("h2", {}, title));
  host.append(box);
  for (const layer of layers) {
    const range = Math.max(-layer.low, layer.high) < DUST ? [0, DUST] : rangeOf(layer.low, layer.high);
    const axis = layer.told.axis;
    const head = element("div", { className: "block-head" }, element("h3", {}, layer.name), legend(range));
    const inner = element("div", { className: "block" }, head);
    box.append(inner);
    const map = { rows: layer.size, steps: layer.steps, range, value: (step, k) => layer.at(step, k), row: (k) => `${axis} ${k}` };
    lazily(inner, map, true, async (own) => {
      await layer.load();
      heatMap(charts, own, map, { caption: layer.told.explanation });
    });
  }
}
