"""Shared by forward and backward of the NTM's memory: the layout of their records, and the maths of a head.

K heads, of which the last writes, SHIFTS = 2 S + 1 places that a head can move to and CLIP, the bound on the interface,
are compile-time constants beside those of :mod:`memagents.kernels.cuda.slots`; PS is the power of two that holds
SHIFTS.

A record of a row after a step holds its carry, the weightings K N, and after it what the backward wants: the weightings
before they were shifted, K N. The state that an episode begins with, memory N W, weightings K N and read vectors
(K − 1) W, lies in one buffer.
"""

from __future__ import annotations

import triton
import triton.language as tl

from memagents.kernels.cuda.slots import sigmoid, softmax, tanh

SMALL = tl.constexpr(1e-16)
"""The constant of :mod:`memagents.memory.location`."""


@triton.jit
def interface_of(face, K: tl.constexpr, W: tl.constexpr, SHIFTS: tl.constexpr):
    """Return where the parts of an interface vector (or of its gradient) begin, behind the keys."""
    strengths = face + K * W
    gates = strengths + K
    shifts = gates + K
    sharpening = shifts + K * SHIFTS
    erase = sharpening + K
    return strengths, gates, shifts, sharpening, erase, erase + W


@triton.jit
def clipped(x, CLIP: tl.constexpr):
    return tl.where(x > CLIP, CLIP, tl.where(x < -CLIP, -CLIP, x))


@triton.jit
def through_clip(x, gradient, CLIP: tl.constexpr):
    """The gradient of what was clipped."""
    return tl.where((x > CLIP) | (x < -CLIP), 0.0, gradient)


@triton.jit
def erase_and_add(face, w, K: tl.constexpr, W: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr):
    """The squashed erase and add vectors of an interface."""
    _, _, _, _, erase, add = interface_of(face, K, W, SHIFTS)
    e = sigmoid(clipped(tl.load(erase + w, mask=w < W, other=0.0), CLIP))
    return e, tanh(clipped(tl.load(add + w, mask=w < W, other=0.0), CLIP))


@triton.jit
def shifts_of(shifts, h, s, SHIFTS: tl.constexpr, CLIP: tl.constexpr):
    """The distribution of a head over its shifts from −S to S, a block (PS)."""
    inside = s < SHIFTS
    return softmax(clipped(tl.load(shifts + h * SHIFTS + s, mask=inside, other=0.0), CLIP), inside)


@triton.jit
def around(weights, n, s, TOWARDS: tl.constexpr, N: tl.constexpr, SHIFTS: tl.constexpr):
    """Weight of the slot that lies a shift (PS) away from a slot (PN) on the ring, for every pair.

    :param TOWARDS: 1, or −1 for the slot from which the shift leads here
    """
    slot = (n[None, :] + TOWARDS * (s[:, None] - SHIFTS // 2) + N) % N
    return tl.load(weights + slot, mask=(s < SHIFTS)[:, None] & (n < N)[None, :], other=0.0)


@triton.jit
def before_step(weights, beginning, n, keep, N: tl.constexpr):
    """A head's weighting before the step: that of the beginning where an episode begins."""
    kept = tl.load(weights + n, mask=(n < N) & keep, other=0.0)
    return kept + tl.load(beginning + n, mask=(n < N) & ~keep, other=0.0)


@triton.jit
def written(old, weights, e, a):
    """The memory (PN, PW) after the write."""
    return old * (1.0 - weights[:, None] * e[None, :]) + weights[:, None] * a[None, :]
