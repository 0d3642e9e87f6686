"""The DNC's window, backward: the derivative of :mod:`memagents.kernels.dnc_forward`, derived by hand.

A gradient is named ``d_`` and the name of what it belongs to. The memory and link matrices that the forward went
through are computed again from a checkpoint, a chunk of steps at a time; everything else comes from the tape.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.extending import register_jitable

from memagents.kernels.dnc_forward import erase_and_add, norm, update_link
from memagents.kernels.dnc_tape import (
    EPSILON,
    carry_of,
    carry_rows,
    interface_of,
    interface_rows,
    padded_slots,
    record_of,
    reset_carry,
    state_at,
    take,
)
from memagents.kernels.products import ROWS, add_products, dot_rows, load_or_zero, pack, packed_rows, store_rows_sum
from memagents.kernels.simd import fma, full, lanes_of, load, part, select_less, store
from memagents.kernels.tiles import clear, clear_fresh, copy, load_rows, load_starts, store_rows


class Work(NamedTuple):
    """What one thread needs of a tile. Gradients of the state are those after a step, then those before it."""

    memories: Any  # steps x N W, padded: the memory before every step of a chunk
    links: Any  # steps x N N, padded
    memory: Any  # N W, padded: the memory after a step
    link_rows: Any  # 4 N: four rows of the link matrix after a step
    carry: Any  # the small state before a step, where it was reset
    fresh: Any  # 1
    allocation: Any  # N: usage as the allocation sees it
    d_memory: Any  # N W, padded
    d_link: Any  # N N, padded
    d_usage: Any  # N
    d_write: Any  # N
    d_precedence: Any  # N
    d_read: Any  # R N
    d_cell: Any  # H
    d_features: Any  # H + R W
    grad_features: Any  # H + R W, what comes from outside at a step
    d_gates: Any  # 4H
    d_interface: Any  # I
    d_forward: Any  # R N
    d_backward: Any  # R N
    d_content: Any  # R N
    d_norms: Any  # N
    d_allocation: Any  # N
    recurrent_columns: Any  # (H + R W) x 4H, packed
    interface_columns: Any  # H x I, packed


@register_jitable
def work_rows(sizes, every, lanes):
    """Entries of a :class:`Work` for chunks of ``every`` steps."""
    n, padded, reads = sizes.slots, padded_slots(sizes), sizes.heads * sizes.slots
    features = sizes.hidden + sizes.heads * sizes.width
    matrices = (every + 2) * padded * sizes.width + (every + 1) * padded * n + ROWS * n
    small = carry_rows(sizes) + 1 + 6 * n + 4 * reads + 5 * sizes.hidden + 2 * features + interface_rows(sizes)
    weights = packed_rows(features, 4 * sizes.hidden, lanes) + packed_rows(sizes.hidden, interface_rows(sizes), lanes)
    return matrices + small + weights


@part
def prepare(work, recurrent_columns, interface_columns, sizes):
    """What all tiles of a thread share: the weights, and zeros in the padding, which nothing else writes."""
    if padded_slots(sizes) > sizes.slots:
        clear(work.memories)
        clear(work.links)
        clear(work.memory)
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
    d_memory, at = take(flat, at, padded * sizes.width)
    d_link, at = take(flat, at, padded * n)
    d_usage, at = take(flat, at, n)
    d_write, at = take(flat, at, n)
    d_precedence, at = take(flat, at, n)
    d_read, at = take(flat, at, reads)
    d_cell, at = take(flat, at, sizes.hidden)
    d_features, at = take(flat, at, features)
    grad_features, at = take(flat, at, features)
    d_gates, at = take(flat, at, 4 * sizes.hidden)
    d_interface, at = take(flat, at, interface_rows(sizes))
    d_forward, at = take(flat, at, reads)
    d_backward, at = take(flat, at, reads)
    d_content, at = take(flat, at, reads)
    d_norms, at = take(flat, at, n)
    d_allocation, at = take(flat, at, n)
    recurrent_columns, at = take(flat, at, packed_rows(features, 4 * sizes.hidden, lanes))
    interface_columns, at = take(flat, at, packed_rows(sizes.hidden, interface_rows(sizes), lanes))
    return Work(
        memories, links, memory, link_rows, carry, fresh, allocation,
        d_memory, d_link, d_usage, d_write, d_precedence, d_read, d_cell, d_features, grad_features,
        d_gates, d_interface, d_forward, d_backward, d_content, d_norms, d_allocation,
        recurrent_columns, interface_columns,
    )  # fmt: skip


# --- the read -------------------------------------------------------------------------------------------------------


@part
def read_weighting(face, now, work, d_face, sizes):
    """Splits the gradient of the read weightings over content, links and modes."""
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


@part
def content_weighting(d_content, match, content, start, norms, key_norm, strength, d_norms):
    """Turns the gradient of a weighting into that of the dot products, in place, and adds to that of the norms.

    Returns the gradients of the strength and of the key's norm.
    """
    n = norms.shape[0]
    mean = full(match, 0.0)
    for i in range(start, start + n):
        mean = fma(load(d_content, i), load(content, i), mean)
    d_strength, d_key_norm = full(match, 0.0), full(match, 0.0)
    for i in range(n):
        cosine, slot_norm = load(match, start + i), load(norms, i)
        d_score = load(content, start + i) * (load(d_content, start + i) - mean)
        d_strength = fma(d_score, cosine, d_strength)
        d_dot = strength * d_score / fma(key_norm, slot_norm, full(match, EPSILON))
        d_product = -(d_dot * cosine)
        d_key_norm = fma(d_product, slot_norm, d_key_norm)
        store(d_norms, i, fma(d_product, key_norm, load(d_norms, i)))
        store(d_content, start + i, d_dot)
    return d_strength, d_key_norm


@part
def add_scaled(scale, values, start, count, out):
    """out += scale · values, from ``start`` on in both."""
    for k in range(start, start + count):
        store(out, k, fma(scale, load(values, k), load(out, k)))


@part
def read(now, face, work, d_vectors, d_face, sizes):
    """From the gradients of read vectors, read weightings and memory to those of links, keys, and memory."""
    n, width, memory = sizes.slots, sizes.width, work.memory
    for i in range(0, n, ROWS):
        for head in range(sizes.heads):
            dot_rows(memory, i, n, width, d_vectors, head * width, work.d_read, head * n)
    read_weighting(face, now, work, d_face, sizes)
    clear(work.d_norms)
    for head in range(sizes.heads):
        at, key_norm, strength = head * n, norm(face.read_keys, head * width, width), load(face.read_strengths, head)
        d_strength, d_key_norm = content_weighting(
            work.d_content, now.read_match, now.read_content, at, now.carry.norms, key_norm, strength, work.d_norms
        )
        store(d_face.read_strengths, head, d_strength * load(now.strength_slopes, head))
        add_scaled(d_key_norm / key_norm, face.read_keys, head * width, width, d_face.read_keys)
    for i in range(0, n, ROWS):
        for row in range(i, min(i + ROWS, n)):
            add_scaled(load(work.d_norms, row) / load(now.carry.norms, row), memory, row * width, width, work.d_memory)
        for head in range(sizes.heads):
            read_rows(
                now.carry.read_weights, work.d_content, head * n, d_vectors, face.read_keys, d_face.read_keys,
                head * width, i, sizes, memory, work.d_memory,
            )  # fmt: skip


@part
def read_rows(weights, d_match, at, d_vectors, keys, d_keys, start, i, sizes, memory, d_memory):
    """What reading four slots and matching them with a key gives to their content and to the key, for one head."""
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
    """The derivative of :func:`memagents.kernels.products.both_ways_rows` for four rows of the link matrix."""
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
    """The derivative of :func:`memagents.kernels.dnc_forward.update_link` for four rows.

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
        l0, l1 = d0 * load(link, r0 + j), d1 * load(link, r1 + j)
        l2, l3 = d2 * load(link, r2 + j), d3 * load(link, r3 + j)
        w, p = load(weights, j), load(precedence, j)
        a0, a1, a2, a3 = fma(d0, p, a0 - l0), fma(d1, p, a1 - l1), fma(d2, p, a2 - l2), fma(d3, p, a3 - l3)
        store(d_weights, j, load(d_weights, j) - ((l0 + l1) + (l2 + l3)))
        store(d_precedence, j, load(d_precedence, j) + fma(d0, w0, fma(d1, w1, fma(d2, w2, d3 * w3))))
        store(d_link, r0 + j, d0 * (k0 - w))
        store(d_link, r1 + j, d1 * (k1 - w))
        store(d_link, r2 + j, d2 * (k2 - w))
        store(d_link, r3 + j, d3 * (k3 - w))
    store_rows_sum(d_weights, 0, i, n, a0, a1, a2, a3)


