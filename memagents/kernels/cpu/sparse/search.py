"""The exact search: the slots of the largest cosine to a query, :func:`memagents.memory.sparse.nearest`.

For it the slots of a row are kept a second time, as many side by side as a vector has lanes, so that the numbers of a
query meet those of that many slots at once and no lanes have to be added up. A slot's norm is computed together with
those beside it, always in one order, whenever one of them is written.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.kernels.cpu.slots import EPSILON, take
from memagents.kernels.cpu.sparse.tape import entries_of
from memagents.kernels.cpu.vector.reductions import max_lanes
from memagents.kernels.cpu.vector.simd import (
    fma,
    full,
    gather_entries,
    lanes_of,
    load,
    part,
    select_less,
    splat,
    sqrt,
    store,
)

BLOCKS = 4
"""Blocks of slots looked at together: with less, the latency of their sums would show."""


class Search(NamedTuple):
    """What the search of one row looks at; slots beyond N hold zeros and are not found."""

    slots: np.ndarray  # blocks of (W, lanes)
    norms: np.ndarray  # N
    floors: np.ndarray  # N: 0, or -inf where nothing was written
    cosines: np.ndarray  # of the slots looked at together


@register_jitable
def search_slots(sizes, lanes):
    """N with the slots that fill up the last blocks."""
    together = BLOCKS * lanes
    return (sizes.slots + together - 1) // together * together


@register_jitable
def search_numbers(sizes, lanes):
    """Numbers of a :class:`Search`."""
    return search_slots(sizes, lanes) * (sizes.width + 2) + BLOCKS * lanes


@part
def search_of(flat, sizes):
    count = search_slots(sizes, lanes_of(flat))
    slots, at = take(flat, 0, count * sizes.width)
    norms, at = take(flat, at, count)
    floors, at = take(flat, at, count)
    cosines, at = take(flat, at, BLOCKS * lanes_of(flat))
    return Search(slots, norms, floors, cosines)


@part
def measure(search, block, width):
    """The norms of a block of slots."""
    a0 = full(search.slots, EPSILON)
    a1 = full(search.slots, 0.0)
    a2, a3 = a1, a1
    for k in range(block * width, (block + 1) * width, 4):  # a multiple of the lanes, four at least
        x0, x1 = load(search.slots, k), load(search.slots, k + 1)
        x2, x3 = load(search.slots, k + 2), load(search.slots, k + 3)
        a0, a1, a2, a3 = fma(x0, x0, a0), fma(x1, x1, a1), fma(x2, x2, a2), fma(x3, x3, a3)
    store(search.norms, block, sqrt((a0 + a1) + (a2 + a3)))


@part
def forget(search):
    """No slot holds anything."""
    search.slots[:] = 0.0
    search.norms[:] = math.sqrt(EPSILON)
    search.floors[:] = -np.inf


@part
def look(search, memory, first, last_access, slots, width):
    """Take over the slots of a row, which begin at number ``first * width`` of the memory."""
    lanes = lanes_of(search.slots)
    whole = slots // lanes * lanes
    if whole < search.norms.shape[0]:
        search.slots[whole * width :] = 0.0
        search.floors[whole:] = -np.inf
    for slot in range(0, whole, lanes):
        for k in range(0, width, lanes):
            at = (first + slot) * width + k
            gather_entries(memory, at, width, search.slots, slot // lanes * width + k)
    for slot in range(whole, slots):
        copy_column(search, memory, (first + slot) * width, slot, width)
    for block in range(search.norms.shape[0] // lanes):
        measure(search, block, width)
    for slot in range(slots):
        search.floors[slot] = 0.0 if last_access[first + slot] >= 0 else -np.inf


@part
def copy_column(search, memory, at, slot, width):
    lanes = lanes_of(search.slots)
    out = slot // lanes * width * lanes + slot % lanes
    for k in range(width):
        search.slots[out + k * lanes] = memory[at + k]


@part
def renew(search, memory, at, slot, count):
    """Take over a slot that was written, of ``count`` vectors; those of its row begin at vector ``at``."""
    lanes = lanes_of(search.slots)
    copy_column(search, memory, (at + slot * count) * lanes, slot, count * lanes)
    measure(search, slot // lanes, count * lanes)


@part
def nearest(sizes, places, search, tape, record, indices, slots):
    """The K slots of the largest cosine to each head's query, among those that something was written to."""
    heads, reads, width = sizes.heads, sizes.reads, sizes.width
    some = reads if sizes.links > 0 else 0  # by content, after those backward
    chosen, apart = slots + places.read_slots + some, entries_of(sizes)
    for r in range(heads):
        total = EPSILON
        for k in range(record + places.face + r * width, record + places.face + (r + 1) * width):
            total += tape[k] * tape[k]
        tape[record + places.query_norms + r] = math.sqrt(total)
        for k in range(reads):
            tape[record + places.cosines + r * reads + k] = -np.inf
            indices[chosen + r * apart + k] = 0
    for block in range(0, search.norms.shape[0] // lanes_of(tape), BLOCKS):
        for r in range(heads):
            query, at = record + places.face + r * width, block * width
            cosines, own = record + places.cosines + r * reads, chosen + r * apart
            scale = splat(tape, record + places.query_norms + r)
            a0 = full(tape, 0.0)
            a1, a2, a3 = a0, a0, a0
            for k in range(width):
                x = splat(tape, query + k)
                a0 = fma(x, load(search.slots, at + k), a0)
                a1 = fma(x, load(search.slots, at + width + k), a1)
                a2 = fma(x, load(search.slots, at + 2 * width + k), a2)
                a3 = fma(x, load(search.slots, at + 3 * width + k), a3)
            little = full(tape, EPSILON)
            a0 = a0 / fma(scale, load(search.norms, block), little) + load(search.floors, block)
            a1 = a1 / fma(scale, load(search.norms, block + 1), little) + load(search.floors, block + 1)
            a2 = a2 / fma(scale, load(search.norms, block + 2), little) + load(search.floors, block + 2)
            a3 = a3 / fma(scale, load(search.norms, block + 3), little) + load(search.floors, block + 3)
            most, other = select_less(a0, a1, a1, a0), select_less(a2, a3, a3, a2)
            if not max_lanes(select_less(most, other, other, most)) > tape[cosines + reads - 1]:
                continue
            store(search.cosines, 0, a0)
            store(search.cosines, 1, a1)
            store(search.cosines, 2, a2)
            store(search.cosines, 3, a3)
            consider(search.cosines, block * lanes_of(tape), tape, cosines, indices, own, reads)
    for r in range(heads):
        found = 0
        while found < reads and tape[record + places.cosines + r * reads + found] > -np.inf:
            found += 1
        indices[slots + places.found + r] = found


@part
def consider(values, first, tape, cosines, indices, chosen, reads):
    """Take some slots, from ``first`` on, among the nearest so far, as far as they are nearer."""
    last = cosines + reads - 1
    for i in range(values.shape[0]):
        value = values[i]
        if not value > tape[last]:
            continue
        k = last
        while k > cosines and value > tape[k - 1]:
            tape[k] = tape[k - 1]
            indices[chosen + k - cosines] = indices[chosen + k - cosines - 1]
            k -= 1
        tape[k] = value
        indices[chosen + k - cosines] = first + i
