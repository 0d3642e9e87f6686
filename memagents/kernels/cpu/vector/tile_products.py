"""Small matrix products on a tile, where each batch row may have its own matrix.

Everything is (entries, lanes), one :class:`~memagents.kernels.cpu.vector.simd.Vector` an entry. A matrix of vectors is
flat and row-major. The ``_rows`` functions take four of its rows at a time, so that they stay in the first cache while
several products use them; the last rows of a matrix are padded with zeros to make four, and vectors that go with the
rows are read as zero there.
"""

from __future__ import annotations

from numba.extending import register_jitable

from memagents.kernels.cpu.vector.simd import fma, full, lanes_of, load, part, splat, store
from memagents.kernels.cpu.vector.tiles import clear, load_rows

ROWS = 4
"""The rows that the ``_rows`` functions take."""


@part
def load_or_zero(array, start, i, count):
    """``array[start + i]``, or zero beyond ``count``."""
    if i < count:
        return load(array, start + i)
    return full(array, 0.0)


@part
def store_within(out, i, count, value):
    """``out[i]`` becomes ``value``, unless that is beyond ``count``."""
    if i < count:
        store(out, i, value)


@part
def store_rows_sum(out, start, i, count, a0, a1, a2, a3):
    """Add four numbers to ``out[start + i ...]``, those within ``count``."""
    store(out, start + i, load(out, start + i) + a0)
    if i + 1 < count:
        store(out, start + i + 1, load(out, start + i + 1) + a1)
    if i + 2 < count:
        store(out, start + i + 2, load(out, start + i + 2) + a2)
    if i + 3 < count:
        store(out, start + i + 3, load(out, start + i + 3) + a3)


OUTPUTS = 16
"""The outputs that :func:`add_products` computes at a time: what its sums need of the registers of AVX-512."""


@register_jitable
def packed_rows(outputs, inputs, lanes):
    """Entries of a packed (outputs, inputs) matrix."""
    return (outputs + OUTPUTS - 1) // OUTPUTS * (OUTPUTS // lanes) * inputs


