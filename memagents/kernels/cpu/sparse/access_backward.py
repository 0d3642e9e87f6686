"""The derivative of :mod:`memagents.kernels.cpu.sparse.access`, by hand, and of the links that are followed.

A gradient is named ``d_`` and the name of what it belongs to. That of the memory is one array that each step changes
at its own slots.
"""

from __future__ import annotations

import math

from memagents.kernels.cpu.slots import EPSILON
from memagents.kernels.cpu.sparse.access import add_slot, clear_slot, dot
from memagents.kernels.cpu.sparse.tape import entries_of
from memagents.kernels.cpu.vector.simd import lanes_of, part


@part
def softmax_backward(values, start, gradients, at, count):
    """From the gradients of a softmax to those of what it was taken of, in place."""
    mean = 0.0
    for i in range(count):
        mean += values[start + i] * gradients[at + i]
    for i in range(count):
        gradients[at + i] = values[start + i] * (gradients[at + i] - mean)


@part
def read_backward(sizes, places, row, tape, record, indices, first, d_memory, d_vectors, vectors, d_weights):
    """Add to the gradient of the weights of what was read, and to that of the memory.

    :param d_vectors: of the read vectors, from entry ``vectors`` on
    """
    entries, count = entries_of(sizes), sizes.width // lanes_of(tape)
    rows = (record + places.rows) // lanes_of(tape)
    for r in range(sizes.heads):
        for m in range(r * entries, (r + 1) * entries):
            d_weights[m] += dot(d_vectors, vectors + r * count, tape, rows + m * count, count)
            at = (row * sizes.slots + indices[first + places.read_slots + m]) * count
            add_slot(tape[record + places.weights + m], d_vectors, vectors + r * count, d_memory, at, count)


@part
def modes_backward(sizes, places, tape, record, d_weights, d_last, d_modes, at):
    """From the gradient of the weights to that of the three weightings, in place, to those of the modes and of the
    sharpness behind them, and through the links to that of the weights of the step before, ``d_last``.
    """
    reads, entries = sizes.reads, entries_of(sizes)
    modes = record + places.scalars + 2 * sizes.heads + 2
    linked = record + (places.linked if sizes.sharpened > 0 else places.followed)
    for r in range(sizes.heads):
        own = r * entries
        for k in range(reads):
            d_modes[at + 3 * r] += d_weights[own + k] * tape[record + places.followed + 2 * r * reads + k]
            content = tape[record + places.content + r * reads + k]
            d_modes[at + 3 * r + 1] += d_weights[own + reads + k] * content
            ahead = tape[record + places.followed + (2 * r + 1) * reads + k]
            d_modes[at + 3 * r + 2] += d_weights[own + 2 * reads + k] * ahead
        for mode in range(3):
            for k in range(reads):
                d_weights[own + mode * reads + k] *= tape[modes + 3 * r + mode]
        softmax_backward(tape, modes + 3 * r, d_modes, at + 3 * r, 3)
        if sizes.sharpened > 0:
            sharpen_backward(sizes, places, tape, record, r, d_weights, own, d_modes, at + 3 * sizes.heads)
        divisor = tape[record + places.divisors + r]
        if divisor > 1.0:
            mean = 0.0
            for k in range(reads):
                ahead = tape[linked + (2 * r + 1) * reads + k]
                mean += ahead * d_weights[own + 2 * reads + k]
            for k in range(reads):
                d_weights[own + 2 * reads + k] = (d_weights[own + 2 * reads + k] - mean) / divisor
        for forward in range(2):
            for k in range(reads):
                gradient = d_weights[own + 2 * forward * reads + k]
                shares = record + places.shares + ((2 * r + forward) * reads + k) * entries
                for s in range(entries):
                    d_last[own + s] += tape[shares + s] * gradient


@part
def sharpen_backward(sizes, places, tape, record, r, d_weights, own, d_sharpness, at):
    """From the gradient of a head's sharpened weightings to that of what the links gave, in place, and to that of the
    sharpness.

    :param own: where the head's weightings begin, the forward one behind the backward one and that by content
    """
    reads, heads = sizes.reads, sizes.heads
    for forward in range(2):
        of_links, d_links = (2 * r + forward) * reads, own + 2 * forward * reads
        sharpness = tape[record + places.scalars + 5 * heads + 2 + forward * heads + r]
        softmax_backward(tape, record + places.followed + of_links, d_weights, d_links, reads)
        total = 0.0
        for k in range(reads):
            weight = tape[record + places.linked + of_links + k] + EPSILON
            total += d_weights[d_links + k] * math.log(weight)
            d_weights[d_links + k] *= sharpness / weight
        d_sharpness[at + forward * heads + r] = total * tape[record + places.slopes + heads + forward * heads + r]


