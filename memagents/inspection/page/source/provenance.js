// Which writes the present content of a slot is made of, and which reads saw a write.
// The same as memagents/inspection/provenance.py, which says more; a test holds the two equal.
//
// A step with write weightings w_i, erase vectors e_i and write vectors v_i of its heads changes slot n to
//   M[n] ← M[n] ∘ Π_i (1 − w_i[n] e_i) + Σ_i w_i[n] v_i
// and a core that empties a slot before it writes says so by `cleared`.

const FORGOTTEN = 1e-9; // share of a write that is left, below which nothing before it is looked for

const tables = new WeakMap();

/** All numbers of a tensor in a row: they are read over and over. */
function table(tensor) {
  if (!tables.has(tensor)) {
    const { steps, size } = tensor;
    tables.set(tensor, Float64Array.from({ length: steps * size }, (_, k) => tensor.at(Math.floor(k / size), k % size)));
  }
  return tables.get(tensor);
}

/** A number times a weight; 0 by a weight of 0, also where it is no number. */
function weighted(weight, number) {
  return weight === 0 ? 0 : weight * number;
}

export class Writes {
  /** @param trace tensors by name, loaded: write_weights, and where they are there erase, add, cleared */
  constructor(trace) {
    const weights = trace.get("write_weights");
    this.slots = weights.shape[weights.shape.length - 1];
    this.heads = weights.size / this.slots;
    this.weights = table(weights);
    [this.erase, this.add] = ["erase", "add"].map((name) => {
      const tensor = trace.get(name);
      if (!tensor) return { width: 1, at: () => 1 };
      const width = tensor.shape[tensor.shape.length - 1];
      const [numbers, { size }] = [table(tensor), tensor];
      const [head, number] = [size > width ? width : 0, width > 1 ? 1 : 0];
      return { width, at: (step, v, w) => numbers[step * size + v * head + w * number] };
    });
    this.width = Math.max(this.erase.width, this.add.width);
    this.cleared = trace.has("cleared") ? table(trace.get("cleared")) : null;
  }

  static in(trace) {
    const weights = trace.get("write_weights");
    return weights && weights.shape.length >= 1 && weights.shape.length <= 2 ? new Writes(trace) : null;
  }

  weight(step, head, slot) {
    return this.weights[(step * this.heads + head) * this.slots + slot];
  }

  /** Whether a step changes a slot at all. */
  changes(step, slot) {
    for (let head = 0; head < this.heads; head++) if (this.weight(step, head, slot) !== 0) return true;
    return this.cleared !== null && this.cleared[step * this.slots + slot] !== 0;
  }

  /** |Σ_i w_i[n] v_i| of number w. */
  amount(step, slot, w) {
    let sum = 0;
    for (let head = 0; head < this.heads; head++) sum += weighted(this.weight(step, head, slot), this.add.at(step, head, w));
    return Math.abs(sum);
  }

  /** The sum of the absolute numbers that a write of weight 1 writes. */
  whole(step) {
    let sum = 0;
    for (let w = 0; w < this.width; w++) {
      let most = 0;
      for (let head = 0; head < this.heads; head++) most = Math.max(most, Math.abs(this.add.at(step, head, w)));
      sum += most;
    }
    return sum;
  }

  /** The share of what number w was before that is left. */
  keep(step, slot, w) {
    let product = this.cleared ? 1 - this.cleared[step * this.slots + slot] : 1;
    for (let head = 0; head < this.heads; head++) product *= 1 - weighted(this.weight(step, head, slot), this.erase.at(step, head, w));
    return product;
  }
}

/** How much of each write is left in a slot after a step. */
function surviving(writes, step, slot) {
  const left = new Float64Array(writes.width).fill(1);
  const amounts = new Float64Array(step + 1);
  for (let s = step; s >= 0; s--) {
    if (!writes.changes(s, slot)) continue;
    let most = 0;
    for (let w = 0; w < writes.width; w++) {
      amounts[s] += writes.amount(s, slot, w) * left[w];
      left[w] *= writes.keep(s, slot, w);
      most = Math.max(most, Math.abs(left[w]));
    }
    if (most < FORGOTTEN) break;
  }
  return amounts;
}

function sharesOf(amounts) {
  const total = amounts.reduce((sum, amount) => sum + amount, 0);
  return total === 0 ? amounts : amounts.map((amount) => amount / total); // of what is no number, none is
}

/** The share of each step up to this one in what a slot holds after it; zeros if nothing was written, NaN if no number was. */
export function origins(writes, step, slot) {
  return sharesOf(surviving(writes, step, slot));
}

/**
 * The weight of each step in what each head reads in a step, a row a head: its share, times how much is read at all.
 * Slots that are read by `least` or less are left out.
 */
export function readSources(writes, reads, step, least = 0) {
  const { slots } = writes;
  const heads = Array.from({ length: reads.size / slots }, () => new Float64Array(step + 1));
  for (let slot = 0; slot < slots; slot++) {
    const weights = heads.map((_, head) => reads.at(step, head * slots + slot) || 0);
    if (!weights.some((weight) => weight > least)) continue;
    const amounts = surviving(writes, step, slot);
    for (let s = 0; s <= step; s++) if (amounts[s] > 0) heads.forEach((own, head) => (own[s] += weights[head] * amounts[s]));
  }
  const wholes = Array.from({ length: step + 1 }, (_, s) => writes.whole(s));
  return heads.map((own) => {
    const all = own.reduce((sum, amount, s) => sum + (wholes[s] > 0 ? amount / wholes[s] : 0), 0);
    return sharesOf(own).map((share) => share * Math.min(1, all));
  });
}

/** The reads of the slots that are written; null where the memory shows none of these. */
export function readsOf(memory, { slots }) {
  const reads = memory.get("read_weights");
  const { shape } = reads ?? { shape: [] };
  return shape.length >= 1 && shape.length <= 2 && shape[shape.length - 1] === slots ? reads : null;
}

/** The share of one write into one slot in what each head read from then on: (T, R) in a row; NaN of what is no number. */
export function laterReads(writes, reads, step, slot) {
  const { slots, width } = writes;
  const heads = reads.size / slots;
  const shares = new Float64Array(reads.steps * heads);
  const whole = new Float64Array(slots * width);
  const own = new Float64Array(width);
  for (let t = 0; t < reads.steps; t++) {
    const sums = new Float64Array(slots);
    for (let n = 0; n < slots; n++)
      for (let w = 0; w < width; w++) {
        const k = n * width + w;
        whole[k] = (t ? whole[k] * writes.keep(t, n, w) : 0) + writes.amount(t, n, w);
        sums[n] += whole[k];
      }
    if (t < step) continue;
    let left = 0;
    for (let w = 0; w < width; w++) {
      own[w] = t === step ? writes.amount(t, slot, w) : own[w] * writes.keep(t, slot, w);
      left += own[w];
    }
    for (let head = 0; head < heads; head++) {
      let read = 0;
      for (let n = 0; n < slots; n++) read += weighted(reads.at(t, head * slots + n), sums[n]);
      if (read !== 0) shares[t * heads + head] = (reads.at(t, head * slots + slot) * left) / read;
    }
  }
  return shares;
}
