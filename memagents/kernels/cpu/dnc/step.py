"""One step of the DNC for a tile of batch rows: :meth:`memagents.cores.dnc.DNC.step`.

The maths, its order and its names are those of :mod:`memagents.memory`, one function here for one there. Arrays and
symbols are those of :mod:`memagents.kernels.cpu.dnc.tape`; ``work`` is a
:class:`memagents.kernels.cpu.dnc.forward.ForwardWork`.
"""

from __future__ import annotations

from memagents.kernels.cpu.dnc.options import kept_of, masked_norm, match_masked, sharpen, wipe_freed
from memagents.kernels.cpu.dnc.tape import interface_of
from memagents.kernels.cpu.slots import EPSILON, content_weighting, lstm, norm, softmax, squash_sigmoid, squash_softplus
from memagents.kernels.cpu.vector.simd import fma, full, load, part, select_less, sqrt, store
from memagents.kernels.cpu.vector.tile_products import (
    ROWS,
    add_products,
    both_ways_rows,
    dot_rows,
    load_or_zero,
    mix_rows,
    store_within,
)
from memagents.kernels.cpu.vector.tiles import clear


@part
def parse(raw, slopes, sizes):
    """Squash the parts of the interface vector in place."""
    face = interface_of(raw, sizes)
    for head in range(sizes.heads):
        squash_softplus(face.read_strengths, head, 1.0, slopes, head)
    squash_softplus(face.write_strength, 0, 1.0, slopes, sizes.heads)
    squash_sigmoid(face.erase)
    squash_sigmoid(face.free_gates)
    squash_sigmoid(face.allocation_gate)
    squash_sigmoid(face.write_gate)
    squash_sigmoid(face.read_masks)
    squash_sigmoid(face.write_mask)
    for i in range(face.sharpness.shape[0]):
        squash_softplus(face.sharpness, i, 1.0, slopes, sizes.heads + 1 + i)
    for at in range(0, 3 * sizes.heads, 3):
        softmax(face.read_modes, at, 3, full(raw, 1.0))
    return face


@part
def update_usage(before, free_gates, usage, sizes):
    """Here and up to the write weighting every operation rounds as in :mod:`memagents.memory`, so that the order of
    slots that are used almost equally is the same.
    """
    n = sizes.slots
    for i in range(n):
        u, w = load(before.usage, i), load(before.write_weights, i)
        store(usage, i, (u + w - u * w) * kept_of(before, free_gates, i, sizes))


@part
def allocation_weighting(usage, taken, allocation):
    """Without a sort: a slot's product runs over all slots that are less used, or as much and of a smaller index."""
    n = usage.shape[0]
    one = full(usage, 1.0)
    for i in range(n):
        store(allocation, i, EPSILON + (1.0 - EPSILON) * load(usage, i))
    for i in range(n - n % ROWS, n):
        store(taken, i, product_of_less_used(allocation, i, 0, n, one))
    for i in range(0, n - n % ROWS, ROWS):
        u0, u1, u2, u3 = load(allocation, i), load(allocation, i + 1), load(allocation, i + 2), load(allocation, i + 3)
        a0 = product_of_less_used(allocation, i, i, i + ROWS, one)
        a1 = product_of_less_used(allocation, i + 1, i, i + ROWS, one)
        a2 = product_of_less_used(allocation, i + 2, i, i + ROWS, one)
        a3 = product_of_less_used(allocation, i + 3, i, i + ROWS, one)
        for j in range(i):
            u = load(allocation, j)
            a0, a1 = a0 * select_less(u0, u, one, u), a1 * select_less(u1, u, one, u)
            a2, a3 = a2 * select_less(u2, u, one, u), a3 * select_less(u3, u, one, u)
        for j in range(i + ROWS, n):
            u = load(allocation, j)
            a0, a1 = a0 * select_less(u, u0, u, one), a1 * select_less(u, u1, u, one)
            a2, a3 = a2 * select_less(u, u2, u, one), a3 * select_less(u, u3, u, one)
        store(taken, i, a0)
        store(taken, i + 1, a1)
        store(taken, i + 2, a2)
        store(taken, i + 3, a3)
    for i in range(n):
        store(allocation, i, (1.0 - load(allocation, i)) * load(taken, i))


