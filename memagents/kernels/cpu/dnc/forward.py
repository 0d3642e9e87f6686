"""The DNC's window, forward: one tile of batch rows at a time by the steps of :mod:`memagents.kernels.cpu.dnc.step`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.compilation import njit
from memagents.kernels.cpu.dnc.step import step
from memagents.kernels.cpu.dnc.tape import (
    DNCTileState,
    carry_of,
    carry_rows,
    interface_rows,
    load_state,
    record_of,
    reset_carry,
    state_at,
    store_state,
)
from memagents.kernels.cpu.slots import norm, padded_slots, take
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.simd import full, lanes_of, next_ticket, part, store
from memagents.kernels.cpu.vector.tile_products import pack, packed_rows
from memagents.kernels.cpu.vector.tiles import clear, clear_fresh, copy, load_rows, load_starts, store_rows
from memagents.kernels.operands import DNCSizes


class ForwardWork(NamedTuple):
    """Scratch memory of one thread for a tile, beside the tape."""

    memory: np.ndarray  # N W, padded
    link: np.ndarray  # N N, padded
    features: np.ndarray  # H + R W: hidden state and read vectors
    carry: np.ndarray
    fresh: np.ndarray  # 1, see load_starts
    allocation: np.ndarray  # N
    masked_key: np.ndarray  # masked W
    recurrent_weight: np.ndarray  # 4H x (H + R W), packed
    interface_weight: np.ndarray  # I x H, packed


@register_jitable
def work_rows(sizes, lanes):
    """Entries of a :class:`ForwardWork`."""
    n = padded_slots(sizes)
    features = sizes.hidden + sizes.heads * sizes.width
    weights = packed_rows(4 * sizes.hidden, features, lanes) + packed_rows(interface_rows(sizes), sizes.hidden, lanes)
    small = features + carry_rows(sizes) + 1 + sizes.slots + sizes.masked * sizes.width
    return n * (sizes.width + sizes.slots) + small + weights


@part
def work_of(flat, sizes):
    n, lanes = padded_slots(sizes), lanes_of(flat)
    memory, at = take(flat, 0, n * sizes.width)
    link, at = take(flat, at, n * sizes.slots)
    features, at = take(flat, at, sizes.hidden + sizes.heads * sizes.width)
    carry, at = take(flat, at, carry_rows(sizes))
    fresh, at = take(flat, at, 1)
    allocation, at = take(flat, at, sizes.slots)
    masked_key, at = take(flat, at, sizes.masked * sizes.width)
    recurrent_weight, at = take(flat, at, packed_rows(4 * sizes.hidden, features.shape[0], lanes))
    interface_weight, at = take(flat, at, packed_rows(interface_rows(sizes), sizes.hidden, lanes))
    return ForwardWork(
        memory, link, features, carry, fresh, allocation, masked_key, recurrent_weight, interface_weight
    )  # fmt: skip


@part
def prepare(work, recurrent_weight, interface_weight):
    """Prepare what all tiles of a thread share."""
    pack(recurrent_weight, work.recurrent_weight)
    pack(interface_weight, work.interface_weight)


@part
def state_of(work, carry, sizes):
    """The state, part of which is a step's carry."""
    return DNCTileState(
        work.memory, carry.usage, work.link, carry.precedence, carry.write_weights, carry.read_weights,
        work.features[sizes.hidden :], work.features[: sizes.hidden], carry.cell,
    )  # fmt: skip


@part
def begin(before, row, count, carry, work, sizes):
    """The state before the window; zeros in the padding."""
    clear(work.memory)
    clear(work.link)
    load_state(before, row, count, state_of(work, carry, sizes))
    for i in range(sizes.slots):
        store(carry.norms, i, norm(work.memory, i * sizes.width, sizes.width))


@part
def fill_bias(bias, out):
    for i in range(bias.shape[0]):
        store(out, i, full(out, bias[i]))


@part
def forward_tile(tile, sizes, x, starts, bias, before, after, features, previous, tape, checkpoints, every, work):
    """The window for one tile; the tape holds all its records, or only two that take turns."""
    lanes, slots = work.fresh.shape[1], tape.shape[0]
    row, batch = tile * lanes, x.shape[1]
    count = min(lanes, batch - row)
    begin(state_at(before, batch, sizes, x), row, count, carry_of(tape[0], sizes), work, sizes)
    for t in range(x.shape[0]):
        if checkpoints.shape[0] > 0 and t % every == 0:
            copy(work.memory, checkpoints[t // every])
            copy(work.link, checkpoints[t // every, work.memory.shape[0] :])
        was = tape[t % slots]
        now = record_of(tape[(t + 1) % slots], sizes)
        carry = carry_of(was, sizes)
        if load_starts(starts, t, row, count, work.fresh):
            carry = reset_carry(work.fresh, was[: carry_rows(sizes)], work.carry, sizes)
            clear_fresh(work.fresh, work.memory)
            clear_fresh(work.fresh, work.link)
            clear_fresh(work.fresh, work.features)
        if previous.shape[0] > 0:
            store_rows(work.features, previous[t], row, count)
        load_rows(x[t], row, count, now.gates)
        fill_bias(bias, now.interface)
        step(carry, now, work, sizes)
        store_rows(work.features, features[t], row, count)
    carry = carry_of(tape[x.shape[0] % slots], sizes)
    store_state(state_of(work, carry, sizes), state_at(after, batch, sizes, x), row, count)


@part
def take_tiles(
    numbers, tiles, x, starts, weights, before, after, features, previous, tape, checkpoints, every, work, tickets,
    thread,
):  # fmt: skip
    """Take tiles through the window until there are no more."""
    own = work_of(work[thread], numbers)
    prepare(own, weights[0], weights[1])
    tile = next_ticket(tickets)
    while tile < tiles:
        block = tile if checkpoints.shape[1] > 0 else thread
        forward_tile(
            tile, numbers, x, starts, weights[2], before, after, features, previous, tape[block], checkpoints[block],
            every, own,
        )  # fmt: skip
        tile = next_ticket(tickets)


@njit
def forward(
    sizes, tiles, x, starts, weights, before, after, features, previous, tape, checkpoints, every, work, tickets,
    thread, sources=SOURCES,
):  # fmt: skip
    """Run the plain DNC: that there are no options, the compiler knows."""
    take_tiles(
        DNCSizes(sizes[0], sizes[1], sizes[2], sizes[3], 0, 0, 0), tiles, x, starts, weights, before, after,
        features, previous, tape, checkpoints, every, work, tickets, thread,
    )  # fmt: skip


@njit
def forward_with_options(
    sizes, tiles, x, starts, weights, before, after, features, previous, tape, checkpoints, every, work, tickets,
    thread, sources=SOURCES,
):  # fmt: skip
    """Run one with any options."""
    take_tiles(
        DNCSizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]), tiles, x, starts, weights,
        before, after, features, previous, tape, checkpoints, every, work, tickets, thread,
    )  # fmt: skip
