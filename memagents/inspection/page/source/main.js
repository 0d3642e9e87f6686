// The page: its head, and an episode of one or two recordings below it.
import { Charts } from "./chart.js";
import { controls } from "./controls.js";
import { lines, pastRow } from "./curves.js";
import { element, fillAll } from "./dom.js";
import { film, Scene, strip } from "./film.js";
import { layerMaps, memoryMaps } from "./maps.js";
import { sideName } from "./names.js";
import { counted, short } from "./numbers.js";
import { Episode, readIndex } from "./payload.js";
import { present, SERIES } from "./present.js";
import { laterReads, origins, readSources } from "./provenance.js";
import { readingOf, readingPanel } from "./reading.js";
import { seen } from "./seen.js";
import { Store } from "./store.js";
import { printable, themeButton } from "./theme.js";
import { memoryOf, trailPanel, writesOf } from "./trail.js";

const CURVES = [
  ["rewards", "reward", true],
  ["values", "value", false],
  ["entropy", "entropy of the policy", false],
];
const index = readIndex();
const { recordings } = index;
const page = document.getElementById("page");
const stage = element("main", { id: "episode" });
let charts = null;
let leave = () => {};

const choose = element(
  "select",
  { id: "choose", "aria-label": "episode" },
  ...recordings[0].episodes.map((told, k) => element("option", { value: k }, `episode ${k}: ${resultOf(told)}`)),
);
choose.addEventListener("change", () => open(Number(choose.value)).then(() => choose.blur()));

function resultOf(told) {
  const success = "success" in told.info ? (told.info.success ? ", success" : ", no success") : "";
  return `${counted(told.length, "step")}, return ${short(told.return)}${success}`;
}

function head() {
  const names = recordings.map((recording, side) => {
    const name = element("strong", { title: recording.name }, sideName(recordings, side));
    const about = [recording.algorithm, recording.core, recording.unfinished && `trained for ${recording.unfinished}`];
    return element("span", { className: "agent" }, name, ` ${about.filter(Boolean).join(" · ")}`);
  });
  const [{ env, env_kwargs: kwargs, deterministic }] = recordings;
  const parameters = Object.entries(kwargs).map(([name, value]) => `${name}=${value}`).join(", ");
  const where = [env, parameters, deterministic ? "most likely actions" : "sampled actions"].filter(Boolean).join(" · ");
  return element(
    "header",
    {},
    element("div", { className: "who" }, element("h1", {}, ...names), element("p", { className: "soft" }, where)),
    element("div", { className: "choices" }, choose, themeButton(() => charts?.redraw())),
  );
}

/** The first step at which actions of two recordings differ where they matter, −1 where there is none. */
function partingOf(episodes) {
  if (episodes.length < 2) return -1;
  const [one, other] = episodes.map((episode) => episode.tensor("actions"));
  const steps = Math.min(one.steps, other.steps);
  const matters = (step) => episodes.some((episode) => (episode.tensor("decisions")?.at(step, 0) ?? 1) !== 0);
  for (let step = 0; step < steps; step++)
    for (let k = 0; k < one.size; k++) if (one.at(step, k) !== other.at(step, k) && matters(step)) return step;
  return one.steps === other.steps ? -1 : steps;
}

