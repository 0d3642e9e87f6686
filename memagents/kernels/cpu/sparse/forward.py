"""The window of the sparse memories, forward, for some rows of the batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.compilation import njit
from memagents.kernels.cpu.recurrent.lstm import expose, squash
from memagents.kernels.cpu.slots import take
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.sparse.access import note_access, read, squash_face, weigh_content, write
from memagents.kernels.cpu.sparse.links import follow, sharpen, update
from memagents.kernels.cpu.sparse.search import forget, look, nearest, search_numbers, search_of
from memagents.kernels.cpu.sparse.tape import Kept, Links, borrowed, entries_of, flat_at, places_of, sizes_of
from memagents.kernels.cpu.sparse.weights import pack_face, pack_gates
from memagents.kernels.cpu.vector import simd
from memagents.kernels.cpu.vector.row_products import Rows, clear_entries, copy_entries, set_products
from memagents.kernels.cpu.vector.simd import next_ticket, part
from memagents.kernels.cpu.vector.wide import lanes_of, vectors_at


@part
def kept_at(addresses, batch, sizes, numbers, integers):
    """The :class:`Kept` and :class:`Links` with their leaves at these addresses, flat."""
    rows, slots = batch * sizes.heads * entries_of(sizes), batch * sizes.slots
    link = slots * sizes.links
    kept = Kept(
        flat_at(addresses[0], slots * sizes.width, numbers),
        flat_at(addresses[1], rows, numbers),
        flat_at(addresses[2], slots, integers),
        flat_at(addresses[3], batch, integers),
        flat_at(addresses[4], rows, integers),
    )
    links = Links(
        flat_at(addresses[5], link, integers),
        flat_at(addresses[6], link, numbers),
        flat_at(addresses[7], link, integers),
        flat_at(addresses[8], link, numbers),
        flat_at(addresses[9], link, numbers),
        flat_at(addresses[10], slots if sizes.links > 0 else 0, numbers),
        flat_at(addresses[11], batch * sizes.links, integers),
        flat_at(addresses[12], batch * sizes.links, numbers),
    )
    return kept, links


@part
def name_slots(sizes, row, kept, links):
    """Whether all indices of a row's state are slots: others would have the kernel write anywhere."""
    reads, size = sizes.heads * entries_of(sizes), sizes.links
    linked = sizes.slots * size
    return (
        within(kept.read_indices, row * reads, reads, sizes.slots)
        and within(links.before, row * linked, linked, sizes.slots)
        and within(links.after, row * linked, linked, sizes.slots)
        and within(links.precedence, row * size, size, sizes.slots)
    )


@part
def within(indices, start, count, slots):
    """Whether ``count`` indices are in 0 to ``slots`` - 1."""
    outside = 0
    for i in range(start, start + count):
        outside += indices[i] < 0 or indices[i] >= slots
    return outside == 0


@part
def restart(sizes, row, kept, links, search):
    """The state before an episode's first step, of one row."""
    slots, entries = sizes.slots, sizes.heads * entries_of(sizes)
    kept.memory[row * slots * sizes.width : (row + 1) * slots * sizes.width] = 0.0
    kept.read_weights[row * entries : (row + 1) * entries] = 0.0
    kept.read_indices[row * entries : (row + 1) * entries] = 0
    kept.clock[row] = 0
    for n in range(slots):
        kept.last_access[row * slots + n] = n - slots
    forget(search)
    if sizes.links > 0:
        first, last = row * slots * sizes.links, (row + 1) * slots * sizes.links
        links.before[first:last] = 0
        links.before_weights[first:last] = 0.0
        links.after[first:last] = 0
        links.after_weights[first:last] = 0.0
        links.after_kept[first:last] = 0.0
        links.kept[row * slots : (row + 1) * slots] = 0.0
        links.precedence[row * sizes.links : (row + 1) * sizes.links] = 0
        links.precedence_weights[row * sizes.links : (row + 1) * sizes.links] = 0.0


