// What the tensors of a trace are called, and what they are to a reader.

export const GROUPS = ["Reads", "Writes", "Order of writing", "Usage", "Gates", "Attention by age", "Neighbours", "Units", "Other"];
const CRITIC = "critic_";

const RULES = [
  [/^neighbour_/, "Neighbours"],
  [/^(read_(weights|modes|vectors)|block_\d+_weights)$/, "Reads"],
  [/^(write_(weights|gates?)|erase|add|cleared|allocation)$/, "Writes"],
  [/^link$/, "Order of writing"],
  [/^(usage|last_access|free_gates)$/, "Usage"],
  [/gate|interpolation|strength|sharpening|shift|head_shares|decay|update_weights|^depth$/, "Gates"],
  [/^(hidden|cell)$/, "Units"],
];

const SENTENCES = {
  read_weights: "how strongly each slot is read; click a cell to see when its content was written",
  read_modes: "whether a head reads what was written before, what matches its key, or what was written after",
  read_vectors: "what was read",
  write_weights: "how strongly each slot is written; click a cell to see when that is read",
  write_gate: "how much is written at all",
  write_gates: "how much is written at all",
  allocation_gate: "1: write into a free slot; 0: write where the content matches",
  free_gates: "how far a head frees the slots that it has just read",
  allocation: "how free each slot is, in the order in which they would be taken",
  link: "how far the slot of a row was written right after the slot of a column",
  erase: "how far each number of the written slots is erased first",
  add: "what is written",
  cleared: "slots emptied before the write",
  usage: "how much of each slot is in use",
  last_access: "the step in which each slot was last used",
  strengths: "how sharply a head looks for its key",
  interpolation_gates: "1: look by content; 0: stay where the head was",
  interpolation: "1: write where it was just read; 0: write into the slot unused for longest",
  shift_weights: "how far a head moves on",
  sharpening: "how much a head's weighting is sharpened",
  hidden: "what the next layers see",
  cell: "what is kept",
  input_gate: "how much of the new is taken in",
  forget_gate: "how much of the old is kept",
  output_gate: "how much of the cell is shown",
  reset_gate: "how much of the old is used for the new",
  update_gate: "how much changes",
  update_weights: "how much each pass counts",
  depth: "passes until it halted",
  decay: "how much of a trace is left after a step",
};

/** The name of a tensor without what says that it is of the critic's own memory. */
export function bare(name) {
  return name.startsWith(CRITIC) ? name.slice(CRITIC.length) : name;
}

export function ofCritic(name) {
  return name.startsWith(CRITIC);
}

/** The prefix with which the others of the same memory begin. */
export function prefix(name) {
  return ofCritic(name) ? CRITIC : "";
}

export function plain(name) {
  return bare(name).replaceAll("_", " ");
}

export function sentence(name) {
  return SENTENCES[bare(name)] ?? "";
}

export function groupOf(name, axes) {
  const own = bare(name);
  if (own.startsWith("neighbour_")) return "Neighbours";
  if (axes[axes.length - 1] === "age") return "Attention by age";
  return RULES.find(([pattern]) => pattern.test(own))?.[1] ?? (axes.includes("unit") ? "Units" : "Other");
}

/** The names of the axes of a step, as many as there are. */
export function axesOf(tensor) {
  const { shape, axes } = tensor;
  if (axes.length === shape.length) return axes;
  return shape.map((_, k) => ["column", "row"][shape.length - 1 - k] ?? `axis ${shape.length - k}`);
}

/** Whether the last two axes of a step count slots both. */
export function ofSlotPairs(axes) {
  return axes.length > 1 && axes.slice(-2).every((axis) => /\bslot\b/.test(axis));
}

/** The name of an action. */
export function actionName(recording, action) {
  return recording.action_names[action] ?? `action ${action}`;
}

/** The names of two recordings side by side. */
export function sideName(recordings, side) {
  return recordings.length > 1 ? `${"AB"[side]} · ${recordings[side].name}` : recordings[side].name;
}
