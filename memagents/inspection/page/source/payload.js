// The data in the page: an index of plain values, and blobs of bytes that are opened when they are needed.

export function readIndex() {
  return JSON.parse(document.getElementById("index").textContent);
}

const blobs = new Map();

/** The bytes of a blob. */
export function bytesOf(id) {
  if (!blobs.has(id)) {
    const text = atob(document.getElementById(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) bytes[k] = text.charCodeAt(k);
    blobs.set(id, bytes);
  }
  return blobs.get(id);
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

const WORDS = /\p{L}{3}|\d\.\d/u;
const DRAWN = /[\u2500-\u25ff]|··/; // lines, blocks and dots of a picture in letters
const KINDS = { u8: Uint8Array, u16: Uint16Array, f32: Float32Array };

/** An array of the recording, (T, ...), whose numbers are there after `load`. */
export class Tensor {
  constructor(name, told, blob) {
    Object.assign(this, { name, blob, told, axes: told.axes ?? [] });
    [this.low, this.high] = told.numbers ? [told.low, told.high] : [NaN, NaN];
    this.steps = told.shape[0];
    this.shape = told.shape.slice(1); // of a step
    this.size = this.shape.reduce((product, count) => product * count, 1);
    this.codes = null;
  }

  async load() {
    if (this.codes === null) {
      const { at, size, kind } = this.told;
      this.codes = new KINDS[kind](await inflated(bytesOf(this.blob).subarray(at, at + size)));
      this.largest = kind === "u8" ? 255 : 65535;
    }
    return this;
  }

  /** Number k of a step, NaN where there is none. */
  at(step, k) {
    const code = this.codes[step * this.size + k];
    if (this.told.kind === "f32") return code;
    if (this.told.gaps && code === this.largest) return NaN;
    return this.told.low + code * this.told.step;
  }
}

/** The slot × slot links of a memory that keeps a few for each slot, as one tensor. */
class SparseLinks {
  /** @param slots of each slot those that it is linked to, (N, L); @param weights of these links */
  constructor(name, slots, weights) {
    const [count, links] = slots.shape;
    Object.assign(this, { name, slots, weights, count, links, steps: slots.steps, high: weights.high });
    this.low = Number.isNaN(this.high) ? NaN : 0;
    this.shape = [count, count];
    this.size = count * count;
    this.axes = ["to slot", "from slot"];
  }

  async load() {
    await Promise.all([this.slots.load(), this.weights.load()]);
    return this;
  }

  at(step, k) {
    const [to, from] = [Math.floor(k / this.count), k % this.count];
    let sum = 0;
    for (let link = to * this.links; link < (to + 1) * this.links; link++)
      if (this.slots.at(step, link) === from) sum += this.weights.at(step, link);
    return sum;
  }
}

/** An episode of one recording. */
export class Episode {
  constructor(told) {
    this.told = told;
    this.steps = told.shown;
    this.tensors = new Map();
    for (const [name, one] of Object.entries(told.arrays)) this.tensors.set(name, new Tensor(name, one, told.blob));
    this.layers = told.layers.map((one) => new Tensor(one.name, one, told.blob));
    this.urls = new Map();
  }

  /** Load some arrays; those that are not there are left out. */
  async load(...names) {
    await Promise.all(names.map((name) => this.tensors.get(name)?.load()));
  }

  tensor(name) {
    return this.tensors.get(name) ?? null;
  }

  /** Those of the memory, by name without the prefix. */
  trace() {
    const found = new Map();
    for (const [name, one] of this.tensors) if (name.startsWith("trace.")) found.set(name.slice(6), one);
    for (const own of ["link", "critic_link"]) {
      const [slots, weights] = ["slots", "weights"].map((part) => found.get(`${own}_${part}`));
      if (slots && weights) found.set(own, new SparseLinks(own, slots, weights));
      for (const part of ["slots", "weights"]) found.delete(`${own}_${part}`); // one alone says nothing
    }
    return found;
  }

  observations() {
    const own = ([name]) => name === "observation" || name.startsWith("observation.");
    return [...this.tensors].filter(own).map(([, one]) => one);
  }

  /** Load what the environment says of itself at each step. */
  async loadTexts() {
    const blob = this.told.texts;
    if (blob !== null && !this.texts) this.texts = JSON.parse(new TextDecoder().decode(await inflated(bytesOf(blob))));
  }

  text(step) {
    return this.texts?.texts[this.texts.order[step]] ?? "";
  }

  /** What the environment says at a step that it did not say at the one before: its first line of words, "" where there is none. */
  news(step) {
    const before = new Set(step > 0 ? this.text(step - 1).split("\n") : []);
    const lines = this.text(step).split("\n");
    return lines.find((line) => !before.has(line) && WORDS.test(line) && !DRAWN.test(line))?.trim() ?? "";
  }

  /** URL of the picture of a step, null where there are no pictures. */
  picture(step) {
    const film = this.told.film;
    if (film === null || step >= film.order.length) return null;
    const number = film.order[step];
    if (!this.urls.has(number)) {
      const bytes = bytesOf(film.blob).subarray(number ? film.ends[number - 1] : 0, film.ends[number]);
      this.urls.set(number, URL.createObjectURL(new Blob([bytes], { type: film.type })));
    }
    return this.urls.get(number);
  }

  close() {
    for (const url of this.urls.values()) URL.revokeObjectURL(url);
    this.urls.clear();
  }
}
