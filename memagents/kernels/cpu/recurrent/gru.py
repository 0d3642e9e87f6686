"""The GRU over a window for some rows of the batch, forward and backward: :class:`memagents.cores.gru.GRU`.

Arrays are as in :mod:`memagents.kernels.cpu.recurrent.lstm`. A record holds the hidden state before the step, the reset
gate, the update gate, the recurrent product of the candidate, and the candidate.
"""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.functions import sigmoid, tanh
from memagents.kernels.cpu.vector.row_products import (
    Rows,
    add_entries,
    clear_entries,
    copy_entries,
    pack,
    pack_columns,
    set_products,
)
from memagents.kernels.cpu.vector.simd import fma, next_ticket, part
from memagents.kernels.cpu.vector.wide import full, load, store, vectors_at

GATES = 3
RECORD = 2 + GATES


@part
def squash(tape, at, x, share, units):
    """Squashes the gates of the record at ``at``; the sum in the candidate goes to where the candidate will be."""
    gates, new = at + units, at + 4 * units
    for u in range(units):
        r = sigmoid(load(x, share + u) + load(tape, gates + u))
        z = sigmoid(load(x, share + units + u) + load(tape, gates + units + u))
        store(tape, gates + u, r)
        store(tape, gates + units + u, z)
        store(tape, new + u, fma(r, load(tape, gates + 2 * units + u), load(x, share + 2 * units + u)))


@part
def expose(tape, at, then, hidden, out, units):
    """The new hidden state, to the record at ``then`` and to the outputs."""
    update, new = at + 2 * units, at + 4 * units
    for u in range(units):
        n = tanh(load(tape, new + u))
        h = fma(load(tape, update + u), load(tape, at + u) - n, n)
        store(tape, new + u, n)
        store(tape, then + u, h)
        store(hidden, out + u, h)


@part
def forward_rows(first, last, units, starts, x, packed, bias, before, after, hidden, tape, width):
    """Rows ``first`` to before ``last`` through the window; the tape is as that of an LSTM."""
    (steps, batch), size, count = starts.shape, RECORD * units, last - first
    records, place = tape.shape[0] // (width * size), first % width
    for r in range(count):
        copy_entries(before, (first + r) * units, tape, (place + r) * size, units)
    for t in range(steps):
        row = t * batch + first
        now, then = (t % records * width + place) * size, ((t + 1) % records * width + place) * size
        for r in range(count):
            if starts[t, first + r]:
                clear_entries(tape, now + r * size, units)
        gates = Rows(tape, now + units, size)
        set_products(packed, Rows(tape, now, size), units, Rows(bias, 0, 0), gates, GATES * units, count)
        for r in range(count):
            squash(tape, now + r * size, x, (row + r) * GATES * units, units)
        for r in range(count):
            expose(tape, now + r * size, then + r * size, hidden, (row + r) * units, units)
    end = (steps % records * width + place) * size
    for r in range(count):
        copy_entries(tape, end + r * size, after, (first + r) * units, units)


@part
def derive(tape, at, d_hidden, d, d_x, d_products, out, units):
    """The derivative of a step of one row; ``d_hidden`` becomes the share that did not go through a product."""
    gates, one = at + units, full(tape, 1.0)
    for u in range(units):
        r, z = load(tape, gates + u), load(tape, gates + units + u)
        product, n, d_h = load(tape, gates + 2 * units + u), load(tape, gates + 3 * units + u), load(d_hidden, d + u)
        d_new = d_h * (1.0 - z) * fma(-n, n, one)
        d_reset = d_new * product * r * (1.0 - r)
        d_update = d_h * (load(tape, at + u) - n) * z * (1.0 - z)
        store(d_x, out + u, d_reset)
        store(d_x, out + units + u, d_update)
        store(d_x, out + 2 * units + u, d_new)
        store(d_products, out + u, d_reset)
        store(d_products, out + units + u, d_update)
        store(d_products, out + 2 * units + u, d_new * r)
        store(d_hidden, d + u, d_h * z)


@part
def backward_rows(first, last, units, starts, packed, grad_hidden, d_hidden, d_x, d_products, tape):
    """Take the rows back through the window: ``d_hidden`` goes from after it to before it."""
    (steps, batch), count = starts.shape, last - first
    for t in range(steps - 1, -1, -1):
        row = t * batch + first
        for r in range(count):
            own, out = (first + r) * units, (row + r) * units
            add_entries(grad_hidden, out, d_hidden, own, units)
            derive(tape, RECORD * out, d_hidden, own, d_x, d_products, GATES * out, units)
        of_gates = Rows(d_products, row * GATES * units, GATES * units)
        of_hidden = Rows(d_hidden, first * units, units)
        set_products(packed, of_gates, GATES * units, of_hidden, of_hidden, units, count)
        for r in range(count):
            if starts[t, first + r]:
                clear_entries(d_hidden, (first + r) * units, units)


@njit
def forward(units, rows, starts, shared, before, after, tape, width, work, tickets, thread, sources=SOURCES):
    """Take tiles of rows through the window until there are no more. Tensors are given by address."""
    (steps, batch), gates = starts.shape, GATES * units
    x, hidden = vectors_at(shared[0], steps * batch * gates, work), vectors_at(shared[1], steps * batch * units, work)
    own, then = vectors_at(before[0], batch * units, work), vectors_at(after[0], batch * units, work)
    packed, own_tape = work[thread], tape[thread % len(tape)]
    pack(vectors_at(shared[2], gates * packed.shape[1] * units, work), units, packed)
    bias = vectors_at(shared[3], gates, work)
    first = rows * next_ticket(tickets)
    while first < batch:
        last = min(first + rows, batch)
        forward_rows(first, last, units, starts, x, packed, bias, own, then, hidden, own_tape, width)
        first = rows * next_ticket(tickets)


@njit
def backward(units, rows, starts, weight, grads, d_state, d_gates, tape, work, tickets, thread, sources=SOURCES):
    """Take tiles of rows through the window until there are no more. Tensors are given by address."""
    (steps, batch), gates = starts.shape, GATES * units
    d_hidden, grad_hidden = vectors_at(d_state[0], batch * units, work), vectors_at(grads, steps * batch * units, work)
    d_x, d_products = (
        vectors_at(d_gates[0], steps * batch * gates, work),
        vectors_at(d_gates[1], steps * batch * gates, work),
    )
    packed = work[thread]
    pack_columns(vectors_at(weight, gates * packed.shape[1] * units, work), units, packed)
    first = rows * next_ticket(tickets)
    while first < batch:
        last = min(first + rows, batch)
        backward_rows(first, last, units, starts, packed, grad_hidden, d_hidden, d_x, d_products, tape)
        first = rows * next_ticket(tickets)
