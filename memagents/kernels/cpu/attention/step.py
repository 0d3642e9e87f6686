"""One step that looks at rows as they were stored, not at keys and values made of them.

What a head asks of keys W_k x it can ask of the rows x: q · W_k x = (W_kᵀ q) · x; and of values it finds
Σ w W_v x = W_v Σ w x. So a step takes 2 H W multiplications a row instead of 2 W², and nothing has to be kept but the
rows. With a LayerNorm in front the rows are normalised here, before its gain and shift.

Arrays are flat and C-contiguous, of B batch rows, H heads, rows of W numbers (a multiple of a vector's lanes) and S
slots. A batch row is computed by itself, whatever else the batch holds.
"""

from __future__ import annotations

from typing import NamedTuple

from memagents.compilation import njit
from memagents.kernels.cpu.attention.parts import within
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.functions import exp
from memagents.kernels.cpu.vector.reductions import LAYER_NORM_EPSILON, LEAST, max_lanes, sum_lanes
from memagents.kernels.cpu.vector.simd import (
    fma,
    full,
    lanes_of,
    load_at,
    next_ticket,
    part,
    select_less,
    splat,
    sqrt,
    store_at,
    transpose_at,
)


class StepSizes(NamedTuple):
    """The sizes of a step."""

    batch: int
    heads: int
    width: int  # W
    slots: int  # S
    runs: int  # of a batch row
    aged: bool  # whether something is added to the scores of slots
    normed: bool  # whether rows are normalised


