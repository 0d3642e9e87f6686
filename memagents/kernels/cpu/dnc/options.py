"""What the DNC's options add to a step (Csordás and Schmidhuber 2019), for a tile of batch rows: masked look-ups, freed
slots that are wiped, and links made sharp.

As in :mod:`memagents.kernels.cpu.dnc.step`; N slots, W width. :mod:`memagents.kernels.cpu.dnc.options_backward` is the
derivative.
"""

from __future__ import annotations

from memagents.kernels.cpu.slots import EPSILON, softmax
from memagents.kernels.cpu.vector.functions import log
from memagents.kernels.cpu.vector.simd import fma, full, load, part, sqrt, store
from memagents.kernels.cpu.vector.tile_products import ROWS, dot_rows, store_within


@part
def masked_norm(key, start, mask, mask_start, width):
    """The norm of k ∘ m, with the small constant under the root."""
    total = full(key, EPSILON)
    for k in range(width):
        v = load(key, start + k) * load(mask, mask_start + k)
        total = fma(v, v, total)
    return sqrt(total)


@part
def mask_key(key, start, mask, mask_start, out, out_start, width):
    """k ∘ m ∘ m, whose dot product with a slot is that of k ∘ m with M ∘ m."""
    for k in range(width):
        m = load(mask, mask_start + k)
        store(out, out_start + k, load(key, start + k) * m * m)


@part
def masked_norm_rows(memory, i, n, width, mask, start, norms, at):
    """The norms of M ∘ m for four slots."""
    a0 = full(memory, EPSILON)
    a1, a2, a3 = a0, a0, a0
    r0 = i * width
    r1, r2, r3 = r0 + width, r0 + 2 * width, r0 + 3 * width
    for k in range(width):
        m = load(mask, start + k)
        v0, v1 = load(memory, r0 + k) * m, load(memory, r1 + k) * m
        v2, v3 = load(memory, r2 + k) * m, load(memory, r3 + k) * m
        a0, a1, a2, a3 = fma(v0, v0, a0), fma(v1, v1, a1), fma(v2, v2, a2), fma(v3, v3, a3)
    store(norms, at + i, sqrt(a0))
    store_within(norms, at + i + 1, at + n, sqrt(a1))
    store_within(norms, at + i + 2, at + n, sqrt(a2))
    store_within(norms, at + i + 3, at + n, sqrt(a3))


@part
def match_masked(memory, key, start, mask, mask_start, masked_key, match, norms, at, n, width):
    """Add to the dot products of all slots with one key, both as the mask lets them through; fill the slots' norms."""
    mask_key(key, start, mask, mask_start, masked_key, 0, width)
    for i in range(0, n, ROWS):
        dot_rows(memory, i, n, width, masked_key, 0, match, at)
        masked_norm_rows(memory, i, n, width, mask, mask_start, norms, at)


@part
def kept_of(before, free_gates, i, sizes):
    """How much of slot i all heads keep that read it: :func:`memagents.memory.allocation.retention`."""
    kept = full(free_gates, 1.0)
    for head in range(sizes.heads):
        kept = kept * (1.0 - load(free_gates, head) * load(before.read_weights, head * sizes.slots + i))
    return kept


@part
def wipe_freed(before, free_gates, memory, out, sizes):
    """Memory times what is kept of each slot, to ``out``, which may be the memory."""
    for i in range(sizes.slots):
        kept = kept_of(before, free_gates, i, sizes)
        for k in range(i * sizes.width, (i + 1) * sizes.width):
            store(out, k, kept * load(memory, k))


@part
def sharpen(weights, start, n, sharpness, logs):
    """:func:`memagents.memory.linkage.sharpened` in place, with the logarithms for the backward."""
    for i in range(start, start + n):
        v = log(load(weights, i) + EPSILON)
        store(logs, i, v)
        store(weights, i, v)
    softmax(weights, start, n, sharpness)