@part
def links(before, now, link, work, sizes):
    """From the gradients of links, precedence and the weightings they led to, to those before the step.

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
def erase_and_add_rows(memory, i, weights, erase, write, d_memory, d_weights, d_erase, d_write):
    """The derivative of :func:`memagents.kernels.dnc_forward.erase_and_add` for four slots."""
    n, width = weights.shape[0], erase.shape[0]
    w0, w1 = load(weights, i), load_or_zero(weights, 0, i + 1, n)
    w2, w3 = load_or_zero(weights, 0, i + 2, n), load_or_zero(weights, 0, i + 3, n)
    a0 = full(memory, 0.0)
    a1, a2, a3 = a0, a0, a0
    r0 = i * width
    r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
    for k in range(width):
        e, v = -load(erase, k), load(write, k)
        m0, m1, m2, m3 = load(memory, r0 + k), load(memory, r1 + k), load(memory, r2 + k), load(memory, r3 + k)
        d0, d1, d2, d3 = load(d_memory, r0 + k), load(d_memory, r1 + k), load(d_memory, r2 + k), load(d_memory, r3 + k)
        a0, a1 = fma(d0, fma(e, m0, v), a0), fma(d1, fma(e, m1, v), a1)
        a2, a3 = fma(d2, fma(e, m2, v), a2), fma(d3, fma(e, m3, v), a3)
        s0, s1, s2, s3 = d0 * w0, d1 * w1, d2 * w2, d3 * w3
        store(d_write, k, load(d_write, k) + ((s0 + s1) + (s2 + s3)))
        store(d_erase, k, load(d_erase, k) - fma(s0, m0, fma(s1, m1, fma(s2, m2, s3 * m3))))
        store(d_memory, r0 + k, fma(s0, e, d0))
        store(d_memory, r1 + k, fma(s1, e, d1))
        store(d_memory, r2 + k, fma(s2, e, d2))
        store(d_memory, r3 + k, fma(s3, e, d3))
    store_rows_sum(d_weights, 0, i, n, a0, a1, a2, a3)


@part
def match_rows(d_match, key, i, sizes, memory, work, d_key):
    """Four slots: what matching them with the key gives to their content and to the key."""
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
def unsquash(values, gradient):
    """Through a sigmoid, in place."""
    for i in range(values.shape[0]):
        v = load(values, i)
        store(gradient, i, load(gradient, i) * v * (1.0 - v))


@part
def write_weighting(now, face, work, d_face):
    """Splits the gradient of the write weighting over content, allocation and the gates."""
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
def write(before, now, face, memory, work, d_face, sizes):
    """From the gradients of memory and write weighting to those of the memory before and of the allocation."""
    n, width = sizes.slots, sizes.width
    for i in range(0, n, ROWS):
        erase_and_add_rows(
            memory, i, now.carry.write_weights, face.erase, face.write,
            work.d_memory, work.d_write, d_face.erase, d_face.write,
        )  # fmt: skip
    write_weighting(now, face, work, d_face)
    clear(work.d_norms)
    key_norm, strength = norm(face.write_key, 0, width), load(face.write_strength, 0)
    d_strength, d_key_norm = content_weighting(
        work.d_content, now.write_match, now.write_content, 0, before.norms, key_norm, strength, work.d_norms
    )
    store(d_face.write_strength, 0, d_strength * load(now.strength_slopes, sizes.heads))
    add_scaled(d_key_norm / key_norm, face.write_key, 0, width, d_face.write_key)
    for i in range(n):
        store(work.d_norms, i, load(work.d_norms, i) / load(before.norms, i))
    for i in range(0, n, ROWS):
        match_rows(work.d_content, face.write_key, i, sizes, memory, work, d_face.write_key)


@part
def allocation_weighting(now, work):
    """Adds to the gradient of the usage, the order of the slots being fixed."""
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
    """To the gradients of the usage, the write weighting and the read weightings before the step."""
    n, one = sizes.slots, full(work.d_usage, 1.0)
    for i in range(n):
        u, w, d = load(before.usage, i), load(before.write_weights, i), load(work.d_usage, i)
        d_kept, kept = d * fma(u, 1.0 - w, w), one
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


# --- the controller -------------------------------------------------------------------------------------------------


@part
def lstm(now, before, d_hidden, d_cell, d_gates):
    """The derivative of :func:`memagents.cores.lstm.lstm_cell`; ``d_cell`` becomes that before the step."""
    units = d_cell.shape[0]
    for u in range(units):
        i, f = load(now.gates, u), load(now.gates, units + u)
        g, o = load(now.gates, 2 * units + u), load(now.gates, 3 * units + u)
        s, d_h = load(now.squashed_cell, u), load(d_hidden, u)
        d_c = fma(d_h * o, fma(-s, s, full(d_cell, 1.0)), load(d_cell, u))
        store(d_gates, u, d_c * g * i * (1.0 - i))
        store(d_gates, units + u, d_c * load(before.cell, u) * f * (1.0 - f))
        store(d_gates, 2 * units + u, d_c * i * fma(-g, g, full(d_cell, 1.0)))
        store(d_gates, 3 * units + u, d_h * s * o * (1.0 - o))
        store(d_cell, u, d_c * f)


@part
def step(before, now, memory, link, work, sizes):
    """One step: the gradients in ``work`` go from after it to before it, but for resets."""
    n = sizes.slots
    face, d_face = interface_of(now.interface, sizes), interface_of(work.d_interface, sizes)
    clear(work.d_interface)
    for row in range(n):
        erase_and_add(memory, row, now.carry.write_weights, face.erase, face.write, work.memory)
    read(now, face, work, work.d_features[sizes.hidden :], d_face, sizes)
    links(before, now, link, work, sizes)
    write(before, now, face, memory, work, d_face, sizes)
    allocation_weighting(now, work)
    update_usage(before, face, work, d_face, sizes)
    unsquash(face.erase, d_face.erase)
    unsquash(face.free_gates, d_face.free_gates)
    unsquash(face.allocation_gate, d_face.allocation_gate)
    unsquash(face.write_gate, d_face.write_gate)
    d_hidden = work.d_features[: sizes.hidden]
    add_products(work.interface_columns, work.d_interface, d_hidden)
    lstm(now, before, d_hidden, work.d_cell, work.d_gates)
    clear(work.d_features)
    add_products(work.recurrent_columns, work.d_gates, work.d_features)


# --- the window -----------------------------------------------------------------------------------------------------


@part
def rebuild(first, last, sizes, starts, row, count, tape, checkpoint, work):
    """The memory and link matrices before every step of a chunk (after its resets)."""
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
        for i in range(sizes.slots):
            erase_and_add(memory, i, now.carry.write_weights, face.erase, face.write, next_memory)
            update_link(link, i, now.carry.write_weights, before.precedence, next_link, i)


@part
def load_gradients(state, row, count, work, sizes):
    load_rows(state.memory, row, count, work.d_memory)
    load_rows(state.usage, row, count, work.d_usage)
    load_rows(state.link, row, count, work.d_link)
    load_rows(state.precedence, row, count, work.d_precedence)
    load_rows(state.write_weights, row, count, work.d_write)
    load_rows(state.read_weights, row, count, work.d_read)
    load_rows(state.read_vectors, row, count, work.d_features[sizes.hidden :])
    load_rows(state.hidden, row, count, work.d_features[: sizes.hidden])
    load_rows(state.cell, row, count, work.d_cell)


@part
def store_gradients(work, row, count, state, sizes):
    store_rows(work.d_memory, state.memory, row, count)
    store_rows(work.d_usage, state.usage, row, count)
    store_rows(work.d_link, state.link, row, count)
    store_rows(work.d_precedence, state.precedence, row, count)
    store_rows(work.d_write, state.write_weights, row, count)
    store_rows(work.d_read, state.read_weights, row, count)
    store_rows(work.d_features[sizes.hidden :], state.read_vectors, row, count)
    store_rows(work.d_features[: sizes.hidden], state.hidden, row, count)
    store_rows(work.d_cell, state.cell, row, count)


@part
def clear_gradients(work):
    clear(work.d_memory)
    clear(work.d_usage)
    clear(work.d_link)
    clear(work.d_precedence)
    clear(work.d_write)
    clear(work.d_read)
    clear(work.d_features)
    clear(work.d_cell)


@part
def clear_fresh_gradients(work):
    clear_fresh(work.fresh, work.d_memory)
    clear_fresh(work.fresh, work.d_usage)
    clear_fresh(work.fresh, work.d_link)
    clear_fresh(work.fresh, work.d_precedence)
    clear_fresh(work.fresh, work.d_write)
    clear_fresh(work.fresh, work.d_read)
    clear_fresh(work.fresh, work.d_features)
    clear_fresh(work.fresh, work.d_cell)


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
    clear_gradients(work)
    if grad_after[0] != 0:
        load_gradients(state_at(grad_after, batch, sizes, d_gates), row, count, work, sizes)
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
                clear_fresh_gradients(work)
    if grad_before[0] != 0:
        store_gradients(work, row, count, state_at(grad_before, batch, sizes, d_gates), sizes)
