"""The NTM's window, backward, for one tile of batch rows at a time. The memory before every step is on the tape."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from memagents.compilation import njit
from memagents.kernels.cpu.ntm.step_backward import step
from memagents.kernels.cpu.ntm.tape import (
    NTMTileState,
    before_of,
    feature_rows,
    initial_rows,
    interface_rows,
    load_state,
    record_of,
    restarted,
    state_at,
    state_rows,
    store_state,
)
from memagents.kernels.cpu.slots import padded_slots, take
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.simd import fma, full, lanes_of, load, next_ticket, part, store
from memagents.kernels.cpu.vector.tile_products import add_scaled, pack, packed_rows
from memagents.kernels.cpu.vector.tiles import clear, clear_fresh, load_rows, load_starts, store_rows
from memagents.kernels.operands import NTMSizes


class BackwardWork(NamedTuple):
    """Scratch memory of one thread for a tile. Gradients of the state are those after a step, then those before it."""

    fresh: np.ndarray  # 1
    begun: np.ndarray  # a record's state: that before a step, where it was reset
    initial: np.ndarray  # N W + K N + R W, the state that an episode begins with
    gated: np.ndarray  # N
    d_memory: np.ndarray  # N W, padded
    d_weights: np.ndarray  # K N
    d_cell: np.ndarray  # H
    d_features: np.ndarray  # H + R W
    gradients: np.ndarray  # all from d_memory to d_features
    grad_features: np.ndarray  # H + R W, what comes from outside at a step
    d_gates: np.ndarray  # 4H
    d_interface: np.ndarray  # I
    d_gated: np.ndarray  # N
    d_match: np.ndarray  # K N
    d_norms: np.ndarray  # N
    recurrent_columns: np.ndarray  # (H + R W) x 4H, packed
    interface_columns: np.ndarray  # H x I, packed


@register_jitable
def gradient_rows(sizes):
    matrix, weights = padded_slots(sizes) * sizes.width, (sizes.heads + 1) * sizes.slots
    return matrix + weights + sizes.hidden + feature_rows(sizes)


@register_jitable
def work_rows(sizes, lanes):
    """Entries of a :class:`BackwardWork`."""
    n, interface, features = sizes.slots, interface_rows(sizes), feature_rows(sizes)
    weights = packed_rows(features, 4 * sizes.hidden, lanes) + packed_rows(sizes.hidden, interface, lanes)
    small = 1 + features + 4 * sizes.hidden + interface + (sizes.heads + 4) * n
    return state_rows(sizes) + initial_rows(sizes) + gradient_rows(sizes) + small + weights


@part
def work_of(flat, sizes):
    lanes, n, heads = lanes_of(flat), sizes.slots, sizes.heads + 1
    fresh, at = take(flat, 0, 1)
    begun, at = take(flat, at, state_rows(sizes))
    initial, at = take(flat, at, initial_rows(sizes))
    gated, at = take(flat, at, n)
    begin = at
    d_memory, at = take(flat, at, padded_slots(sizes) * sizes.width)
    d_weights, at = take(flat, at, heads * n)
    d_cell, at = take(flat, at, sizes.hidden)
    d_features, at = take(flat, at, feature_rows(sizes))
    gradients = flat[begin:at]
    grad_features, at = take(flat, at, feature_rows(sizes))
    d_gates, at = take(flat, at, 4 * sizes.hidden)
    d_interface, at = take(flat, at, interface_rows(sizes))
    d_gated, at = take(flat, at, n)
    d_match, at = take(flat, at, heads * n)
    d_norms, at = take(flat, at, n)
    recurrent_columns, at = take(flat, at, packed_rows(feature_rows(sizes), 4 * sizes.hidden, lanes))
    interface_columns, at = take(flat, at, packed_rows(sizes.hidden, interface_rows(sizes), lanes))
    return BackwardWork(
        fresh, begun, initial, gated, d_memory, d_weights, d_cell, d_features, gradients, grad_features,
        d_gates, d_interface, d_gated, d_match, d_norms, recurrent_columns, interface_columns,
    )  # fmt: skip


@part
def prepare(work, initial, recurrent_columns, interface_columns):
    """Prepare what all tiles of a thread share."""
    for e in range(initial.shape[0]):
        store(work.initial, e, full(work.initial, initial[e]))
    pack(recurrent_columns, work.recurrent_columns)
    pack(interface_columns, work.interface_columns)


@part
def gradients_of(work, sizes):
    """The gradients of the state."""
    features = work.d_features
    return NTMTileState(work.d_memory, work.d_weights, features[sizes.hidden :], features[: sizes.hidden], work.d_cell)


@part
def add_fresh(fresh, gradient, d_initial, start):
    """Add a gradient to that of the initial state in the lanes that begin an episode."""
    flag = load(fresh, 0)
    for e in range(gradient.shape[0]):
        store(d_initial, start + e, fma(flag, load(gradient, e), load(d_initial, start + e)))


@part
def backward_tile(
    tile, sizes, clip, starts, grad_features, grad_after, grad_before, d_gates, d_interface, d_initial, tape, work
):
    """The window for one tile, from its end to its beginning."""
    lanes, batch = work.fresh.shape[1], starts.shape[1]
    row = tile * lanes
    count = min(lanes, batch - row)
    matrix, weights = sizes.slots * sizes.width, (sizes.heads + 1) * sizes.slots
    clear(work.gradients)
    clear(d_initial)
    if grad_after[0] != 0:
        load_state(state_at(grad_after, batch, sizes, d_gates), row, count, gradients_of(work, sizes))
    for t in range(starts.shape[0] - 1, -1, -1):
        before, now = before_of(tape[t], sizes), record_of(tape[t + 1], sizes)
        fresh = load_starts(starts, t, row, count, work.fresh)
        if fresh:
            before = restarted(tape[t], work, sizes)
        load_rows(grad_features[t], row, count, work.grad_features)
        add_scaled(full(work.fresh, 1.0), work.grad_features, 0, work.d_features.shape[0], work.d_features)
        step(before, now, clip, work, sizes)
        store_rows(work.d_gates, d_gates[t], row, count)
        store_rows(work.d_interface, d_interface[t], row, count)
        if fresh:
            add_fresh(work.fresh, work.d_memory[:matrix], d_initial, 0)
            add_fresh(work.fresh, work.d_weights, d_initial, matrix)
            add_fresh(work.fresh, work.d_features[sizes.hidden :], d_initial, matrix + weights)
            clear_fresh(work.fresh, work.gradients)
    if grad_before[0] != 0:
        store_state(gradients_of(work, sizes), state_at(grad_before, batch, sizes, d_gates), row, count)


@njit
def backward(
    sizes, tiles, clip, starts, initial, columns, grad_features, grad_after, grad_before, d_gates, d_interface,
    d_initial, tape, work, tickets, thread, sources=SOURCES,
):  # fmt: skip
    """Take tiles through the window until there are no more."""
    numbers = NTMSizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4])
    own = work_of(work[thread], numbers)
    prepare(own, initial, columns[0], columns[1])
    tile = next_ticket(tickets)
    while tile < tiles:
        backward_tile(
            tile, numbers, clip, starts, grad_features, grad_after, grad_before, d_gates, d_interface,
            d_initial[tile], tape[tile], own,
        )  # fmt: skip
        tile = next_ticket(tickets)
