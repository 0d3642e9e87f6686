"""Records that the NTM's kernels keep of a tile of batch rows, and its state in them.

Every array here is (entries, lanes), one :class:`~memagents.kernels.cpu.vector.simd.Vector` an entry. N slots, W width,
R read heads, K = R + 1 heads, the last of which writes, H controller units, I the interface, S reach of the shifts.
Matrices of slots are padded with zero rows to a multiple of four, see
:mod:`memagents.kernels.cpu.vector.tile_products`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.kernels.cpu.slots import norm, padded_slots, take
from memagents.kernels.cpu.vector.simd import array_at, full, load, part, select_less, store
from memagents.kernels.cpu.vector.tiles import copy, load_rows, store_rows
from memagents.kernels.operands import ntm_interface_size

interface_rows = register_jitable(ntm_interface_size)
"""Entries of an interface vector."""


class NTMTileState(NamedTuple):
    """A :class:`~memagents.cores.ntm.NTMState`: leaves (B, entries) of the batch, or (entries, lanes) of a tile."""

    memory: np.ndarray
    weights: np.ndarray
    read_vectors: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray


class Record(NamedTuple):
    """Record of a step for the next one and for its backward. Up to ``cell`` it is the state after the step."""

    memory: np.ndarray  # N W, padded
    weights: np.ndarray  # K N
    features: np.ndarray  # H + R W: hidden state and read vectors
    cell: np.ndarray  # H
    norms: np.ndarray  # N, of the slots of the memory
    gates: np.ndarray  # 4H, squashed: input, forget, candidate, output
    squashed_cell: np.ndarray  # H, tanh of the cell
    raw: np.ndarray  # I, the interface vector
    interface: np.ndarray  # I, clipped and squashed; see NTMInterfaceParts
    slopes: np.ndarray  # 2K, derivatives of strengths and sharpening
    match: np.ndarray  # K N, cosines
    content: np.ndarray  # K N
    shifted: np.ndarray  # K N
    logs: np.ndarray  # K N, of what was shifted


class NTMInterfaceParts(NamedTuple):
    """The parts of the interface vector, in its order."""

    keys: np.ndarray  # K W
    strengths: np.ndarray  # K
    gates: np.ndarray  # K
    shifts: np.ndarray  # K (2 S + 1)
    sharpening: np.ndarray  # K
    erase: np.ndarray  # W
    add: np.ndarray  # W


@register_jitable
def feature_rows(sizes):
    return sizes.hidden + sizes.heads * sizes.width


@register_jitable
def state_rows(sizes):
    """Entries of the state in a record, and of the norms behind it."""
    slots = padded_slots(sizes) * sizes.width + (sizes.heads + 2) * sizes.slots
    return slots + feature_rows(sizes) + sizes.hidden


@register_jitable
def initial_rows(sizes):
    return sizes.slots * sizes.width + (sizes.heads + 1) * sizes.slots + sizes.heads * sizes.width


@register_jitable
def record_rows(sizes):
    """Entries of a :class:`Record`."""
    heads = sizes.heads + 1
    return state_rows(sizes) + 5 * sizes.hidden + 2 * interface_rows(sizes) + (2 + 4 * sizes.slots) * heads


@part
def before_of(flat, sizes):
    """The parts of a record that the next step needs."""
    n = sizes.slots
    memory, at = take(flat, 0, padded_slots(sizes) * sizes.width)
    weights, at = take(flat, at, (sizes.heads + 1) * n)
    features, at = take(flat, at, feature_rows(sizes))
    cell, at = take(flat, at, sizes.hidden)
    norms, at = take(flat, at, n)
    empty = flat[:0]
    return Record(memory, weights, features, cell, norms, empty, empty, empty, empty, empty, empty, empty, empty, empty)


@part
def record_of(flat, sizes):
    """The :class:`Record` that ``flat`` holds."""
    n, heads = sizes.slots, sizes.heads + 1
    before = before_of(flat, sizes)
    gates, at = take(flat, state_rows(sizes), 4 * sizes.hidden)
    squashed_cell, at = take(flat, at, sizes.hidden)
    raw, at = take(flat, at, interface_rows(sizes))
    interface, at = take(flat, at, interface_rows(sizes))
    slopes, at = take(flat, at, 2 * heads)
    match, at = take(flat, at, heads * n)
    content, at = take(flat, at, heads * n)
    shifted, at = take(flat, at, heads * n)
    logs, at = take(flat, at, heads * n)
    return Record(
        before.memory, before.weights, before.features, before.cell, before.norms,
        gates, squashed_cell, raw, interface, slopes, match, content, shifted, logs,
    )  # fmt: skip


@part
def interface_of(flat, sizes):
    """The parts of an interface vector (or of its gradient)."""
    heads, width = sizes.heads + 1, sizes.width
    keys, at = take(flat, 0, heads * width)
    strengths, at = take(flat, at, heads)
    gates, at = take(flat, at, heads)
    shifts, at = take(flat, at, heads * sizes.shifts)
    sharpening, at = take(flat, at, heads)
    erase, at = take(flat, at, width)
    add, at = take(flat, at, width)
    return NTMInterfaceParts(keys, strengths, gates, shifts, sharpening, erase, add)


@part
def state_at(addresses, rows, sizes, like):
    """The :class:`NTMTileState` of so many batch rows with its leaves at these addresses."""
    n, vectors = sizes.slots, sizes.heads * sizes.width
    return NTMTileState(
        array_at(addresses[0], rows, n * sizes.width, like),
        array_at(addresses[1], rows, (sizes.heads + 1) * n, like),
        array_at(addresses[2], rows, vectors, like),
        array_at(addresses[3], rows, sizes.hidden, like),
        array_at(addresses[4], rows, sizes.hidden, like),
    )


@part
def state_of(record, sizes):
    """The state that a record holds (or its gradient)."""
    features = record.features
    return NTMTileState(record.memory, record.weights, features[sizes.hidden :], features[: sizes.hidden], record.cell)


@part
def load_state(batch, row, count, tile):
    """``count`` rows of a :class:`NTMTileState` of the batch to one of a tile."""
    load_rows(batch.memory, row, count, tile.memory)
    load_rows(batch.weights, row, count, tile.weights)
    load_rows(batch.read_vectors, row, count, tile.read_vectors)
    load_rows(batch.hidden, row, count, tile.hidden)
    load_rows(batch.cell, row, count, tile.cell)


@part
def store_state(tile, batch, row, count):
    """Reverse of :func:`load_state`."""
    store_rows(tile.memory, batch.memory, row, count)
    store_rows(tile.weights, batch.weights, row, count)
    store_rows(tile.read_vectors, batch.read_vectors, row, count)
    store_rows(tile.hidden, batch.hidden, row, count)
    store_rows(tile.cell, batch.cell, row, count)


@part
def choose_fresh(fresh, initial, start, values):
    """``values`` become those of the initial state in the lanes that begin an episode."""
    flag, zero = load(fresh, 0), full(fresh, 0.0)
    for e in range(values.shape[0]):
        store(values, e, select_less(zero, flag, load(initial, start + e), load(values, e)))


@part
def restarted(flat, work, sizes):
    """A copy of a record's state, the initial one in the lanes that begin an episode."""
    copy(flat[: state_rows(sizes)], work.begun)
    begun = before_of(work.begun, sizes)
    flag, zero = load(work.fresh, 0), full(work.fresh, 0.0)
    matrix, weights = sizes.slots * sizes.width, begun.weights.shape[0]
    choose_fresh(work.fresh, work.initial, 0, begun.memory[:matrix])
    choose_fresh(work.fresh, work.initial, matrix, begun.weights)
    choose_fresh(work.fresh, work.initial, matrix + weights, begun.features[sizes.hidden :])
    for u in range(sizes.hidden):
        store(begun.features, u, select_less(zero, flag, zero, load(begun.features, u)))
        store(begun.cell, u, select_less(zero, flag, zero, load(begun.cell, u)))
    measure(begun, sizes)
    return begun


@part
def measure(record, sizes):
    """The norms of the slots."""
    for i in range(sizes.slots):
        store(record.norms, i, norm(record.memory, i * sizes.width, sizes.width))