@part
def access(sizes, places, row, kept, links, search, work, slots, tape, record, then, indices, first):
    """A step of one row's memory, after the controller's."""
    heads, entries, reads = sizes.heads, entries_of(sizes), sizes.reads
    sums, totals, weights = work.sums, work.totals, work.weights
    squash_face(sizes, places, tape, record)
    write(sizes, places, row, kept, search, tape, record, indices, first)
    start, clock = row * sizes.slots, kept.clock[row]
    count, written = heads * entries + 1, record + places.written
    note_access(indices, first + places.write_slots, tape, written, count, kept.last_access, start, clock, sums, search)
    nearest(sizes, places, search, tape, record, indices, first)
    weigh_content(sizes, places, search, tape, record, indices, first)
    content, weighted = record + places.content, record + places.weights
    if sizes.links > 0:
        update(sizes, places, row, links, tape, record, indices, first, sums, totals, slots, weights)
        follow(sizes, places, row, links, kept, tape, record, indices, first, sums, slots, weights)
        if sizes.sharpened > 0:
            sharpen(sizes, places, tape, record)
        followed, modes = record + places.followed, record + places.scalars + 2 * heads + 2
        for r in range(heads):
            for k in range(reads):
                m = weighted + r * entries + k
                tape[m] = tape[modes + 3 * r] * tape[followed + 2 * r * reads + k]
                tape[m + reads] = tape[modes + 3 * r + 1] * tape[content + r * reads + k]
                tape[m + 2 * reads] = tape[modes + 3 * r + 2] * tape[followed + (2 * r + 1) * reads + k]
    else:
        for k in range(heads * reads):
            tape[weighted + k] = tape[content + k]
    read(sizes, places, row, kept, tape, record, then, indices, first)
    # What was written and what was read count together: the weights and the slots of both follow one another.
    for m in range(count):
        slots[m], weights[m] = indices[first + places.write_slots + m], tape[written + m]
    for m in range(heads * entries):
        slots[count + m] = indices[first + places.read_slots + m]
        weights[count + m] = tape[weighted + m]
    note_access(slots, 0, weights, 0, count + heads * entries, kept.last_access, start, clock, sums, search)
    kept.clock[row] = clock + 1


