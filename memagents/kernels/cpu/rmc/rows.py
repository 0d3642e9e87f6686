"""LayerNorm and attention on rows of numbers whose neighbours share a vector, forward and backward, for the RMC.

Arrays are flat; a row begins at a vector, ``apart`` vectors lie between the beginnings of two rows. The products take
four lines at a time, so that what they write has room for a multiple of four.
"""

from __future__ import annotations

import math

from memagents.kernels.cpu.vector.functions import exp
from memagents.kernels.cpu.vector.reductions import max_lanes, sum_lanes
from memagents.kernels.cpu.vector.simd import fma, full, gather_entries, lanes_of, load, part, select_less, splat, store
from memagents.kernels.cpu.vector.tile_products import ROWS

EPSILON = 1e-5
"""The constant of torch's LayerNorm."""

LEAST = -3e38
"""Below all scores."""


# --- LayerNorm ------------------------------------------------------------------------------------------------------


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
    scale = 1.0 / math.sqrt(squares_of(values, at, count, mean) / size + EPSILON)
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


# --- attention ------------------------------------------------------------------------------------------------------


@part
def transpose(rows, at, apart, count, lines, columns):
    """``lines`` rows of ``count`` numbers to columns, as many to a vector as it has lanes; both multiples of these."""
    lanes = lanes_of(rows)
    for j in range(0, lines, lanes):
        for e in range(0, count, lanes):
            gather_entries(rows, (j * apart + at) * lanes + e, apart * lanes, columns, j // lanes * count + e)


@part
def products(rows, at, apart, lines, count, columns, padded, out):
    """The scalar products of the first ``lines`` rows with all columns: (·, P)."""
    lanes = lanes_of(rows)
    across, step = padded // lanes, apart * lanes
    for j in range(across):
        for i in range(0, lines, ROWS):
            first = (i * apart + at) * lanes
            a0 = full(rows, 0.0)
            a1, a2, a3 = a0, a0, a0
            for k in range(count):
                column = load(columns, j * count + k)
                a0 = fma(splat(rows, first + k), column, a0)
                a1 = fma(splat(rows, first + step + k), column, a1)
                a2 = fma(splat(rows, first + 2 * step + k), column, a2)
                a3 = fma(splat(rows, first + 3 * step + k), column, a3)
            store(out, i * across + j, a0)
            store(out, (i + 1) * across + j, a1)
            store(out, (i + 2) * across + j, a2)
            store(out, (i + 3) * across + j, a3)


@part
def mix(weights, along, across, lines, count, rows, at, apart, width, out, out_at, out_apart):
    """For every line i the row Σ_j w[i, j] row_j, of ``count`` rows of ``width`` vectors.

    :param along: from a line of weights to the next
    :param across: from a weight of a line to the next
    """
    for i in range(0, lines, ROWS):
        to = out_at + i * out_apart
        for k in range(width):
            a0 = full(rows, 0.0)
            a1, a2, a3 = a0, a0, a0
            for j in range(count):
                row, w = load(rows, at + j * apart + k), i * along + j * across
                a0 = fma(splat(weights, w), row, a0)
                a1 = fma(splat(weights, w + along), row, a1)
                a2 = fma(splat(weights, w + 2 * along), row, a2)
                a3 = fma(splat(weights, w + 3 * along), row, a3)
            store(out, to + k, a0)
            store(out, to + out_apart + k, a1)
            store(out, to + 2 * out_apart + k, a2)
            store(out, to + 3 * out_apart + k, a3)


@part
def softmax(scores, valid, lines, across, factor, out):
    """Softmax of ``factor`` times the valid scores of each line, ``across`` vectors; zero for the others."""
    zero, least = full(scores, 0.0), full(scores, LEAST)
    for line in range(0, lines * across, across):
        most, total = least, zero
        for k in range(across):
            score = select_less(zero, load(valid, k), load(scores, line + k) * factor, least)
            most = select_less(most, score, score, most)
        most = full(scores, max_lanes(most))
        for k in range(across):
            weight = exp(load(scores, line + k) * factor - most) * load(valid, k)
            store(out, line + k, weight)
            total = total + weight
        inverse = full(scores, 1.0 / sum_lanes(total))
        for k in range(line, line + across):
            store(out, k, load(out, k) * inverse)


@part
def softmax_back(weights, lines, across, factor, grads):
    """Turn gradients of lines of weights into those of their scores before ``factor``, in place."""
    for line in range(0, lines * across, across):
        mean = full(grads, 0.0)
        for k in range(line, line + across):
            mean = fma(load(weights, k), load(grads, k), mean)
        mean = full(grads, sum_lanes(mean))
        for k in range(line, line + across):
            store(grads, k, load(weights, k) * (load(grads, k) - mean) * factor)
