"""The derivative of :mod:`memagents.kernels.cpu.dnc.step`, by hand.

A gradient is named ``d_`` and the name of what it belongs to; ``work`` is a
:class:`memagents.kernels.cpu.dnc.backward.BackwardWork`.
"""

from __future__ import annotations

from memagents.kernels.cpu.dnc import options, options_backward
from memagents.kernels.cpu.dnc.step import update_link
from memagents.kernels.cpu.dnc.tape import interface_of
from memagents.kernels.cpu.slots import EPSILON, erase_and_add, norm
from memagents.kernels.cpu.slots_backward import (
    content_weighting_backward,
    erase_and_add_backward,
    lstm_backward,
    through_sigmoid,
)
from memagents.kernels.cpu.vector.simd import fma, full, load, part, select_less, store
from memagents.kernels.cpu.vector.tile_products import (
    ROWS,
    add_products,
    add_scaled,
    dot_rows,
    load_or_zero,
    store_rows_sum,
)
from memagents.kernels.cpu.vector.tiles import clear

# --- the read -------------------------------------------------------------------------------------------------------


@part
def read_weighting(face, now, work, d_face, sizes):
    """Split the gradient of the read weightings over content, links and modes."""
    n = sizes.slots
    for head in range(sizes.heads):
        b, c, f = (
            load(face.read_modes, 3 * head),
            load(face.read_modes, 3 * head + 1),
            load(face.read_modes, 3 * head + 2),
        )
        d_b = full(work.d_read, 0.0)
        d_c, d_f = d_b, d_b
        for i in range(head * n, head * n + n):
            d = load(work.d_read, i)
            d_b = fma(d, load(now.backward, i), d_b)
            d_c = fma(d, load(now.read_content, i), d_c)
            d_f = fma(d, load(now.forward, i), d_f)
            store(work.d_backward, i, b * d)
            store(work.d_content, i, c * d)
            store(work.d_forward, i, f * d)
        mean = fma(b, d_b, fma(c, d_c, f * d_f))
        store(d_face.read_modes, 3 * head, b * (d_b - mean))
        store(d_face.read_modes, 3 * head + 1, c * (d_c - mean))
        store(d_face.read_modes, 3 * head + 2, f * (d_f - mean))
    if sizes.sharpened:
        for head in range(sizes.heads):
            options_backward.sharpen(
                now.backward, now.backward_logs, head * n, n, load(face.sharpness, head),
                load(now.slopes, sizes.heads + 1 + head), work.d_backward, d_face.sharpness, head,
            )  # fmt: skip
            options_backward.sharpen(
                now.forward, now.forward_logs, head * n, n, load(face.sharpness, sizes.heads + head),
                load(now.slopes, 2 * sizes.heads + 1 + head), work.d_forward, d_face.sharpness, sizes.heads + head,
            )  # fmt: skip


@part
def read(now, face, before, work, d_vectors, d_face, sizes):
    """Go back through the read: from read vectors, read weightings and memory to links, keys and memory.

    ``before`` is the memory that the write changes, from which that after it is computed again.
    """
    n, width, memory = sizes.slots, sizes.width, work.memory
    keys, d_keys = face.read_keys, d_face.read_keys
    if sizes.masked:
        keys, d_keys = work.masked_keys, work.d_masked_keys
        clear(d_keys)
    for i in range(0, n, ROWS):
        for row in range(i, min(i + ROWS, n)):
            erase_and_add(before, row, now.carry.write_weights, face.erase, face.write, memory)
        for head in range(sizes.heads):
            dot_rows(memory, i, n, width, d_vectors, head * width, work.d_read, head * n)
    read_weighting(face, now, work, d_face, sizes)
    clear(work.d_norms)
    for head in range(sizes.heads):
        at, start, strength, norms = head * n, head * width, load(face.read_strengths, head), now.carry.norms
        if sizes.masked:
            norms = now.read_norms[at : at + n]
            key_norm = options.masked_norm(face.read_keys, start, face.read_masks, start, width)
            options.mask_key(face.read_keys, start, face.read_masks, start, keys, start, width)
        else:
            key_norm = norm(face.read_keys, start, width)
        d_strength, d_key_norm = content_weighting_backward(
            work.d_content, now.read_match, now.read_content, at, norms, key_norm, strength, work.d_norms
        )
        store(d_face.read_strengths, head, d_strength * load(now.slopes, head))
        if sizes.masked:
            store(work.key_slopes, head, d_key_norm / key_norm)
            options_backward.masked_norms(
                memory, face.read_masks, start, norms, work.d_norms, work.d_memory, d_face.read_masks, n, width
            )
        else:
            add_scaled(d_key_norm / key_norm, face.read_keys, start, width, d_face.read_keys)
    for i in range(0, n, ROWS):
        if not sizes.masked:
            for row in range(i, min(i + ROWS, n)):
                slope = load(work.d_norms, row) / load(now.carry.norms, row)
                add_scaled(slope, memory, row * width, width, work.d_memory)
        for head in range(sizes.heads):
            read_rows(
                now.carry.read_weights, work.d_content, head * n, d_vectors, keys, d_keys,
                head * width, i, sizes, memory, work.d_memory,
            )  # fmt: skip
    if sizes.masked:
        for head in range(sizes.heads):
            start = head * width
            options_backward.unmask_key(
                face.read_keys, start, face.read_masks, start, d_keys, start, load(work.key_slopes, head),
                d_face.read_keys, d_face.read_masks, width,
            )  # fmt: skip


