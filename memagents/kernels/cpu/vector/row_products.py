"""Products of one matrix with many rows, whose lanes are entries of a row.

A small matrix that all rows of a batch share is multiplied faster so than with a row in every lane
(:mod:`memagents.kernels.cpu.vector.tile_products`): no lane is idle in a small batch, and rows stay as they lie in the
batch. A row's sums are taken in the same order whatever the rows beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from memagents.kernels.cpu.vector.simd import fma, part
from memagents.kernels.cpu.vector.wide import full, lanes_of, load, splat, store, transpose

ROWS = 4
"""Rows computed at a time, each with two vectors of outputs: with less, the latency of their sums would show."""

DEPTH = 128
"""Inputs taken at a time: what all rows need of the matrix for two outputs then stays in the first cache."""


class Rows(NamedTuple):
    """Place of rows: row r begins at entry ``start + r * stride`` of an (entries, lanes) array."""

    array: np.ndarray
    start: int
    stride: int


@part
def pack(weight, inputs, packed):
    """A matrix in the order in which :func:`set_products` needs it.

    :param weight: (outputs, inputs) as it lies, in entries; both are multiples of the lanes
    :param inputs: entries of one of its rows
    """
    lanes = lanes_of(packed)
    for block in range(weight.shape[0] // (inputs * lanes)):
        for k in range(inputs):
            at = (block * inputs * lanes + k) * lanes
            transpose(weight, at, inputs * lanes, packed, (block * inputs + k) * lanes)


@part
def pack_columns(weight, outputs, packed):
    """Pack the transpose of (inputs, outputs), ``outputs`` entries in a row."""
    inputs = weight.shape[0] // outputs
    for column in range(outputs):
        for k in range(inputs):
            store(packed, column * inputs + k, load(weight, k * outputs + column))


@part
def set_products(packed, vectors, inputs, base, out, outputs, count):
    """out[r] = base[r] + W v[r] for ``count`` :class:`Rows`.

    :param packed: W, by :func:`pack` or, if it is a transpose, :func:`pack_columns`
    :param inputs: entries of a row of ``vectors``
    :param outputs: entries of a row of ``base`` and of ``out``
    """
    numbers = inputs * lanes_of(packed)
    for first in range(0, numbers, DEPTH):
        last = min(first + DEPTH, numbers)
        for column in range(0, outputs, 2):
            _two_columns(
                packed, vectors, numbers, first, last, base if first == 0 else out, out, column, outputs, count
            )


@part
def _two_columns(packed, vectors, inputs, first, last, base, out, column, outputs, count):
    """Two outputs of all rows; of an odd number of outputs the last is computed twice."""
    lanes, w = lanes_of(packed), column * inputs
    other = 1 if column + 1 < outputs else 0
    stride, whole = vectors.stride * lanes, count - count % ROWS
    for row in range(0, whole, ROWS):
        _four_rows(
            packed, w, w + other * inputs, first, last, vectors.array, vectors.start * lanes + row * stride, stride,
            base.array, base.start + row * base.stride + column, base.stride,
            out.array, out.start + row * out.stride + column, out.stride, other,
        )  # fmt: skip
    for row in range(whole, count):
        _one_row(
            packed, w, w + other * inputs, first, last, vectors.array, vectors.start * lanes + row * stride,
            base.array, base.start + row * base.stride + column,
            out.array, out.start + row * out.stride + column, other,
        )  # fmt: skip


@part
def _one_row(packed, w, w1, first, last, vectors, v, base, b, out, at, other):
    a0, a1 = load(base, b), load(base, b + other)
    for k in range(first, last):
        x = splat(vectors, v + k)
        a0, a1 = fma(load(packed, w + k), x, a0), fma(load(packed, w1 + k), x, a1)
    store(out, at, a0)
    store(out, at + other, a1)


@part
def _four_rows(packed, w, w1, first, last, vectors, v, stride, base, b, base_stride, out, at, step, other):
    a0, a1 = load(base, b), load(base, b + other)
    b0, b1 = load(base, b + base_stride), load(base, b + base_stride + other)
    c0, c1 = load(base, b + 2 * base_stride), load(base, b + 2 * base_stride + other)
    d0, d1 = load(base, b + 3 * base_stride), load(base, b + 3 * base_stride + other)
    for k in range(first, last):
        p0, p1 = load(packed, w + k), load(packed, w1 + k)
        x = splat(vectors, v + k)
        a0, a1 = fma(p0, x, a0), fma(p1, x, a1)
        x = splat(vectors, v + stride + k)
        b0, b1 = fma(p0, x, b0), fma(p1, x, b1)
        x = splat(vectors, v + 2 * stride + k)
        c0, c1 = fma(p0, x, c0), fma(p1, x, c1)
        x = splat(vectors, v + 3 * stride + k)
        d0, d1 = fma(p0, x, d0), fma(p1, x, d1)
    store(out, at, a0)
    store(out, at + other, a1)
    store(out, at + step, b0)
    store(out, at + step + other, b1)
    store(out, at + 2 * step, c0)
    store(out, at + 2 * step + other, c1)
    store(out, at + 3 * step, d0)
    store(out, at + 3 * step + other, d1)


# --- rows of entries ------------------------------------------------------------------------------------------------


@part
def add_entries(values, start, out, at, count):
    """out += values, ``count`` entries."""
    for e in range(count):
        store(out, at + e, load(out, at + e) + load(values, start + e))


@part
def clear_entries(out, start, count):
    """Zero from ``start`` on."""
    zero = full(out, 0.0)
    for e in range(start, start + count):
        store(out, e, zero)


@part
def copy_entries(source, start, out, at, count):
    """``count`` entries from one array to another."""
    for e in range(count):
        store(out, at + e, load(source, start + e))
