"""The LSTM over a window for some rows of the batch, forward and backward: :class:`memagents.cores.lstm.LSTM`.

Lanes are units here, H of them ``units`` vectors. All arrays but ``starts`` are those of the batch, (T, B, ·) or
(B, ·), addressed by vectors from their beginning. The tape has a record of :data:`RECORD` times ``units`` vectors for
every step and row: the hidden state and the cell before the step, the gates (input, forget, candidate, output) and the
tanh of the new cell.
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

GATES = 4
RECORD = 3 + GATES


@part
def squash(tape, at, units):
    """Squashes the gates of the record at ``at``; the new cell goes to where its tanh will be."""
    gates, new = at + 2 * units, at + 6 * units
    for u in range(units):
        i, f = sigmoid(load(tape, gates + u)), sigmoid(load(tape, gates + units + u))
        g, o = tanh(load(tape, gates + 2 * units + u)), sigmoid(load(tape, gates + 3 * units + u))
        store(tape, gates + u, i)
        store(tape, gates + units + u, f)
        store(tape, gates + 2 * units + u, g)
        store(tape, gates + 3 * units + u, o)
        store(tape, new + u, fma(f, load(tape, at + units + u), i * g))


@part
def expose(tape, at, then, hidden, out, units):
    """The new state, to the record at ``then``, and the hidden state to the outputs as well.

    Apart from :func:`squash`, as a tanh that has to wait for the gates would keep those of other units waiting.
    """
    output, new = at + 5 * units, at + 6 * units
    for u in range(units):
        c = load(tape, new + u)
        s = tanh(c)
        h = load(tape, output + u) * s
        store(tape, new + u, s)
        store(tape, then + u, h)
        store(tape, then + units + u, c)
        store(hidden, out + u, h)


@part
def forward_rows(first, last, units, starts, x, packed, before, after, hidden, tape, width):
    """Rows ``first`` to before ``last`` through the window.

    :param tape: T + 1 records for each row of the batch, or one for each row of a tile
    :param width: the rows that the tape is for
    """
    (steps, batch), size, count = starts.shape, RECORD * units, last - first
    records, place = tape.shape[0] // (width * size), first % width
    for r in range(count):
        copy_entries(before[0], (first + r) * units, tape, (place + r) * size, units)
        copy_entries(before[1], (first + r) * units, tape, (place + r) * size + units, units)
    for t in range(steps):
        row = t * batch + first
        now, then = (t % records * width + place) * size, ((t + 1) % records * width + place) * size
        for r in range(count):
            if starts[t, first + r]:
                clear_entries(tape, now + r * size, 2 * units)
        share = Rows(x, row * GATES * units, GATES * units)
        gates = Rows(tape, now + 2 * units, size)
        set_products(packed, Rows(tape, now, size), units, share, gates, GATES * units, count)
        for r in range(count):
            squash(tape, now + r * size, units)
        for r in range(count):
            expose(tape, now + r * size, then + r * size, hidden, (row + r) * units, units)
    end = (steps % records * width + place) * size
    for r in range(count):
        copy_entries(tape, end + r * size, after[0], (first + r) * units, units)
        copy_entries(tape, end + r * size + units, after[1], (first + r) * units, units)


@part
def derive(tape, at, d_hidden, d_cell, d, d_gates, out, units):
    """The derivative of a step of one row; ``d_cell`` becomes that before the step."""
    gates, one = at + 2 * units, full(tape, 1.0)
    for u in range(units):
        i, f = load(tape, gates + u), load(tape, gates + units + u)
        g, o = load(tape, gates + 2 * units + u), load(tape, gates + 3 * units + u)
        s, d_h = load(tape, gates + 4 * units + u), load(d_hidden, d + u)
        d_c = fma(d_h * o, fma(-s, s, one), load(d_cell, d + u))
        store(d_gates, out + u, d_c * g * i * (1.0 - i))
        store(d_gates, out + units + u, d_c * load(tape, at + units + u) * f * (1.0 - f))
        store(d_gates, out + 2 * units + u, d_c * i * fma(-g, g, one))
        store(d_gates, out + 3 * units + u, d_h * s * o * (1.0 - o))
        store(d_cell, d + u, d_c * f)


@part
def backward_rows(first, last, units, starts, packed, grad_hidden, d_hidden, d_cell, d_gates, tape):
    """Take the rows back through the window: ``d_hidden`` and ``d_cell`` go from after it to before it."""
    (steps, batch), count = starts.shape, last - first
    for t in range(steps - 1, -1, -1):
        row = t * batch + first
        for r in range(count):
            own = (first + r) * units
            add_entries(grad_hidden, (row + r) * units, d_hidden, own, units)
            derive(tape, (row + r) * RECORD * units, d_hidden, d_cell, own, d_gates, (row + r) * GATES * units, units)
            clear_entries(d_hidden, own, units)
        of_gates, of_hidden = Rows(d_gates, row * GATES * units, GATES * units), Rows(d_hidden, first * units, units)
        set_products(packed, of_gates, GATES * units, of_hidden, of_hidden, units, count)
        for r in range(count):
            if starts[t, first + r]:
                clear_entries(d_hidden, (first + r) * units, units)
                clear_entries(d_cell, (first + r) * units, units)


@njit
def forward(units, rows, starts, shared, before, after, tape, width, work, tickets, thread, sources=SOURCES):
    """Take tiles of rows through the window until there are no more. Tensors are given by address."""
    (steps, batch), gates = starts.shape, GATES * units
    x, hidden = vectors_at(shared[0], steps * batch * gates, work), vectors_at(shared[1], steps * batch * units, work)
    hidden_before, hidden_after = vectors_at(before[0], batch * units, work), vectors_at(after[0], batch * units, work)
    cell_before, cell_after = vectors_at(before[1], batch * units, work), vectors_at(after[1], batch * units, work)
    packed, own_tape = work[thread], tape[thread % len(tape)]
    pack(vectors_at(shared[2], gates * packed.shape[1] * units, work), units, packed)
    first = rows * next_ticket(tickets)
    while first < batch:
        forward_rows(
            first, min(first + rows, batch), units, starts, x, packed, (hidden_before, cell_before),
            (hidden_after, cell_after), hidden, own_tape, width,
        )  # fmt: skip
        first = rows * next_ticket(tickets)


@njit
def backward(units, rows, starts, weight, grads, d_state, d_gates, tape, work, tickets, thread, sources=SOURCES):
    """Take tiles of rows through the window until there are no more. Tensors are given by address."""
    (steps, batch), gates = starts.shape, GATES * units
    d_hidden, d_cell = vectors_at(d_state[0], batch * units, work), vectors_at(d_state[1], batch * units, work)
    grad_hidden, d_x = (
        vectors_at(grads, steps * batch * units, work),
        vectors_at(d_gates[0], steps * batch * gates, work),
    )
    packed = work[thread]
    pack_columns(vectors_at(weight, gates * packed.shape[1] * units, work), units, packed)
    first = rows * next_ticket(tickets)
    while first < batch:
        last = min(first + rows, batch)
        backward_rows(first, last, units, starts, packed, grad_hidden, d_hidden, d_cell, d_x, tape)
        first = rows * next_ticket(tickets)
