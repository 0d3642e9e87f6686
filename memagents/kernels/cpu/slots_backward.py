"""The derivative of :mod:`memagents.kernels.cpu.slots`, by hand.

A gradient is named ``d_`` and the name of what it belongs to.
"""

from __future__ import annotations

from memagents.kernels.cpu.slots import EPSILON
from memagents.kernels.cpu.vector.simd import fma, full, load, part, store
from memagents.kernels.cpu.vector.tile_products import load_or_zero, store_rows_sum


@part
def lstm_backward(now, before, d_hidden, d_cell, d_gates):
    """The derivative of :func:`memagents.cores.lstm.lstm_cell`; ``d_cell`` becomes that before the step."""
    units = d_cell.shape[0]
    for u in range(units):
        i, f = load(now.gates, u), load(now.gates, units + u)
        g, o = load(now.gates, 2 * units + u), load(now.gates, 3 * units + u)
        s, d_h = load(now.squashed_cell, u), load(d_hidden, u)
        d_c = fma(d_h * o, fma(-s, s, full(d_cell, 1.0)), load(d_cell, u))
        store(d_gates, u, d_c * g * i * (1.0 - i))
        store(d_gates, units + u, d_c * load(before.cell, u) * f * (1.0 - f))
        store(d_gates, 2 * units + u, d_c * i * fma(-g, g, full(d_cell, 1.0)))
        store(d_gates, 3 * units + u, d_h * s * o * (1.0 - o))
        store(d_cell, u, d_c * f)


@part
def through_sigmoid(values, gradient):
    """The gradient before a sigmoid, in place."""
    for i in range(values.shape[0]):
        v = load(values, i)
        store(gradient, i, load(gradient, i) * v * (1.0 - v))


@part
def content_weighting_backward(d_content, match, content, start, norms, key_norm, strength, d_norms):
    """Turn the gradient of a weighting into that of the dot products, in place, and add to that of the norms.

    Return the gradients of the strength and of the key's norm.
    """
    n = norms.shape[0]
    mean = full(match, 0.0)
    for i in range(start, start + n):
        mean = fma(load(d_content, i), load(content, i), mean)
    d_strength, d_key_norm = full(match, 0.0), full(match, 0.0)
    for i in range(n):
        cosine, slot_norm = load(match, start + i), load(norms, i)
        d_score = load(content, start + i) * (load(d_content, start + i) - mean)
        d_strength = fma(d_score, cosine, d_strength)
        d_dot = strength * d_score / fma(key_norm, slot_norm, full(match, EPSILON))
        d_product = -(d_dot * cosine)
        d_key_norm = fma(d_product, slot_norm, d_key_norm)
        store(d_norms, i, fma(d_product, key_norm, load(d_norms, i)))
        store(d_content, start + i, d_dot)
    return d_strength, d_key_norm


@part
def erase_and_add_backward(memory, i, weights, erase, write, d_memory, d_weights, d_erase, d_write):
    """The derivative of :func:`memagents.kernels.cpu.slots.erase_and_add` for four slots."""
    n, width = weights.shape[0], erase.shape[0]
    w0, w1 = load(weights, i), load_or_zero(weights, 0, i + 1, n)
    w2, w3 = load_or_zero(weights, 0, i + 2, n), load_or_zero(weights, 0, i + 3, n)
    a0 = full(memory, 0.0)
    a1, a2, a3 = a0, a0, a0
    r0 = i * width
    r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
    for k in range(width):
        e, v = -load(erase, k), load(write, k)
        m0, m1, m2, m3 = load(memory, r0 + k), load(memory, r1 + k), load(memory, r2 + k), load(memory, r3 + k)
        d0, d1, d2, d3 = load(d_memory, r0 + k), load(d_memory, r1 + k), load(d_memory, r2 + k), load(d_memory, r3 + k)
        a0, a1 = fma(d0, fma(e, m0, v), a0), fma(d1, fma(e, m1, v), a1)
        a2, a3 = fma(d2, fma(e, m2, v), a2), fma(d3, fma(e, m3, v), a3)
        s0, s1, s2, s3 = d0 * w0, d1 * w1, d2 * w2, d3 * w3
        store(d_write, k, load(d_write, k) + ((s0 + s1) + (s2 + s3)))
        store(d_erase, k, load(d_erase, k) - fma(s0, m0, fma(s1, m1, fma(s2, m2, s3 * m3))))
        store(d_memory, r0 + k, fma(s0, e, d0))
        store(d_memory, r1 + k, fma(s1, e, d1))
        store(d_memory, r2 + k, fma(s2, e, d2))
        store(d_memory, r3 + k, fma(s3, e, d3))
    store_rows_sum(d_weights, 0, i, n, a0, a1, a2, a3)