@part
def read_rows(weights, d_match, at, d_vectors, keys, d_keys, start, i, sizes, memory, d_memory):
    """Add the gradients of one head's reading and matching of four slots to those of their content and of the key."""
    n, width = sizes.slots, sizes.width
    w0, w1 = load(weights, at + i), load_or_zero(weights, at, i + 1, n)
    w2, w3 = load_or_zero(weights, at, i + 2, n), load_or_zero(weights, at, i + 3, n)
    x0, x1 = load(d_match, at + i), load_or_zero(d_match, at, i + 1, n)
    x2, x3 = load_or_zero(d_match, at, i + 2, n), load_or_zero(d_match, at, i + 3, n)
    r0 = i * width
    r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
    for k in range(width):
        d, key, total = load(d_vectors, start + k), load(keys, start + k), load(d_keys, start + k)
        m0, m1, m2, m3 = load(memory, r0 + k), load(memory, r1 + k), load(memory, r2 + k), load(memory, r3 + k)
        store(d_memory, r0 + k, fma(x0, key, fma(w0, d, load(d_memory, r0 + k))))
        store(d_memory, r1 + k, fma(x1, key, fma(w1, d, load(d_memory, r1 + k))))
        store(d_memory, r2 + k, fma(x2, key, fma(w2, d, load(d_memory, r2 + k))))
        store(d_memory, r3 + k, fma(x3, key, fma(w3, d, load(d_memory, r3 + k))))
        store(d_keys, start + k, fma(x3, m3, fma(x2, m2, fma(x1, m1, fma(x0, m0, total)))))


# --- the links ------------------------------------------------------------------------------------------------------


@part
def follow_rows(link_rows, i, n, start, vector, d_along, d_against, d_vector, d_link):
    """The derivative of :func:`~memagents.kernels.cpu.vector.tile_products.both_ways_rows` for four rows of links."""
    v0, v1 = load(vector, start + i), load_or_zero(vector, start, i + 1, n)
    v2, v3 = load_or_zero(vector, start, i + 2, n), load_or_zero(vector, start, i + 3, n)
    g0, g1 = load(d_along, start + i), load_or_zero(d_along, start, i + 1, n)
    g2, g3 = load_or_zero(d_along, start, i + 2, n), load_or_zero(d_along, start, i + 3, n)
    a0 = full(link_rows, 0.0)
    a1, a2, a3 = a0, a0, a0
    at = i * n
    for j in range(n):
        v, g, total = load(vector, start + j), load(d_against, start + j), load(d_vector, start + j)
        m0, m1 = load(link_rows, j), load(link_rows, n + j)
        m2, m3 = load(link_rows, 2 * n + j), load(link_rows, 3 * n + j)
        a0, a1, a2, a3 = fma(m0, g, a0), fma(m1, g, a1), fma(m2, g, a2), fma(m3, g, a3)
        store(d_vector, start + j, fma(m3, g3, fma(m2, g2, fma(m1, g1, fma(m0, g0, total)))))
        store(d_link, at + j, fma(g0, v, fma(v0, g, load(d_link, at + j))))
        store(d_link, at + n + j, fma(g1, v, fma(v1, g, load(d_link, at + n + j))))
        store(d_link, at + 2 * n + j, fma(g2, v, fma(v2, g, load(d_link, at + 2 * n + j))))
        store(d_link, at + 3 * n + j, fma(g3, v, fma(v3, g, load(d_link, at + 3 * n + j))))
    store_rows_sum(d_vector, start, i, n, a0, a1, a2, a3)


