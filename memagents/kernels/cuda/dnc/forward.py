"""One step of the DNC's memory for every row of the batch: :meth:`memagents.cores.dnc.DNC.step` behind the controller.

One kernel does all of it, one program a row. What it writes and reads again lies on either side of a barrier; what it
updates is read from one half of a buffer and written to the other (step t reads half t % 2). A row whose episode begins
reads zeros in place of its state, so that nothing on the host depends on the data.
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
from memagents.kernels.cuda.slots import cosines, norm_of, norms_of, oneplus, sigmoid, softmax


@triton.jit
def _multiply(a, b):
    return a * b


@triton.jit
def _product_of_less_used(after, usage, n, N: tl.constexpr, ROWS: tl.constexpr):
    """Return for every slot the product over all less used slots, or as used and of a smaller index: no sort."""
    mine = squeezed(usage)
    taken = tl.full(usage.shape, 1.0, usage.dtype)
    for first in range(0, N, ROWS):
        i = first + tl.arange(0, ROWS)
        other = squeezed(tl.load(after + i, mask=i < N, other=0.0))
        before = comes_before(other[:, None], i[:, None], mine[None, :], n[None, :]) & (i < N)[:, None]
        taken *= tl.reduce(tl.where(before, other[:, None], 1.0), 0, _multiply)
    return taken


@triton.jit
def _choose_where_to_write(
    before, after, face, memory, n, w, keep, N: tl.constexpr, W: tl.constexpr, R: tl.constexpr, ROWS: tl.constexpr
):
    """Usage, allocation, content on the memory as it was, precedence; returns the write weighting."""
    _, write_key, write_strength, _, _, free_gates, allocation_gate, write_gate, _ = interface_of(face, R, W)
    inside = n < N
    present = inside & keep
    usage = tl.load(before + n, mask=present, other=0.0)
    written = tl.load(before + N + n, mask=present, other=0.0)
    kept = retention(usage, before + 3 * N, free_gates, n, present, -1, R, N)
    usage = (usage + written - usage * written) * kept
    tl.store(after + n, usage, mask=inside)
    tl.debug_barrier()
    taken = _product_of_less_used(after, usage, n, N, ROWS)
    free = (1.0 - squeezed(usage)) * taken

    key = tl.load(write_key + w, mask=w < W, other=0.0)
    match = cosines(memory, norms_of(memory), key, norm_of(key))
    content = softmax(match * oneplus(tl.load(write_strength)), inside)
    ga, gw = sigmoid(tl.load(allocation_gate)), sigmoid(tl.load(write_gate))
    weights = tl.where(inside, gw * (ga * free + (1.0 - ga) * content), 0.0)

    precedence = tl.load(before + 2 * N + n, mask=present, other=0.0)
    tl.store(after + N + n, weights, mask=inside)
    tl.store(after + 2 * N + n, (1.0 - tl.sum(weights, 0)) * precedence + weights, mask=inside)
    tl.store(after + (3 + R) * N + n, taken, mask=inside)
    return weights


@triton.jit
def _link_and_follow(
    before, after, link, new_link, weights, n, keep,
    N: tl.constexpr, R: tl.constexpr, PN: tl.constexpr, PR: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The links, and where they lead from what was read, forward and backward."""
    present = (n < N) & keep
    forward, backward = after + (4 + R) * N, after + (4 + 2 * R) * N
    precedence = tl.load(before + 2 * N + n, mask=present, other=0.0)
    heads = tl.arange(0, PR)
    against = tl.zeros([PR, PN], weights.dtype)
    for first in range(0, N, ROWS):
        i = first + tl.arange(0, ROWS)
        at = i[:, None] * N + n[None, :]
        inside = (i < N)[:, None] & (n < N)[None, :]
        w = tl.load(after + N + i, mask=i < N, other=0.0)
        rows = tl.load(link + at, mask=inside & keep, other=0.0)
        rows = (1.0 - w[:, None] - weights[None, :]) * rows + w[:, None] * precedence[None, :]
        rows = tl.where(i[:, None] == n[None, :], 0.0, rows)
        tl.store(new_link + at, rows, mask=inside)
        for h in tl.static_range(R):
            read = tl.load(before + (3 + h) * N + n, mask=present, other=0.0)
            read_rows = tl.load(before + (3 + h) * N + i, mask=(i < N) & keep, other=0.0)
            tl.store(forward + h * N + i, tl.sum(rows * read[None, :], 1), mask=i < N)
            against += tl.where((heads == h)[:, None], tl.sum(rows * read_rows[:, None], 0)[None, :], 0.0)
    at = heads[:, None] * N + n[None, :]
    tl.store(backward + at, against, mask=(heads < R)[:, None] & (n < N)[None, :])


@triton.jit
def _read(after, face, memory, features, previous, n, w, goes_on, N: tl.constexpr, W: tl.constexpr, R: tl.constexpr):
    """Read weightings and read vectors; the latter to the features and to what the next step's controller gets."""
    inside = n < N
    read_strengths = face + R * W
    forward, backward = after + (4 + R) * N, after + (4 + 2 * R) * N
    norms = norms_of(memory)
    for h in range(R):
        key = tl.load(face + h * W + w, mask=w < W, other=0.0)
        match = cosines(memory, norms, key, norm_of(key))
        content = softmax(match * oneplus(tl.load(read_strengths + h)), inside)
        of_backward, of_content, of_forward = modes_of(face, h, R, W)
        read = of_content * content
        read += of_backward * tl.load(backward + h * N + n, mask=inside, other=0.0)
        read += of_forward * tl.load(forward + h * N + n, mask=inside, other=0.0)
        tl.store(after + (3 + h) * N + n, read, mask=inside)
        vector = tl.sum(memory * read[:, None], 0)
        tl.store(features + h * W + w, vector, mask=w < W)
        tl.store(previous + h * W + w, tl.where(goes_on, vector, 0.0), mask=w < W)


