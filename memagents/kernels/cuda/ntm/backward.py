"""The derivative of :mod:`memagents.kernels.cuda.ntm.forward`, by hand, for every row of the batch.

It is that of :mod:`memagents.kernels.cpu.ntm.step_backward`. A gradient is named ``d_`` and the name of what it belongs
to. Look-ups by content and what was shifted are computed again; the memory before each step comes from
:func:`memagents.kernels.cuda.ntm.forward.rebuild`. Gradients of the state lie in buffers of two halves: step t reads
those after it from one and writes those before it to half t % 2; where an episode begins they are added up instead, row
by row. A row's scratch holds the gradients of the shifted weightings, K N.
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
    through_clip,
    written,
)
from memagents.kernels.cuda.slots import (
    content_weighting_backward,
    cosines,
    norm_of,
    norms_of,
    oneplus,
    sigmoid,
    softmax,
    softplus,
    softplus_slope,
    tanh,
)


@triton.jit
def _move(
    after, face, d_face, scratch, weights, d_weights, h, n, s,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """Go back through a head's weighting to its sharpening, its shifts and, in the scratch, the weighting before
    it was sharpened.
    """
    inside = n < N
    _, _, shifts, sharpening, _, _ = interface_of(face, K, W, SHIFTS)
    _, _, d_shifts, d_sharpening, _, _ = interface_of(d_face, K, W, SHIFTS)
    chosen = shifts_of(shifts, h, s, SHIFTS, CLIP)
    neighbours = around(after + (K + h) * N, n, s, -1, N, SHIFTS)
    shifted = tl.sum(chosen[:, None] * neighbours, 0) + SMALL
    raw = tl.load(sharpening + h)
    d_score = weights * (d_weights - tl.sum(d_weights * weights, 0))
    d_gamma = tl.sum(d_score * tl.log(shifted), 0) * softplus_slope(raw)
    tl.store(d_sharpening + h, through_clip(raw, d_gamma, CLIP))
    d_shifted = oneplus(clipped(raw, CLIP)) * d_score / shifted
    tl.store(scratch + h * N + n, d_shifted, mask=inside)

    d_chosen = tl.sum(neighbours * d_shifted[None, :], 1)
    d_raw = chosen * (d_chosen - tl.sum(chosen * d_chosen, 0))
    raw_shifts = tl.load(shifts + h * SHIFTS + s, mask=s < SHIFTS, other=0.0)
    tl.store(d_shifts + h * SHIFTS + s, through_clip(raw_shifts, d_raw, CLIP), mask=s < SHIFTS)


@triton.jit
def _write(
    face, d_face, old, d_memory, writing, w,
    K: tl.constexpr, W: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """The gradients of the write weighting, but for what comes from the next step, and of the memory before."""
    _, _, _, _, erase, add = interface_of(face, K, W, SHIFTS)
    _, _, _, _, d_erase, d_add = interface_of(d_face, K, W, SHIFTS)
    e, a = erase_and_add(face, w, K, W, SHIFTS, CLIP)
    d_written = d_memory * writing[:, None]
    d_e = -tl.sum(d_written * old, 0) * e * (1.0 - e)
    d_a = tl.sum(d_written, 0) * (1.0 - a * a)
    tl.store(d_erase + w, through_clip(tl.load(erase + w, mask=w < W, other=0.0), d_e, CLIP), mask=w < W)
    tl.store(d_add + w, through_clip(tl.load(add + w, mask=w < W, other=0.0), d_a, CLIP), mask=w < W)
    return tl.sum(d_memory * (a[None, :] - e[None, :] * old), 1), d_memory - d_written * e[None, :]


@triton.jit
def _interpolate(
    previous, content, face, d_face, d_before, d_begun, scratch, h, n, s, keep,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """Go back through a head's shift and interpolation; return the gradient of its content weighting."""
    inside = n < N
    _, gates, shifts, _, _, _ = interface_of(face, K, W, SHIFTS)
    _, d_gates, _, _, _, _ = interface_of(d_face, K, W, SHIFTS)
    chosen = shifts_of(shifts, h, s, SHIFTS, CLIP)
    d_gated = tl.sum(chosen[:, None] * around(scratch + h * N, n, s, 1, N, SHIFTS), 0)
    raw = tl.load(gates + h)
    g = sigmoid(clipped(raw, CLIP))
    d_g = tl.sum(d_gated * (content - previous), 0) * g * (1.0 - g)
    tl.store(d_gates + h, through_clip(raw, d_g, CLIP))
    d_previous, begun = (1.0 - g) * d_gated, inside & ~keep
    tl.store(d_before + h * N + n, tl.where(keep, d_previous, 0.0), mask=inside)
    sums = tl.load(d_begun + h * N + n, mask=begun, other=0.0)
    tl.store(d_begun + h * N + n, sums + d_previous, mask=begun)
    return g * d_gated