@part
def update_link_rows(link, i, weights, precedence, d_link, d_weights, d_precedence):
    """The derivative of :func:`memagents.kernels.cpu.dnc.step.update_link` for four rows.

    ``d_link``, which is zero on the diagonal, becomes that before the step.
    """
    n = weights.shape[0]
    w0, w1 = load(weights, i), load_or_zero(weights, 0, i + 1, n)
    w2, w3 = load_or_zero(weights, 0, i + 2, n), load_or_zero(weights, 0, i + 3, n)
    k0, k1, k2, k3 = 1.0 - w0, 1.0 - w1, 1.0 - w2, 1.0 - w3
    a0 = full(link, 0.0)
    a1, a2, a3 = a0, a0, a0
    r0 = i * n
    r1, r2, r3 = r0 + n, r0 + 2 * n, r0 + 3 * n
    for j in range(n):
        d0, d1, d2, d3 = load(d_link, r0 + j), load(d_link, r1 + j), load(d_link, r2 + j), load(d_link, r3 + j)
        l0, l1, l2, l3 = load(link, r0 + j), load(link, r1 + j), load(link, r2 + j), load(link, r3 + j)
        w, p = load(weights, j), load(precedence, j)
        a0, a1, a2, a3 = fma(d0, p - l0, a0), fma(d1, p - l1, a1), fma(d2, p - l2, a2), fma(d3, p - l3, a3)
        store(d_weights, j, load(d_weights, j) - fma(d0, l0, fma(d1, l1, fma(d2, l2, d3 * l3))))
        store(d_precedence, j, load(d_precedence, j) + fma(d0, w0, fma(d1, w1, fma(d2, w2, d3 * w3))))
        store(d_link, r0 + j, d0 * (k0 - w))
        store(d_link, r1 + j, d1 * (k1 - w))
        store(d_link, r2 + j, d2 * (k2 - w))
        store(d_link, r3 + j, d3 * (k3 - w))
    store_rows_sum(d_weights, 0, i, n, a0, a1, a2, a3)


@part
def links(before, now, link, work, sizes):
    """Go back through the links: from those, the precedence and the weightings they led to, to before the step.

    ``work.d_read`` becomes the gradient of the *previous* read weightings.
    """
    n, weights = sizes.slots, now.carry.write_weights
    total, shared = full(weights, 0.0), full(weights, 0.0)
    for i in range(n):
        total += load(weights, i)
        shared = fma(load(work.d_precedence, i), load(before.precedence, i), shared)
    for i in range(n):
        d = load(work.d_precedence, i)
        store(work.d_write, i, load(work.d_write, i) + (d - shared))
        store(work.d_precedence, i, d * (1.0 - total))
    clear(work.d_read)
    for i in range(0, n, ROWS):
        if i + ROWS > n:
            clear(work.link_rows)
        for row in range(i, min(i + ROWS, n)):
            update_link(link, row, weights, before.precedence, work.link_rows, row - i)
        for head in range(sizes.heads):
            follow_rows(
                work.link_rows, i, n, head * n, before.read_weights,
                work.d_forward, work.d_backward, work.d_read, work.d_link,
            )  # fmt: skip
        for row in range(i, min(i + ROWS, n)):
            store(work.d_link, row * n + row, full(work.d_link, 0.0))
        update_link_rows(link, i, weights, before.precedence, work.d_link, work.d_write, work.d_precedence)


# --- the write ------------------------------------------------------------------------------------------------------


@part
def match_rows(d_match, key, i, sizes, memory, work, d_key):
    """Add the gradients of matching four slots with the key to those of content and key."""
    n, width, d_memory = sizes.slots, sizes.width, work.d_memory
    c0, c1 = load(work.d_norms, i), load_or_zero(work.d_norms, 0, i + 1, n)
    c2, c3 = load_or_zero(work.d_norms, 0, i + 2, n), load_or_zero(work.d_norms, 0, i + 3, n)
    x0, x1 = load(d_match, i), load_or_zero(d_match, 0, i + 1, n)
    x2, x3 = load_or_zero(d_match, 0, i + 2, n), load_or_zero(d_match, 0, i + 3, n)
    r0 = i * width
    r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
    for k in range(width):
        m0, m1, m2, m3 = load(memory, r0 + k), load(memory, r1 + k), load(memory, r2 + k), load(memory, r3 + k)
        v = load(key, k)
        store(d_memory, r0 + k, fma(x0, v, fma(c0, m0, load(d_memory, r0 + k))))
        store(d_memory, r1 + k, fma(x1, v, fma(c1, m1, load(d_memory, r1 + k))))
        store(d_memory, r2 + k, fma(x2, v, fma(c2, m2, load(d_memory, r2 + k))))
        store(d_memory, r3 + k, fma(x3, v, fma(c3, m3, load(d_memory, r3 + k))))
        store(d_key, k, load(d_key, k) + fma(x3, m3, fma(x2, m2, fma(x1, m1, x0 * m0))))