@part
def product_of_less_used(usage, i, first, last, product):
    """``product`` times the usages, from slot ``first`` to before ``last``, that come before that of slot i."""
    mine = load(usage, i)
    for j in range(first, i):
        other = load(usage, j)
        product = product * select_less(mine, other, full(usage, 1.0), other)
    for j in range(i + 1, last):
        other = load(usage, j)
        product = product * select_less(other, mine, other, full(usage, 1.0))
    return product


@part
def write_weighting(face, content, allocation, out):
    """Fill ``out``; return the sum of the weighting."""
    ga, gw, total = load(face.allocation_gate, 0), load(face.write_gate, 0), full(out, 0.0)
    for i in range(out.shape[0]):
        c = load(content, i)
        w = gw * (ga * load(allocation, i) + (1.0 - ga) * c)
        total += w
        store(out, i, w)
    return total


@part
def update_link(link, row, weights, precedence, out, out_row):
    """Update one row of the link matrix, from ``link`` to ``out``."""
    n = weights.shape[0]
    at, out_at = row * n, out_row * n
    w = load(weights, row)
    keep = 1.0 - w
    for j in range(n):
        store(out, out_at + j, fma(keep - load(weights, j), load(link, at + j), w * load(precedence, j)))
    store(out, out_at + row, full(out, 0.0))


@part
def update_precedence(before, weights, total, out):
    keep = 1.0 - total
    for i in range(out.shape[0]):
        store(out, i, fma(keep, load(before, i), load(weights, i)))


@part
def read_weighting(modes, record, sizes):
    n = sizes.slots
    for head in range(sizes.heads):
        b, c, f = load(modes, 3 * head), load(modes, 3 * head + 1), load(modes, 3 * head + 2)
        for i in range(head * n, head * n + n):
            mixed = fma(c, load(record.read_content, i), b * load(record.backward, i))
            store(record.carry.read_weights, i, fma(f, load(record.forward, i), mixed))


@part
def choose_where_to_write(before, now, face, work, sizes):
    """Compute usage, allocation, content on the memory as it was, write weighting, precedence."""
    update_usage(before, face.free_gates, now.carry.usage, sizes)
    allocation_weighting(now.carry.usage, now.taken, work.allocation)
    clear(now.write_match)
    n, width, norms = sizes.slots, sizes.width, before.norms
    if sizes.masked:
        norms, key_norm = now.write_norms, masked_norm(face.write_key, 0, face.write_mask, 0, width)
        match_masked(
            work.memory, face.write_key, 0, face.write_mask, 0, work.masked_key, now.write_match, norms, 0, n, width
        )
    else:
        key_norm = norm(face.write_key, 0, width)
        for i in range(0, n, ROWS):
            dot_rows(work.memory, i, n, width, face.write_key, 0, now.write_match, 0)
    content_weighting(now.write_match, 0, norms, key_norm, load(face.write_strength, 0), now.write_content)
    total = write_weighting(face, now.write_content, work.allocation, now.carry.write_weights)
    update_precedence(before.precedence, now.carry.write_weights, total, now.carry.precedence)


