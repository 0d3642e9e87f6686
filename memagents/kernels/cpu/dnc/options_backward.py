"""The derivative of :mod:`memagents.kernels.cpu.dnc.options`, by hand.

A gradient is named ``d_`` and the name of what it belongs to.
"""

from __future__ import annotations

from memagents.kernels.cpu.dnc.options import kept_of
from memagents.kernels.cpu.vector.functions import exp
from memagents.kernels.cpu.vector.simd import fma, full, load, part, store


@part
def unmask_key(key, start, mask, mask_start, d_masked_key, at, slope, d_key, d_mask, width):
    """From the gradients of k ∘ m ∘ m and of the norm of k ∘ m, ``slope`` of whose square, to those of key and mask."""
    for k in range(width):
        v, m, d = load(key, start + k), load(mask, mask_start + k), load(d_masked_key, at + k)
        store(d_key, start + k, fma(m * m, fma(slope, v, d), load(d_key, start + k)))
        store(d_mask, mask_start + k, fma(m * v, fma(slope, v, 2.0 * d), load(d_mask, mask_start + k)))


@part
def masked_norms(memory, mask, start, norms, d_norms, d_memory, d_mask, n, width):
    """From the gradients of the norms of M ∘ m, which become zero, to those of memory and mask."""
    for i in range(n):
        slope = load(d_norms, i) / load(norms, i)
        store(d_norms, i, full(d_norms, 0.0))
        for k in range(width):
            m, v = load(mask, start + k), load(memory, i * width + k)
            through = slope * m * v
            store(d_memory, i * width + k, fma(through, m, load(d_memory, i * width + k)))
            store(d_mask, start + k, fma(through, v, load(d_mask, start + k)))


@part
def wipe_freed(before, free_gates, memory, d_memory, d_kept, sizes):
    """From the gradient of the memory times what is kept, in place, to that of either."""
    for i in range(sizes.slots):
        kept, total = kept_of(before, free_gates, i, sizes), full(memory, 0.0)
        for k in range(i * sizes.width, (i + 1) * sizes.width):
            d = load(d_memory, k)
            total = fma(d, load(memory, k), total)
            store(d_memory, k, kept * d)
        store(d_kept, i, total)


@part
def sharpen(weights, logs, start, n, sharpness, slope, d_weights, d_sharpness, at):
    """From the gradient of sharpened weights, in place, to that of what the links gave; fill that of the sharpness.

    :param slope: the derivative of the sharpness
    """
    mean, total = full(weights, 0.0), full(weights, 0.0)
    for i in range(start, start + n):
        mean = fma(load(weights, i), load(d_weights, i), mean)
    for i in range(start, start + n):
        through = load(weights, i) * (load(d_weights, i) - mean)
        total = fma(through, load(logs, i), total)
        store(d_weights, i, sharpness * through / exp(load(logs, i)))
    store(d_sharpness, at, total * slope)