@part
def write_weighting(now, face, work, d_face):
    """Split the gradient of the write weighting over content, allocation and the gates."""
    ga, gw = load(face.allocation_gate, 0), load(face.write_gate, 0)
    d_ga, d_gw = full(work.d_write, 0.0), full(work.d_write, 0.0)
    for i in range(work.d_write.shape[0]):
        usage = EPSILON + (1.0 - EPSILON) * load(now.carry.usage, i)
        store(work.allocation, i, usage)
        free, c, d = (1.0 - usage) * load(now.taken, i), load(now.write_content, i), load(work.d_write, i)
        d_ga = fma(d, free - c, d_ga)
        d_gw = fma(d, fma(ga, free - c, c), d_gw)
        store(work.d_allocation, i, gw * ga * d)
        store(work.d_content, i, gw * (1.0 - ga) * d)
    store(d_face.allocation_gate, 0, gw * d_ga)
    store(d_face.write_gate, 0, d_gw)


@part
def write(before, now, face, memory, kept, work, d_face, sizes):
    """Go back through the write: from memory and write weighting to the memory before and the allocation.

    ``kept`` is what the write changes: the memory, or what is kept of it.
    """
    n, width, norms = sizes.slots, sizes.width, before.norms
    for i in range(0, n, ROWS):
        erase_and_add_backward(
            kept, i, now.carry.write_weights, face.erase, face.write,
            work.d_memory, work.d_write, d_face.erase, d_face.write,
        )  # fmt: skip
    if sizes.deallocates:
        options_backward.wipe_freed(before, face.free_gates, memory, work.d_memory, work.d_kept, sizes)
    write_weighting(now, face, work, d_face)
    clear(work.d_norms)
    key, d_key, strength = face.write_key, d_face.write_key, load(face.write_strength, 0)
    if sizes.masked:
        norms, key_norm = now.write_norms, options.masked_norm(key, 0, face.write_mask, 0, width)
    else:
        key_norm = norm(key, 0, width)
    d_strength, d_key_norm = content_weighting_backward(
        work.d_content, now.write_match, now.write_content, 0, norms, key_norm, strength, work.d_norms
    )
    store(d_face.write_strength, 0, d_strength * load(now.slopes, sizes.heads))
    if sizes.masked:
        key, d_key = work.masked_keys[:width], work.d_masked_keys[:width]
        options.mask_key(face.write_key, 0, face.write_mask, 0, key, 0, width)
        clear(d_key)
        options_backward.masked_norms(
            memory, face.write_mask, 0, norms, work.d_norms, work.d_memory, d_face.write_mask, n, width
        )
    else:
        add_scaled(d_key_norm / key_norm, key, 0, width, d_key)
        for i in range(n):
            store(work.d_norms, i, load(work.d_norms, i) / load(norms, i))
    for i in range(0, n, ROWS):
        match_rows(work.d_content, key, i, sizes, memory, work, d_key)
    if sizes.masked:
        options_backward.unmask_key(
            face.write_key, 0, face.write_mask, 0, d_key, 0, d_key_norm / key_norm,
            d_face.write_key, d_face.write_mask, width,
        )  # fmt: skip