@part
def pack(weight, packed):
    """An (outputs, inputs) matrix, the same for all batch rows, in the order in which :func:`add_products` needs it."""
    outputs, inputs = weight.shape
    lanes = lanes_of(packed)
    clear(packed)
    for block in range((outputs + lanes - 1) // lanes):
        row = block * lanes
        load_rows(weight, row, min(lanes, outputs - row), packed[block * inputs : (block + 1) * inputs])


@part
def add_products(packed, vector, out):
    """out += W v, W packed."""
    outputs, inputs, lanes = out.shape[0], vector.shape[0], lanes_of(out)
    for n in range(0, outputs, OUTPUTS):
        a0, a1 = load_or_zero(out, n, 0, outputs - n), load_or_zero(out, n, 1, outputs - n)
        a2, a3 = load_or_zero(out, n, 2, outputs - n), load_or_zero(out, n, 3, outputs - n)
        a4, a5 = load_or_zero(out, n, 4, outputs - n), load_or_zero(out, n, 5, outputs - n)
        a6, a7 = load_or_zero(out, n, 6, outputs - n), load_or_zero(out, n, 7, outputs - n)
        a8, a9 = load_or_zero(out, n, 8, outputs - n), load_or_zero(out, n, 9, outputs - n)
        a10, a11 = load_or_zero(out, n, 10, outputs - n), load_or_zero(out, n, 11, outputs - n)
        a12, a13 = load_or_zero(out, n, 12, outputs - n), load_or_zero(out, n, 13, outputs - n)
        a14, a15 = load_or_zero(out, n, 14, outputs - n), load_or_zero(out, n, 15, outputs - n)
        for k in range(inputs):
            v, at = load(vector, k), (n // lanes * inputs + k) * lanes
            a0 = fma(splat(packed, at + 0 // lanes * inputs * lanes + 0 % lanes), v, a0)
            a1 = fma(splat(packed, at + 1 // lanes * inputs * lanes + 1 % lanes), v, a1)
            a2 = fma(splat(packed, at + 2 // lanes * inputs * lanes + 2 % lanes), v, a2)
            a3 = fma(splat(packed, at + 3 // lanes * inputs * lanes + 3 % lanes), v, a3)
            a4 = fma(splat(packed, at + 4 // lanes * inputs * lanes + 4 % lanes), v, a4)
            a5 = fma(splat(packed, at + 5 // lanes * inputs * lanes + 5 % lanes), v, a5)
            a6 = fma(splat(packed, at + 6 // lanes * inputs * lanes + 6 % lanes), v, a6)
            a7 = fma(splat(packed, at + 7 // lanes * inputs * lanes + 7 % lanes), v, a7)
            a8 = fma(splat(packed, at + 8 // lanes * inputs * lanes + 8 % lanes), v, a8)
            a9 = fma(splat(packed, at + 9 // lanes * inputs * lanes + 9 % lanes), v, a9)
            a10 = fma(splat(packed, at + 10 // lanes * inputs * lanes + 10 % lanes), v, a10)
            a11 = fma(splat(packed, at + 11 // lanes * inputs * lanes + 11 % lanes), v, a11)
            a12 = fma(splat(packed, at + 12 // lanes * inputs * lanes + 12 % lanes), v, a12)
            a13 = fma(splat(packed, at + 13 // lanes * inputs * lanes + 13 % lanes), v, a13)
            a14 = fma(splat(packed, at + 14 // lanes * inputs * lanes + 14 % lanes), v, a14)
            a15 = fma(splat(packed, at + 15 // lanes * inputs * lanes + 15 % lanes), v, a15)
        store_within(out, n + 0, outputs, a0)
        store_within(out, n + 1, outputs, a1)
        store_within(out, n + 2, outputs, a2)
        store_within(out, n + 3, outputs, a3)
        store_within(out, n + 4, outputs, a4)
        store_within(out, n + 5, outputs, a5)
        store_within(out, n + 6, outputs, a6)
        store_within(out, n + 7, outputs, a7)
        store_within(out, n + 8, outputs, a8)
        store_within(out, n + 9, outputs, a9)
        store_within(out, n + 10, outputs, a10)
        store_within(out, n + 11, outputs, a11)
        store_within(out, n + 12, outputs, a12)
        store_within(out, n + 13, outputs, a13)
        store_within(out, n + 14, outputs, a14)
        store_within(out, n + 15, outputs, a15)


@part
def dot_rows(matrix, i, rows, columns, vector, start, out, out_start):
    """out[i] += Σ_k M[i, k] v[k] for four rows, v = ``vector[start ...]``."""
    a0 = full(matrix, 0.0)
    a1, a2, a3 = a0, a0, a0
    at = i * columns
    for k in range(columns):
        v = load(vector, start + k)
        a0 = fma(load(matrix, at + k), v, a0)
        a1 = fma(load(matrix, at + columns + k), v, a1)
        a2 = fma(load(matrix, at + 2 * columns + k), v, a2)
        a3 = fma(load(matrix, at + 3 * columns + k), v, a3)
    store_rows_sum(out, out_start, i, rows, a0, a1, a2, a3)


@part
def mix_rows(matrix, i, rows, columns, weights, start, out, out_start):
    """out[k] += Σ_i w[i] M[i, k] over four rows, w = ``weights[start ...]``."""
    w0, w1 = load(weights, start + i), load_or_zero(weights, start, i + 1, rows)
    w2, w3 = load_or_zero(weights, start, i + 2, rows), load_or_zero(weights, start, i + 3, rows)
    at = i * columns
    for k in range(columns):
        total = fma(w0, load(matrix, at + k), load(out, out_start + k))
        total = fma(w1, load(matrix, at + columns + k), total)
        total = fma(w2, load(matrix, at + 2 * columns + k), total)
        total = fma(w3, load(matrix, at + 3 * columns + k), total)
        store(out, out_start + k, total)


@part
def both_ways_rows(matrix, i, rows, vector, start, along, against):
    """along[i] += Σ_j M[i, j] v[j] and against[j] += Σ_i M[i, j] v[i] over four rows of a square matrix."""
    w0, w1 = load(vector, start + i), load_or_zero(vector, start, i + 1, rows)
    w2, w3 = load_or_zero(vector, start, i + 2, rows), load_or_zero(vector, start, i + 3, rows)
    a0 = full(matrix, 0.0)
    a1, a2, a3 = a0, a0, a0
    at = i * rows
    for j in range(rows):
        v, total = load(vector, start + j), load(against, start + j)
        m0, m1 = load(matrix, at + j), load(matrix, at + rows + j)
        m2, m3 = load(matrix, at + 2 * rows + j), load(matrix, at + 3 * rows + j)
        a0, a1, a2, a3 = fma(m0, v, a0), fma(m1, v, a1), fma(m2, v, a2), fma(m3, v, a3)
        store(against, start + j, fma(m3, w3, fma(m2, w2, fma(m1, w1, fma(m0, w0, total)))))
    store_rows_sum(along, start, i, rows, a0, a1, a2, a3)


@part
def add_scaled(scale, values, start, count, out):
    """out += scale · values, from ``start`` on in both."""
    for k in range(start, start + count):
        store(out, k, fma(scale, load(values, k), load(out, k)))
