"""A step of one row's memory, forward: :meth:`memagents.cores.sparse_memory.SparseMemoryCore._access`.

The maths, its order and its names are those of :mod:`memagents.memory.sparse`. Slots are ``width`` numbers, in vectors
of :mod:`memagents.kernels.cpu.vector.simd`.
"""

from __future__ import annotations

import math

from memagents.kernels.cpu.sparse.search import renew
from memagents.kernels.cpu.sparse.tape import entries_of
from memagents.kernels.cpu.vector.reductions import sum_lanes
from memagents.kernels.cpu.vector.simd import fma, full, lanes_of, load, part, store
from memagents.kernels.cpu.vector.tiles import copy_vectors

THRESHOLD = 0.005
"""δ, above which a slot counts as accessed."""


# --- numbers and slots -----------------------------------------------------------------------------------------------


@part
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + math.exp(-x))


@part
def softmax(values, start, count):
    """Softmax of ``count`` numbers, in place."""
    largest = values[start]
    for i in range(start + 1, start + count):
        largest = max(largest, values[i])
    total = 0.0
    for i in range(start, start + count):
        values[i] = math.exp(values[i] - largest)
        total += values[i]
    for i in range(start, start + count):
        values[i] /= total


@part
def dot(a, i, b, j, count):
    """The inner product of ``count`` vectors, from entries ``i`` and ``j`` on."""
    total = load(a, i) * load(b, j)
    for k in range(1, count):
        total = fma(load(a, i + k), load(b, j + k), total)
    return sum_lanes(total)


@part
def add_slot(scale, a, i, out, j, count):
    """out += scale a, ``count`` vectors."""
    factor = full(out, scale)
    for k in range(count):
        store(out, j + k, fma(factor, load(a, i + k), load(out, j + k)))


@part
def clear_slot(out, j, count):
    """out = 0, ``count`` vectors."""
    zero = full(out, 0.0)
    for k in range(count):
        store(out, j + k, zero)


# --- the parts of a step ----------------------------------------------------------------------------------------------


@part
def squash_oneplus(tape, start, count, slopes):
    """1 + log(1 + e^x) of ``count`` numbers, in place, with its derivatives at ``slopes``."""
    for i in range(count):
        x = tape[start + i]
        tape[slopes + i] = 1.0 if x > 20.0 else sigmoid(x)
        tape[start + i] = 1.0 + (x if x > 20.0 else math.log1p(math.exp(x)))


@part
def squash_face(sizes, places, tape, record):
    """Strengths, gates, shares of the heads, read modes and sharpness, in place."""
    heads, at, slopes = sizes.heads, record + places.scalars, record + places.slopes
    squash_oneplus(tape, at, heads, slopes)
    at += heads
    tape[at] = sigmoid(tape[at])
    tape[at + 1] = sigmoid(tape[at + 1])
    softmax(tape, at + 2, heads)
    if sizes.links > 0:
        for r in range(heads):
            softmax(tape, at + 2 + heads + 3 * r, 3)
    if sizes.sharpened > 0:
        squash_oneplus(tape, at + 2 + 4 * heads, 2 * heads, slopes + heads)


@part
def least_recently_accessed(last_access, start, slots):
    """The slot that was accessed longest ago; of several the first."""
    least, oldest = last_access[start], 0
    for n in range(1, slots):
        if last_access[start + n] < least:
            least, oldest = last_access[start + n], n
    return oldest


@part
def note_access(indices, first, tape, weights, count, last_access, start, clock, sums, search):
    """Slots of which the entries' weights have a sum above the threshold are accessed now, and found from now on.

    :param sums: zeros for every slot, and zeros again afterwards
    """
    for m in range(count):
        sums[indices[first + m]] += tape[weights + m]
    for m in range(count):
        slot = indices[first + m]
        if sums[slot] > THRESHOLD:
            last_access[start + slot] = clock
            search.floors[slot] = 0.0
    for m in range(count):
        sums[indices[first + m]] = 0.0


@part
def write(sizes, places, row, kept, search, tape, record, indices, slots):
    """Equation 5, and equations 3 and 8: one slot is set to zero, then w aᵀ is added."""
    heads, entries, count = sizes.heads, entries_of(sizes), sizes.width // lanes_of(tape)
    scalars, first = record + places.scalars, row * heads * entries
    gate, interpolation = tape[scalars + heads], tape[scalars + heads + 1]
    oldest = least_recently_accessed(kept.last_access, row * sizes.slots, sizes.slots)
    m = 0
    for r in range(heads):
        factor = gate * interpolation * tape[scalars + heads + 2 + r]
        for _ in range(entries):
            last = kept.read_weights[first + m]
            tape[record + places.last + m] = last
            tape[record + places.written + m] = factor * last
            indices[slots + places.write_slots + m] = kept.read_indices[first + m]
            m += 1
    tape[record + places.written + m] = gate * (1.0 - interpolation)
    indices[slots + places.write_slots + m] = oldest
    at, vector = row * sizes.slots * count, (record + places.face) // lanes_of(tape) + heads * count
    clear_slot(kept.memory, at + oldest * count, count)
    for m in range(heads * entries + 1):
        slot = indices[slots + places.write_slots + m]
        add_slot(tape[record + places.written + m], tape, vector, kept.memory, at + slot * count, count)
    for m in range(heads * entries + 1):
        renew(search, kept.memory, at, indices[slots + places.write_slots + m], count)


@part
def weigh_content(sizes, places, search, tape, record, indices, slots):
    """Equation 2 over the slots that were found."""
    reads, entries = sizes.reads, entries_of(sizes)
    chosen = slots + places.read_slots + (reads if sizes.links > 0 else 0)
    for r in range(sizes.heads):
        found, strength = indices[slots + places.found + r], tape[record + places.scalars + r]
        first = record + places.content + r * reads
        for k in range(reads):
            tape[first + k] = 0.0
            tape[record + places.row_norms + r * reads + k] = search.norms[indices[chosen + r * entries + k]]
        for k in range(found):
            tape[first + k] = strength * tape[record + places.cosines + r * reads + k]
        if found > 0:
            softmax(tape, first, found)


@part
def read(sizes, places, row, kept, tape, record, then, indices, slots):
    """Equation 4, from the weights of the record to the read vectors of the next one; keeps what was read."""
    heads, entries, count = sizes.heads, entries_of(sizes), sizes.width // lanes_of(tape)
    rows, vectors = (record + places.rows) // lanes_of(tape), then // lanes_of(tape)
    clear_slot(tape, vectors, sizes.vectors // lanes_of(tape))
    for r in range(heads):
        for s in range(entries):
            m = r * entries + s
            at = (row * sizes.slots + indices[slots + places.read_slots + m]) * count
            copy_vectors(kept.memory, at, count, tape, rows + m * count)
            add_slot(tape[record + places.weights + m], tape, rows + m * count, tape, vectors + r * count, count)
            kept.read_indices[row * heads * entries + m] = indices[slots + places.read_slots + m]
            kept.read_weights[row * heads * entries + m] = tape[record + places.weights + m]
