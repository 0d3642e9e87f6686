"""The DNC's window, backward, for one tile of batch rows at a time.

The memory and link matrices that the forward went through are computed again from a checkpoint, a chunk of steps at a
time; everything else comes from the tape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.compilation import njit
from memagents.kernels.cpu.dnc.options import wipe_freed
from memagents.kernels.cpu.dnc.step import update_link
from memagents.kernels.cpu.dnc.step_backward import step
from memagents.kernels.cpu.dnc.tape import (
    DNCTileState,
    carry_of,
    carry_rows,
    interface_of,
    interface_rows,
    load_state,
    record_of,
    reset_carry,
    state_at,
    store_state,
)
from memagents.kernels.cpu.slots import erase_and_add, padded_slots, take
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.simd import full, lanes_of, next_ticket, part
from memagents.kernels.cpu.vector.tile_products import ROWS, add_scaled, pack, packed_rows
from memagents.kernels.cpu.vector.tiles import clear, clear_fresh, copy, load_rows, load_starts, store_rows
from memagents.kernels.operands import DNCSizes


class BackwardWork(NamedTuple):
    """Scratch memory of one thread for a tile. Gradients of the state are those after a step, then those before it."""

    memories: np.ndarray  # steps x N W, padded: the memory before every step of a chunk
    links: np.ndarray  # steps x N N, padded
    memory: np.ndarray  # N W, padded: the memory after a step
    link_rows: np.ndarray  # 4 N: four rows of the link matrix after a step
    carry: np.ndarray  # the small state before a step, where it was reset
    fresh: np.ndarray  # 1
    allocation: np.ndarray  # N: usage as the allocation sees it
    d_memory: np.ndarray  # N W, padded
    d_link: np.ndarray  # N N, padded
    d_usage: np.ndarray  # N
    d_write: np.ndarray  # N
    d_precedence: np.ndarray  # N
    d_read: np.ndarray  # R N
    d_cell: np.ndarray  # H
    d_features: np.ndarray  # H + R W
    gradients: np.ndarray  # all from d_memory to d_features
    grad_features: np.ndarray  # H + R W, what comes from outside at a step
    d_gates: np.ndarray  # 4H
    d_interface: np.ndarray  # I
    d_forward: np.ndarray  # R N
    d_backward: np.ndarray  # R N
    d_content: np.ndarray  # R N
    d_norms: np.ndarray  # N
    d_allocation: np.ndarray  # N
    d_kept: np.ndarray  # N, of how much of a slot the memory keeps; zero unless it deallocates
    kept: np.ndarray  # deallocates N W, padded: what is kept of the memory before a step
    masked_keys: np.ndarray  # masked R W
    d_masked_keys: np.ndarray  # masked R W
    key_slopes: np.ndarray  # masked R: gradients of the keys' norms over these
    recurrent_columns: np.ndarray  # (H + R W) x 4H, packed
    interface_columns: np.ndarray  # H x I, packed


@register_jitable
def work_rows(sizes, every, lanes):
    """Entries of a :class:`BackwardWork` for chunks of ``every`` steps."""
    n, padded, reads = sizes.slots, padded_slots(sizes), sizes.heads * sizes.slots
    features = sizes.hidden + sizes.heads * sizes.width
    matrices = (every + 2) * padded * sizes.width + (every + 1) * padded * n + ROWS * n
    small = carry_rows(sizes) + 1 + 7 * n + 4 * reads + 5 * sizes.hidden + 2 * features + interface_rows(sizes)
    small += sizes.deallocates * padded * sizes.width + sizes.masked * sizes.heads * (2 * sizes.width + 1)
    weights = packed_rows(features, 4 * sizes.hidden, lanes) + packed_rows(sizes.hidden, interface_rows(sizes), lanes)
    return matrices + small + weights


@part
def prepare(work, recurrent_columns, interface_columns, sizes):
    """Prepare what all tiles of a thread share: the weights, and zeros in the padding, which nothing else writes."""
    if padded_slots(sizes) > sizes.slots:
        clear(work.memories)
        clear(work.links)
        clear(work.memory)
        clear(work.kept)
    clear(work.d_kept)
    pack(recurrent_columns, work.recurrent_columns)
    pack(interface_columns, work.interface_columns)


@part
def work_of(flat, sizes, every):
    lanes = lanes_of(flat)
    n, padded, reads = sizes.slots, padded_slots(sizes), sizes.heads * sizes.slots
    features = sizes.hidden + sizes.heads * sizes.width
    memories, at = take(flat, 0, every * padded * sizes.width)
    links, at = take(flat, at, every * padded * n)
    memory, at = take(flat, at, padded * sizes.width)
    link_rows, at = take(flat, at, ROWS * n)
    carry, at = take(flat, at, carry_rows(sizes))
    fresh, at = take(flat, at, 1)
    allocation, at = take(flat, at, n)
    begin = at
    d_memory, at = take(flat, at, padded * sizes.width)
    d_link, at = take(flat, at, padded * n)
    d_usage, at = take(flat, at, n)
    d_write, at = take(flat, at, n)
    d_precedence, at = take(flat, at, n)
    d_read, at = take(flat, at, reads)
    d_cell, at = take(flat, at, sizes.hidden)
    d_features, at = take(flat, at, features)
    gradients = flat[begin:at]
    grad_features, at = take(flat, at, features)
    d_gates, at = take(flat, at, 4 * sizes.hidden)
    d_interface, at = take(flat, at, interface_rows(sizes))
    d_forward, at = take(flat, at, reads)
    d_backward, at = take(flat, at, reads)
    d_content, at = take(flat, at, reads)
    d_norms, at = take(flat, at, n)
    d_allocation, at = take(flat, at, n)
    d_kept, at = take(flat, at, n)
    kept, at = take(flat, at, sizes.deallocates * padded * sizes.width)
    masked_keys, at = take(flat, at, sizes.masked * sizes.heads * sizes.width)
    d_masked_keys, at = take(flat, at, sizes.masked * sizes.heads * sizes.width)
    key_slopes, at = take(flat, at, sizes.masked * sizes.heads)
    recurrent_columns, at = take(flat, at, packed_rows(features, 4 * sizes.hidden, lanes))
    interface_columns, at = take(flat, at, packed_rows(sizes.hidden, interface_rows(sizes), lanes))
    return BackwardWork(
        memories, links, memory, link_rows, carry, fresh, allocation,
        d_memory, d_link, d_usage, d_write, d_precedence, d_read, d_cell, d_features, gradients, grad_features,
        d_gates, d_interface, d_forward, d_backward, d_content, d_norms, d_allocation,
        d_kept, kept, masked_keys, d_masked_keys, key_slopes,
        recurrent_columns, interface_columns,
    )  # fmt: skip


@part
def rebuild(first, last, sizes, starts, row, count, tape, checkpoint, work):
    """Compute again the memory and link matrices before every step of a chunk (after its resets)."""
    memory_rows, link_rows = work.d_memory.shape[0], work.d_link.shape[0]
    copy(checkpoint[:memory_rows], work.memories[:memory_rows])
    copy(checkpoint[memory_rows:], work.links[:link_rows])
    for t in range(first, last):
        memory = work.memories[(t - first) * memory_rows : (t - first + 1) * memory_rows]
        link = work.links[(t - first) * link_rows : (t - first + 1) * link_rows]
        before = carry_of(tape[t], sizes)
        if load_starts(starts, t, row, count, work.fresh):
            before = reset_carry(work.fresh, tape[t, : carry_rows(sizes)], work.carry, sizes)
            clear_fresh(work.fresh, memory)
            clear_fresh(work.fresh, link)
        if t + 1 == last:
            return
        now = record_of(tape[t + 1], sizes)
        face = interface_of(now.interface, sizes)
        next_memory = work.memories[(t - first + 1) * memory_rows : (t - first + 2) * memory_rows]
        next_link = work.links[(t - first + 1) * link_rows : (t - first + 2) * link_rows]
        kept = memory
        if sizes.deallocates:
            kept = next_memory
            wipe_freed(before, face.free_gates, memory, kept, sizes)
        for i in range(sizes.slots):
            erase_and_add(kept, i, now.carry.write_weights, face.erase, face.write, next_memory)
            update_link(link, i, now.carry.write_weights, before.precedence, next_link, i)


@part
def gradients_of(work, sizes):
    """The gradients of the state."""
    return DNCTileState(
        work.d_memory, work.d_usage, work.d_link, work.d_precedence, work.d_write, work.d_read,
        work.d_features[sizes.hidden :], work.d_features[: sizes.hidden], work.d_cell,
    )  # fmt: skip


@part
def backward_tile(
    tile, sizes, starts, grad_features, grad_after, grad_before, d_gates, d_interface, tape, checkpoints,
    every, work,
):  # fmt: skip
    """The window for one tile, from its end to its beginning."""
    steps, lanes = starts.shape[0], work.fresh.shape[1]
    row, batch = tile * lanes, starts.shape[1]
    count = min(lanes, batch - row)
    memory_rows, link_rows = work.d_memory.shape[0], work.d_link.shape[0]
    clear(work.gradients)
    if grad_after[0] != 0:
        load_state(state_at(grad_after, batch, sizes, d_gates), row, count, gradients_of(work, sizes))
    for chunk in range((steps - 1) // every, -1, -1):
        first = chunk * every
        last = min(first + every, steps)
        rebuild(first, last, sizes, starts, row, count, tape, checkpoints[chunk], work)
        for t in range(last - 1, first - 1, -1):
            before, now = carry_of(tape[t], sizes), record_of(tape[t + 1], sizes)
            fresh = load_starts(starts, t, row, count, work.fresh)
            if fresh:
                before = reset_carry(work.fresh, tape[t, : carry_rows(sizes)], work.carry, sizes)
            load_rows(grad_features[t], row, count, work.grad_features)
            add_scaled(full(work.fresh, 1.0), work.grad_features, 0, work.d_features.shape[0], work.d_features)
            memory = work.memories[(t - first) * memory_rows : (t - first + 1) * memory_rows]
            link = work.links[(t - first) * link_rows : (t - first + 1) * link_rows]
            step(before, now, memory, link, work, sizes)
            store_rows(work.d_gates, d_gates[t], row, count)
            store_rows(work.d_interface, d_interface[t], row, count)
            if fresh:
                clear_fresh(work.fresh, work.gradients)
    if grad_before[0] != 0:
        store_state(gradients_of(work, sizes), state_at(grad_before, batch, sizes, d_gates), row, count)


@part
def take_tiles(
    numbers, tiles, starts, columns, grad_features, grad_after, grad_before, d_gates, d_interface, tape, checkpoints,
    every, work, tickets, thread,
):  # fmt: skip
    """Take tiles through the window until there are no more."""
    own = work_of(work[thread], numbers, every)
    prepare(own, columns[0], columns[1], numbers)
    tile = next_ticket(tickets)
    while tile < tiles:
        backward_tile(
            tile, numbers, starts, grad_features, grad_after, grad_before, d_gates, d_interface, tape[tile],
            checkpoints[tile], every, own,
        )  # fmt: skip
        tile = next_ticket(tickets)


@njit
def backward(
    sizes, tiles, starts, columns, grad_features, grad_after, grad_before, d_gates, d_interface, tape, checkpoints,
    every, work, tickets, thread, sources=SOURCES,
):  # fmt: skip
    """Run the plain DNC: that there are no options, the compiler knows."""
    take_tiles(
        DNCSizes(sizes[0], sizes[1], sizes[2], sizes[3], 0, 0, 0), tiles, starts, columns, grad_features, grad_after,
        grad_before, d_gates, d_interface, tape, checkpoints, every, work, tickets, thread,
    )  # fmt: skip


@njit
def backward_with_options(
    sizes, tiles, starts, columns, grad_features, grad_after, grad_before, d_gates, d_interface, tape, checkpoints,
    every, work, tickets, thread, sources=SOURCES,
):  # fmt: skip
    """Run one with any options."""
    take_tiles(
        DNCSizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]), tiles, starts, columns,
        grad_features, grad_after, grad_before, d_gates, d_interface, tape, checkpoints, every, work, tickets, thread,
    )  # fmt: skip
