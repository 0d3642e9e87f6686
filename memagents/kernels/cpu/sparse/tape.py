"""Records that the sparse memories' kernels keep of a row's steps, and the state that they change in place.

Arrays are flat, and addressed by numbers from their beginning (a record's parts also by vectors: of
:mod:`~memagents.kernels.cpu.vector.wide` those that every row of a tile has a product of, of
:mod:`~memagents.kernels.cpu.vector.simd` the slots). N slots, W width, R read heads, K reads of a head by each of its
modes, S of a head in all, M = R S + 1 slots that a step writes, H controller units.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.kernels.cpu.vector.simd import array_at, part


class SparseSizes(NamedTuple):
    """Sizes of a SAM, or of an SDNC. Padded are those that vectors go through."""

    slots: int  # N
    width: int  # W, padded
    heads: int  # R
    reads: int  # K
    links: int  # K_L, of a slot in each direction; 0 for a SAM
    sharpened: int  # 1 if the weightings that the links give are sharpened, otherwise 0
    hidden: int  # H, padded
    vectors: int  # R W, padded
    face: int  # the interface vector, padded
    rows: int  # of it not padding


class Places(NamedTuple):
    """Where the parts of a record begin, and of its whole numbers; a record begins with a step's read vectors, hidden
    state and cell before it, gates and the tanh of the new cell, as that of an LSTM does.
    """

    face: int  # squashed: R queries, the vector to write, and the scalars
    scalars: int  # of it: R strengths, write gate, interpolation, R shares of the heads, 3 R read modes, 2 R sharpness
    rows: int  # R S slots that were read
    slopes: int  # R, derivatives of the strengths, and sharpened 2 R of the sharpness, backward of all heads first
    query_norms: int  # R
    cosines: int  # R K
    row_norms: int  # R K
    content: int  # R K, the weighting by content
    weights: int  # R S, of the reads
    last: int  # R S, those of the step before
    written: int  # M, the weights of the write
    followed: int  # R 2 K: where the links of what was read lead to, backward and forward; sharpened if they are to be
    linked: int  # sharpened R 2 K: the same before
    shares: int  # R 2 K S: of each of these, by the weights of the step before
    divisors: int  # R, of the forward weighting
    record: int  # all numbers of a record
    write_slots: int  # M, whole numbers from here on
    read_slots: int  # R S
    found: int  # R, how many were found by content
    indices: int  # all whole numbers


class Kept(NamedTuple):
    """What the kernels change in place: the state of the batch but for the controller and the read vectors."""

    memory: np.ndarray  # B N W
    read_weights: np.ndarray  # B R S
    last_access: np.ndarray  # int64 B N
    clock: np.ndarray  # int64 B
    read_indices: np.ndarray  # int64 B R S


class Links(NamedTuple):
    """An SDNC's :class:`memagents.memory.sparse_linkage.SparseLinks`, changed in place."""

    before: np.ndarray  # int64 B N L
    before_weights: np.ndarray  # B N L
    after: np.ndarray  # int64 B N L
    after_weights: np.ndarray  # B N L
    after_kept: np.ndarray  # B N L
    kept: np.ndarray  # B N
    precedence: np.ndarray  # int64 B L
    precedence_weights: np.ndarray  # B L


@register_jitable
def sizes_of(numbers):
    """The :class:`SparseSizes` of a tuple of numbers."""
    return SparseSizes(
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7], numbers[8],
        numbers[9],
    )  # fmt: skip


@register_jitable
def entries_of(sizes):
    """S, the slots that a head reads."""
    return sizes.reads * (3 if sizes.links > 0 else 1)


@register_jitable
def source_row(sizes, entry):
    """Where an entry of the kernels' interface vector is in the core's, which has the strengths before the vector to
    write and not behind it.
    """
    queries, strengths = sizes.heads * sizes.width, sizes.heads
    if entry < queries or entry >= queries + sizes.width + strengths:
        return entry
    return entry + strengths if entry < queries + sizes.width else entry - sizes.width


@register_jitable
def places_of(sizes, lanes):
    """The :class:`Places` of a record whose length is a multiple of ``lanes``."""
    heads, entries = sizes.heads, entries_of(sizes)
    face = sizes.vectors + 7 * sizes.hidden
    scalars = face + (heads + 1) * sizes.width
    rows = face + sizes.face
    slopes = rows + heads * entries * sizes.width
    query_norms = slopes + heads * (1 + 2 * sizes.sharpened)
    cosines = query_norms + heads
    row_norms = cosines + heads * sizes.reads
    content = row_norms + heads * sizes.reads
    weights = content + heads * sizes.reads
    last = weights + heads * entries
    written = last + heads * entries
    followed = written + heads * entries + 1
    some = 2 * sizes.reads if sizes.links > 0 else 0
    linked = followed + heads * some
    shares = linked + heads * some * sizes.sharpened
    divisors = shares + heads * some * entries
    end = divisors + (heads if sizes.links > 0 else 0)
    record = (end + lanes - 1) // lanes * lanes
    read_slots = heads * entries + 1
    found = read_slots + heads * entries
    return Places(
        face, scalars, rows, slopes, query_norms, cosines, row_norms, content, weights, last, written, followed,
        linked, shares, divisors, record, 0, read_slots, found, found + heads,
    )  # fmt: skip


@part
def flat_at(address, count, like):
    """So many numbers at an address, of the type that ``like`` has."""
    return array_at(address, 1, count, like)[0]


@part
def borrowed(array, row):
    """A row of an array, of which nobody counts who has it: passing it on costs nothing."""
    return flat_at(array[row].ctypes.data, array.shape[1], array)
