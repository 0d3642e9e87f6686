"""Memories that are matrices and change linearly, by decay, erasure and writing: a step, and windows in chunks.

One recurrence serves a whole family. Of a head with memory S, (K, V), a step does

    S ← Diag(α) S,  then for each of its n writes  S ← S + k (v - Sᵀ e)ᵀ,  and then reads  o = Sᵀ q

With e = β k and v = β v it is the gated delta rule (arXiv 2412.06464), with e = 0 what Mamba-2 (2405.21060) and the
mLSTM (2405.04517) have. What is written under a key of unit length with e = k takes the place of what was there.

A window is computed chunk by chunk. With D_ts the product of the α from behind s to t, and of a chunk's start S₀,

    (I + A) U = V - D_t0 (E S₀),  A_ts = D_ts e_t·k_s for s < t,  O = D_t0 (Q S₀) + (D ∘ Q Kᵀ) U,
    S = D_C0 S₀ + Σ_s D_Cs k_s u_sᵀ

for each α a scalar, or one for each channel of the keys. An episode that begins inside a chunk is a mask: pairs count
within one episode, and S₀ reaches the first alone. So D are sums of true decays only, each over its own steps, since
differences of long sums lose digits.

Letters in shapes: T steps, B rows, H heads, n writes in a step, K width of a key, V width of a value, A either K or 1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from memagents.memory.scan import any_start


def unit(vectors: Tensor) -> Tensor:
    """x / √(Σ x² + 1e-6), (..., K)."""
    width = vectors.shape[-1]
    return functional.rms_norm(vectors, (width,), eps=1e-6 / width) / math.sqrt(width)


def linear_step(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    log_decay: Tensor,
    memory: Tensor,
    erase: Tensor | None = None,
    begun: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step.

    :param queries: q, (B, H, K)
    :param keys: k, (B, H, n, K)
    :param values: v, (B, H, n, V)
    :param log_decay: log α, at most 0, (B, H, A)
    :param memory: S, (B, H, K, V)
    :param erase: e, (B, H, n, K); nothing is erased without it
    :param begun: numbers of the rows that begin an episode, where S is zero
    :return: o, (B, H, V), and S after the step
    """
    memory = memory * log_decay.exp().unsqueeze(-1)
    if begun is not None:  # zero times what is not finite is not zero
        memory.index_fill_(0, begun, 0)
    for number, (key, value) in enumerate(zip(keys.unbind(-2), values.unbind(-2), strict=True)):
        if erase is not None:
            value = value - _read(memory, erase[..., number, :])
        add = memory.addcmul if torch.is_grad_enabled() else memory.addcmul_  # it is new, and in no history then
        memory = add(key.unsqueeze(-1), value.unsqueeze(-2))
    return _read(memory, queries), memory


def linear_window(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    log_decay: Tensor,
    memory: Tensor,
    starts: Tensor,
    erase: Tensor | None = None,
    chunk: int = 16,
) -> tuple[Tensor, Tensor]:
    """All steps of a window, equal to as many of :func:`linear_step`. It cannot be differentiated twice.

    :param queries: q, (T, B, H, K)
    :param keys: k, (T, B, H, n, K)
    :param values: v, (T, B, H, n, V)
    :param log_decay: log α, at most 0, (T, B, H, A)
    :param memory: S before the window, (B, H, K, V)
    :param starts: (T, B) booleans, where S is zero before the step
    :param erase: e, (T, B, H, n, K)
    :param chunk: steps that are computed together
    :return: o, (T, B, H, V), and S after the window
    """
    writes = keys.shape[-2]
    queries, log_decay = (x.permute(1, 2, 0, 3) for x in (queries, log_decay))  # (B, H, T, ...)
    keys, values = _in_a_row(keys), _in_a_row(values)  # (B, H, T n, ...)
    if writes > 1:  # nothing decays between the writes of a step
        log_decay = functional.pad(log_decay.unsqueeze(3), (0, 0, 0, writes - 1)).flatten(2, 3)
    cut = any_start(starts)
    if cut:  # zero times what is not finite is not zero
        memory = torch.where(starts[0].view(-1, 1, 1, 1), 0, memory)
    key_chunks, value_chunks, decay_chunks = (x.split(chunk * writes, dim=2) for x in (keys, values, log_decay))
    erase_chunks = None if erase is None else _in_a_row(erase).split(chunk * writes, dim=2)
    reads = []
    for number, (asked, begun) in enumerate(zip(queries.split(chunk, dim=2), starts.split(chunk), strict=True)):
        read, memory = _chunk(
            asked,
            key_chunks[number],
            value_chunks[number],
            decay_chunks[number],
            memory,
            erase_chunks[number] if erase_chunks else None,
            _episodes(begun, writes) if cut else None,
        )
        reads.append(read)
    return torch.cat(reads, dim=2).permute(2, 0, 1, 3), memory


