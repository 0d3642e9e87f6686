"""Shared by forward and backward of the DNC's memory: the layout of their records, and the maths of one step.

A matrix of slots by slots is worked on ROWS rows at a time; for the other constants see
:mod:`memagents.kernels.cuda.slots`.

A record of a row after a step holds its carry, the small part of the state (usage N, write weighting N, precedence N,
read weightings R N), and after it what the backward wants: taken N (the product of all smaller usages), forward
weightings R N, backward weightings R N.
"""

from __future__ import annotations

import triton
import triton.language as tl

from memagents.kernels.cuda.slots import EPSILON, sigmoid


def record_rows(slots: int, heads: int) -> int:
    """Entries of a record."""
    return (4 + 3 * heads) * slots


def carry_rows(slots: int, heads: int) -> int:
    """Entries of the carry at the beginning of a record."""
    return (3 + heads) * slots


@triton.jit
def interface_of(face, R: tl.constexpr, W: tl.constexpr):
    """Return where the parts of an interface vector (or of its gradient) begin, behind the read keys."""
    read_strengths = face + R * W
    write_key = read_strengths + R
    write_strength = write_key + W
    erase = write_strength + 1
    write = erase + W
    free_gates = write + W
    allocation_gate = free_gates + R
    write_gate = allocation_gate + 1
    read_modes = write_gate + 1
    return read_strengths, write_key, write_strength, erase, write, free_gates, allocation_gate, write_gate, read_modes


@triton.jit
def erase_and_write(face, w, R: tl.constexpr, W: tl.constexpr):
    """The squashed erase vector and the write vector of an interface."""
    _, _, _, erase, write, _, _, _, _ = interface_of(face, R, W)
    return sigmoid(tl.load(erase + w, mask=w < W, other=0.0)), tl.load(write + w, mask=w < W, other=0.0)


@triton.jit
def modes_of(face, h, R: tl.constexpr, W: tl.constexpr):
    """The distribution of a head over backward, content, forward."""
    _, _, _, _, _, _, _, _, read_modes = interface_of(face, R, W)
    b = tl.load(read_modes + 3 * h)
    c = tl.load(read_modes + 3 * h + 1)
    f = tl.load(read_modes + 3 * h + 2)
    largest = tl.maximum(tl.maximum(b, c), f)
    b, c, f = tl.exp(b - largest), tl.exp(c - largest), tl.exp(f - largest)
    total = b + c + f
    return b / total, c / total, f / total


@triton.jit
def retention(like, reads, free_gates, n, present, but, R: tl.constexpr, N: tl.constexpr):
    """Π (1 − f_i r_i) over the read heads but one (−1: over all), a block like another."""
    kept = tl.full(like.shape, 1.0, like.dtype)
    for h in tl.static_range(R):
        freed = sigmoid(tl.load(free_gates + h)) * tl.load(reads + h * N + n, mask=present, other=0.0)
        kept = tl.where(but == h, kept, kept * (1.0 - freed))
    return kept


@triton.jit
def squeezed(usage):
    """The usage as the allocation sees it, away from zero. One rounding, so that equal usages stay equal."""
    return tl.fma(usage, tl.full(usage.shape, 1.0 - EPSILON, usage.dtype), tl.full(usage.shape, EPSILON, usage.dtype))


@triton.jit
def comes_before(usage, slot, other_usage, other_slot):
    """Whether a slot is less used than another, or as much and of a smaller index."""
    return (usage < other_usage) | ((usage == other_usage) & (slot < other_slot))
