"""One step of the NTM for a tile of batch rows: :meth:`memagents.cores.ntm.NTM.step`.

The maths, its order and its names are those of :mod:`memagents.memory`, one function here for one there. Arrays and
symbols are those of :mod:`memagents.kernels.cpu.ntm.tape`; ``work`` is a
:class:`memagents.kernels.cpu.ntm.forward.ForwardWork`.
"""

from __future__ import annotations

from memagents.kernels.cpu.ntm.tape import interface_of
from memagents.kernels.cpu.slots import (
    content_weighting,
    erase_and_add,
    lstm,
    norm,
    softmax,
    squash_sigmoid,
    squash_softplus,
)
from memagents.kernels.cpu.vector.functions import log, tanh
from memagents.kernels.cpu.vector.simd import full, load, part, select_less, store
from memagents.kernels.cpu.vector.tile_products import ROWS, add_products, dot_rows, mix_rows
from memagents.kernels.cpu.vector.tiles import clear

SMALL = 1e-16
"""The constant of :mod:`memagents.memory.location`."""


@part
def clipped(values, i, clip):
    x, most, least = load(values, i), full(values, clip), full(values, -clip)
    return select_less(most, x, most, select_less(x, least, least, x))


@part
def squash_tanh(values):
    """tanh, in place."""
    for i in range(values.shape[0]):
        store(values, i, tanh(load(values, i)))


@part
def parse(now, clip, sizes):
    """Clip and squash the parts of the interface vector."""
    heads = sizes.heads + 1
    for i in range(now.raw.shape[0]):
        store(now.interface, i, clipped(now.raw, i, clip))
    face = interface_of(now.interface, sizes)
    squash_tanh(face.keys)
    squash_sigmoid(face.gates)
    squash_sigmoid(face.erase)
    squash_tanh(face.add)
    for head in range(heads):
        squash_softplus(face.strengths, head, 0.0, now.slopes, head)
        squash_softplus(face.sharpening, head, 1.0, now.slopes, heads + head)
        softmax(face.shifts, head * sizes.shifts, sizes.shifts, full(now.raw, 1.0))
    return face


@part
def interpolate(content, previous, start, gate, out):
    for i in range(out.shape[0]):
        p = load(previous, start + i)
        store(out, i, p + gate * (load(content, start + i) - p))


@part
def ring(i, n):
    """``i`` modulo n, from less than n outside of it."""
    if i < 0:
        return i + n
    if i >= n:
        return i - n
    return i


@part
def circular_shift(gated, shifts, start, count, out, out_start):
    n, reach = gated.shape[0], count // 2
    for i in range(n):
        total = full(gated, 0.0)
        for k in range(count):
            total += load(shifts, start + k) * load(gated, ring(i - (k - reach), n))
        store(out, out_start + i, total)


@part
def sharpen(shifted, start, count, gamma, logs, out):
    for i in range(start, start + count):
        value = log(load(shifted, i) + SMALL)
        store(logs, i, value)
        store(out, i, value)
    softmax(out, start, count, gamma)


@part
def address(before, now, face, work, sizes):
    """Address by all heads, from the memory and the weightings before the step."""
    n, width, heads = sizes.slots, sizes.width, sizes.heads + 1
    clear(now.match)
    for i in range(0, n, ROWS):
        for head in range(heads):
            dot_rows(before.memory, i, n, width, face.keys, head * width, now.match, head * n)
    for head in range(heads):
        key_norm = norm(face.keys, head * width, width)
        content_weighting(
            now.match[: (head + 1) * n], head * n, before.norms, key_norm, load(face.strengths, head), now.content
        )
        interpolate(now.content, before.weights, head * n, load(face.gates, head), work.gated)
        circular_shift(work.gated, face.shifts, head * sizes.shifts, sizes.shifts, now.shifted, head * n)
        sharpen(now.shifted, head * n, n, load(face.sharpening, head), now.logs, now.weights)


@part
def write_and_read(before, now, face, sizes):
    n, width = sizes.slots, sizes.width
    writing, vectors = now.weights[sizes.heads * n :], now.features[sizes.hidden :]
    clear(vectors)
    for i in range(0, n, ROWS):
        for row in range(i, min(i + ROWS, n)):
            erase_and_add(before.memory, row, writing, face.erase, face.add, now.memory)
            store(now.norms, row, norm(now.memory, row * width, width))
        for head in range(sizes.heads):
            mix_rows(now.memory, i, n, width, now.weights, head * n, vectors, head * width)


@part
def step(before, now, clip, work, sizes):
    """One step, from the inputs' share in ``now.gates`` and the bias in ``now.raw`` on."""
    hidden = now.features[: sizes.hidden]
    add_products(work.recurrent_weight, before.features, now.gates)
    lstm(now.gates, before.cell, now.cell, now.squashed_cell, hidden)
    add_products(work.interface_weight, hidden, now.raw)
    face = parse(now, clip, sizes)
    address(before, now, face, work, sizes)
    write_and_read(before, now, face, sizes)
