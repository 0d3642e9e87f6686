"""The RMC's window, backward: some batch rows at a time through some of the steps, from the last to the first."""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.rmc.forward import packed_of
from memagents.kernels.cpu.rmc.step import attend_back, finish_back, rectify_back, room_of, sizes_of
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector import wide
from memagents.kernels.cpu.vector.row_products import Rows, pack_columns, set_products
from memagents.kernels.cpu.vector.simd import next_ticket, part


@part
def backward_rows(
    first, last, group, sizes, starts, begin, end, chunk, norms, x_qkv, packed, tape, grad_after, grads, room
):
    """Take rows ``first`` to before ``last`` back from before step ``end`` to before step ``begin``.

    :param group: the number of these rows' group
    :param chunk: C, the steps that there is room for
    """
    (steps, batch), n = starts.shape, sizes.slots
    count, lanes, width = (last - first) * n, wide.lanes_of(x_qkv), sizes.heads * sizes.value
    units, apart = width // lanes, sizes.heads * (2 * sizes.key + sizes.value) // lanes
    square, own = width * units, first * n * units
    nothing = Rows(room.nothing, 0, 0)
    for t in range(end - 1, begin - 1, -1):
        now = t - begin
        row = (now * batch + first) * n
        finish_back(first, last, group, sizes, tape, norms, starts, t, now, grad_after, grads)
        update, of_x = Rows(grads.update, row * units, units), Rows(grads.update, row * units, units)
        for layer in range(sizes.layers - 2, -1, -1):
            at = ((layer * chunk + now) * batch + first) * n * units
            weight, hidden = packed.layers[(layer + 1) * square : (layer + 2) * square], Rows(grads.hidden, at, units)
            set_products(weight, of_x, units, nothing, hidden, units, count)
            kept, bias = ((layer * steps + t) * batch + first) * n * units, (group * sizes.layers + layer) * units
            rectify_back(tape.hidden, kept, grads.hidden, at, count, units, grads.biases, bias)
            of_x = hidden
        set_products(packed.layers[:square], of_x, units, update, Rows(grads.rows, own, units), units, count)
        gates, squashed = Rows(grads.gates, row * 2 * units, 2 * units), Rows(grads.squashed, own, units)
        set_products(packed.gates, gates, 2 * units, nothing, squashed, units, count)
        attend_back(first, last, group, sizes, tape, norms, x_qkv, t, now, grads, room)
        memory = Rows(grads.memory, own, units)
        set_products(packed.qkv, Rows(grads.qkv, row * apart, apart), apart, memory, memory, units, count)


@njit
def backward(
    numbers, group_rows, starts, begin, end, chunk, x_qkv, weights, norms, tape, grad_after, grads, rooms, work,
    tickets, thread, sources=SOURCES,
):  # fmt: skip
    """Take groups of batch rows back through some of the steps until there are no more.

    :param grad_after: of the memory after every step, from outside
    :param work: room for the packed matrices, for every thread, as ``rooms`` are
    """
    sizes, packed = sizes_of(numbers), packed_of(work[thread], weights)
    room = room_of(rooms[thread], sizes)
    units = sizes.heads * sizes.value // wide.lanes_of(x_qkv)
    square = sizes.heads * sizes.value * units
    pack_columns(weights.qkv, units, packed.qkv)
    pack_columns(weights.gates, units, packed.gates)
    for at in range(0, sizes.layers * square, square):
        pack_columns(weights.layers[at : at + square], units, packed.layers[at : at + square])
    group = next_ticket(tickets)
    while group * group_rows < sizes.batch:
        first = group * group_rows
        last = min(first + group_rows, sizes.batch)
        backward_rows(
            first, last, group, sizes, starts, begin, end, chunk, norms, x_qkv, packed, tape, grad_after, grads, room
        )
        group = next_ticket(tickets)
