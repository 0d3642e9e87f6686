"""Writing to what was read last or to what is used least: Santoro et al. 2016, section 3.2."""

from __future__ import annotations

import torch
from torch import Tensor


def update_usage(usage: Tensor, read_weights: Tensor, write_weights: Tensor, decay: float) -> Tensor:
    """w^u_t = γ w^u_{t-1} + w^r_t + w^w_t, summed over the heads (equation 5).

    :param usage: w^u_{t-1}, (B, N)
    :param read_weights: w^r_t, (B, R, N)
    :param write_weights: w^w_t, (B, R, N)
    :param decay: γ, in [0, 1]
    :return: (B, N)
    """
    return torch.add((read_weights + write_weights).sum(dim=1), usage, alpha=decay)


def least_used(usage: Tensor, count: int) -> Tensor:
    """Find the n least used slots, the least used one first; of slots used alike those of the lowest indices.

    They are where w^lu is 1, by equation 6 where the usage is at most the n-th smallest: of slots used alike, as all
    are at first, that would be more than n. No gradient passes.

    :param usage: w^u_{t-1}, (B, N)
    :param count: n, at most N
    :return: int64 (B, n)
    """
    usage = usage.detach()
    # Not topk, which leaves open which of equal ones it takes.
    return usage.sort(dim=1, stable=True).indices[:, :count] if count > 1 else usage.argmin(dim=1, keepdim=True)


def write_weighting(read_weights: Tensor, least: Tensor, gates: Tensor) -> Tensor:
    """w^w_t = σ(α) w^r_{t-1} + (1 − σ(α)) w^lu_{t-1} (equation 7), where w^lu of the i-th head is 1 at the i-th slot.

    :param read_weights: w^r_{t-1}, (B, R, N)
    :param least: of :func:`least_used`, (B, R)
    :param gates: σ(α), (B, R, 1) in [0, 1]
    :return: (B, R, N)
    """
    return (gates * read_weights).scatter_add(2, least.unsqueeze(2), 1 - gates)


def write(memory: Tensor, weights: Tensor, keys: Tensor, least: Tensor) -> Tensor:
    """M_t = M_{t-1} + Σ w^w kᵀ, after the least used slots were set to zero (equation 8).

    :param memory: M_{t-1}, (B, N, W)
    :param weights: w^w, (B, R, N)
    :param keys: k, (B, R, W)
    :param least: of :func:`least_used`, (B, R)
    :return: (B, N, W)
    """
    kept = memory.scatter(1, least.unsqueeze(2).expand(-1, -1, memory.shape[2]), 0)
    return torch.baddbmm(kept, weights.transpose(1, 2), keys)
