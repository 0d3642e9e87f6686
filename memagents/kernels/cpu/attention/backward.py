"""Backward of :mod:`memagents.kernels.cpu.attention.forward`, whose arrays and sizes it takes."""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.attention.forward import RunSizes, look, seen_of
from memagents.kernels.cpu.attention.parts import pack_columns, within
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.reductions import sum_lanes
from memagents.kernels.cpu.vector.simd import fma, full, lanes_of, load_at, next_ticket, part, splat, store_at


@part
def look_back(
    sizes, b, head, runs, queries, ages, keys, columns, codes, lane, weights, grads, d_found, d_queries, d_ages,
    d_keys, d_values, d_codes,
):  # fmt: skip
    """Backward of :func:`look`.

    :param columns: values of the batch row, (K, P + 2 vectors)
    :param codes: encodings, (S, W)
    :param weights: of the queries, (T, line)
    :param grads: room for a line
    :param d_keys: added to, as ``d_values`` and, of the encodings, ``d_codes``, (B, S, W)
    """
    lanes, key, width = lanes_of(columns), sizes.key, sizes.heads * sizes.key
    apart, zero, factor = sizes.positions + 2 * lanes, full(columns, 0.0), key**-0.5
    row, of_codes = b * sizes.positions * width + head * key, b * sizes.slots * width
    for t in range(sizes.steps):
        query = b * sizes.steps + t
        at = (query * sizes.heads + head) * key
        line, mean = t * (sizes.slots + 2 * lanes), zero
        for r in range(query * sizes.runs, (query + 1) * sizes.runs):
            begin, slot = runs[3 * r], runs[3 * r + 2]
            n = runs[3 * r + 1] - begin
            for j in range(0, n, 2 * lanes):
                a0, a1 = zero, zero
                for k in range(key):
                    grad = splat(d_found, at + k)
                    a0 = fma(grad, load_at(columns, k * apart + begin + j), a0)
                    a1 = fma(grad, load_at(columns, k * apart + begin + j + lanes), a1)
                a0, a1 = within(lane, n - j, a0, zero), within(lane, n - j - lanes, a1, zero)
                store_at(grads, slot + j, a0)
                mean = fma(within(lane, n - j, load_at(weights, line + slot + j), zero), a0, mean)
                if j + lanes < n:
                    store_at(grads, slot + j + lanes, a1)
                    weight = within(lane, n - j - lanes, load_at(weights, line + slot + j + lanes), zero)
                    mean = fma(weight, a1, mean)
        mean = full(columns, sum_lanes(mean))
        for r in range(query * sizes.runs, (query + 1) * sizes.runs):
            slot = runs[3 * r + 2]
            n = runs[3 * r + 1] - runs[3 * r]
            for j in range(0, n, lanes):
                old = load_at(grads, slot + j)
                new = (old - mean) * load_at(weights, line + slot + j) * factor
                store_at(grads, slot + j, within(lane, n - j, new, old))
        for c in range(0, key, lanes):
            q, y, d_q = load_at(queries, at + c), load_at(d_found, at + c), zero
            for r in range(query * sizes.runs, (query + 1) * sizes.runs):
                begin, slot = runs[3 * r], runs[3 * r + 2]
                of = row + begin * width + c
                for j in range(slot, slot + runs[3 * r + 1] - begin):
                    grad = splat(grads, j)
                    d_q = fma(grad, load_at(keys, of), d_q)
                    store_at(d_keys, of, fma(grad, q, load_at(d_keys, of)))
                    store_at(d_values, of, fma(splat(weights, line + j), y, load_at(d_values, of)))
                    of += width
            store_at(d_queries, at + c, d_q)
            if sizes.aged:
                a, d_a = load_at(ages, at + c), zero
                for r in range(query * sizes.runs, (query + 1) * sizes.runs):
                    slot = runs[3 * r + 2]
                    of = slot * width + head * key + c
                    for j in range(slot, slot + runs[3 * r + 1] - runs[3 * r]):
                        grad = splat(grads, j)
                        d_a = fma(grad, load_at(codes, of), d_a)
                        store_at(d_codes, of_codes + of, fma(grad, a, load_at(d_codes, of_codes + of)))
                        of += width
                store_at(d_ages, at + c, d_a)


@njit
def backward(
    sizes, runs, queries, ages, keys, values, codes, encodings, lane, d_found, d_queries, d_ages, d_keys, d_values,
    d_codes, room, tickets, thread, sources=SOURCES,
):  # fmt: skip
    """Backward of :func:`memagents.kernels.cpu.attention.forward.forward`, which kept nothing: weights are made anew.

    :param codes: as there
    :param encodings: the same, (S, W)
    :param d_keys: zero before, as ``d_values`` and, for every batch row, ``d_codes``, (B, S, W)
    :param room: of each thread, :func:`columns_of` and T + 1 lines
    """
    sizes = RunSizes(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6], sizes[7])
    lanes, width = lanes_of(lane), sizes.heads * sizes.key
    apart, line = sizes.positions + 2 * lanes, sizes.slots + 2 * lanes
    columns, grads = room[thread, : sizes.key * apart], room[thread, sizes.key * apart : sizes.key * apart + line]
    weights = room[thread, sizes.key * apart + line :]
    while True:
        b = next_ticket(tickets)
        if b >= sizes.batch:
            break
        first, last = seen_of(sizes, runs, b)
        for h in range(sizes.heads):
            at = b * sizes.positions * width + h * sizes.key
            pack_columns(keys, at, width, first, last, sizes.key, columns, apart)
            # What is found goes to where the gradients of the queries will be.
            look(sizes, b, h, runs, queries, ages, columns, values, codes, lane, True, weights, d_queries)
            pack_columns(values, at, width, first, last, sizes.key, columns, apart)
            look_back(
                sizes, b, h, runs, queries, ages, keys, columns, encodings, lane, weights, grads, d_found, d_queries,
                d_ages, d_keys, d_values, d_codes,
            )  # fmt: skip