@triton.jit
def _look_up(
    before, face, d_face, beginning, d_before, d_beginning, scratch, memory, d_memory, n, w, s, keep,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
):  # fmt: skip
    """Go back through the addressing of all heads; return the gradient of the memory before the step."""
    strengths, _, _, _, _, _ = interface_of(face, K, W, SHIFTS)
    d_strengths, _, _, _, _, _ = interface_of(d_face, K, W, SHIFTS)
    norms = norms_of(memory)
    d_norms = norms * 0.0
    for h in range(K):
        raw_key, raw_strength = tl.load(face + h * W + w, mask=w < W, other=0.0), tl.load(strengths + h)
        key, strength = tanh(clipped(raw_key, CLIP)), softplus(clipped(raw_strength, CLIP))
        key_norm = norm_of(key)
        match = cosines(memory, norms, key, key_norm)
        content = softmax(match * strength, n < N)
        previous = before_step(before + h * N, beginning + N * W + h * N, n, keep, N)
        d_content = _interpolate(
            previous, content, face, d_face, d_before, d_beginning + N * W, scratch, h, n, s, keep,
            N, W, K, SHIFTS, CLIP,
        )  # fmt: skip
        d_dot, d_slot_norms, d_strength, d_key_norm = content_weighting_backward(
            d_content, content, match, norms, key_norm, strength
        )
        tl.store(d_strengths + h, through_clip(raw_strength, d_strength * softplus_slope(raw_strength), CLIP))
        d_key = (tl.sum(memory * d_dot[:, None], 0) + d_key_norm / key_norm * key) * (1.0 - key * key)
        tl.store(d_face + h * W + w, through_clip(raw_key, d_key, CLIP), mask=w < W)
        d_norms += d_slot_norms
        d_memory += d_dot[:, None] * key[None, :]
    return d_memory + (d_norms / norms)[:, None] * memory


@triton.jit(do_not_specialize=["t", "of_chunk", "batch"])
def access_backward(
    starts, interface, tape, memories, beginning, grad_features, d_recurrent, d_memory, d_carry, d_beginning, scratch,
    d_interface, t, of_chunk, batch,
    N: tl.constexpr, W: tl.constexpr, K: tl.constexpr, H: tl.constexpr, SHIFTS: tl.constexpr, CLIP: tl.constexpr,
    PN: tl.constexpr, PW: tl.constexpr, PS: tl.constexpr, RECORD: tl.constexpr, CARRY: tl.constexpr,
    FEATURES: tl.constexpr, INTERFACE: tl.constexpr, SCRATCH: tl.constexpr,
):  # fmt: skip
    """Step t.

    :param starts: (T + 1, B) bytes, the last row zeros
    :param interface: (T, B, I), the raw interface vectors
    :param tape: (T + 1, B, RECORD)
    :param memories: (steps of a chunk, B, N, W), of which ``of_chunk`` is that before the step
    :param beginning: with what an episode begins
    :param grad_features: (T, B, FEATURES), from outside
    :param d_recurrent: (B, FEATURES), of the features as the next step's controller got them
    :param d_memory: (2, B, N, W), halves
    :param d_carry: (2, B, CARRY), halves
    :param d_beginning: (B, N W + K N), of the memory and the weightings that an episode begins with; added to
    :param scratch: (B, SCRATCH)
    :param d_interface: (T, B, I), written
    """
    row = tl.program_id(0).to(tl.int64)
    at = t * batch + row
    here, there = (t % 2) * batch + row, (1 - t % 2) * batch + row
    n, w, s = tl.arange(0, PN), tl.arange(0, PW), tl.arange(0, PS)
    keep, goes_on = tl.load(starts + at) == 0, tl.load(starts + at + batch) == 0
    before, after = tape + at * RECORD, tape + (at + batch) * RECORD
    face, d_face = interface + at * INTERFACE, d_interface + at * INTERFACE
    d_before, d_after, own = d_carry + here * CARRY, d_carry + there * CARRY, scratch + row * SCRATCH
    d_begun = d_beginning + row * (N * W + K * N)
    slots = n[:, None] * W + w[None, :]
    inside = (n < N)[:, None] & (w < W)[None, :]

    writing = tl.load(after + (K - 1) * N + n, mask=n < N, other=0.0)
    e, a = erase_and_add(face, w, K, W, SHIFTS, CLIP)
    old = tl.load(memories + (of_chunk * batch + row) * (N * W) + slots, mask=inside, other=0.0)
    new = written(old, writing, e, a)
    d_new = tl.load(d_memory + there * (N * W) + slots, mask=inside, other=0.0)
    grad_vectors, d_vectors = grad_features + at * FEATURES + H, d_recurrent + row * FEATURES + H
    for h in range(K - 1):
        d_vector = tl.load(grad_vectors + h * W + w, mask=w < W, other=0.0)
        d_vector += tl.load(d_vectors + h * W + w, mask=(w < W) & goes_on, other=0.0)
        reading = tl.load(after + h * N + n, mask=n < N, other=0.0)
        d_reading = tl.load(d_after + h * N + n, mask=n < N, other=0.0) + tl.sum(new * d_vector[None, :], 1)
        _move(after, face, d_face, own, reading, d_reading, h, n, s, N, W, K, SHIFTS, CLIP)
        d_new += reading[:, None] * d_vector[None, :]
    d_writing, d_old = _write(face, d_face, old, d_new, writing, w, K, W, SHIFTS, CLIP)
    d_writing += tl.load(d_after + (K - 1) * N + n, mask=n < N, other=0.0)
    _move(after, face, d_face, own, writing, d_writing, K - 1, n, s, N, W, K, SHIFTS, CLIP)
    tl.debug_barrier()
    d_old = _look_up(
        before, face, d_face, beginning, d_before, d_begun, own, old, d_old, n, w, s, keep, N, W, K, SHIFTS, CLIP
    )
    tl.store(d_memory + here * (N * W) + slots, tl.where(keep, d_old, 0.0), mask=inside)
    begun = inside & ~keep
    tl.store(d_begun + slots, tl.load(d_begun + slots, mask=begun, other=0.0) + d_old, mask=begun)
