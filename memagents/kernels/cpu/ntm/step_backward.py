"""The derivative of :mod:`memagents.kernels.cpu.ntm.step`, by hand.

A gradient is named ``d_`` and the name of what it belongs to; ``work`` is a
:class:`memagents.kernels.cpu.ntm.backward.BackwardWork`.
"""

from __future__ import annotations

from memagents.kernels.cpu.ntm.step import interpolate, ring
from memagents.kernels.cpu.ntm.tape import interface_of
from memagents.kernels.cpu.slots import norm
from memagents.kernels.cpu.slots_backward import (
    content_weighting_backward,
    erase_and_add_backward,
    lstm_backward,
    through_sigmoid,
)
from memagents.kernels.cpu.vector.functions import exp
from memagents.kernels.cpu.vector.simd import fma, full, load, part, select_less, store
from memagents.kernels.cpu.vector.tile_products import ROWS, add_products, add_scaled, dot_rows, load_or_zero
from memagents.kernels.cpu.vector.tiles import clear

# --- addressing -----------------------------------------------------------------------------------------------------


@part
def sharpen(weights, shifted_logs, start, count, gamma, d_weights):
    """Turn the gradient of a sharpened weighting into that before sharpening, in place; return that of γ."""
    mean = full(weights, 0.0)
    for i in range(start, start + count):
        mean = fma(load(d_weights, i), load(weights, i), mean)
    d_gamma = mean * 0.0
    for i in range(start, start + count):
        value = load(shifted_logs, i)
        d_score = load(weights, i) * (load(d_weights, i) - mean)
        d_gamma = fma(d_score, value, d_gamma)
        store(d_weights, i, gamma * d_score * exp(-value))
    return d_gamma


@part
def circular_shift(gated, shifts, start, count, d_shifted, at, d_gated, d_shifts):
    n, reach = gated.shape[0], count // 2
    for k in range(count):
        store(d_shifts, start + k, full(gated, 0.0))
    for j in range(n):
        w, total = load(gated, j), full(gated, 0.0)
        for k in range(count):
            d = load(d_shifted, at + ring(j + (k - reach), n))
            total = fma(load(shifts, start + k), d, total)
            store(d_shifts, start + k, fma(w, d, load(d_shifts, start + k)))
        store(d_gated, j, total)


@part
def interpolate_back(content, previous, start, gate, d_gated, d_content, d_previous):
    """Split the gradient over content and previous weighting; return that of the gate."""
    d_gate = full(d_gated, 0.0)
    for i in range(d_gated.shape[0]):
        d = load(d_gated, i)
        d_gate = fma(d, load(content, start + i) - load(previous, start + i), d_gate)
        store(d_content, start + i, gate * d)
        store(d_previous, start + i, (1.0 - gate) * d)
    return d_gate


@part
def match_rows(memory, i, keys, start, d_match, at, d_memory, d_keys, sizes):
    """Add the gradients of matching four slots with a key to those of content and key."""
    n, width = sizes.slots, sizes.width
    x0, x1 = load(d_match, at + i), load_or_zero(d_match, at, i + 1, n)
    x2, x3 = load_or_zero(d_match, at, i + 2, n), load_or_zero(d_match, at, i + 3, n)
    r0 = i * width
    r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
    for k in range(width):
        key, total = load(keys, start + k), load(d_keys, start + k)
        m0, m1, m2, m3 = load(memory, r0 + k), load(memory, r1 + k), load(memory, r2 + k), load(memory, r3 + k)
        store(d_memory, r0 + k, fma(x0, key, load(d_memory, r0 + k)))
        store(d_memory, r1 + k, fma(x1, key, load(d_memory, r1 + k)))
        store(d_memory, r2 + k, fma(x2, key, load(d_memory, r2 + k)))
        store(d_memory, r3 + k, fma(x3, key, load(d_memory, r3 + k)))
        store(d_keys, start + k, fma(x3, m3, fma(x2, m2, fma(x1, m1, fma(x0, m0, total)))))


