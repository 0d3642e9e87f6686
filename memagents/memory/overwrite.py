"""Overwriting one slot of a memory, and no other."""

from __future__ import annotations

import torch
from torch import Tensor

from memagents.memory import draws, selection


def gumbel_slot(logits: Tensor, keys: Tensor | None, temperature: float) -> Tensor:
    """All weight on one slot: on one drawn from softmax(logits), or without keys on the likeliest.

    The draw is the greatest of logits + Gumbel noise; backward it is softmax((logits + noise) / τ), straight-through
    (Jang et al. 2017, arXiv 1611.01144, section 2.2).

    :param logits: (..., N)
    :param keys: int64 (...), of which the noise is made, see :mod:`memagents.memory.draws`; None for no noise
    :param temperature: τ, above 0
    :return: (..., N), of zeros and ones
    """
    if keys is not None:
        logits = logits + draws.gumbel(keys, logits.shape[-1], logits.dtype)
    return selection.hard(logits / temperature)


def overwrite(memory: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """M + w (v − M)ᵀ: with weights of 0 and 1 a slot is v, or what it was, to the last bit.

    :param memory: M, (B, N, W)
    :param weights: w, (B, N)
    :param values: v, (B, W)
    :return: (B, N, W)
    """
    return torch.lerp(memory, values.unsqueeze(1), weights.unsqueeze(2))
