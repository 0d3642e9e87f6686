"""Attention in which each query looks at a few runs of neighbouring positions, forward and backward.

A query's run is a triple (begin, end, slot): it sees the positions from ``begin`` to before ``end``, and these stand in
its own list of S *slots* from ``slot`` on, as "so many steps ago" does. What belongs to a slot is added to the scores:

    s_p = (q · k_p + a · r_slot(p)) / √K,   w = softmax over the runs,   y = Σ_p w_p v_p

Arrays are flat and C-contiguous: of B batch rows, T queries, P positions, H heads with K numbers each, W = H K, K a
multiple of a vector's lanes. A :class:`~memagents.kernels.cpu.vector.simd.Vector` holds neighbouring positions (of a
score) or neighbouring numbers of a head. A batch row is computed by itself, whatever else the batch holds, and nothing
of a position that a query does not see has a part in what it finds, not even if it is no number.

All queries of a head are one call: calls of their own would take longer than the queries, only to count who refers to
the arrays.
"""

from __future__ import annotations

from typing import NamedTuple

from memagents.compilation import njit
from memagents.kernels.cpu.attention.parts import pack_columns, within
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.functions import exp
from memagents.kernels.cpu.vector.reductions import LEAST, max_lanes, sum_lanes
from memagents.kernels.cpu.vector.simd import (
    fma,
    full,
    lanes_of,
    load_at,
    next_ticket,
    part,
    select_less,
    splat,
    store_at,
)


class RunSizes(NamedTuple):
    """The sizes of a window."""

    batch: int
    steps: int  # T
    positions: int  # P
    heads: int
    key: int  # K
    slots: int  # S
    runs: int  # of a query
    aged: bool  # whether slots have encodings


def line_of(slots: int, lanes: int) -> int:
    """The numbers that a line of weights takes: one a slot, and room for what is computed beyond them."""
    return slots + 2 * lanes


def columns_of(sizes: RunSizes, lanes: int) -> int:
    """The numbers that a batch row's keys or values of a head take as columns."""
    return sizes.key * (sizes.positions + 2 * lanes)


