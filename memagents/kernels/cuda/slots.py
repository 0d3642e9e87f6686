"""Shared device functions of the cores' kernels: squashing, and look-ups of slots by content.

One program works on one batch row. N slots, W width, R read heads, H controller units are compile-time constants; PN,
PW, PR are the powers of two that hold them, since Triton's blocks have no other sizes. What lies beyond N or W in a
block is zero.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = tl.constexpr(1e-6)
"""The constant of :mod:`memagents.memory.addressing` and :mod:`memagents.memory.allocation`."""


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def tanh(x):
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def softplus(x):
    """log(1 + exp(x)); as torch's, linear from 20 on."""
    return tl.where(x > 20.0, x, tl.maximum(x, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(x))))


@triton.jit
def softplus_slope(x):
    """The derivative of :func:`softplus`, and of :func:`oneplus`."""
    return tl.where(x > 20.0, 1.0, sigmoid(x))


@triton.jit
def oneplus(x):
    return 1.0 + softplus(x)


@triton.jit
def softmax(scores, inside):
    """Over a block, of the entries inside; 0 elsewhere."""
    scores = tl.where(inside, scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 0))
    return weights / tl.sum(weights, 0)


@triton.jit
def norms_of(memory):
    """Norms of the slots (PN, PW), with the small constant under the root."""
    return tl.sqrt(tl.sum(memory * memory, 1) + EPSILON)


@triton.jit
def norm_of(key):
    return tl.sqrt(tl.sum(key * key, 0) + EPSILON)


@triton.jit
def cosines(memory, norms, key, key_norm):
    """Cosine of every slot (PN, PW) with the key (PW)."""
    return tl.sum(memory * key[None, :], 1) / (key_norm * norms + EPSILON)


@triton.jit
def content_weighting_backward(d_content, content, match, norms, key_norm, strength):
    """Return the gradients of dot products, norms, strength and the key's norm from that of a weighting."""
    d_score = content * (d_content - tl.sum(d_content * content, 0))
    d_dot = strength * d_score / (key_norm * norms + EPSILON)
    d_product = -d_dot * match
    return d_dot, d_product * key_norm, tl.sum(d_score * match, 0), tl.sum(d_product * norms, 0)
