"""The EntNet's window, backward, by hand: some rows of the batch at a time, from the last step to the first.

A gradient is named ``d_`` and the name of what it belongs to.
"""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.entnet.forward import candidate
from memagents.kernels.cpu.entnet.tape import Sizes
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.reductions import sum_lanes
from memagents.kernels.cpu.vector.row_products import (
    Rows,
    add_entries,
    clear_entries,
    copy_entries,
    pack_columns,
    set_products,
)
from memagents.kernels.cpu.vector.simd import fma, next_ticket, part, select_less
from memagents.kernels.cpu.vector.wide import full, lanes_of, load, splat, store


@part
def new_slots(sizes, given, tape, row, out):
    """The slots after the step, to ``out``."""
    at, first = row * sizes.slots * sizes.units, row * sizes.across * lanes_of(tape.gates)
    for j in range(sizes.slots):
        gate, scale = splat(tape.gates, first + j), splat(tape.scales, first + j)
        for k in range(sizes.units):
            own = j * sizes.units
            grown = fma(gate, candidate(tape.sums, at + own, given.slopes, k), load(tape.memory, at + own + k))
            store(out, own + k, grown * scale)


@part
def read_back(sizes, given, x_at, tape, row, new, grad, grad_at, d_memory, to, d_x, scores):
    """Backward of reading: adds to the gradients of the new slots, and sets that of q.

    :param new: the slots after the step
    :param grad: of u, from ``grad_at`` on
    :param scores: room for P numbers
    """
    slots, units, first = sizes.slots, sizes.units, row * sizes.across * lanes_of(tape.weights)
    query = x_at + 2 * units
    mean = full(new, 0.0)
    for j in range(slots):
        weight, of_weight = splat(tape.weights, first + j), full(new, 0.0)
        for k in range(units):
            of_weight = fma(load(grad, grad_at + k), load(new, j * units + k), of_weight)
        mean = fma(weight, of_weight, mean)
        scores[j] = sum_lanes(of_weight)
    average = sum_lanes(mean)
    clear_entries(d_x, query, units)
    for j in range(slots):
        weight = tape.weights[first + j]
        d_score, share = full(new, weight * (scores[j] - average)), full(new, weight)
        for k in range(units):
            own = to + j * units + k
            d_new = fma(d_score, load(given.x, query + k), load(d_memory, own))
            store(d_memory, own, fma(share, load(grad, grad_at + k), d_new))
            store(d_x, query + k, fma(d_score, load(new, j * units + k), load(d_x, query + k)))


@part
def write_back(sizes, given, x_at, tape, row, new, of_written, d_memory, to, d, b):
    """Backward of writing, but for U h: from the gradients of the new slots to those of the old ones, in place."""
    slots, units, first = sizes.slots, sizes.units, row * sizes.across * lanes_of(tape.gates)
    at, zero = row * slots * units, full(new, 0.0)
    clear_entries(d.x, x_at, 2 * units)
    for j in range(slots):
        own, place = at + j * units, to + j * units
        along = zero
        for k in range(units):
            along = fma(load(d_memory, place + k), load(new, j * units + k), along)
        along, scale = full(new, sum_lanes(along)), splat(tape.scales, first + j)
        gate, of_gate = tape.gates[first + j], zero
        opened = full(new, gate)
        for k in range(units):
            d_grown = scale * (load(d_memory, place + k) - along * load(new, j * units + k))
            total, slope = load(tape.sums, own + k), load(given.slopes, k)
            of_gate = fma(d_grown, candidate(tape.sums, own, given.slopes, k), of_gate)
            d_candidate = d_grown * opened
            d_sum = select_less(zero, total, d_candidate, slope * d_candidate)
            d_slope = select_less(zero, total, zero, d_candidate * total)
            store(d_memory, place + k, d_grown)
            store(d.sums, own + k, d_sum)
            store(d.x, x_at + units + k, load(d.x, x_at + units + k) + d_sum)
            store(d.slopes, b * units + k, load(d.slopes, b * units + k) + d_slope)
        d_score = full(new, (sum_lanes(of_gate) + of_written) * gate * (1.0 - gate))
        for k in range(units):
            encoding, key = load(given.x, x_at + k), load(given.keys, j * units + k)
            store(d_memory, place + k, fma(d_score, encoding, load(d_memory, place + k)))
            store(d.keys, place + k, fma(d_score, encoding, load(d.keys, place + k)))
            store(d.x, x_at + k, fma(d_score, load(tape.memory, own + k) + key, load(d.x, x_at + k)))


@part
def backward_rows(first, last, sizes, starts, given, packed, tape, grads, d, new, scores):
    """Take the rows back through the window: ``d.memory`` goes from after it to before it."""
    (steps, batch), count, units = starts.shape, last - first, sizes.units
    whole = sizes.slots * units
    clear_entries(d.keys, first * whole, count * whole)
    clear_entries(d.slopes, first * units, count * units)
    copy_entries(grads.memory, first * whole, d.memory, first * whole, count * whole)
    for t in range(steps - 1, -1, -1):
        for b in range(first, last):
            row = t * batch + b
            x_at, to = row * 3 * units, b * whole
            new_slots(sizes, given, tape, row, new)
            read_back(sizes, given, x_at, tape, row, new, grads.reads, row * units, d.memory, to, d.x, scores)
            write_back(sizes, given, x_at, tape, row, new, grads.written[row], d.memory, to, d, b)
        of_sums, of_memory = Rows(d.sums, (t * batch + first) * whole, units), Rows(d.memory, first * whole, units)
        set_products(packed, of_sums, units, of_memory, of_memory, units, count * sizes.slots)
        for b in range(first, last):
            if starts[t, b]:
                add_entries(d.memory, b * whole, d.keys, b * whole, whole)
                clear_entries(d.memory, b * whole, whole)


@njit
def backward(sizes, rows, starts, given, tape, grads, d, work, room, tickets, thread, sources=SOURCES):
    """Take tiles of ``rows`` rows through the window until there are no more.

    :param grads: of the results of the window
    :param work: room for U, packed, for every thread
    :param room: likewise for a memory (N, W) and P numbers
    """
    sizes, packed, own = Sizes(sizes[0], sizes[1], sizes[2], sizes[3]), work[thread], room[thread]
    pack_columns(given.weight, sizes.units, packed)
    new = own[: sizes.slots * sizes.units * lanes_of(own)]
    scores = own[sizes.slots * sizes.units * lanes_of(own) :]
    first = rows * next_ticket(tickets)
    while first < sizes.batch:
        last = min(first + rows, sizes.batch)
        backward_rows(first, last, sizes, starts, given, packed, tape, grads, d, new, scores)
        first = rows * next_ticket(tickets)
