"""Small matrix products, one matrix per batch row, for the CPU kernels.

Everything is (entries, lanes), one :class:`~memagents.kernels.simd.Vector` an entry. A matrix of vectors is flat and
row-major. The ``_rows`` functions take four of its rows at a time, so that they stay in the first cache while several
products use them; the last rows of a matrix are padded with zeros to make four, and vectors that go with the rows are
read as zero there.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from memagents.kernels.simd import fma, full, load, part, splat, store

ROWS = 4
"""The rows that the ``_rows`` functions take."""


@part
def load_or_zero(array, start, i, count):
    """``array[start + i]``, or zero beyond ``count``."""
    if i < count:
        return load(array, start + i)
    return full(array, 0.0)


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


@part
def add_products(weight, vector, out):
    """out += W v, W an (outputs, inputs) matrix of scalars, the same for all batch rows."""
    outputs, inputs = weight.shape
    n = 0
    while n + 8 <= outputs:
        a0, a1, a2, a3 = load(out, n), load(out, n + 1), load(out, n + 2), load(out, n + 3)
        a4, a5, a6, a7 = load(out, n + 4), load(out, n + 5), load(out, n + 6), load(out, n + 7)
        at = n * inputs
        for k in range(inputs):
            v = load(vector, k)
            a0 = fma(splat(weight, at + k), v, a0)
            a1 = fma(splat(weight, at + inputs + k), v, a1)
            a2 = fma(splat(weight, at + 2 * inputs + k), v, a2)
            a3 = fma(splat(weight, at + 3 * inputs + k), v, a3)
            a4 = fma(splat(weight, at + 4 * inputs + k), v, a4)
            a5 = fma(splat(weight, at + 5 * inputs + k), v, a5)
            a6 = fma(splat(weight, at + 6 * inputs + k), v, a6)
            a7 = fma(splat(weight, at + 7 * inputs + k), v, a7)
        store(out, n, a0)
        store(out, n + 1, a1)
        store(out, n + 2, a2)
        store(out, n + 3, a3)
        store(out, n + 4, a4)
        store(out, n + 5, a5)
        store(out, n + 6, a6)
        store(out, n + 7, a7)
        n += 8
    for m in range(n, outputs):
        a0 = load(out, m)
        for k in range(inputs):
            a0 = fma(splat(weight, m * inputs + k), load(vector, k), a0)
        store(out, m, a0)


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
