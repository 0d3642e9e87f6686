"""The RMC's window, forward: some batch rows at a time, products and what is between them by turns."""

from __future__ import annotations

from typing import Generic, NamedTuple

from memagents.compilation import njit
from memagents.kernels.cpu.rmc.step import A, attend, begin, finish, rectify, room_of, sizes_of
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector import wide
from memagents.kernels.cpu.vector.row_products import Rows, pack, set_products
from memagents.kernels.cpu.vector.simd import next_ticket, part


class Weights(NamedTuple, Generic[A]):
    """The matrices; as operands (entries, lanes) of wide vectors, packed likewise."""

    qkv: A  # (Q, W)
    gates: A  # (2W, W)
    layers: A  # (L, W, W), of the perceptron


class Inputs(NamedTuple, Generic[A]):
    """What else a window begins with."""

    x_qkv: A  # (T, B, Q)
    x_gates: A  # (T, B, 2W)
    memory: A  # (B, N, W), before the window
    initial: A  # (N, W), with which an episode begins


@part
def packed_of(work, weights):
    """Room for the packed matrices within that of a thread."""
    first = weights.qkv.shape[0]
    second = first + weights.gates.shape[0]
    return Weights(work[:first], work[first:second], work[second:])


@part
def forward_rows(first, last, sizes, starts, inputs, gate_biases, norms, packed, tape, alone, room, after):
    """Rows ``first`` to before ``last`` through the window.

    :param alone: where on the tape their single step is kept, in slots; -1 if all steps are kept
    """
    (steps, batch), n = starts.shape, sizes.slots
    count, lanes, width = (last - first) * n, wide.lanes_of(after), sizes.heads * sizes.value
    units, apart = width // lanes, sizes.heads * (2 * sizes.key + sizes.value) // lanes
    square = width * units
    slots = tape.qkv_scale.shape[0]
    following = first * n if alone < 0 else alone
    begin(first, last, sizes, inputs.memory, starts, inputs.initial, tape, following)
    for t in range(steps):
        row = following
        following = row + batch * n if alone < 0 else alone
        memory, squashed = Rows(tape.memory, row * units, units), Rows(tape.squashed, row * units, units)
        qkv, gates = Rows(tape.qkv, row * apart, apart), Rows(tape.gates, row * 2 * units, 2 * units)
        set_products(packed.qkv, memory, units, Rows(norms.qkv_bias, 0, 0), qkv, apart, count)
        set_products(packed.gates, squashed, units, Rows(room.nothing, 0, 0), gates, 2 * units, count)
        attend(first, last, sizes, tape, norms, inputs.x_qkv, t, row, room)
        rows, x = Rows(tape.rows, row * units, units), Rows(tape.rows, row * units, units)
        for layer in range(sizes.layers - 1):
            at = (layer * slots + row) * units
            weight, hidden = packed.layers[layer * square : (layer + 1) * square], Rows(tape.hidden, at, units)
            set_products(weight, x, units, Rows(norms.biases, layer * units, 0), hidden, units, count)
            rectify(tape.hidden, at, count * units)
            x = hidden
        weight, update = packed.layers[(sizes.layers - 1) * square :], Rows(tape.update, row * units, units)
        set_products(weight, x, units, rows, update, units, count)
        finish(
            first,
            last,
            sizes,
            tape,
            norms,
            inputs.x_gates,
            gate_biases,
            starts,
            inputs.initial,
            t,
            row,
            following,
            after,
        )


@njit
def forward(
    numbers, group_rows, starts, inputs, gate_biases, weights, norms, tape, keep, rooms, work, after, tickets, thread,
    sources=SOURCES,
):  # fmt: skip
    """Take groups of batch rows through the window until there are no more.

    :param keep: the tape is for all steps, and not for one of a group of every thread
    :param after: the memory after every step
    :param work: room for the packed matrices, for every thread, as ``rooms`` are
    """
    sizes, packed = sizes_of(numbers), packed_of(work[thread], weights)
    room, alone = room_of(rooms[thread], sizes), -1 if keep else thread * group_rows * sizes.slots
    units = sizes.heads * sizes.value // wide.lanes_of(after)
    pack(weights.qkv, units, packed.qkv)
    pack(weights.gates, units, packed.gates)
    pack(weights.layers, units, packed.layers)
    first = group_rows * next_ticket(tickets)
    while first < sizes.batch:
        last = min(first + group_rows, sizes.batch)
        forward_rows(first, last, sizes, starts, inputs, gate_biases, norms, packed, tape, alone, room, after)
        first = group_rows * next_ticket(tickets)
