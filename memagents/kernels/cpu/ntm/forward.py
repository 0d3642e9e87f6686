"""The NTM's window, forward: one tile of batch rows at a time by the steps of :mod:`memagents.kernels.cpu.ntm.step`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.compilation import njit
from memagents.kernels.cpu.ntm.step import step
from memagents.kernels.cpu.ntm.tape import (
    before_of,
    feature_rows,
    initial_rows,
    interface_rows,
    load_state,
    measure,
    record_of,
    restarted,
    state_at,
    state_of,
    state_rows,
    store_state,
)
from memagents.kernels.cpu.slots import padded_slots, take
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.simd import full, lanes_of, next_ticket, part, store
from memagents.kernels.cpu.vector.tile_products import pack, packed_rows
from memagents.kernels.cpu.vector.tiles import clear, load_rows, load_starts, store_rows
from memagents.kernels.operands import NTMSizes


class ForwardWork(NamedTuple):
    """Scratch memory of one thread for a tile, beside the tape."""

    fresh: np.ndarray  # 1, see load_starts
    begun: np.ndarray  # a record's state: that before a step, where it was reset
    initial: np.ndarray  # N W + K N + R W, the state that an episode begins with
    gated: np.ndarray  # N
    recurrent_weight: np.ndarray  # 4H x (H + R W), packed
    interface_weight: np.ndarray  # I x H, packed


@register_jitable
def work_rows(sizes, lanes):
    """Entries of a :class:`ForwardWork`."""
    interface = interface_rows(sizes)
    weights = packed_rows(4 * sizes.hidden, feature_rows(sizes), lanes) + packed_rows(interface, sizes.hidden, lanes)
    return 1 + state_rows(sizes) + initial_rows(sizes) + sizes.slots + weights


@part
def work_of(flat, sizes):
    lanes = lanes_of(flat)
    fresh, at = take(flat, 0, 1)
    begun, at = take(flat, at, state_rows(sizes))
    initial, at = take(flat, at, initial_rows(sizes))
    gated, at = take(flat, at, sizes.slots)
    recurrent_weight, at = take(flat, at, packed_rows(4 * sizes.hidden, feature_rows(sizes), lanes))
    interface_weight, at = take(flat, at, packed_rows(interface_rows(sizes), sizes.hidden, lanes))
    return ForwardWork(fresh, begun, initial, gated, recurrent_weight, interface_weight)


@part
def prepare(work, initial, recurrent_weight, interface_weight):
    """Prepare what all tiles of a thread share."""
    for e in range(initial.shape[0]):
        store(work.initial, e, full(work.initial, initial[e]))
    pack(recurrent_weight, work.recurrent_weight)
    pack(interface_weight, work.interface_weight)


@part
def forward_tile(tile, sizes, clip, x, starts, bias, before, after, features, previous, tape, work):
    """The window for one tile; the tape holds all its records, or only two that take turns."""
    lanes, slots = work.fresh.shape[1], tape.shape[0]
    row, batch = tile * lanes, x.shape[1]
    count = min(lanes, batch - row)
    padding = sizes.slots * sizes.width
    for place in range(slots):
        clear(tape[place, padding : padded_slots(sizes) * sizes.width])
    first = before_of(tape[0], sizes)
    load_state(state_at(before, batch, sizes, x), row, count, state_of(first, sizes))
    measure(first, sizes)
    for t in range(x.shape[0]):
        was = before_of(tape[t % slots], sizes)
        now = record_of(tape[(t + 1) % slots], sizes)
        if load_starts(starts, t, row, count, work.fresh):
            was = restarted(tape[t % slots], work, sizes)
        if previous.shape[0] > 0:
            store_rows(was.features, previous[t], row, count)
        load_rows(x[t], row, count, now.gates)
        for i in range(bias.shape[0]):
            store(now.raw, i, full(now.raw, bias[i]))
        step(was, now, clip, work, sizes)
        store_rows(now.features, features[t], row, count)
    last = before_of(tape[x.shape[0] % slots], sizes)
    store_state(state_of(last, sizes), state_at(after, batch, sizes, x), row, count)


@njit
def forward(
    sizes, tiles, clip, x, starts, initial, weights, before, after, features, previous, tape, work, tickets,
    thread, sources=SOURCES,
):  # fmt: skip
    """Take tiles through the window until there are no more."""
    numbers = NTMSizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
    own = work_of(work[thread], numbers)
    prepare(own, initial, weights[0], weights[1])
    tile = next_ticket(tickets)
    while tile < tiles:
        block = tile if previous.shape[0] > 0 else thread
        forward_tile(tile, numbers, clip, x, starts, weights[2], before, after, features, previous, tape[block], own)
        tile = next_ticket(tickets)
