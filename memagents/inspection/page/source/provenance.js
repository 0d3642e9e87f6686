// Which writes the present content of a slot is made of, and which reads saw a write.
// The same as memagents/inspection/provenance.py, which says more; a test holds the two equal.
//
// A step with write weightings w_i, erase vectors e_i and write vectors v_i of its heads changes slot n to
//   M[n] ← M[n] ∘ Π_i (1 − w_i[n] e_i) + Σ_i w_i[n] v_i
// and a core that empties a slot before it writes says so by `cleared`.

export class Writes {
  /** @param trace tensors by name, loaded: write_weights, and where they are there erase, add, cleared */
  constructor(trace) {
    this.weights = trace.get("write_weights");
    const { shape } = this.weights;
    this.slots = shape[shape.length - 1];
    this.heads = this.weights.size / this.slots;
    [this.erase, this.add] = ["erase", "add"].map((name) => {
      const tensor = trace.get(name);
      if (!tensor) return { width: 1, at: () => 1 };
      const width = tensor.shape[tensor.shape.length - 1];
      const heads = tensor.size / width;
      return { width, at: (step, head, w) => tensor.at(step, (heads > 1 ? head : 0) * width + (width > 1 ? w : 0)) };
    });
    this.width = Math.max(this.erase.width, this.add.width);
    this.cleared = trace.get("cleared") ?? null;
  }

  static in(trace) {
    const weights = trace.get("write_weights");
    return weights && weights.shape.length >= 1 && weights.shape.length <= 2 ? new Writes(trace) : null;
  }

  /** |Σ_i w_i[n] v_i| of number w. */
  amount(step, slot, w) {
    let sum = 0;
    for (let head = 0; head < this.heads; head++)
      sum += this.weights.at(step, head * this.slots + slot) * this.add.at(step, head, w);
    return Math.abs(sum);
  }

  /** The share of what number w was before that is left. */
  keep(step, slot, w) {
    let product = this.cleared ? 1 - this.cleared.at(step, slot) : 1;
    for (let head = 0; head < this.heads; head++)
      product *= 1 - this.weights.at(step, head * this.slots + slot) * this.erase.at(step, head, w);
    return product;
  }
}

/** The share of each step up to this one in what a slot holds after it; zeros if nothing was written. */
export function origins(writes, step, slot) {
  const left = new Float64Array(writes.width).fill(1);
  const shares = new Float64Array(step + 1);
  let total = 0;
  for (let s = step; s >= 0; s--) {
    for (let w = 0; w < writes.width; w++) {
      shares[s] += writes.amount(s, slot, w) * left[w];
      left[w] *= writes.keep(s, slot, w);
    }
    total += shares[s];
  }
  return total > 0 ? shares.map((share) => share / total) : shares;
}

/** The share of one write into one slot in what each head read from then on: (T, R) in a row. */
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
      for (let n = 0; n < slots; n++) read += reads.at(t, head * slots + n) * sums[n];
      if (read > 0) shares[t * heads + head] = (reads.at(t, head * slots + slot) * left) / read;
    }
  }
  return shares;
}