def stabilise_step(
    log_decay: Tensor, log_input: Tensor, stabiliser: Tensor, begun: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """m' = max(log f + m, log i), by whose exponential a memory with exponential gates is kept divided.

    :param log_decay: log f, (B, H)
    :param log_input: log i, (B, H)
    :param stabiliser: m, (B, H)
    :param begun: numbers of the rows that begin an episode, where m is zero
    :return: m' and m, of the step, and what to carry on, m' again, all (B, H)
    """
    if begun is not None:
        stabiliser = stabiliser.index_fill(0, begun, 0)
    after = torch.maximum(log_decay + stabiliser, log_input)
    return after, stabiliser, after


def stabilise_window(
    log_decay: Tensor, log_input: Tensor, stabiliser: Tensor, starts: Tensor, chunk: int = 16
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps of a window, equal to as many of :func:`stabilise_step`; an episode begins with m = 0.

    :param log_decay: log f, (T, B, H)
    :param log_input: log i, (T, B, H)
    :param stabiliser: m before the window, (B, H)
    :param starts: (T, B) booleans
    :param chunk: steps that are computed together
    :return: m after and before each step, both (T, B, H), and after the window, (B, H)
    """
    first = starts.unsqueeze(-1)
    log_input = torch.where(first, torch.maximum(log_decay, log_input), log_input)
    carried, parts = stabiliser, []
    for decay, into, begun in zip(*(x.split(chunk) for x in (log_decay, log_input, starts)), strict=True):
        decay, into = decay.permute(1, 2, 0), into.permute(1, 2, 0)  # (B, H, C)
        episodes = _episodes(begun, 1)
        reached = spans(decay) + into.unsqueeze(-2)
        best = reached.masked_fill(~_pairs(episodes).tril(), -math.inf).amax(dim=-1)
        before = decay.cumsum(dim=-1) + carried.unsqueeze(-1)
        best = torch.where(episodes.unsqueeze(1) == 0, torch.maximum(before, best), best)
        carried = best[..., -1]
        parts.append(best.permute(2, 0, 1))
    after = torch.cat(parts)
    before = torch.where(first, 0, torch.cat([stabiliser.unsqueeze(0), after[:-1]]))
    return after, before, carried.clone()


def spans(log_decay: Tensor) -> Tensor:
    """Σ log α over the steps behind s up to t, for s < t, else 0: each sum over its own steps alone.

    :param log_decay: (..., C)
    :return: (..., t, s)
    """
    steps = log_decay.shape[-1]
    return log_decay.unsqueeze(-1).expand(*log_decay.shape, steps).tril(-1).cumsum(dim=-2)


def solve_unit_lower(inner: Tensor, values: Tensor) -> Tensor:
    """U of (I + A) U = V, for many small A at once; it cannot be differentiated twice.

    As ``torch.linalg.solve_triangular``, which on the CPU however goes through them one by one, and with several
    threads takes twenty times as long as with one.

    :param inner: A, (..., C, C), of which only what lies below the diagonal counts
    :param values: V, (..., C, V)
    """
    if inner.device.type != "cpu":
        return torch.linalg.solve_triangular(inner, values, upper=False, unitriangular=True)
    return _Solve.apply(inner, values)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inner: Tensor, values: Tensor) -> Tensor:
        solved = values.clone(memory_format=torch.contiguous_format)
        _substitute(inner, solved, False)
        ctx.save_for_backward(inner, solved)
        return solved

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        inner, solved = ctx.saved_tensors
        of_values = grads[0].clone(memory_format=torch.contiguous_format)
        _substitute(inner, of_values, True)
        return (of_values @ -solved.mT).tril_(-1), of_values


def _substitute(inner: Tensor, values: Tensor, transposed: bool) -> None:
    """Solve in place, row by row where they are few, else one half after the other; of I + A or its transpose."""
    size = inner.shape[-1]
    if size <= FEW:
        for n in range(size - 1, 0, -1) if transposed else range(size - 1):
            row = values[..., n : n + 1, :]
            if transposed:
                values[..., :n, :].addcmul_(inner[..., n : n + 1, :n].mT, row, value=-1)
            else:
                values[..., n + 1 :, :].addcmul_(inner[..., n + 1 :, n : n + 1], row, value=-1)
        return
    half = size // 2
    corners = (inner[..., :half, :half], values[..., :half, :]), (inner[..., half:, half:], values[..., half:, :])
    (_, first), (_, second) = corners
    between = inner[..., half:, :half]
    _substitute(*corners[transposed], transposed)
    if transposed:
        first -= between.mT @ second
    else:
        second -= between @ first
    _substitute(*corners[not transposed], transposed)


FEW = 8


def _chunk(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    log_decay: Tensor,
    memory: Tensor,
    erase: Tensor | None,
    episodes: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One chunk: (B, H, C, ...), with n C keys in a row for C queries; ``episodes`` numbers those of (B, n C)."""
    size = keys.shape[2]
    last = slice(size // queries.shape[2] - 1, None, size // queries.shape[2])  # the write before each read
    decays = spans(log_decay.transpose(2, 3)).exp().tril()  # D, (B, H, A, t, s)
    carry = log_decay.cumsum(dim=2).exp()  # D_t0, (B, H, t, A)
    if episodes is not None:
        decays = decays * _pairs(episodes).to(decays.dtype).unsqueeze(2)
        carry = torch.where((episodes == 0).view(-1, 1, size, 1), carry, 0)
    if erase is not None:
        inner = _scores(erase, keys, decays)
        values = values - (erase * carry) @ memory
        values = solve_unit_lower(inner, values)  # U
    reads = (queries * carry[:, :, last]) @ memory + _scores(queries, keys, decays[..., last, :]) @ values
    kept = memory * carry[:, :, -1].unsqueeze(-1)
    added = keys.transpose(2, 3) * decays[..., -1, :]
    memory = kept + added @ values
    return reads, memory


def _scores(rows: Tensor, keys: Tensor, decays: Tensor) -> Tensor:
    """D_ts r_t·k_s, (B, H, t, s), with D for each channel of the keys where it is one for each."""
    if decays.shape[2] == 1:
        return (rows @ keys.transpose(2, 3)) * decays.squeeze(2)
    return (rows.transpose(2, 3).unsqueeze(-1) * keys.transpose(2, 3).unsqueeze(-2) * decays).sum(dim=2)


def _pairs(episodes: Tensor) -> Tensor:
    """Whether s and t lie in one episode, (B, 1, t, s)."""
    return (episodes.unsqueeze(2) == episodes.unsqueeze(1)).unsqueeze(1)


def _episodes(starts: Tensor, writes: int) -> Tensor:
    """The number of the episode in the chunk, 0 of the one that goes on: (C, B) to (B, n C)."""
    return starts.cumsum(0).t().repeat_interleave(writes, dim=1)


def _in_a_row(writes: Tensor) -> Tensor:
    """(T, B, H, n, ...) to (B, H, T n, ...)."""
    return writes.permute(1, 2, 0, 3, 4).flatten(2, 3)


def _read(memory: Tensor, query: Tensor) -> Tensor:
    """Sᵀ q, (B, H, V)."""
    return (query.unsqueeze(-2) @ memory).squeeze(-2)