@part
def forward_rows(
    first, last, sizes, starts, x, packed, before, after, kept, links, features, written, tape, indices, width, work,
    slots, strange,
):  # fmt: skip
    """Rows ``first`` to before ``last`` through the window.

    :param before: read vectors, hidden state and cell before the window; ``after``: after it
    :param tape: T + 1 records for each row of the batch, or two for each row of a tile, which take turns
    :param width: the rows that the tape is for
    :param strange: set to 1, and nothing done, where an index of the state is none
    """
    (steps, batch), count, lanes = starts.shape, last - first, lanes_of(tape)
    places = places_of(sizes, lanes)
    size, hidden, vectors = places.record // lanes, sizes.hidden // lanes, sizes.vectors // lanes
    whole = places.indices
    controller = vectors + hidden
    records, place = tape.shape[0] // (width * places.record), first % width
    for r in range(count):
        if not name_slots(sizes, first + r, kept, links):
            strange[0] = 1
            return
        at = (place + r) * size
        copy_entries(before[0], (first + r) * vectors, tape, at, vectors)
        copy_entries(before[1], (first + r) * hidden, tape, at + vectors, hidden)
        copy_entries(before[2], (first + r) * hidden, tape, at + controller, hidden)
        search = search_of(work.search[r], sizes)
        look(search, kept.memory, (first + r) * sizes.slots, kept.last_access, sizes.slots, sizes.width)
    for t in range(steps):
        row = t * batch + first
        now, then = (t % records * width + place) * size, ((t + 1) % records * width + place) * size
        for r in range(count):
            if starts[t, first + r]:
                clear_entries(tape, now + r * size, controller + hidden)
                restart(sizes, first + r, kept, links, search_of(work.search[r], sizes))
        gates = Rows(tape, now + controller + hidden, size)
        share = Rows(x, row * 4 * hidden, 4 * hidden)
        set_products(packed[0], Rows(tape, now, size), controller, share, gates, 4 * hidden, count)
        for r in range(count):
            squash(tape, now + r * size + vectors, hidden)
        for r in range(count):
            at = then + r * size + vectors
            expose(tape, now + r * size + vectors, at, features, (row + r) * controller, hidden)
        of_face = Rows(tape, now + places.face // lanes, size)
        set_products(
            packed[1], Rows(tape, then + vectors, size), hidden, Rows(packed[2], 0, 0), of_face, sizes.face // lanes,
            count,
        )  # fmt: skip
        for r in range(count):
            record, place_of = (now + r * size) * lanes, (t % records * width + place + r) * whole
            access(
                sizes, places, first + r, kept, links, search_of(work.search[r], sizes), work, slots, tape, record,
                (then + r * size) * lanes, indices, place_of,
            )  # fmt: skip
            copy_entries(tape, then + r * size, features, (row + r) * controller + hidden, vectors)
            total = 0.0
            for m in range(sizes.heads * entries_of(sizes) + 1):
                total += tape[record + places.written + m]
            written[t, first + r] = total
    end = (steps % records * width + place) * size
    for r in range(count):
        at = end + r * size
        copy_entries(tape, at, after[0], (first + r) * vectors, vectors)
        copy_entries(tape, at + vectors, after[1], (first + r) * hidden, hidden)
        copy_entries(tape, at + controller, after[2], (first + r) * hidden, hidden)


class ForwardWork(NamedTuple):
    """Scratch memory of one thread."""

    gates: np.ndarray  # 4H x (R W + H), packed
    face: np.ndarray  # I x H, packed
    bias: np.ndarray  # I
    search: np.ndarray  # rows of a tile, each a Search
    sums: np.ndarray  # N, zeros
    totals: np.ndarray  # N, zeros
    weights: np.ndarray  # of candidates


@register_jitable
def candidates(sizes):
    """The most slots, with weights, that a step chooses from, twice."""
    entries, links = entries_of(sizes), sizes.links
    return 2 * (entries * links + 2 * links + 2 * sizes.heads * entries + 1)


@register_jitable
def work_numbers(sizes, rows, lanes):
    """Numbers of a :class:`ForwardWork`; ``lanes`` are those of a slot's vectors."""
    weights = 4 * sizes.hidden * (sizes.vectors + sizes.hidden) + sizes.face * sizes.hidden
    return weights + sizes.face + rows * search_numbers(sizes, lanes) + 2 * sizes.slots + candidates(sizes)


@part
def work_of(flat, sizes, rows):
    gates, at = take(flat, 0, 4 * sizes.hidden * (sizes.vectors + sizes.hidden))
    face, at = take(flat, at, sizes.face * sizes.hidden)
    bias, at = take(flat, at, sizes.face)
    search, at = take(flat, at, rows * search_numbers(sizes, simd.lanes_of(flat)))
    sums, at = take(flat, at, sizes.slots)
    totals, at = take(flat, at, sizes.slots)
    weights, at = take(flat, at, candidates(sizes))
    sums[:] = 0.0
    totals[:] = 0.0
    return ForwardWork(gates, face, bias, search.reshape((rows, search.shape[0] // rows)), sums, totals, weights)


@njit
def forward(
    sizes, rows, starts, shared, controllers, leaves, written, tape, indices, width, work, room, strange, tickets,
    thread, sources=SOURCES,
):  # fmt: skip
    """Take tiles of rows through the window until there are no more. Tensors of the batch are given by address.

    :param shared: x, features, the weights of gates and interface, and the bias of the latter
    :param controllers: read vectors, hidden state and cell, before the window and after it
    :param leaves: of the state, changed in place: those of :class:`Kept` and of :class:`Links`
    :param strange: set to 1 where an index of these is none
    """
    numbers = sizes_of(sizes)
    (steps, batch), own = starts.shape, work_of(borrowed(work, thread), numbers, rows)
    like, lanes = own.sums, lanes_of(own.sums)
    own_tape, own_indices = borrowed(tape, thread % len(tape)), borrowed(indices, thread % len(indices))
    own_room = borrowed(room, thread)
    hidden, vectors = numbers.hidden // lanes, numbers.vectors // lanes
    x = flat_at(shared[0], steps * batch * 4 * numbers.hidden, like)
    features = flat_at(shared[1], steps * batch * (numbers.hidden + numbers.vectors), like)
    before, after = (
        controller_at(controllers, 0, batch, vectors, hidden, like),
        controller_at(controllers, 3, batch, vectors, hidden, like),
    )
    kept, links = kept_at(leaves, batch, numbers, like, indices)
    pack_gates(flat_at(shared[2], 4 * numbers.hidden * (numbers.vectors + numbers.hidden), like), numbers, own.gates)
    weight, bias = flat_at(shared[3], numbers.rows * numbers.hidden, like), flat_at(shared[4], numbers.rows, like)
    pack_face(weight, bias, numbers, own.face, own.bias)
    packed = (own.gates, own.face, own.bias)
    first = rows * next_ticket(tickets)
    while first < batch:
        forward_rows(
            first, min(first + rows, batch), numbers, starts, x, packed, before, after, kept, links, features, written,
            own_tape, own_indices, width, own, own_room, strange,
        )  # fmt: skip
        first = rows * next_ticket(tickets)


@part
def controller_at(addresses, first, batch, vectors, hidden, like):
    """Read vectors, hidden state and cell."""
    return (
        vectors_at(addresses[first], batch * vectors, like),
        vectors_at(addresses[first + 1], batch * hidden, like),
        vectors_at(addresses[first + 2], batch * hidden, like),
    )
