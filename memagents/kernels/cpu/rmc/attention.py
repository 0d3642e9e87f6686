"""Attention of a batch row's slots to each other and to the input, a head at a time, forward and backward, for the RMC.

Arrays are flat; a row begins at a vector, ``apart`` vectors lie between the beginnings of two rows. The products take
four lines at a time, so that what they write has room for a multiple of four. Vectors are the narrow ones, since a
head's keys and values are parts of a row; see :mod:`memagents.kernels.cpu.rmc.step` for the letters in shapes.
"""

from __future__ import annotations

import math

from memagents.kernels.cpu.vector.functions import exp
from memagents.kernels.cpu.vector.reductions import LEAST, max_lanes, sum_lanes
from memagents.kernels.cpu.vector.simd import fma, full, gather_entries, lanes_of, load, part, select_less, splat, store
from memagents.kernels.cpu.vector.tile_products import ROWS
from memagents.kernels.cpu.vector.tiles import copy_vectors


@part
def look(sizes, tape, row, room):
    """Fill ``room.rows`` with what the heads find by queries, keys and values, ``room.qkv``."""
    lanes, n = lanes_of(room.qkv), sizes.slots
    key, value, across = sizes.key // lanes, sizes.value // lanes, sizes.slots // lanes + 1
    line, apart, width = across * lanes, sizes.heads * (2 * key + value), sizes.heads * value
    for h in range(sizes.heads):
        at, first = h * (2 * key + value), (row * sizes.heads + h * n) * across
        transpose(room.qkv, at + key, apart, sizes.key, line, room.columns)
        products(room.qkv, at, apart, n, sizes.key, room.columns, line, room.scores)
        softmax(room.scores, room.valid, n, across, 1.0 / math.sqrt(sizes.key), room.weights)
        copy_vectors(room.weights, 0, n * across, tape.weights, first)
        mix(room.weights, line, 1, n, n + 1, room.qkv, at + 2 * key, apart, value, room.rows, h * value, width)


@part
def look_back(sizes, tape, row, room):
    """Fill ``room.d_qkv``, the gradients of queries, keys and values, from those of ``room.rows``."""
    lanes, n = lanes_of(room.qkv), sizes.slots
    key, value, across = sizes.key // lanes, sizes.value // lanes, sizes.slots // lanes + 1
    line, apart, width = across * lanes, sizes.heads * (2 * key + value), sizes.heads * value
    for h in range(sizes.heads):
        at, first = h * (2 * key + value), (row * sizes.heads + h * n) * across
        copy_vectors(tape.weights, first, n * across, room.weights, 0)
        mix(room.weights, 1, line, n + 1, n, room.rows, h * value, width, value, room.d_qkv, at + 2 * key, apart)
        transpose(room.qkv, at + 2 * key, apart, sizes.value, line, room.columns)
        products(room.rows, h * value, width, n, sizes.value, room.columns, line, room.scores)
        softmax_back(room.weights, n, across, 1.0 / math.sqrt(sizes.key), room.scores)
        mix(room.scores, 1, line, n + 1, n, room.qkv, at, apart, key, room.d_qkv, at + key, apart)
        mix(room.scores, line, 1, n, n + 1, room.qkv, at + key, apart, key, room.d_qkv, at, apart)
        for k in range(n * apart + at, n * apart + at + key):
            store(room.d_qkv, k, full(room.qkv, 0.0))  # the input asks nothing


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