/** Show an episode. */
async function open(number, { allSlots = false, step = 0 } = {}) {
  leave();
  const episodes = recordings.map((recording) => new Episode(recording.episodes[number]));
  const store = new Store(Math.max(...episodes.map((episode) => episode.steps)));
  const sides = episodes.map((episode) => ({ episode, scene: new Scene(episode) }));
  const readings = episodes.map(readingOf);
  const past = episodes[0].layers.filter((layer) => layer.told.axis === "past step");
  await Promise.all([
    ...episodes.map((episode) => episode.load(...SERIES)),
    ...sides.map(({ scene }) => scene.load()),
    ...past.map((layer) => layer.load()),
    ...readings,
  ]);
  const parting = partingOf(episodes);
  store.step = Math.min(step, store.steps - 1);
  charts = new Charts(store, parting);
  Object.assign(charts, { allSlots, showAll: () => open(number, { allSlots: true, step: store.step }) });

  const bar = element("div", { id: "controls", role: "group", "aria-label": "film" });
  const films = element("div", { className: "films" });
  const numbers = element("div", { className: "presents" });
  const reads = element("div", { className: "readings" });
  const trail = element("aside", { id: "trail", "aria-live": "polite", hidden: true });
  const left = element("div", { className: "left" }, films, trail, element("div", { className: "now-at" }, reads, numbers));
  const right = element("div", { className: "right" });
  const results = recordings.length > 1 ? recordings.map((recording, side) => `${"AB"[side]}: ${resultOf(recording.episodes[number])}`) : [];
  const parts = parting >= 0 ? `The actions part at step ${parting}.` : recordings.length > 1 ? "The actions never part." : "";
  const said = [results.join("; "), parts].filter(Boolean).map((text) => element("p", { className: "result" }, text));
  stage.replaceChildren(bar, ...said, element("div", { className: recordings.length > 1 ? "columns two" : "columns" }, left, right));

  const stop = controls(store, bar, { parting });
  const known = await Promise.all(readings);
  sides.forEach(({ episode, scene }, side) => {
    const figure = element("figure", { className: "film", id: `film-${side}` });
    films.append(figure);
    film(store, figure, scene, sideName(recordings, side));
    if (known[side]) readingPanel(store, reads, recordings, side, episode, known[side]);
    present(store, numbers, recordings, side, episode);
  });
  trailPanel(store, trail);

  const top = element("section", { className: "group top" });
  right.append(top);
  const restrip = sides[0].scene.films ? strip(store, top, sides[0].scene) : () => {};
  const whose = recordings.length > 1 ? ` · ${sideName(recordings, 0)}` : "";
  past.forEach((layer) => pastRow(charts, top, layer, layer.name + whose));
  const curves = CURVES.filter(([name]) => episodes.some((episode) => episode.tensor(name)));
  curves.forEach(([name, caption, bars], k) => {
    const tensors = episodes.map((episode) => episode.tensor(name));
    lines(charts, top, recordings, tensors, caption, { bars, axis: k === curves.length - 1 });
  });
  layerMaps(charts, right, episodes[0].layers, `Findings${whose}`);
  const pictures = sides.every(({ scene }) => scene.films);
  if (!pictures) seen(charts, right, recordings, sides);
  memoryMaps(charts, right, recordings, sides);
  if (pictures) seen(charts, right, recordings, sides);

  const observer = new ResizeObserver(() => {
    charts.resize();
    restrip();
  });
  observer.observe(right);
  leave = () => {
    observer.disconnect();
    stop();
    charts.all.forEach((u) => u.destroy());
    episodes.forEach((episode) => episode.close());
  };
  Object.assign(window.inspection, { store, episodes, charts });
  document.documentElement.dataset.ready = number;
}

// For the browser's console, and for tests: what a click computes.
window.inspection = {
  index,
  async origins(step, slot, side = 0, name = "read_weights") {
    const writes = await writesOf(memoryOf(this.episodes[side].trace(), name));
    return Array.from(origins(writes, step, slot));
  },
  async laterReads(step, slot, side = 0, name = "read_weights") {
    const memory = memoryOf(this.episodes[side].trace(), name);
    return Array.from(laterReads(await writesOf(memory), memory.get("read_weights"), step, slot));
  },
  async readSources(step, side = 0) {
    const { writes, reads } = await readingOf(this.episodes[side]);
    return readSources(writes, reads, step).map((own) => Array.from(own));
  },
};

page.append(head());
if (index.notes.length) page.append(element("ul", { id: "notes" }, ...index.notes.map((note) => element("li", {}, note))));
page.append(
  stage,
  element("footer", { className: "soft" }, "space: play · ← →: one step · home, end · drag over a chart: zoom, double-click: all of it · escape: close what was clicked"),
);
printable(fillAll, () => charts?.redraw());
open(0);
