// What the agent saw and did, step by step: rasters of vectors, small pictures of grids.
import { element, whenNear } from "./dom.js";
import { heatMap, heightOf, legend } from "./heat.js";
import { images, layoutOf, observedPicture, panelsOf } from "./image.js";
import { lines } from "./curves.js";
import { actionName, sideName } from "./names.js";
import { clipped } from "./numbers.js";
import { rangeOf } from "./scale.js";

const MOST = 64; // actions in a raster

/** Add the observations and actions of all recordings; those of the second only where its film differs. */
export function seen(charts, host, recordings, sides) {
  const box = element("section", { className: "group", "aria-label": "Seen and done" }, element("h2", {}, "Seen and done"));
  host.append(box);
  sides.forEach(({ episode }, side) => {
    const of = recordings.length > 1 ? `${sideName(recordings, side)} · ` : "";
    for (const tensor of episode.observations()) observation(charts, box, recordings, tensor, of);
    actions(charts, box, recordings[side], episode, of);
  });
}

function observation(charts, box, recordings, tensor, of) {
  const name = `${of}${tensor.name.replace(/^observation\.?/, "") || "observation"}`;
  const inner = blockOf(box, name);
  const range = rangeOf(tensor.low, tensor.high);
  const own = element("div", { className: "map" });
  inner.append(own);
  const layout = layoutOf(tensor);
  const vector = tensor.shape.length === 1 && tensor.size > 1;
  if (!layout && tensor.size > 1) inner.firstChild.append(legend(range));
  own.style.minHeight = vector ? `${heightOf(tensor.size) + 45}px` : "75px";
  whenNear(own, async () => {
    await tensor.load();
    own.style.minHeight = "";
    if (vector) {
      const value = (step, k) => tensor.at(step, k);
      heatMap(charts, own, { rows: tensor.size, steps: tensor.steps, range, value, row: (k) => `number ${k}` });
    } else if (tensor.size === 1) lines(charts, own, recordings, [tensor], "");
    else if (layout) observedPicture(charts.store, own, tensor, layout);
    else {
      const { at, ...panels } = panelsOf(tensor, true);
      const value = (step, panel, r, c) => tensor.at(step, at(panel, r, c));
      const names = { row: "row", column: "column", panel: (k) => (panels.count > 1 ? `layer ${k}` : "") };
      images(charts.store, own, { ...panels, ...names, range, steps: tensor.steps, value });
    }
  });
}

function blockOf(box, name) {
  const head = element("div", { className: "block-head" }, element("h3", { title: name }, name));
  const inner = element("div", { className: "block" }, head);
  box.append(inner);
  return inner;
}

/** Add the actions: a row a choice, or a row a number. */
function actions(charts, box, recording, episode, of) {
  const tensor = episode.tensor("actions");
  const [choices] = recording.action_sizes;
  const single = recording.action_sizes.length === 1 && choices <= MOST;
  const map = single
    ? { rows: choices, range: [0, 1], value: (step, k) => Number(tensor.at(step, 0) === k), row: (k) => actionName(recording, k) }
    : { rows: tensor.size, range: rangeOf(tensor.low, tensor.high), value: (step, k) => tensor.at(step, k), row: (k) => `number ${k}` };
  if (single && recording.action_names.length)
    map.labels = recording.action_names.map(clipped);
  const inner = blockOf(box, `${of}actions`);
  if (!single) inner.firstChild.append(legend(map.range));
  const own = element("div", { className: "map" });
  own.style.minHeight = `${heightOf(map.rows) + 45}px`;
  inner.append(own);
  whenNear(own, () => {
    own.style.minHeight = "";
    heatMap(charts, own, { ...map, steps: episode.steps });
  });
}