@part
def allocation_weighting(now, work):
    """Add to the gradient of the usage, the order of the slots being fixed."""
    n, usage, d_free = work.allocation.shape[0], work.allocation, work.d_allocation
    slope, zero = full(usage, 1.0 - EPSILON), full(usage, 0.0)
    for i in range(n):
        through = load(d_free, i) * load(now.taken, i)
        store(work.d_usage, i, fma(-slope, through, load(work.d_usage, i)))
        store(d_free, i, through * (1.0 - load(usage, i)))
    for i in range(n - n % ROWS, n):
        total = sum_of_more_used(usage, d_free, i, 0, n)
        store(work.d_usage, i, fma(slope, total / load(usage, i), load(work.d_usage, i)))
    for i in range(0, n - n % ROWS, ROWS):
        u0, u1, u2, u3 = load(usage, i), load(usage, i + 1), load(usage, i + 2), load(usage, i + 3)
        a0 = sum_of_more_used(usage, d_free, i, i, i + ROWS)
        a1 = sum_of_more_used(usage, d_free, i + 1, i, i + ROWS)
        a2 = sum_of_more_used(usage, d_free, i + 2, i, i + ROWS)
        a3 = sum_of_more_used(usage, d_free, i + 3, i, i + ROWS)
        for j in range(i):
            u, d = load(usage, j), load(d_free, j)
            a0, a1 = a0 + select_less(u0, u, d, zero), a1 + select_less(u1, u, d, zero)
            a2, a3 = a2 + select_less(u2, u, d, zero), a3 + select_less(u3, u, d, zero)
        for j in range(i + ROWS, n):
            u, d = load(usage, j), load(d_free, j)
            a0, a1 = a0 + select_less(u, u0, zero, d), a1 + select_less(u, u1, zero, d)
            a2, a3 = a2 + select_less(u, u2, zero, d), a3 + select_less(u, u3, zero, d)
        store(work.d_usage, i, fma(slope, a0 / u0, load(work.d_usage, i)))
        store(work.d_usage, i + 1, fma(slope, a1 / u1, load(work.d_usage, i + 1)))
        store(work.d_usage, i + 2, fma(slope, a2 / u2, load(work.d_usage, i + 2)))
        store(work.d_usage, i + 3, fma(slope, a3 / u3, load(work.d_usage, i + 3)))


@part
def sum_of_more_used(usage, values, i, first, last):
    """The values, from slot ``first`` to before ``last``, of slots whose usage comes after that of slot i."""
    mine, total, zero = load(usage, i), full(usage, 0.0), full(usage, 0.0)
    for j in range(first, i):
        total += select_less(mine, load(usage, j), load(values, j), zero)
    for j in range(i + 1, last):
        total += select_less(load(usage, j), mine, zero, load(values, j))
    return total


@part
def update_usage(before, face, work, d_face, sizes):
    """Go back through the usage to usage, write weighting and read weightings before the step."""
    n, one = sizes.slots, full(work.d_usage, 1.0)
    for i in range(n):
        u, w, d = load(before.usage, i), load(before.write_weights, i), load(work.d_usage, i)
        d_kept, kept = fma(d, fma(u, 1.0 - w, w), load(work.d_kept, i)), one
        for head in range(sizes.heads):
            others = d_kept
            for other in range(sizes.heads):
                if other != head:
                    freed = load(face.free_gates, other) * load(before.read_weights, other * n + i)
                    others = others * (1.0 - freed)
            f, r = load(face.free_gates, head), load(before.read_weights, head * n + i)
            kept = kept * fma(-f, r, one)
            store(d_face.free_gates, head, fma(-others, r, load(d_face.free_gates, head)))
            store(work.d_read, head * n + i, fma(-others, f, load(work.d_read, head * n + i)))
        store(work.d_usage, i, d * kept * (1.0 - w))
        store(work.d_write, i, d * kept * (1.0 - u))


# --- all of a step --------------------------------------------------------------------------------------------------


@part
def step(before, now, memory, link, work, sizes):
    """One step: the gradients in ``work`` go from after it to before it, but for resets."""
    face, d_face = interface_of(now.interface, sizes), interface_of(work.d_interface, sizes)
    clear(work.d_interface)
    kept = memory
    if sizes.deallocates:
        kept = work.kept
        options.wipe_freed(before, face.free_gates, memory, kept, sizes)
    read(now, face, kept, work, work.d_features[sizes.hidden :], d_face, sizes)
    links(before, now, link, work, sizes)
    write(before, now, face, memory, kept, work, d_face, sizes)
    allocation_weighting(now, work)
    update_usage(before, face, work, d_face, sizes)
    through_sigmoid(face.erase, d_face.erase)
    through_sigmoid(face.free_gates, d_face.free_gates)
    through_sigmoid(face.allocation_gate, d_face.allocation_gate)
    through_sigmoid(face.write_gate, d_face.write_gate)
    through_sigmoid(face.read_masks, d_face.read_masks)
    through_sigmoid(face.write_mask, d_face.write_mask)
    d_hidden = work.d_features[: sizes.hidden]
    add_products(work.interface_columns, work.d_interface, d_hidden)
    lstm_backward(now, before, d_hidden, work.d_cell, work.d_gates)
    clear(work.d_features)
    add_products(work.recurrent_columns, work.d_gates, work.d_features)
