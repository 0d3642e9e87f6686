"""The derivative of :mod:`memagents.kernels.cuda.dnc.forward`, by hand, for every row of the batch.

It is that of :mod:`memagents.kernels.cpu.dnc.step_backward`. A gradient is named ``d_`` and the name of what it belongs
to. Look-ups by content and what one pass over a matrix gives are computed again; the memory and link matrices before
each step come from :func:`memagents.kernels.cuda.dnc.forward.rebuild`. Gradients of the state lie in buffers of two
halves: step t reads those after it from one and writes those before it to half t % 2.

A row's scratch holds: N of the allocation, N of the write weighting, R N of the read weightings after the step, R N of
those before it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from memagents.kernels.cuda.dnc.parts import (
    comes_before,
    erase_and_write,
    interface_of,
    modes_of,
    retention,
    squeezed,
)
from memagents.kernels.cuda.slots import (
    EPSILON,
    content_weighting_backward,
    cosines,
    norm_of,
    norms_of,
    oneplus,
    sigmoid,
    softmax,
    softplus_slope,
)


def scratch_rows(slots: int, heads: int) -> int:
    """Entries of a row's scratch."""
    return (2 + 2 * heads) * slots


@triton.jit
def _read(
    after, face, d_face, d_reads, scratch, memory, d_memory, grad_vectors, d_vectors, n, w, goes_on,
    N: tl.constexpr, W: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Go back through read vectors and read weightings to keys, modes and the memory; return the memory's gradient.

    The gradients of the read weightings, which the links need, go to the scratch.
    """
    inside = n < N
    read_strengths = face + R * W
    d_strengths, _, _, _, _, _, _, _, d_modes = interface_of(d_face, R, W)
    forward, backward = after + (4 + R) * N, after + (4 + 2 * R) * N
    norms = norms_of(memory)
    d_norms = norms * 0.0
    for h in range(R):
        d_vector = tl.load(grad_vectors + h * W + w, mask=w < W, other=0.0)
        d_vector += tl.load(d_vectors + h * W + w, mask=(w < W) & goes_on, other=0.0)
        d_read = tl.load(d_reads + h * N + n, mask=inside, other=0.0) + tl.sum(memory * d_vector[None, :], 1)
        d_read = tl.where(inside, d_read, 0.0)
        tl.store(scratch + (2 + h) * N + n, d_read, mask=inside)

        key = tl.load(face + h * W + w, mask=w < W, other=0.0)
        raw_strength = tl.load(read_strengths + h)
        key_norm, strength = norm_of(key), oneplus(raw_strength)
        match = cosines(memory, norms, key, key_norm)
        content = softmax(match * strength, inside)
        b, c, f = modes_of(face, h, R, W)
        d_b = tl.sum(d_read * tl.load(backward + h * N + n, mask=inside, other=0.0), 0)
        d_c = tl.sum(d_read * content, 0)
        d_f = tl.sum(d_read * tl.load(forward + h * N + n, mask=inside, other=0.0), 0)
        mean = b * d_b + c * d_c + f * d_f
        tl.store(d_modes + 3 * h, b * (d_b - mean))
        tl.store(d_modes + 3 * h + 1, c * (d_c - mean))
        tl.store(d_modes + 3 * h + 2, f * (d_f - mean))

        d_dot, d_slot_norms, d_strength, d_key_norm = content_weighting_backward(
            c * d_read, content, match, norms, key_norm, strength
        )
        tl.store(d_strengths + h, d_strength * softplus_slope(raw_strength))
        d_key = tl.sum(memory * d_dot[:, None], 0) + d_key_norm / key_norm * key
        tl.store(d_face + h * W + w, d_key, mask=w < W)
        d_norms += d_slot_norms
        read = tl.load(after + (3 + h) * N + n, mask=inside, other=0.0)
        d_memory += d_dot[:, None] * key[None, :] + read[:, None] * d_vector[None, :]
    return d_memory + (d_norms / norms)[:, None] * memory


@triton.jit
def _links(
    before, after, face, d_after, scratch, link, d_link, d_old_link, weights, n, keep,
    N: tl.constexpr, W: tl.constexpr, R: tl.constexpr, PN: tl.constexpr, PR: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Go back through links and precedence.

    Returns the gradients of the write weighting, of the precedence before the step, and of the read weightings before
    it (PR, PN), without what the scratch holds of them afterwards: sums along the rows of the link matrix.
    """
    inside = n < N
    present = inside & keep
    precedence = tl.load(before + 2 * N + n, mask=present, other=0.0)
    d_precedence = tl.load(d_after + 2 * N + n, mask=inside, other=0.0)
    d_weights = tl.load(d_after + N + n, mask=inside, other=0.0) + d_precedence
    d_weights -= tl.sum(d_precedence * precedence, 0)
    d_precedence *= 1.0 - tl.sum(weights, 0)
    heads = tl.arange(0, PR)
    d_reads = tl.zeros([PR, PN], weights.dtype)
    for first in range(0, N, ROWS):
        i = first + tl.arange(0, ROWS)
        at, in_tile = i[:, None] * N + n[None, :], (i < N)[:, None] & inside[None, :]
        mine = tl.load(after + N + i, mask=i < N, other=0.0)
        old = tl.load(link + at, mask=in_tile, other=0.0)
        kept = 1.0 - mine[:, None] - weights[None, :]
        new = tl.where(i[:, None] == n[None, :], 0.0, kept * old + mine[:, None] * precedence[None, :])
        d_new = tl.load(d_link + at, mask=in_tile, other=0.0)
        for h in tl.static_range(R):
            b, _, f = modes_of(face, h, R, W)
            read = tl.load(before + (3 + h) * N + n, mask=present, other=0.0)
            read_rows = tl.load(before + (3 + h) * N + i, mask=(i < N) & keep, other=0.0)
            d_backward = b * tl.load(scratch + (2 + h) * N + n, mask=inside, other=0.0)
            d_forward = f * tl.load(scratch + (2 + h) * N + i, mask=i < N, other=0.0)
            d_new += d_forward[:, None] * read[None, :] + read_rows[:, None] * d_backward[None, :]
            tl.store(scratch + (2 + R + h) * N + i, tl.sum(new * d_backward[None, :], 1), mask=i < N)
            d_reads += tl.where((heads == h)[:, None], tl.sum(new * d_forward[:, None], 0)[None, :], 0.0)
        d_new = tl.where(i[:, None] == n[None, :], 0.0, d_new)
        tl.store(scratch + N + i, tl.sum(d_new * (precedence[None, :] - old), 1), mask=i < N)
        d_weights -= tl.sum(d_new * old, 0)
        d_precedence += tl.sum(d_new * mine[:, None], 0)
        tl.store(d_old_link + at, tl.where(keep, d_new * kept, 0.0), mask=in_tile)
    return d_weights, d_precedence, d_reads


@triton.jit
def _write(
    after, face, d_face, scratch, old, d_memory, weights, d_weights, n, w,
    N: tl.constexpr, W: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Go back through the write and its weighting.

    Returns the gradients of the memory before the step and of the allocation times taken; the latter, times one minus
    the usage, is in the scratch too.
    """
    inside = n < N
    _, write_key, write_strength, _, _, _, allocation_gate, write_gate, _ = interface_of(face, R, W)
    _, d_key, d_write_strength, d_erase, d_write, _, d_allocation_gate, d_write_gate, _ = interface_of(d_face, R, W)
    e, v = erase_and_write(face, w, R, W)
    d_weights += tl.sum(d_memory * (v[None, :] - e[None, :] * old), 1)
    d_weights = tl.where(inside, d_weights, 0.0)
    d_written = d_memory * weights[:, None]
    tl.store(d_write + w, tl.sum(d_written, 0), mask=w < W)
    tl.store(d_erase + w, -tl.sum(d_written * old, 0) * e * (1.0 - e), mask=w < W)
    d_old = d_memory - d_written * e[None, :]

    key, norms, raw_strength = tl.load(write_key + w, mask=w < W, other=0.0), norms_of(old), tl.load(write_strength)
    key_norm, strength = norm_of(key), oneplus(raw_strength)
    match = cosines(old, norms, key, key_norm)
    content = softmax(match * strength, inside)
    usage = squeezed(tl.load(after + n, mask=inside, other=0.0))
    taken = tl.load(after + (3 + R) * N + n, mask=inside, other=0.0)
    free, ga, gw = (1.0 - usage) * taken, sigmoid(tl.load(allocation_gate)), sigmoid(tl.load(write_gate))
    d_ga = gw * tl.sum(d_weights * (free - content), 0)
    d_gw = tl.sum(d_weights * (ga * free + (1.0 - ga) * content), 0)
    tl.store(d_allocation_gate, d_ga * ga * (1.0 - ga))
    tl.store(d_write_gate, d_gw * gw * (1.0 - gw))
    d_taken = gw * ga * d_weights * taken
    tl.store(scratch + n, d_taken * (1.0 - usage), mask=inside)

    d_dot, d_norms, d_strength, d_key_norm = content_weighting_backward(
        gw * (1.0 - ga) * d_weights, content, match, norms, key_norm, strength
    )
    tl.store(d_write_strength, d_strength * softplus_slope(raw_strength))
    tl.store(d_key + w, tl.sum(old * d_dot[:, None], 0) + d_key_norm / key_norm * key, mask=w < W)
    return d_old + d_dot[:, None] * key[None, :] + (d_norms / norms)[:, None] * old, d_taken


@triton.jit
def _allocation(after, scratch, d_taken, n, N: tl.constexpr, ROWS: tl.constexpr):
    """The gradient of the usage through the allocation, the order of the slots being fixed."""
    usage = squeezed(tl.load(after + n, mask=n < N, other=0.0))
    of_more_used = tl.zeros(usage.shape, usage.dtype)
    for first in range(0, N, ROWS):
        i = first + tl.arange(0, ROWS)
        other = squeezed(tl.load(after + i, mask=i < N, other=0.0))
        d_other = tl.load(scratch + i, mask=i < N, other=0.0)
        more = comes_before(usage[None, :], n[None, :], other[:, None], i[:, None])
        of_more_used += tl.sum(tl.where(more, d_other[:, None], 0.0), 0)
    return (1.0 - EPSILON) * (of_more_used / usage - d_taken)


@triton.jit
def _usage(
    before, face, d_face, d_before, scratch, d_usage, d_reads, n, keep,
    N: tl.constexpr, W: tl.constexpr, R: tl.constexpr, PR: tl.constexpr,
):  # fmt: skip
    """Go back through the usage; write all but the precedence's part of the carry's gradient."""
    inside = n < N
    present = inside & keep
    _, _, _, _, _, free_gates, _, _, _ = interface_of(face, R, W)
    _, _, _, _, _, d_free_gates, _, _, _ = interface_of(d_face, R, W)
    u = tl.load(before + n, mask=present, other=0.0)
    written = tl.load(before + N + n, mask=present, other=0.0)
    d_kept = d_usage * (u + written - u * written)
    heads = tl.arange(0, PR)
    for h in tl.static_range(R):
        others = d_kept * retention(u, before + 3 * N, free_gates, n, present, h, R, N)
        read = tl.load(before + (3 + h) * N + n, mask=present, other=0.0)
        f = sigmoid(tl.load(free_gates + h))
        tl.store(d_free_gates + h, -tl.sum(others * read, 0) * f * (1.0 - f))
        d_read = tl.sum(tl.where((heads == h)[:, None], d_reads, 0.0), 0) - others * f
        d_read += tl.load(scratch + (2 + R + h) * N + n, mask=inside, other=0.0)
        tl.store(d_before + (3 + h) * N + n, tl.where(keep, d_read, 0.0), mask=inside)
    d_usage *= retention(u, before + 3 * N, free_gates, n, present, -1, R, N)
    tl.store(d_before + n, tl.where(keep, d_usage * (1.0 - written), 0.0), mask=inside)
    tl.store(d_before + N + n, tl.where(keep, d_usage * (1.0 - u), 0.0), mask=inside)


@triton.jit(do_not_specialize=["t", "of_chunk", "batch"])
def access_backward(
    starts, interface, tape, memories, links, grad_features, d_recurrent, d_memory, d_link, d_carry, scratch,
    d_interface, t, of_chunk, batch,
    N: tl.constexpr, W: tl.constexpr, R: tl.constexpr, H: tl.constexpr,
    PN: tl.constexpr, PW: tl.constexpr, PR: tl.constexpr, ROWS: tl.constexpr,
    RECORD: tl.constexpr, CARRY: tl.constexpr, INTERFACE: tl.constexpr, SCRATCH: tl.constexpr,
):  # fmt: skip
    """Step t.

    :param starts: (T + 1, B) bytes, the last row zeros
    :param interface: (T, B, I), the raw interface vectors
    :param tape: (T + 1, B, RECORD)
    :param memories: (steps of a chunk, B, N, W), of which ``of_chunk`` is that before the step
    :param links: (steps of a chunk, B, N, N)
    :param grad_features: (T, B, H + R W), from outside
    :param d_recurrent: (B, H + R W), of the features as the next step's controller got them
    :param d_memory: (2, B, N, W), halves
    :param d_link: (2, B, N, N), halves
    :param d_carry: (2, B, CARRY), halves
    :param scratch: (B, SCRATCH)
    :param d_interface: (T, B, I), written
    """
    row = tl.program_id(0).to(tl.int64)
    at, features_rows = t * batch + row, H + R * W
    here, there = (t % 2) * batch + row, (1 - t % 2) * batch + row
    n, w = tl.arange(0, PN), tl.arange(0, PW)
    keep, goes_on = tl.load(starts + at) == 0, tl.load(starts + at + batch) == 0
    before, after = tape + at * RECORD, tape + (at + batch) * RECORD
    face, d_face = interface + at * INTERFACE, d_interface + at * INTERFACE
    d_before, d_after, own = d_carry + here * CARRY, d_carry + there * CARRY, scratch + row * SCRATCH
    slots = n[:, None] * W + w[None, :]
    inside = (n < N)[:, None] & (w < W)[None, :]

    weights = tl.load(after + N + n, mask=n < N, other=0.0)
    e, v = erase_and_write(face, w, R, W)
    old = tl.load(memories + (of_chunk * batch + row) * (N * W) + slots, mask=inside, other=0.0)
    new = old * (1.0 - weights[:, None] * e[None, :]) + weights[:, None] * v[None, :]
    d_new = tl.load(d_memory + there * (N * W) + slots, mask=inside, other=0.0)
    d_new = _read(
        after, face, d_face, d_after + 3 * N, own, new, d_new, grad_features + at * features_rows + H,
        d_recurrent + row * features_rows + H, n, w, goes_on, N, W, R,
    )  # fmt: skip
    tl.debug_barrier()
    d_weights, d_precedence, d_reads = _links(
        before, after, face, d_after, own, links + (of_chunk * batch + row) * (N * N), d_link + there * (N * N),
        d_link + here * (N * N), weights, n, keep, N, W, R, PN, PR, ROWS,
    )  # fmt: skip
    tl.store(d_before + 2 * N + n, tl.where(keep, d_precedence, 0.0), mask=n < N)
    tl.debug_barrier()
    d_weights += tl.load(own + N + n, mask=n < N, other=0.0)
    d_old, d_taken = _write(after, face, d_face, own, old, d_new, weights, d_weights, n, w, N, W, R)
    tl.store(d_memory + here * (N * W) + slots, tl.where(keep, d_old, 0.0), mask=inside)
    tl.debug_barrier()
    d_usage = tl.load(d_after + n, mask=n < N, other=0.0) + _allocation(after, own, d_taken, n, N, ROWS)
    _usage(before, face, d_face, d_before, own, d_usage, d_reads, n, keep, N, W, R, PR)