def room_of(sizes: StepSizes, lanes: int) -> int:
    """The numbers that a thread has room for."""
    rows = -(-sizes.slots // lanes) * lanes
    return rows * sizes.width + sizes.width * lanes + (sizes.heads + 2) * (rows + lanes)


@part
def normalise(tile, width):
    """Subtract the mean from every column of a tile, (W, lanes); return the means and 1 / σ."""
    lanes = lanes_of(tile)
    m0 = full(tile, 0.0)
    m1, m2, m3 = m0, m0, m0
    for k in range(0, width * lanes, 4 * lanes):
        m0, m1 = m0 + load_at(tile, k), m1 + load_at(tile, k + lanes)
        m2, m3 = m2 + load_at(tile, k + 2 * lanes), m3 + load_at(tile, k + 3 * lanes)
    mean = ((m0 + m1) + (m2 + m3)) * (1.0 / width)
    v0 = full(tile, 0.0)
    v1 = v0
    for k in range(0, width * lanes, 2 * lanes):
        x0, x1 = load_at(tile, k) - mean, load_at(tile, k + lanes) - mean
        store_at(tile, k, x0)
        store_at(tile, k + lanes, x1)
        v0, v1 = fma(x0, x0, v0), fma(x1, x1, v1)
    return mean, 1.0 / sqrt((v0 + v1) * (1.0 / width) + LAYER_NORM_EPSILON)


@part
def score(tile, width, queries, at, apart, heads, scores, to, line, scale):
    """Add ``scale`` times the scores of the tile's rows to ``scores[h, to ...]``, four heads at a time.

    :param queries: from ``at`` on, ``apart`` from head to head
    """
    lanes, zero = lanes_of(tile), full(tile, 0.0)
    for h in range(0, heads - 3, 4):
        a0, a1, a2, a3 = zero, zero, zero, zero
        q = at + h * apart
        for k in range(width):
            x = load_at(tile, k * lanes)
            a0 = fma(splat(queries, q + k), x, a0)
            a1 = fma(splat(queries, q + apart + k), x, a1)
            a2 = fma(splat(queries, q + 2 * apart + k), x, a2)
            a3 = fma(splat(queries, q + 3 * apart + k), x, a3)
        of = h * line + to
        store_at(scores, of, fma(a0, scale, load_at(scores, of)))
        store_at(scores, of + line, fma(a1, scale, load_at(scores, of + line)))
        store_at(scores, of + 2 * line, fma(a2, scale, load_at(scores, of + 2 * line)))
        store_at(scores, of + 3 * line, fma(a3, scale, load_at(scores, of + 3 * line)))
    for h in range(heads - heads % 4, heads):
        a0, a1, q = zero, zero, at + h * apart
        for k in range(0, width, 2):
            a0 = fma(splat(queries, q + k), load_at(tile, k * lanes), a0)
            a1 = fma(splat(queries, q + k + 1), load_at(tile, (k + 1) * lanes), a1)
        store_at(scores, h * line + to, fma(a0 + a1, scale, load_at(scores, h * line + to)))


@part
def softmax(scores, at, count, lane):
    """Softmax of ``count`` scores, in place; zero for those after them in their last vector."""
    lanes, zero, least = lanes_of(lane), full(lane, 0.0), full(lane, LEAST)
    most, total = least, zero
    for j in range(0, count, lanes):
        a = within(lane, count - j, load_at(scores, at + j), least)
        most = select_less(most, a, a, most)
    most = full(lane, max_lanes(most))
    for j in range(0, count, lanes):
        weight = within(lane, count - j, exp(load_at(scores, at + j) - most), zero)
        store_at(scores, at + j, weight)
        total = total + weight
    inverse = full(lane, 1.0 / sum_lanes(total))
    for j in range(0, count, lanes):
        store_at(scores, at + j, load_at(scores, at + j) * inverse)


@part
def find(rows, count, width, normed, means, scales, weights, line, heads, found, at, apart):
    """Σ_i w_hi y_i of ``count`` rows, y normalised or as they are, four heads at a time."""
    lanes, zero = lanes_of(rows), full(rows, 0.0)
    for c in range(0, width, lanes):
        for h in range(0, heads, 4):
            a0, a1, a2, a3 = zero, zero, zero, zero
            w0 = h * line
            # Of fewer than four heads the last is computed again.
            w1, w2, w3 = min(h + 1, heads - 1) * line, min(h + 2, heads - 1) * line, min(h + 3, heads - 1) * line
            for i in range(count):
                y = load_at(rows, i * width + c)
                if normed:
                    y = (y - splat(means, i)) * splat(scales, i)
                a0, a1 = fma(splat(weights, w0 + i), y, a0), fma(splat(weights, w1 + i), y, a1)
                a2, a3 = fma(splat(weights, w2 + i), y, a2), fma(splat(weights, w3 + i), y, a3)
            store_at(found, at + h * apart + c, a0)
            if h + 1 < heads:
                store_at(found, at + (h + 1) * apart + c, a1)
            if h + 2 < heads:
                store_at(found, at + (h + 2) * apart + c, a2)
            if h + 3 < heads:
                store_at(found, at + (h + 3) * apart + c, a3)


@part
def copy(source, at, count, out, to):
    """``count`` numbers, a multiple of a vector's lanes."""
    for k in range(0, count, lanes_of(out)):
        store_at(out, to + k, load_at(source, at + k))


@njit
def look(
    sizes, store, stride, runs, present, queries, by_slot, factor, lane, found, after, after_stride, length, room,
    tickets, thread, sources=SOURCES,
):  # fmt: skip
    """Some batch rows.

    :param store: the rows of batch row b, one after another, from ``b * stride`` on
    :param runs: (B, R, 3), of each its first row, the one after its last, and the slot of the first
    :param present: the row that the step itself adds, (B, W), in the last slot
    :param queries: W_kᵀ q of the heads, (H, B, W)
    :param by_slot: what is added to scores, (H, B, S), before ``factor``
    :param found: (H, B, W)
    :param after: becomes, from ``b * after_stride`` on, the last ``length`` of the rows that were seen,
        the present one among them, zero before them; unless ``length`` is 0
    """
    sizes = StepSizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6])
    lanes, width, heads = lanes_of(lane), sizes.width, sizes.heads
    many = (sizes.slots + lanes - 1) // lanes * lanes
    line, zero = many + lanes, full(lane, 0.0)
    rows, tile = room[thread, : many * width], room[thread, many * width : (many + lanes) * width]
    scores = room[thread, (many + lanes) * width : (many + lanes) * width + heads * line]
    means = room[thread, (many + lanes) * width + heads * line : (many + lanes) * width + (heads + 1) * line]
    scales = room[thread, (many + lanes) * width + (heads + 1) * line :]
    for k in range(len(rows)):
        rows[k] = 0.0
    while True:
        b = next_ticket(tickets)
        if b >= sizes.batch:
            break
        count = 0
        for r in range(b * sizes.runs, (b + 1) * sizes.runs):
            first, slot = runs[3 * r], runs[3 * r + 2]
            n = max(runs[3 * r + 1] - first, 0)
            copy(store, b * stride + first * width, n * width, rows, count * width)
            for h in range(heads):
                at = (h * sizes.batch + b) * sizes.slots + slot
                for i in range(n):
                    scores[h * line + count + i] = by_slot[at + i] * factor if sizes.aged else 0.0
            count += n
        copy(present, b * width, width, rows, count * width)
        for h in range(heads):
            last = (h * sizes.batch + b + 1) * sizes.slots - 1
            scores[h * line + count] = by_slot[last] * factor if sizes.aged else 0.0
        count += 1
        for i in range(0, count, lanes):
            for k in range(0, width, lanes):
                transpose_at(rows, i * width + k, width, tile, k * lanes, lanes)
            scale = full(lane, factor)
            if sizes.normed:
                mean, deviation = normalise(tile, width)
                store_at(means, i, mean)
                store_at(scales, i, deviation)
                scale = deviation * factor
            score(tile, width, queries, b * width, sizes.batch * width, heads, scores, i, line, scale)
        for h in range(heads):
            softmax(scores, h * line, count, lane)
        find(
            rows, count, width, sizes.normed, means, scales, scores, line, heads, found, b * width, sizes.batch * width
        )
        if length:
            kept, to = min(count, length), b * after_stride
            for k in range(to, to + (length - kept) * width, lanes):
                store_at(after, k, zero)
            copy(rows, (count - kept) * width, kept * width, after, to + (length - kept) * width)
