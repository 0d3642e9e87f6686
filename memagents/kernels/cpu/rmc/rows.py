"""LayerNorm and sums of rows whose neighbours share a wide vector, forward and backward, for the RMC.

Arrays are flat; a row begins at a wide vector and is ``count`` of them.
"""

from __future__ import annotations

import math

from memagents.kernels.cpu.vector.reductions import LAYER_NORM_EPSILON, sum_lanes
from memagents.kernels.cpu.vector.simd import fma, part
from memagents.kernels.cpu.vector.tile_products import ROWS
from memagents.kernels.cpu.vector.wide import full, lanes_of, load, store


@part
def total_of(values, at, count):
    """The sum of a row, by four sums that need not wait for one another."""
    a0 = full(values, 0.0)
    a1, a2, a3 = a0, a0, a0
    end = at + count
    for k in range(at, end - 3, ROWS):
        a0, a1 = a0 + load(values, k), a1 + load(values, k + 1)
        a2, a3 = a2 + load(values, k + 2), a3 + load(values, k + 3)
    for k in range(end - count % ROWS, end):
        a0 = a0 + load(values, k)
    return sum_lanes((a0 + a1) + (a2 + a3))


@part
def squares_of(values, at, count, mean):
    """The sum of the squares of a row's distances from its mean, likewise."""
    a0 = full(values, 0.0)
    a1, a2, a3 = a0, a0, a0
    end = at + count
    for k in range(at, end - 3, ROWS):
        x0, x1 = load(values, k) - mean, load(values, k + 1) - mean
        x2, x3 = load(values, k + 2) - mean, load(values, k + 3) - mean
        a0, a1, a2, a3 = fma(x0, x0, a0), fma(x1, x1, a1), fma(x2, x2, a2), fma(x3, x3, a3)
    for k in range(end - count % ROWS, end):
        x = load(values, k) - mean
        a0 = fma(x, x, a0)
    return sum_lanes((a0 + a1) + (a2 + a3))


@part
def normalise(values, at, count, gain, shift, out, out_at):
    """A row of ``count`` vectors from x to (x − mean) / σ, in place, and gain times it + shift; 1 / σ."""
    size = count * lanes_of(values)
    mean = full(values, total_of(values, at, count) / size)
    scale = 1.0 / math.sqrt(squares_of(values, at, count, mean) / size + LAYER_NORM_EPSILON)
    factor = full(values, scale)
    for k in range(count):
        normal = (load(values, at + k) - mean) * factor
        store(values, at + k, normal)
        store(out, out_at + k, fma(normal, load(gain, k), load(shift, k)))
    return scale


@part
def normalise_back(normal, at, count, scale, gain, grads, grads_at, d_gain, d_shift, d_at):
    """A row of gradients from those of gain ∘ (x − mean) / σ + shift to those of x, in place.

    Adds those of gain and shift to ``d_gain`` and ``d_shift``, from ``d_at`` on.
    """
    size = count * lanes_of(normal)
    mean, along = full(normal, 0.0), full(normal, 0.0)
    for k in range(count):
        grad, x = load(grads, grads_at + k), load(normal, at + k)
        store(d_gain, d_at + k, fma(grad, x, load(d_gain, d_at + k)))
        store(d_shift, d_at + k, load(d_shift, d_at + k) + grad)
        grad = grad * load(gain, k)
        store(grads, grads_at + k, grad)
        mean = mean + grad
        along = fma(grad, x, along)
    factor = full(normal, scale)
    mean, along = full(normal, sum_lanes(mean) / size), full(normal, sum_lanes(along) / size)
    for k in range(count):
        grad = load(grads, grads_at + k) - fma(load(normal, at + k), along, mean)
        store(grads, grads_at + k, grad * factor)


@part
def copy_row(values, at, count, out, out_at):
    """out = values, ``count`` vectors of each."""
    for k in range(count):
        store(out, out_at + k, load(values, at + k))


@part
def add_row(values, at, count, out, out_at):
    """out += values."""
    for k in range(count):
        store(out, out_at + k, load(out, out_at + k) + load(values, at + k))


@part
def scale_row(normal, at, count, gain, shift, out, out_at):
    """gain ∘ x + shift."""
    for k in range(count):
        store(out, out_at + k, fma(load(normal, at + k), load(gain, k), load(shift, k)))
