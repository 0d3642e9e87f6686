"""Records that the DNC's kernels keep of a tile of batch rows, and its state in them.

Every array here is (entries, lanes), one :class:`~memagents.kernels.cpu.vector.simd.Vector` an entry. N slots, W width,
R read heads, H controller units, I the interface. Matrices of slots are padded with zero rows to a multiple of four,
see :mod:`memagents.kernels.cpu.vector.tile_products`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.kernels.cpu.slots import EPSILON, padded_slots, take
from memagents.kernels.cpu.vector.simd import array_at, full, load, part, select_less, sqrt, store
from memagents.kernels.cpu.vector.tiles import clear_fresh, copy, load_rows, store_rows
from memagents.kernels.operands import dnc_interface_size

interface_rows = register_jitable(dnc_interface_size)
"""Entries of an interface vector."""


class Carry(NamedTuple):
    """The small part of the state between two steps."""

    usage: np.ndarray  # N
    write_weights: np.ndarray  # N
    precedence: np.ndarray  # N
    norms: np.ndarray  # N, of the slots of the memory
    read_weights: np.ndarray  # R N
    cell: np.ndarray  # H


class DNCTileState(NamedTuple):
    """A :class:`~memagents.cores.dnc.DNCState`: leaves (B, entries) of the batch, or (entries, lanes) of a tile."""

    memory: np.ndarray
    usage: np.ndarray
    link: np.ndarray
    precedence: np.ndarray
    write_weights: np.ndarray
    read_weights: np.ndarray
    read_vectors: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray


class Record(NamedTuple):
    """Record of a step for its backward, beside the state after it."""

    carry: Carry
    gates: np.ndarray  # 4H, squashed: input, forget, candidate, output
    squashed_cell: np.ndarray  # H, tanh of the cell
    interface: np.ndarray  # I, squashed; see DNCInterfaceParts
    slopes: np.ndarray  # R + 1 and, sharpened, 2 R: derivatives of strengths (that of the write last) and sharpness
    taken: np.ndarray  # N, the product of all smaller usages
    write_match: np.ndarray  # N, cosines
    write_content: np.ndarray  # N
    read_match: np.ndarray  # R N, cosines
    read_content: np.ndarray  # R N
    forward: np.ndarray  # R N, sharpened if they are to be
    backward: np.ndarray  # R N
    write_norms: np.ndarray  # masked N: of the slots before the write as the write's mask lets them through
    read_norms: np.ndarray  # masked R N: of the slots after it
    forward_logs: np.ndarray  # sharpened R N: log(f + ε) of what the links gave
    backward_logs: np.ndarray  # sharpened R N


class DNCInterfaceParts(NamedTuple):
    """The parts of the interface vector, in its order."""

    read_keys: np.ndarray  # R W
    read_strengths: np.ndarray  # R
    write_key: np.ndarray  # W
    write_strength: np.ndarray  # 1
    erase: np.ndarray  # W
    write: np.ndarray  # W
    free_gates: np.ndarray  # R
    allocation_gate: np.ndarray  # 1
    write_gate: np.ndarray  # 1
    read_modes: np.ndarray  # 3R: backward, content, forward of the first head, then of the next
    read_masks: np.ndarray  # masked R W
    write_mask: np.ndarray  # masked W
    sharpness: np.ndarray  # sharpened 2R: backward of all heads, then forward


@register_jitable
def carry_rows(sizes):
    """Entries of a :class:`Carry`."""
    return (4 + sizes.heads) * sizes.slots + sizes.hidden


@register_jitable
def slope_rows(sizes):
    """Entries of the slopes in a :class:`Record`."""
    return sizes.heads + 1 + 2 * sizes.sharpened * sizes.heads


@register_jitable
def record_rows(sizes):
    """Entries of a :class:`Record`."""
    content = (3 + 4 * sizes.heads) * sizes.slots
    optional = (sizes.masked * (1 + sizes.heads) + 2 * sizes.sharpened * sizes.heads) * sizes.slots
    return carry_rows(sizes) + 5 * sizes.hidden + interface_rows(sizes) + slope_rows(sizes) + content + optional


@register_jitable
def matrix_rows(sizes):
    """Entries of a memory and a link matrix together, padded."""
    return padded_slots(sizes) * (sizes.width + sizes.slots)


@part
def carry_of(flat, sizes):
    """The :class:`Carry` at the beginning of ``flat``."""
    n = sizes.slots
    usage, at = take(flat, 0, n)
    write_weights, at = take(flat, at, n)
    precedence, at = take(flat, at, n)
    norms, at = take(flat, at, n)
    read_weights, at = take(flat, at, sizes.heads * n)
    cell, at = take(flat, at, sizes.hidden)
    return Carry(usage, write_weights, precedence, norms, read_weights, cell)


@part
def record_of(flat, sizes):
    """The :class:`Record` that ``flat`` holds."""
    n = sizes.slots
    carry = carry_of(flat, sizes)
    gates, at = take(flat, carry_rows(sizes), 4 * sizes.hidden)
    squashed_cell, at = take(flat, at, sizes.hidden)
    interface, at = take(flat, at, interface_rows(sizes))
    slopes, at = take(flat, at, slope_rows(sizes))
    taken, at = take(flat, at, n)
    write_match, at = take(flat, at, n)
    write_content, at = take(flat, at, n)
    read_match, at = take(flat, at, sizes.heads * n)
    read_content, at = take(flat, at, sizes.heads * n)
    forward, at = take(flat, at, sizes.heads * n)
    backward, at = take(flat, at, sizes.heads * n)
    write_norms, at = take(flat, at, sizes.masked * n)
    read_norms, at = take(flat, at, sizes.masked * sizes.heads * n)
    forward_logs, at = take(flat, at, sizes.sharpened * sizes.heads * n)
    backward_logs, at = take(flat, at, sizes.sharpened * sizes.heads * n)
    return Record(
        carry, gates, squashed_cell, interface, slopes, taken,
        write_match, write_content, read_match, read_content, forward, backward,
        write_norms, read_norms, forward_logs, backward_logs,
    )  # fmt: skip


@part
def interface_of(flat, sizes):
    """The parts of an interface vector (or of its gradient)."""
    heads, width = sizes.heads, sizes.width
    read_keys, at = take(flat, 0, heads * width)
    read_strengths, at = take(flat, at, heads)
    write_key, at = take(flat, at, width)
    write_strength, at = take(flat, at, 1)
    erase, at = take(flat, at, width)
    write, at = take(flat, at, width)
    free_gates, at = take(flat, at, heads)
    allocation_gate, at = take(flat, at, 1)
    write_gate, at = take(flat, at, 1)
    read_modes, at = take(flat, at, 3 * heads)
    read_masks, at = take(flat, at, sizes.masked * heads * width)
    write_mask, at = take(flat, at, sizes.masked * width)
    sharpness, at = take(flat, at, sizes.sharpened * 2 * heads)
    return DNCInterfaceParts(
        read_keys, read_strengths, write_key, write_strength, erase, write,
        free_gates, allocation_gate, write_gate, read_modes, read_masks, write_mask, sharpness,
    )  # fmt: skip


@part
def state_at(addresses, rows, sizes, like):
    """The :class:`DNCTileState` of so many batch rows with its leaves at these addresses."""
    n, vectors, weights = sizes.slots, sizes.heads * sizes.width, sizes.heads * sizes.slots
    return DNCTileState(
        array_at(addresses[0], rows, n * sizes.width, like),
        array_at(addresses[1], rows, n, like),
        array_at(addresses[2], rows, n * n, like),
        array_at(addresses[3], rows, n, like),
        array_at(addresses[4], rows, n, like),
        array_at(addresses[5], rows, weights, like),
        array_at(addresses[6], rows, vectors, like),
        array_at(addresses[7], rows, sizes.hidden, like),
        array_at(addresses[8], rows, sizes.hidden, like),
    )


@part
def reset_carry(fresh, before, out, sizes):
    """A copy of a carry at its initial value in the lanes that begin an episode."""
    copy(before, out)
    clear_fresh(fresh, out)
    carry = carry_of(out, sizes)
    flag, zero, norm = load(fresh, 0), full(out, 0.0), sqrt(full(out, EPSILON))
    for i in range(sizes.slots):
        store(carry.norms, i, select_less(zero, flag, norm, load(carry.norms, i)))
    return carry


@part
def load_state(batch, row, count, tile):
    """``count`` rows of a :class:`DNCTileState` of the batch to one of a tile."""
    load_rows(batch.memory, row, count, tile.memory)
    load_rows(batch.usage, row, count, tile.usage)
    load_rows(batch.link, row, count, tile.link)
    load_rows(batch.precedence, row, count, tile.precedence)
    load_rows(batch.write_weights, row, count, tile.write_weights)
    load_rows(batch.read_weights, row, count, tile.read_weights)
    load_rows(batch.read_vectors, row, count, tile.read_vectors)
    load_rows(batch.hidden, row, count, tile.hidden)
    load_rows(batch.cell, row, count, tile.cell)


@part
def store_state(tile, batch, row, count):
    """Reverse of :func:`load_state`."""
    store_rows(tile.memory, batch.memory, row, count)
    store_rows(tile.usage, batch.usage, row, count)
    store_rows(tile.link, batch.link, row, count)
    store_rows(tile.precedence, batch.precedence, row, count)
    store_rows(tile.write_weights, batch.write_weights, row, count)
    store_rows(tile.read_weights, batch.read_weights, row, count)
    store_rows(tile.read_vectors, batch.read_vectors, row, count)
    store_rows(tile.hidden, batch.hidden, row, count)
    store_rows(tile.cell, batch.cell, row, count)
