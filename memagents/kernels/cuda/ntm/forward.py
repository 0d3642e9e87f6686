"""One step of the NTM's memory for every row of the batch: :meth:`memagents.cores.ntm.NTM.step` behind the controller.

One kernel does all of it, one program a row. What it writes and reads again lies on either side of a barrier; what it
updates is read from one half of a buffer and written to the other (step t reads half t % 2). A row whose episode begins
reads the beginning in place of its state, so that nothing on the host depends on the data.
"""

from __future__ import annotations

import triton
import triton.language as tl

from memagents.kernels.cuda.ntm.parts import (
    SMALL,
    around,
    before_step,
    clipped,
    erase_and_add,
    interface_of,
    shifts_of,
    written,
)
from memagents.kernels.cuda.slots import cosines, norm_of, norms_of, oneplus, sigmoid, softmax, softplus, tanh


@triton.jit
def _look_up(
    before, after, face, beginning, memory, n, w, keep,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """Content on the memory as it was, interpolated with the last weighting, of all heads."""
    inside = n < N
    strengths, gates, _, _, _, _ = interface_of(face, K, W, SHIFTS)
    norms = norms_of(memory)
    for h in range(K):
        key = tanh(clipped(tl.load(face + h * W + w, mask=w < W, other=0.0), CLIP))
        match = cosines(memory, norms, key, norm_of(key))
        content = softmax(match * softplus(clipped(tl.load(strengths + h), CLIP)), inside)
        previous = before_step(before + h * N, beginning + N * W + h * N, n, keep, N)
        gated = previous + sigmoid(clipped(tl.load(gates + h), CLIP)) * (content - previous)
        tl.store(after + (K + h) * N + n, gated, mask=inside)


@triton.jit
def _move(
    after, face, h, n, s,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """The weighting of a head, shifted and sharpened."""
    _, _, shifts, sharpening, _, _ = interface_of(face, K, W, SHIFTS)
    neighbours = around(after + (K + h) * N, n, s, -1, N, SHIFTS)
    shifted = tl.sum(shifts_of(shifts, h, s, SHIFTS, CLIP)[:, None] * neighbours, 0)
    weights = softmax(tl.log(shifted + SMALL) * oneplus(clipped(tl.load(sharpening + h), CLIP)), n < N)
    tl.store(after + h * N + n, weights, mask=n < N)
    return weights


@triton.jit(do_not_specialize=["t", "batch"])
def access(
    starts, interface, tape, memory, beginning, features, previous, t, batch,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, H: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
    PN: tl.constexpr, PW: tl.constexpr, PS: tl.constexpr,
    RECORD: tl.constexpr, FEATURES: tl.constexpr, INTERFACE: tl.constexpr,
):  # fmt: skip
    """Step t.

    :param starts: (T + 1, B) bytes, the last row zeros
    :param interface: (T, B, I), the raw interface vectors
    :param tape: (T + 1, B, RECORD); reads the record at t, writes that at t + 1
    :param memory: (2, B, N, W), halves
    :param beginning: with what an episode begins
    :param features: (T, B, FEATURES); writes the read vectors
    :param previous: (T + 1, B, FEATURES); writes at t + 1 what the next step's controller gets of them
    """
    row = tl.program_id(0).to(tl.int64)
    at, vectors = t * batch + row, beginning + N * W + K * N
    here, there = (t % 2) * batch + row, (1 - t % 2) * batch + row
    n, w, s = tl.arange(0, PN), tl.arange(0, PW), tl.arange(0, PS)
    keep, goes_on = tl.load(starts + at) == 0, tl.load(starts + at + batch) == 0
    before, after, face = tape + at * RECORD, tape + (at + batch) * RECORD, interface + at * INTERFACE
    slots = n[:, None] * W + w[None, :]
    inside = (n < N)[:, None] & (w < W)[None, :]
    old = tl.load(memory + here * (N * W) + slots, mask=inside & keep, other=0.0)
    old += tl.load(beginning + slots, mask=inside & ~keep, other=0.0)

    _look_up(before, after, face, beginning, old, n, w, keep, N, W, K, SHIFTS, CLIP)
    tl.debug_barrier()
    writing = _move(after, face, K - 1, n, s, N, W, K, SHIFTS, CLIP)
    e, a = erase_and_add(face, w, K, W, SHIFTS, CLIP)
    new = written(old, writing, e, a)
    tl.store(memory + there * (N * W) + slots, new, mask=inside)
    reads, next_reads = features + at * FEATURES + H, previous + (at + batch) * FEATURES + H
    for h in range(K - 1):
        reading = _move(after, face, h, n, s, N, W, K, SHIFTS, CLIP)
        vector = tl.sum(new * reading[:, None], 0)
        begun = tl.load(vectors + h * W + w, mask=(w < W) & ~goes_on, other=0.0)
        tl.store(reads + h * W + w, vector, mask=w < W)
        tl.store(next_reads + h * W + w, tl.where(goes_on, vector, begun), mask=w < W)


@triton.jit(do_not_specialize=["first", "steps", "batch"])
def rebuild(
    starts, interface, tape, checkpoint, memories, beginning, first, steps, batch,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
    PW: tl.constexpr, ROWS: tl.constexpr, RECORD: tl.constexpr, INTERFACE: tl.constexpr,
):  # fmt: skip
    """The memory before each of so many steps from ``first`` on (after its resets).

    A program does ROWS slots of a row. The updates need only what the tape holds, so nothing crosses a program.

    :param checkpoint: (B, N, W), before step ``first`` and its resets
    :param memories: (steps, B, N, W), written
    """
    row = tl.program_id(0).to(tl.int64)
    i, w = tl.program_id(1) * ROWS + tl.arange(0, ROWS), tl.arange(0, PW)
    slots, inside = i[:, None] * W + w[None, :], (i < N)[:, None] & (w < W)[None, :]
    keep = tl.load(starts + first * batch + row) == 0
    memory = tl.load(checkpoint + row * (N * W) + slots, mask=inside & keep, other=0.0)
    memory += tl.load(beginning + slots, mask=inside & ~keep, other=0.0)
    tl.store(memories + row * (N * W) + slots, memory, mask=inside)
    for step in range(1, steps):
        at = (first + step) * batch + row
        writing = tl.load(tape + at * RECORD + (K - 1) * N + i, mask=i < N, other=0.0)
        e, a = erase_and_add(interface + (at - batch) * INTERFACE, w, K, W, SHIFTS, CLIP)
        keep = tl.load(starts + at) == 0
        begun = tl.load(beginning + slots, mask=inside & ~keep, other=0.0)
        memory = tl.where(keep, written(memory, writing, e, a), begun)
        tl.store(memories + (step * batch + row) * (N * W) + slots, memory, mask=inside)
