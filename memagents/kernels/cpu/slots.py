"""Shared maths of the cores with an LSTM controller and a memory of slots: DNC and NTM.

The maths, its order and its names are those of :mod:`memagents.memory`, one function here for one there. Every array is
(entries, lanes), one :class:`~memagents.kernels.cpu.vector.simd.Vector` an entry; N slots, W width. Matrices of slots
are padded with zero rows to a multiple of four, see :mod:`memagents.kernels.cpu.vector.tile_products`.
"""

from __future__ import annotations

from numba.extending import register_jitable

from memagents.kernels.cpu.vector.functions import exp, sigmoid, softplus, tanh
from memagents.kernels.cpu.vector.simd import fma, full, load, part, select_less, sqrt, store

EPSILON = 1e-6
"""The constant of :mod:`memagents.memory.addressing` and :mod:`memagents.memory.allocation`."""


@register_jitable
def padded_slots(sizes):
    """The rows of a padded matrix of slots."""
    return (sizes.slots + 3) // 4 * 4


@part
def take(flat, start, rows):
    """Return the entries of one part, and where the next begins."""
    return flat[start : start + rows], start + rows


# --- controller and interface ----------------------------------------------------------------------------------------


@part
def lstm(gates, before, cell, squashed, hidden):
    """:func:`memagents.cores.lstm.lstm_cell`; squashes the gates in place."""
    units = cell.shape[0]
    for u in range(units):
        i, f = sigmoid(load(gates, u)), sigmoid(load(gates, units + u))
        g, o = tanh(load(gates, 2 * units + u)), sigmoid(load(gates, 3 * units + u))
        c = fma(f, load(before, u), i * g)
        s = tanh(c)
        store(gates, u, i)
        store(gates, units + u, f)
        store(gates, 2 * units + u, g)
        store(gates, 3 * units + u, o)
        store(cell, u, c)
        store(squashed, u, s)
        store(hidden, u, o * s)


@part
def squash_sigmoid(values):
    """Sigmoid, in place."""
    for i in range(values.shape[0]):
        store(values, i, sigmoid(load(values, i)))


@part
def squash_softplus(values, i, base, slopes, slope):
    """``base`` + softplus of one value, in place; write the derivative to ``slopes``."""
    x = load(values, i)
    linear = full(values, 20.0)  # where torch's softplus becomes linear
    store(slopes, slope, select_less(linear, x, full(values, 1.0), sigmoid(x)))
    store(values, i, base + select_less(linear, x, x, softplus(x)))


@part
def softmax(values, start, count, strength):
    """Softmax of ``strength`` (positive) times ``count`` values, in place."""
    largest = load(values, start)
    for i in range(start + 1, start + count):
        v = load(values, i)
        largest = select_less(largest, v, v, largest)
    total = full(values, 0.0)
    for i in range(start, start + count):
        e = exp(strength * (load(values, i) - largest))
        total += e
        store(values, i, e)
    scale = 1.0 / total
    for i in range(start, start + count):
        store(values, i, scale * load(values, i))


# --- slots -----------------------------------------------------------------------------------------------------------


@part
def norm(values, start, count):
    """The root of a sum of squares, with the small constant under it."""
    total = full(values, EPSILON)
    for i in range(start, start + count):
        v = load(values, i)
        total = fma(v, v, total)
    return sqrt(total)


@part
def content_weighting(match, start, norms, key_norm, strength, content):
    """Turn dot products into cosines in place, and those into a weighting."""
    n = norms.shape[0]
    for i in range(n):
        cosine = load(match, start + i) / fma(key_norm, load(norms, i), full(match, EPSILON))
        store(match, start + i, cosine)
        store(content, start + i, cosine)
    softmax(content, start, n, strength)


@part
def erase_and_add(memory, row, weights, erase, write, out):
    """Write one slot, from ``memory`` to ``out``."""
    w, at, width = load(weights, row), row * erase.shape[0], erase.shape[0]
    for k in range(width):
        m = load(memory, at + k)
        store(out, at + k, fma(w, fma(-load(erase, k), m, load(write, k)), m))
