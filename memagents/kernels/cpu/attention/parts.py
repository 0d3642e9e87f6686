"""Parts of the attention of single queries, of vectors that begin anywhere in a flat array."""

from __future__ import annotations

from memagents.kernels.cpu.vector.simd import (
    full,
    lanes_of,
    load_at,
    part,
    select_less,
    store_at,
    transpose_at,
)


@part
def within(lane, count, value, other):
    """``value`` in the first ``count`` lanes and ``other`` in those after them.

    :param lane: the numbers 0, 1, … of the lanes, an array of one vector
    """
    return select_less(load_at(lane, 0), full(lane, count), value, other)


@part
def pack_columns(rows, at, stride, first, last, count, columns, apart):
    """``columns[k, p] = rows[p, k]`` for rows ``first`` to before ``last``, and zero for two vectors after them.

    :param at: where row 0 begins
    :param stride: from the beginning of a row to that of the next
    :param count: numbers of a row, a multiple of a vector's lanes
    :param apart: from the beginning of a column to that of the next
    """
    width, zero = lanes_of(columns), full(columns, 0.0)
    done = last - (last - first) % width
    for k in range(0, count, width):
        for p in range(first, done, width):
            transpose_at(rows, at + p * stride + k, stride, columns, k * apart + p, apart)
    for k in range(count):
        for p in range(done, last):
            columns[k * apart + p] = rows[at + p * stride + k]
        store_at(columns, k * apart + last, zero)
        store_at(columns, k * apart + last + width, zero)