@njit
def runs_fit(runs, each, positions, slots, sources=SOURCES):
    """Whether all runs, ``each`` so many to a query, lie within positions and slots, a query's together as well."""
    total = 0
    for i in range(len(runs) // 3):
        begin, end, slot = runs[3 * i], runs[3 * i + 1], runs[3 * i + 2]
        count = max(end - begin, 0)
        total = count if i % each == 0 else total + count
        if begin < 0 or end > positions or slot < 0 or slot + count > slots or total > slots:
            return False
    return True


@part
def seen_of(sizes, runs, b):
    """The first and one after the last position that any query of a batch row sees."""
    first, last = sizes.positions, 0
    for i in range(b * sizes.steps * sizes.runs, (b + 1) * sizes.steps * sizes.runs):
        if runs[3 * i] < runs[3 * i + 1]:
            first, last = min(first, runs[3 * i]), max(last, runs[3 * i + 1])
    return min(first, last), last


@part
def look(sizes, b, head, runs, queries, ages, columns, values, codes, lane, keep, weights, found):
    """One head of all queries of a batch row: the weights, by slot, and what is found.

    :param columns: keys of the batch row, (K, P + 2 vectors)
    :param codes: encodings of the slots, (H, K, S + 2 vectors)
    :param lane: the numbers 0, 1, … of a vector's lanes
    :param keep: ``weights`` become a line for each query, (T, line); else there is room for one
    :param found: (B, T, W)
    """
    lanes, key, width = lanes_of(columns), sizes.key, sizes.heads * sizes.key
    apart, apart_codes = sizes.positions + 2 * lanes, sizes.slots + 2 * lanes
    code, row, factor = head * key * apart_codes, b * sizes.positions * width + head * key, key**-0.5
    least, zero = full(columns, LEAST), full(columns, 0.0)
    for t in range(sizes.steps):
        query = b * sizes.steps + t
        at, line = (query * sizes.heads + head) * key, t * (sizes.slots + 2 * lanes) if keep else 0
        most, count = least, 0
        for r in range(query * sizes.runs, (query + 1) * sizes.runs):
            begin, slot = runs[3 * r], runs[3 * r + 2]
            n = runs[3 * r + 1] - begin
            for j in range(0, n, 2 * lanes):
                a0, a1 = zero, zero
                for k in range(key):
                    q = splat(queries, at + k)
                    a0 = fma(q, load_at(columns, k * apart + begin + j), a0)
                    a1 = fma(q, load_at(columns, k * apart + begin + j + lanes), a1)
                if sizes.aged:
                    b0, b1 = zero, zero
                    for k in range(key):
                        q = splat(ages, at + k)
                        b0 = fma(q, load_at(codes, code + k * apart_codes + slot + j), b0)
                        b1 = fma(q, load_at(codes, code + k * apart_codes + slot + j + lanes), b1)
                    a0, a1 = a0 + b0, a1 + b1
                a0 = within(lane, n - j, a0 * factor, least)
                a1 = within(lane, n - j - lanes, a1 * factor, least)
                store_at(weights, line + slot + j, a0)
                if j + lanes < n:
                    store_at(weights, line + slot + j + lanes, a1)
                most = select_less(most, a0, a0, most)
                most = select_less(most, a1, a1, most)
            count += max(n, 0)
        if count == 0:
            for c in range(0, key, lanes):
                store_at(found, at + c, zero)
            continue
        most, total = full(columns, max_lanes(most)), zero
        for r in range(query * sizes.runs, (query + 1) * sizes.runs):
            slot = runs[3 * r + 2]
            n = runs[3 * r + 1] - runs[3 * r]
            for j in range(0, n, lanes):
                old = load_at(weights, line + slot + j)
                weight = exp(old - most)
                total = total + within(lane, n - j, weight, zero)
                store_at(weights, line + slot + j, within(lane, n - j, weight, old))
        inverse = full(columns, 1.0 / sum_lanes(total))
        for c in range(0, key, lanes):
            a0, a1, a2, a3 = zero, zero, zero, zero
            for r in range(query * sizes.runs, (query + 1) * sizes.runs):
                begin, slot = runs[3 * r], line + runs[3 * r + 2]
                n = runs[3 * r + 1] - begin
                for j in range(0, n - 3, 4):
                    of = row + (begin + j) * width + c
                    a0 = fma(splat(weights, slot + j), load_at(values, of), a0)
                    a1 = fma(splat(weights, slot + j + 1), load_at(values, of + width), a1)
                    a2 = fma(splat(weights, slot + j + 2), load_at(values, of + 2 * width), a2)
                    a3 = fma(splat(weights, slot + j + 3), load_at(values, of + 3 * width), a3)
                for j in range(max(n - n % 4, 0), n):
                    a0 = fma(splat(weights, slot + j), load_at(values, row + (begin + j) * width + c), a0)
            store_at(found, at + c, ((a0 + a1) + (a2 + a3)) * inverse)
        if keep:
            for r in range(query * sizes.runs, (query + 1) * sizes.runs):
                slot = runs[3 * r + 2]
                n = runs[3 * r + 1] - runs[3 * r]
                for j in range(0, n, lanes):
                    old = load_at(weights, line + slot + j)
                    store_at(weights, line + slot + j, within(lane, n - j, old * inverse, old))


@njit
def forward(sizes, runs, queries, ages, keys, values, codes, lane, found, room, tickets, thread, sources=SOURCES):
    """All queries of some batch rows.

    :param room: of each thread, :func:`columns_of` and a line
    """
    sizes = RunSizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7])
    lanes, width = lanes_of(lane), sizes.heads * sizes.key
    apart = sizes.positions + 2 * lanes
    columns, weights = room[thread, : sizes.key * apart], room[thread, sizes.key * apart :]
    while True:
        b = next_ticket(tickets)
        if b >= sizes.batch:
            break
        first, last = seen_of(sizes, runs, b)
        for h in range(sizes.heads):
            at = b * sizes.positions * width + h * sizes.key
            pack_columns(keys, at, width, first, last, sizes.key, columns, apart)
            look(sizes, b, h, runs, queries, ages, columns, values, codes, lane, False, weights, found)
