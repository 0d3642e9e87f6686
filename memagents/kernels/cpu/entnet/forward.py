"""The EntNet's window, forward: :meth:`memagents.cores.entnet.EntNet.step`, some rows of the batch at a time."""

from __future__ import annotations

import math

from memagents.compilation import njit
from memagents.kernels.cpu.entnet.tape import Sizes
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.functions import exp, sigmoid
from memagents.kernels.cpu.vector.reductions import max_lanes, sum_lanes
from memagents.kernels.cpu.vector.row_products import Rows, copy_entries, pack, set_products
from memagents.kernels.cpu.vector.simd import fma, next_ticket, part, select_less
from memagents.kernels.cpu.vector.wide import full, lanes_of, load, splat, store

EPSILON = 1e-12
"""The constant of :func:`memagents.memory.writes.normalise`."""

LEAST = -3e38
"""Below all scores."""


@part
def candidate(sums, at, slopes, k):
    """φ of a vector of sums."""
    value, zero = load(sums, at + k), full(sums, 0.0)
    return select_less(zero, value, value, load(slopes, k) * value)


@part
def open_gates(sizes, given, x_at, tape, row):
    """The sums of the candidates but for U h, and the gates, of which it returns the sum."""
    slots, units, line = row * sizes.slots * sizes.units, sizes.units, row * sizes.across
    first = line * lanes_of(tape.gates)
    for j in range(sizes.slots):
        own, key = slots + j * units, j * units
        score = full(tape.memory, 0.0)
        for k in range(units):
            store(tape.sums, own + k, load(given.key_rows, key + k) + load(given.x, x_at + units + k))
            score = fma(load(tape.memory, own + k) + load(given.keys, key + k), load(given.x, x_at + k), score)
        tape.gates[first + j] = sum_lanes(score)
    for e in range(line, line + sizes.across):
        store(tape.gates, e, sigmoid(load(tape.gates, e)))
    total = tape.gates[first]
    for j in range(1, sizes.slots):
        total += tape.gates[first + j]
    return total


@part
def write_slots(sizes, given, x_at, tape, row, out, to):
    """The new slots, to ``out``, and the scores by which they are read, to ``tape.weights``."""
    slots, units, first = row * sizes.slots * sizes.units, sizes.units, row * sizes.across * lanes_of(tape.gates)
    for j in range(sizes.slots):
        own, new = slots + j * units, to + j * units
        gate, square = splat(tape.gates, first + j), full(out, 0.0)
        for k in range(units):
            grown = fma(gate, candidate(tape.sums, own, given.slopes, k), load(tape.memory, own + k))
            store(out, new + k, grown)
            square = fma(grown, grown, square)
        scale = 1.0 / math.sqrt(sum_lanes(square) + EPSILON)
        tape.scales[first + j] = scale
        factor, score = full(out, scale), full(out, 0.0)
        for k in range(units):
            value = load(out, new + k) * factor
            store(out, new + k, value)
            score = fma(value, load(given.x, x_at + 2 * units + k), score)
        tape.weights[first + j] = sum_lanes(score)


@part
def softmax(sizes, values, line):
    """Softmax of the N scores in a line of P."""
    lanes, across = lanes_of(values), sizes.across
    for j in range(line * lanes + sizes.slots, (line + across) * lanes):
        values[j] = LEAST
    most = load(values, line)
    for e in range(line + 1, line + across):
        score = load(values, e)
        most = select_less(most, score, score, most)
    largest, total = full(values, max_lanes(most)), full(values, 0.0)
    for e in range(line, line + across):
        weight = exp(load(values, e) - largest)
        store(values, e, weight)
        total = total + weight
    inverse = full(values, 1.0 / sum_lanes(total))
    for e in range(line, line + across):
        store(values, e, load(values, e) * inverse)


@part
def read_slots(sizes, memory, at, weights, line, reads, to):
    """u = Σ_j p_j h_j."""
    first = line * lanes_of(weights)
    for k in range(sizes.units):
        total = full(reads, 0.0)
        for j in range(sizes.slots):
            total = fma(splat(weights, first + j), load(memory, at + j * sizes.units + k), total)
        store(reads, to + k, total)


@part
def forward_rows(first, last, sizes, starts, given, packed, tape, results, keep):
    """Rows ``first`` to before ``last`` through the window."""
    (steps, batch), count, units = starts.shape, last - first, sizes.units
    whole = sizes.slots * units  # vectors of a memory
    copy_entries(given.memory, first * whole, tape.memory, first * whole, count * whole)
    for t in range(steps):
        row = (t * batch if keep else 0) + first
        for r in range(count):
            if starts[t, first + r]:
                copy_entries(given.keys, 0, tape.memory, (row + r) * whole, whole)
            x_at = (t * batch + first + r) * 3 * units
            results.written[t * batch + first + r] = open_gates(sizes, given, x_at, tape, row + r)
        sums = Rows(tape.sums, row * whole, units)
        set_products(packed, Rows(tape.memory, row * whole, units), units, sums, sums, units, count * sizes.slots)
        ends = t + 1 == steps
        out, to = (results.memory, first) if ends else (tape.memory, row + batch if keep else row)
        for r in range(count):
            x_row = t * batch + first + r
            write_slots(sizes, given, x_row * 3 * units, tape, row + r, out, (to + r) * whole)
            line = (row + r) * sizes.across
            softmax(sizes, tape.weights, line)
            read_slots(sizes, out, (to + r) * whole, tape.weights, line, results.reads, x_row * units)


@njit
def forward(sizes, rows, starts, given, tape, results, keep, work, tickets, thread, sources=SOURCES):
    """Take tiles of ``rows`` rows through the window until there are no more.

    :param keep: the tape is for all steps
    :param work: room for U, packed, for every thread
    """
    sizes, packed = Sizes(sizes[0], sizes[1], sizes[2], sizes[3]), work[thread]
    pack(given.weight, sizes.units, packed)
    first = rows * next_ticket(tickets)
    while first < sizes.batch:
        last = min(first + rows, sizes.batch)
        forward_rows(first, last, sizes, starts, given, packed, tape, results, keep)
        first = rows * next_ticket(tickets)