@part
def content_backward(sizes, places, row, tape, record, indices, first, d_memory, d_weights, d_face, face):
    """From the gradient of the weights by content to those of queries, strengths and memory."""
    heads, reads, entries = sizes.heads, sizes.reads, entries_of(sizes)
    count, some = sizes.width // lanes_of(tape), sizes.reads if sizes.links > 0 else 0
    rows, queries = (record + places.rows) // lanes_of(tape), (record + places.face) // lanes_of(tape)
    strengths, d_strengths = record + places.scalars, face + (heads + 1) * sizes.width
    for r in range(heads):
        found, query = indices[first + places.found + r], queries + r * count
        own, d_query = r * entries + some, face // lanes_of(tape) + r * count
        softmax_backward(tape, record + places.content + r * reads, d_weights, own, found)
        query_norm, of_strength, along = tape[record + places.query_norms + r], 0.0, 0.0
        for k in range(found):
            cosine = tape[record + places.cosines + r * reads + k]
            row_norm = tape[record + places.row_norms + r * reads + k]
            of_strength += d_weights[own + k] * cosine
            d_product = tape[strengths + r] * d_weights[own + k] / (query_norm * row_norm + EPSILON)
            d_norms = -d_product * cosine
            along += d_norms * row_norm / query_norm
            at = (row * sizes.slots + indices[first + places.read_slots + own + k]) * count
            add_slot(d_product, tape, rows + (own + k) * count, d_face, d_query, count)
            add_slot(d_product, tape, query, d_memory, at, count)
            add_slot(d_norms * query_norm / row_norm, tape, rows + (own + k) * count, d_memory, at, count)
        add_slot(along, tape, query, d_face, d_query, count)
        d_face[d_strengths + r] = of_strength * tape[record + places.slopes + r]


@part
def write_backward(sizes, places, row, tape, record, indices, first, d_memory, d_written, d_last, d_face, face):
    """From the gradient of the memory after a write to that before it, in place, and to those of the vector, the gates
    and the shares of the heads; adds to that of the weights of the step before.
    """
    heads, entries, count = sizes.heads, entries_of(sizes), sizes.width // lanes_of(tape)
    scalars, d_scalars = record + places.scalars + heads, face + (heads + 1) * sizes.width + heads
    gate, interpolation, last = tape[scalars], tape[scalars + 1], heads * entries
    vector = (record + places.face) // lanes_of(tape) + heads * count
    d_vector = face // lanes_of(tape) + heads * count
    base, slots = row * sizes.slots, first + places.write_slots
    d_gate, d_interpolation, m = 0.0, 0.0, 0
    for r in range(heads):
        share, along = tape[scalars + 2 + r], 0.0
        for _ in range(entries):
            at = (base + indices[slots + m]) * count
            d_weight = dot(d_memory, at, tape, vector, count) + d_written
            add_slot(tape[record + places.written + m], d_memory, at, d_face, d_vector, count)
            along += d_weight * tape[record + places.last + m]
            d_last[m] += gate * interpolation * share * d_weight
            m += 1
        d_gate += interpolation * share * along
        d_interpolation += gate * share * along
        d_face[d_scalars + 2 + r] = gate * interpolation * along
    at = (base + indices[slots + last]) * count
    d_weight = dot(d_memory, at, tape, vector, count) + d_written
    add_slot(tape[record + places.written + last], d_memory, at, d_face, d_vector, count)
    clear_slot(d_memory, at, count)
    d_gate += (1.0 - interpolation) * d_weight
    d_interpolation -= gate * d_weight
    d_face[d_scalars] = d_gate * gate * (1.0 - gate)
    d_face[d_scalars + 1] = d_interpolation * interpolation * (1.0 - interpolation)
    softmax_backward(tape, scalars + 2, d_face, d_scalars + 2, heads)