@triton.jit(do_not_specialize=["t", "batch"])
def access(
    starts, interface, tape, memory, link, features, previous, t, batch,
    N: tl.constexpr, W: tl.constexpr, R: tl.constexpr, H: tl.constexpr,
    PN: tl.constexpr, PW: tl.constexpr, PR: tl.constexpr, ROWS: tl.constexpr,
    RECORD: tl.constexpr, INTERFACE: tl.constexpr,
):  # fmt: skip
    """Step t.

    :param starts: (T + 1, B) bytes, the last row zeros
    :param interface: (T, B, I), the raw interface vectors
    :param tape: (T + 1, B, RECORD); reads the record at t, writes that at t + 1
    :param memory: (2, B, N, W), halves
    :param link: (2, B, N, N), halves
    :param features: (T, B, H + R W); writes the read vectors
    :param previous: (T + 1, B, H + R W); writes at t + 1 what the next step's controller gets of them
    """
    row = tl.program_id(0).to(tl.int64)
    at, features_rows = t * batch + row, H + R * W
    here, there = (t % 2) * batch + row, (1 - t % 2) * batch + row
    n, w = tl.arange(0, PN), tl.arange(0, PW)
    keep, goes_on = tl.load(starts + at) == 0, tl.load(starts + at + batch) == 0
    before, after, face = tape + at * RECORD, tape + (at + batch) * RECORD, interface + at * INTERFACE
    slots = n[:, None] * W + w[None, :]
    inside = (n < N)[:, None] & (w < W)[None, :]
    old = tl.load(memory + here * (N * W) + slots, mask=inside & keep, other=0.0)

    weights = _choose_where_to_write(before, after, face, old, n, w, keep, N, W, R, ROWS)
    e, v = erase_and_write(face, w, R, W)
    new = old * (1.0 - weights[:, None] * e[None, :]) + weights[:, None] * v[None, :]
    tl.store(memory + there * (N * W) + slots, new, mask=inside)
    tl.debug_barrier()
    _link_and_follow(before, after, link + here * (N * N), link + there * (N * N), weights, n, keep, N, R, PN, PR, ROWS)
    tl.debug_barrier()
    reads = features + at * features_rows + H
    _read(after, face, new, reads, previous + (at + batch) * features_rows + H, n, w, goes_on, N, W, R)


@triton.jit(do_not_specialize=["first", "steps", "batch"])
def rebuild(
    starts, interface, tape, checkpoint_memory, checkpoint_link, memories, links, first, steps, batch,
    N: tl.constexpr, W: tl.constexpr, R: tl.constexpr, PN: tl.constexpr, PW: tl.constexpr, ROWS: tl.constexpr,
    RECORD: tl.constexpr, INTERFACE: tl.constexpr,
):  # fmt: skip
    """The memory and link matrices before each of so many steps from ``first`` on (after its resets).

    A program does ROWS slots of a row. The updates need only what the tape holds, so nothing crosses a program.

    :param checkpoint_memory: (B, N, W), before step ``first`` and its resets
    :param checkpoint_link: (B, N, N)
    :param memories: (steps, B, N, W), written
    :param links: (steps, B, N, N), written
    """
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    n, w = tl.arange(0, PN), tl.arange(0, PW)
    of_memory, of_link = i[:, None] * W + w[None, :], i[:, None] * N + n[None, :]
    in_memory, in_link = (i < N)[:, None] & (w < W)[None, :], (i < N)[:, None] & (n < N)[None, :]
    keep = tl.load(starts + first * batch + row) == 0
    memory = tl.load(checkpoint_memory + row * (N * W) + of_memory, mask=in_memory & keep, other=0.0)
    link = tl.load(checkpoint_link + row * (N * N) + of_link, mask=in_link & keep, other=0.0)
    tl.store(memories + row * (N * W) + of_memory, memory, mask=in_memory)
    tl.store(links + row * (N * N) + of_link, link, mask=in_link)
    for step in range(1, steps):
        at = (first + step) * batch + row
        before, after = tape + (at - batch) * RECORD, tape + at * RECORD
        present = (n < N) & keep
        precedence = tl.load(before + 2 * N + n, mask=present, other=0.0)
        weights = tl.load(after + N + n, mask=n < N, other=0.0)
        mine = tl.load(after + N + i, mask=i < N, other=0.0)
        e, v = erase_and_write(interface + (at - batch) * INTERFACE, w, R, W)
        memory = memory * (1.0 - mine[:, None] * e[None, :]) + mine[:, None] * v[None, :]
        link = (1.0 - mine[:, None] - weights[None, :]) * link + mine[:, None] * precedence[None, :]
        link = tl.where(i[:, None] == n[None, :], 0.0, link)
        keep = tl.load(starts + at) == 0
        memory, link = tl.where(keep, memory, 0.0), tl.where(keep, link, 0.0)
        there = step * batch + row
        tl.store(memories + there * (N * W) + of_memory, memory, mask=in_memory)
        tl.store(links + there * (N * N) + of_link, link, mask=in_link)
