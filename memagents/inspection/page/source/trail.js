// What was clicked: the steps that wrote what a slot holds, the reads that saw a write, the step that was looked at.
import { element } from "./dom.js";
import { icon } from "./icons.js";
import { counted, largest, percent, short } from "./numbers.js";
import { laterReads, origins, Writes } from "./provenance.js";
import { bare, prefix } from "./names.js";

const MOST = 8; // frames
const UNKNOWN = "It cannot be told: some of its numbers are infinite or no numbers.";

/** The tensors of one memory of a trace, by their bare names. */
export function memoryOf(trace, name) {
  const begin = prefix(name);
  const own = [...trace].filter(([other]) => prefix(other) === begin);
  return new Map(own.map(([other, tensor]) => [bare(other), tensor]));
}

/** Load what provenance needs; null where the memory has no slots that are written. */
export async function writesOf(memory) {
  if (!memory.has("write_weights")) return null;
  const names = ["write_weights", "erase", "add", "cleared", "read_weights"];
  await Promise.all(names.map((name) => memory.get(name)?.load()));
  return Writes.in(memory);
}

/** Follow what a slot holds after a step back to its writes. */
export function followSlot(store, scene, { map, step, row, slot }, writes, head = "") {
  const shares = origins(writes, step, slot);
  const read = head && map.value ? `, of which ${head} reads ${short(map.value(step, row))}` : "";
  store.follow({
    map,
    scene,
    cell: [step, row],
    marks: [...shares].map((share, s) => ({ step: s, share })),
    title: `What slot ${slot} holds at step ${step}`,
    told: `by the steps that wrote it${read}`,
    empty: shares.some(Number.isNaN) ? UNKNOWN : `Nothing was written into slot ${slot} until then.`,
  });
}

/** Follow a write to the reads that see it. */
export function followWrite(store, scene, { map, step, row, slot }, writes, reads) {
  const shares = reads ? laterReads(writes, reads, step, slot) : new Float64Array(0);
  const heads = reads ? reads.size / writes.slots : 1;
  const marks = [];
  for (let t = step; reads && t < reads.steps; t++) {
    const best = largest(heads, (head) => shares[t * heads + head]);
    if (best >= 0) marks.push({ step: t, share: shares[t * heads + best], note: heads > 1 ? `head ${best}` : "" });
  }
  store.follow({
    map,
    scene,
    cell: [step, row],
    marks,
    title: `Who reads what step ${step} wrote into slot ${slot}`,
    told: "its share in what is read there",
    empty: shares.some(Number.isNaN) ? UNKNOWN : reads ? "Nobody reads it from then on." : "This memory shows no reads of its slots.",
  });
}

/** Follow attention to the step that is looked at. */
export function followAge(store, scene, { map, step, row: age }) {
  const past = step - age;
  const share = map.value(step, age);
  store.follow({
    map,
    scene,
    cell: [step, age],
    marks: past >= 0 && share > 0 ? [{ step: past, share }] : [],
    title: `Where step ${step} looks, ${age} back`,
    told: `at step ${past}`,
    empty: past < 0 ? "That is before the episode began." : "It does not look there.",
  });
}

/** The panel that shows what is followed, with its frames. */
export function trailPanel(store, host) {
  const show = () => {
    const { trail } = store;
    host.hidden = trail === null;
    if (trail === null) return host.replaceChildren();
    const close = element("button", { type: "button", title: "close (escape)", "aria-label": "close", id: "close" }, icon("close"));
    close.addEventListener("click", () => store.follow(null));
    const strongest = trail.marks.filter(({ share }) => share >= 0.01).sort((one, other) => other.share - one.share);
    const frames = strongest.slice(0, MOST).map(({ step, share, note }) => {
      const button = element("button", { type: "button", className: "origin", title: `go to step ${step}`, dataset: { step } });
      button.append(trail.scene.at(step), element("span", {}, `step ${step} · ${percent(share)}`));
      if (note) button.append(element("span", { className: "soft" }, note));
      button.addEventListener("click", () => store.go(step));
      return button;
    });
    const rest = strongest.slice(MOST).reduce((sum, { share }) => sum + share, 0);
    const more = strongest.length > MOST ? `and ${counted(strongest.length - MOST, "more step")}, of ${percent(rest)} together` : "";
    return host.replaceChildren(
      element("div", { className: "trail-head" }, element("h2", {}, trail.title), close),
      element("p", { className: "soft" }, frames.length ? trail.told : trail.empty),
      element("div", { className: "origins" }, ...frames),
      more ? element("p", { className: "soft" }, more) : "",
    );
  };
  store.on("trail", show);
  show();
}
