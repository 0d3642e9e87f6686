// What is read now: the steps that wrote what the reads of the shown step are made of.
import { element } from "./dom.js";
import { largest, percent } from "./numbers.js";
import { sideName } from "./names.js";
import { readsOf, readSources } from "./provenance.js";
import { memoryOf, writesOf } from "./trail.js";

const MOST = 3; // steps
const LEAST = 0.05; // weight of a read from which on it is told
const FAINT = 0.005; // weight of a slot that is not followed: ten of them are not told either

/** Writes and reads of the agent's memory, loaded; null where it is not known which write a read is from. */
export async function readingOf(episode) {
  const memory = memoryOf(episode.trace(), "read_weights");
  const writes = memory.has("read_weights") ? await writesOf(memory) : null;
  const reads = writes ? readsOf(memory, writes) : null;
  return reads ? { writes, reads } : null;
}

/** The steps that a step reads most of: each with its weight by the head that reads most of it, and the heads that do. */
export function sourcesOf({ writes, reads }, step) {
  const weights = readSources(writes, reads, step, FAINT);
  const heads = weights.length;
  return Array.from({ length: step + 1 }, (_, source) => {
    const by = (head) => weights[head][source];
    const own = Array.from({ length: heads }, (_, head) => head).filter((head) => by(head) >= LEAST);
    const named = own.length === heads ? "all heads" : `${own.length > 1 ? "heads" : "head"} ${own.join(", ")}`;
    return { step: source, weight: by(largest(heads, by)), by: heads > 1 ? named : "" };
  })
    .filter(({ weight }) => weight >= LEAST)
    .sort((one, other) => other.weight - one.weight)
    .slice(0, MOST);
}

/** Add what one recording reads now. */
export function readingPanel(store, host, recordings, side, episode, reading) {
  const title = recordings.length > 1 ? `Read now · ${sideName(recordings, side)}` : "Read now";
  const several = reading.reads.size > reading.writes.slots;
  const about = `the steps whose writes are read, and their weight${several ? " in the head that reads them most" : ""}`;
  const nothing = element("p", { className: "soft nothing-read" });
  const rows = Array.from({ length: MOST }, () => rowOf(store));
  const list = element("ol", { className: "sources" }, ...rows.map((row) => row.item));
  const words = Boolean(episode.texts?.texts.length);
  const box = element("section", { className: "reading", "aria-label": title }, element("h3", { title }, title), element("p", { className: "soft" }, about), nothing, list);
  list.classList.toggle("worded", words);
  list.classList.toggle("headed", several);
  host.append(box);
  const show = () => {
    const { step } = store;
    const ended = step >= episode.steps;
    const sources = ended ? [] : sourcesOf(reading, step);
    box.classList.toggle("idle", !ended && episode.tensor("decisions")?.at(step, 0) === 0);
    nothing.textContent = ended ? `ended after ${episode.steps} steps` : sources.length ? "" : "Next to nothing that was written is read.";
    nothing.hidden = sources.length > 0;
    rows.forEach((row, k) => row.show(sources[k] ?? null, episode));
  };
  store.on("step", show);
  show();
}

/** One step that is read: it stays, and what stands in it changes, so that keys do not lose it. */
function rowOf(store) {
  const [when, value, heads, said] = ["when", "value", "heads", "said"].map((className) => element("span", { className }));
  const fill = element("span", { className: "fill" });
  const line = element("span", { className: "line" }, fill);
  const button = element("button", { type: "button", className: "source" }, when, line, value, heads, said);
  const item = element("li", { hidden: true }, button);
  let step = 0;
  button.addEventListener("click", (event) => {
    store.go(step);
    if (event.detail) button.blur();
  });
  const show = (source, episode) => {
    button.style.visibility = source ? "" : "hidden"; // it keeps the room it had once, so that nothing below jumps
    if (!source) return;
    item.hidden = false;
    ({ step } = source);
    when.textContent = step === store.step ? "this step" : `step ${step}`;
    value.textContent = percent(source.weight);
    fill.style.width = `${100 * Math.min(1, source.weight)}%`;
    heads.textContent = heads.title = source.by;
    said.textContent = said.title = episode.news(step);
    button.title = `go to step ${step}`;
    button.dataset.step = step;
  };
  return { item, show };
}