@part
def address(before, now, face, work, d_face, sizes):
    """Go back through the addressing to the weightings and the memory before the step."""
    n, width, heads = sizes.slots, sizes.width, sizes.heads + 1
    clear(work.d_norms)
    for head in range(heads):
        at, start = head * n, head * sizes.shifts
        gate, gamma = load(face.gates, head), load(face.sharpening, head)
        store(d_face.sharpening, head, sharpen(now.weights, now.logs, at, n, gamma, work.d_weights))
        interpolate(now.content, before.weights, at, gate, work.gated)
        circular_shift(work.gated, face.shifts, start, sizes.shifts, work.d_weights, at, work.d_gated, d_face.shifts)
        d_gate = interpolate_back(now.content, before.weights, at, gate, work.d_gated, work.d_match, work.d_weights)
        store(d_face.gates, head, d_gate)
        key_norm = norm(face.keys, head * width, width)
        d_strength, d_key_norm = content_weighting_backward(
            work.d_match, now.match, now.content, at, before.norms, key_norm, load(face.strengths, head), work.d_norms
        )
        store(d_face.strengths, head, d_strength)
        add_scaled(d_key_norm / key_norm, face.keys, head * width, width, d_face.keys)
    for i in range(0, n, ROWS):
        for row in range(i, min(i + ROWS, n)):
            scale = load(work.d_norms, row) / load(before.norms, row)
            add_scaled(scale, before.memory, row * width, width, work.d_memory)
        for head in range(heads):
            match_rows(
                before.memory, i, face.keys, head * width, work.d_match, head * n, work.d_memory, d_face.keys, sizes
            )


# --- the rest of a step ---------------------------------------------------------------------------------------------


@part
def read_rows(weights, at, i, d_vectors, start, d_memory, sizes):
    """Add the gradient of reading four slots to that of their content."""
    n, width = sizes.slots, sizes.width
    w0, w1 = load(weights, at + i), load_or_zero(weights, at, i + 1, n)
    w2, w3 = load_or_zero(weights, at, i + 2, n), load_or_zero(weights, at, i + 3, n)
    r0 = i * width
    for k in range(width):
        d, place = load(d_vectors, start + k), r0 + k
        store(d_memory, place, fma(w0, d, load(d_memory, place)))
        store(d_memory, place + width, fma(w1, d, load(d_memory, place + width)))
        store(d_memory, place + 2 * width, fma(w2, d, load(d_memory, place + 2 * width)))
        store(d_memory, place + 3 * width, fma(w3, d, load(d_memory, place + 3 * width)))


@part
def write_and_read(before, now, face, work, d_face, sizes):
    """Go back through write and read to the memory before the step and the weightings."""
    n, width = sizes.slots, sizes.width
    d_vectors = work.d_features[sizes.hidden :]
    writing, d_writing = now.weights[sizes.heads * n :], work.d_weights[sizes.heads * n :]
    for i in range(0, n, ROWS):
        for head in range(sizes.heads):
            dot_rows(now.memory, i, n, width, d_vectors, head * width, work.d_weights, head * n)
            read_rows(now.weights, head * n, i, d_vectors, head * width, work.d_memory, sizes)
        erase_and_add_backward(
            before.memory, i, writing, face.erase, face.add, work.d_memory, d_writing, d_face.erase, d_face.add
        )


@part
def through_tanh(values, gradient):
    for i in range(values.shape[0]):
        v = load(values, i)
        store(gradient, i, load(gradient, i) * fma(-v, v, full(values, 1.0)))


@part
def through_softmax(values, start, count, gradient):
    mean = full(values, 0.0)
    for i in range(start, start + count):
        mean = fma(load(values, i), load(gradient, i), mean)
    for i in range(start, start + count):
        store(gradient, i, load(values, i) * (load(gradient, i) - mean))


@part
def parse(now, face, clip, d_interface, d_face, sizes):
    """Go back through squashing and clipping to the controller's interface vector, in place."""
    heads = sizes.heads + 1
    through_tanh(face.keys, d_face.keys)
    through_sigmoid(face.gates, d_face.gates)
    through_sigmoid(face.erase, d_face.erase)
    through_tanh(face.add, d_face.add)
    for head in range(heads):
        store(d_face.strengths, head, load(d_face.strengths, head) * load(now.slopes, head))
        store(d_face.sharpening, head, load(d_face.sharpening, head) * load(now.slopes, heads + head))
        through_softmax(face.shifts, head * sizes.shifts, sizes.shifts, d_face.shifts)
    most, least, zero = full(now.raw, clip), full(now.raw, -clip), full(now.raw, 0.0)
    for i in range(d_interface.shape[0]):
        x = load(now.raw, i)
        inside = select_less(most, x, zero, select_less(x, least, zero, load(d_interface, i)))
        store(d_interface, i, inside)


@part
def step(before, now, clip, work, sizes):
    """One step: the gradients in ``work`` go from after it to before it, but for resets."""
    face, d_face = interface_of(now.interface, sizes), interface_of(work.d_interface, sizes)
    clear(work.d_interface)
    write_and_read(before, now, face, work, d_face, sizes)
    address(before, now, face, work, d_face, sizes)
    parse(now, face, clip, work.d_interface, d_face, sizes)
    d_hidden = work.d_features[: sizes.hidden]
    add_products(work.interface_columns, work.d_interface, d_hidden)
    lstm_backward(now, before, d_hidden, work.d_cell, work.d_gates)
    clear(work.d_features)
    add_products(work.recurrent_columns, work.d_gates, work.d_features)