@part
def write_rows(memory, i, weights, erase, write, norms):
    """:func:`erase_and_add` for four slots in place, and their norms."""
    n, width = weights.shape[0], erase.shape[0]
    w0, w1 = load(weights, i), load_or_zero(weights, 0, i + 1, n)
    w2, w3 = load_or_zero(weights, 0, i + 2, n), load_or_zero(weights, 0, i + 3, n)
    a0 = full(memory, EPSILON)
    a1, a2, a3 = a0, a0, a0
    r0 = i * width
    r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
    for k in range(width):
        e, v = -load(erase, k), load(write, k)
        m0, m1, m2, m3 = load(memory, r0 + k), load(memory, r1 + k), load(memory, r2 + k), load(memory, r3 + k)
        m0, m1 = fma(w0, fma(e, m0, v), m0), fma(w1, fma(e, m1, v), m1)
        m2, m3 = fma(w2, fma(e, m2, v), m2), fma(w3, fma(e, m3, v), m3)
        a0, a1, a2, a3 = fma(m0, m0, a0), fma(m1, m1, a1), fma(m2, m2, a2), fma(m3, m3, a3)
        store(memory, r0 + k, m0)
        store(memory, r1 + k, m1)
        store(memory, r2 + k, m2)
        store(memory, r3 + k, m3)
    store(norms, i, sqrt(a0))
    store_within(norms, i + 1, n, sqrt(a1))
    store_within(norms, i + 2, n, sqrt(a2))
    store_within(norms, i + 3, n, sqrt(a3))


@part
def write_and_match(before, now, face, work, sizes):
    """Write the memory in place; fill the norms of its slots and their dot products with the read keys."""
    n, width, memory = sizes.slots, sizes.width, work.memory
    if sizes.deallocates:
        wipe_freed(before, face.free_gates, memory, memory, sizes)
    clear(now.read_match)
    plain_heads = 0 if sizes.masked else sizes.heads
    for i in range(0, n, ROWS):
        write_rows(memory, i, now.carry.write_weights, face.erase, face.write, now.carry.norms)
        for head in range(plain_heads):
            dot_rows(memory, i, n, width, face.read_keys, head * width, now.read_match, head * n)
    for head in range(plain_heads, sizes.heads):
        match_masked(
            memory, face.read_keys, head * width, face.read_masks, head * width, work.masked_key,
            now.read_match, now.read_norms, head * n, n, width,
        )  # fmt: skip


@part
def link_and_follow(before, now, face, link, sizes):
    """Update the links in place; follow them from what was read."""
    n = sizes.slots
    clear(now.forward)
    clear(now.backward)
    for i in range(0, n, ROWS):
        for row in range(i, min(i + ROWS, n)):
            update_link(link, row, now.carry.write_weights, before.precedence, link, row)
        for head in range(sizes.heads):
            both_ways_rows(link, i, n, before.read_weights, head * n, now.forward, now.backward)
    if sizes.sharpened:
        for head in range(sizes.heads):
            sharpen(now.backward, head * n, n, load(face.sharpness, head), now.backward_logs)
            sharpen(now.forward, head * n, n, load(face.sharpness, sizes.heads + head), now.forward_logs)


@part
def read(now, face, memory, vectors, sizes):
    """Compute read weightings and read vectors."""
    n, width = sizes.slots, sizes.width
    for head in range(sizes.heads):
        strength, norms = load(face.read_strengths, head), now.carry.norms
        if sizes.masked:
            norms = now.read_norms[head * n : head * n + n]
            key_norm = masked_norm(face.read_keys, head * width, face.read_masks, head * width, width)
        else:
            key_norm = norm(face.read_keys, head * width, width)
        content_weighting(now.read_match, head * n, norms, key_norm, strength, now.read_content)
    read_weighting(face.read_modes, now, sizes)
    clear(vectors)
    for i in range(0, n, ROWS):
        for head in range(sizes.heads):
            mix_rows(memory, i, n, width, now.carry.read_weights, head * n, vectors, head * width)


@part
def step(before, now, work, sizes):
    """One step, from the inputs' share in ``now.gates`` and the bias in ``now.interface`` on."""
    hidden, vectors = work.features[: sizes.hidden], work.features[sizes.hidden :]
    add_products(work.recurrent_weight, work.features, now.gates)
    lstm(now.gates, before.cell, now.carry.cell, now.squashed_cell, hidden)
    add_products(work.interface_weight, hidden, now.interface)
    face = parse(now.interface, now.slopes, sizes)
    choose_where_to_write(before, now, face, work, sizes)
    write_and_match(before, now, face, work, sizes)
    link_and_follow(before, now, face, work.link, sizes)
    read(now, face, work.memory, vectors, sizes)
