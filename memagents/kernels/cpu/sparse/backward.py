"""The window of the sparse memories, backward, for some rows of the batch: everything comes from the tape."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.compilation import njit
from memagents.kernels.cpu.recurrent.lstm import derive
from memagents.kernels.cpu.slots import take
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.sparse.access_backward import (
    content_backward,
    modes_backward,
    read_backward,
    write_backward,
)
from memagents.kernels.cpu.sparse.tape import borrowed, entries_of, flat_at, places_of, sizes_of
from memagents.kernels.cpu.sparse.weights import pack_face_columns, pack_gate_columns
from memagents.kernels.cpu.vector import simd
from memagents.kernels.cpu.vector.row_products import (
    Rows,
    add_entries,
    clear_entries,
    copy_entries,
    set_products,
)
from memagents.kernels.cpu.vector.simd import next_ticket, part
from memagents.kernels.cpu.vector.wide import lanes_of, vectors_at


class BackwardWork(NamedTuple):
    """Scratch memory of one thread."""

    gates: np.ndarray  # (R W + H) x 4H, packed
    face: np.ndarray  # H x I, packed
    d_features: np.ndarray  # rows of a tile, R W + H: read vectors and hidden state
    d_cell: np.ndarray  # rows of a tile, R W + H: the cell where the hidden state is
    zeros: np.ndarray  # R W + H
    d_weights: np.ndarray  # rows of a tile, R S: of what was read
    d_last: np.ndarray  # R S: the same of the step before


@register_jitable
def work_numbers(sizes, rows):
    """Numbers of a :class:`BackwardWork`."""
    features, reads = sizes.vectors + sizes.hidden, sizes.heads * entries_of(sizes)
    return (4 * features + sizes.face) * sizes.hidden + (2 * rows + 1) * features + (rows + 1) * reads


@part
def work_of(flat, sizes, rows):
    features, reads = sizes.vectors + sizes.hidden, sizes.heads * entries_of(sizes)
    gates, at = take(flat, 0, 4 * features * sizes.hidden)
    face, at = take(flat, at, sizes.face * sizes.hidden)
    d_features, at = take(flat, at, rows * features)
    d_cell, at = take(flat, at, rows * features)
    zeros, at = take(flat, at, features)
    d_weights, at = take(flat, at, rows * reads)
    d_last, at = take(flat, at, reads)
    zeros[:] = 0.0
    return BackwardWork(gates, face, d_features, d_cell, zeros, d_weights.reshape((rows, reads)), d_last)


@part
def access_backward(sizes, places, row, tape, record, indices, first, d_memory, vectors, d_weights, d_written, d_face,
                    face, work):  # fmt: skip
    """A step of one row's memory, before the controller's; ``d_weights`` become those of the step before."""
    d_last = work.d_last
    d_last[:] = 0.0
    read_backward(sizes, places, row, tape, record, indices, first, d_memory, work.d_features, vectors, d_weights)
    if sizes.links > 0:
        modes = face + (sizes.heads + 1) * sizes.width + 2 * sizes.heads + 2
        modes_backward(sizes, places, tape, record, d_weights, d_last, d_face, modes)
    content_backward(sizes, places, row, tape, record, indices, first, d_memory, d_weights, d_face, face)
    write_backward(sizes, places, row, tape, record, indices, first, d_memory, d_written, d_last, d_face, face)
    for m in range(d_last.shape[0]):
        d_weights[m] = d_last[m]


@part
def backward_rows(
    first, last, sizes, starts, grad_features, grad_written, d_after, d_state, d_memory, d_gates, d_face, tape,
    indices, work,
):  # fmt: skip
    """Take the rows back through the window.

    :param d_after: gradients after the window of read vectors, hidden state, cell and read weights; ``d_state``: before
    """
    (steps, batch), count, lanes = starts.shape, last - first, lanes_of(tape)
    places = places_of(sizes, lanes)
    size, hidden, vectors, face = (
        places.record // lanes,
        sizes.hidden // lanes,
        sizes.vectors // lanes,
        sizes.face // lanes,
    )
    both, narrow, reads = vectors + hidden, lanes // simd.lanes_of(tape), sizes.heads * entries_of(sizes)
    for r in range(count):
        copy_entries(d_after[0], (first + r) * vectors, work.d_features, r * both, vectors)
        copy_entries(d_after[1], (first + r) * hidden, work.d_features, r * both + vectors, hidden)
        copy_entries(d_after[2], (first + r) * hidden, work.d_cell, r * both + vectors, hidden)
        for m in range(reads):
            work.d_weights[r, m] = d_after[3][(first + r) * reads + m]
    for t in range(steps - 1, -1, -1):
        row = t * batch + first
        for r in range(count):
            add_entries(grad_features, (row + r) * both + hidden, work.d_features, r * both, vectors)
            add_entries(grad_features, (row + r) * both, work.d_features, r * both + vectors, hidden)
            clear_entries(d_face, (row + r) * face, face)
            access_backward(
                sizes, places, first + r, tape, (row + r) * places.record, indices, (row + r) * places.indices,
                d_memory, r * both * narrow, work.d_weights[r], grad_written[t, first + r], d_face,
                (row + r) * sizes.face, work,
            )  # fmt: skip
        of_hidden = Rows(work.d_features, vectors, both)
        of_face = Rows(d_face, row * face, face)
        set_products(work.face, of_face, face, of_hidden, of_hidden, hidden, count)
        for r in range(count):
            at = r * both + vectors
            derive(
                tape, (row + r) * size + vectors, work.d_features, work.d_cell, at, d_gates, (row + r) * 4 * hidden,
                hidden,
            )  # fmt: skip
        of_gates, nothing = Rows(d_gates, row * 4 * hidden, 4 * hidden), Rows(work.zeros, 0, 0)
        set_products(work.gates, of_gates, 4 * hidden, nothing, Rows(work.d_features, 0, both), both, count)
        for r in range(count):
            if starts[t, first + r]:
                clear_entries(work.d_features, r * both, both)
                clear_entries(work.d_cell, r * both, both)
                work.d_weights[r, :] = 0.0
                numbers = sizes.slots * sizes.width
                d_memory[(first + r) * numbers : (first + r + 1) * numbers] = 0.0
    for r in range(count):
        copy_entries(work.d_features, r * both, d_state[0], (first + r) * vectors, vectors)
        copy_entries(work.d_features, r * both + vectors, d_state[1], (first + r) * hidden, hidden)
        copy_entries(work.d_cell, r * both + vectors, d_state[2], (first + r) * hidden, hidden)
        for m in range(reads):
            d_state[3][(first + r) * reads + m] = work.d_weights[r, m]


@njit
def backward(
    sizes, rows, starts, shared, grad_written, d_after, d_state, d_memory, d_gates, d_face, tape, indices, work,
    tickets, thread, sources=SOURCES,
):  # fmt: skip
    """Take tiles of rows back through the window until there are no more. Tensors of the batch are given by address.

    :param shared: the gradient of the features, the weights of gates and interface
    """
    numbers = sizes_of(sizes)
    (steps, batch), own = starts.shape, work_of(borrowed(work, thread), numbers, rows)
    own_tape, own_indices = borrowed(tape, 0), borrowed(indices, 0)
    like = own.zeros
    weight = flat_at(shared[1], 4 * numbers.hidden * (numbers.vectors + numbers.hidden), like)
    pack_gate_columns(weight, numbers, own.gates)
    pack_face_columns(flat_at(shared[2], numbers.rows * numbers.hidden, like), numbers, own.face)
    grads = flat_at(shared[0], steps * batch * (numbers.hidden + numbers.vectors), like)
    after, before = gradients_at(d_after, batch, numbers, like), gradients_at(d_state, batch, numbers, like)
    of_memory = flat_at(d_memory, batch * numbers.slots * numbers.width, like)
    of_gates = flat_at(d_gates, steps * batch * 4 * numbers.hidden, like)
    of_face = flat_at(d_face, steps * batch * numbers.face, like)
    first = rows * next_ticket(tickets)
    while first < batch:
        backward_rows(
            first, min(first + rows, batch), numbers, starts, grads, grad_written, after, before, of_memory, of_gates,
            of_face, own_tape, own_indices, own,
        )  # fmt: skip
        first = rows * next_ticket(tickets)


@part
def gradients_at(addresses, batch, sizes, like):
    """Those of read vectors, hidden state, cell and read weights."""
    lanes = lanes_of(like)
    return (
        vectors_at(addresses[0], batch * sizes.vectors // lanes, like),
        vectors_at(addresses[1], batch * sizes.hidden // lanes, like),
        vectors_at(addresses[2], batch * sizes.hidden // lanes, like),
        flat_at(addresses[3], batch * sizes.heads * entries_of(sizes), like),
    )
