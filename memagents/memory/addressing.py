"""Finding slots by what they hold: Graves et al. 2016, Methods, "Content-based addressing"."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-6


def oneplus(x: Tensor) -> Tensor:
    """``1 + log(1 + exp(x))``: maps the reals to [1, inf), for key strengths."""
    return 1 + F.softplus(x)


def cosine_similarity(memory: Tensor, keys: Tensor, masks: Tensor | None = None) -> Tensor:
    """Cosine of the angle between every key and every slot.

    With masks m that is the angle between k ∘ m and M_i ∘ m: what a mask leaves out, a key need not know (Csordás and
    Schmidhuber 2019, arXiv 1904.10278, section 3.1).

    A small constant stands under each root and in the denominator, so that zero vectors are similar to nothing (0) and
    the gradient there is finite.

    :param memory: (B, N, W)
    :param keys: (B, R, W)
    :param masks: (B, R, W) in [0, 1], of each key its own
    :return: (B, R, N), each in [-1, 1]
    """
    if masks is None:
        squares = memory.square().sum(-1).unsqueeze(1)  # (B, 1, N)
    else:
        squares = masks.square() @ memory.square().transpose(1, 2)  # (B, R, N)
        keys = keys * masks
    memory_norms = (squares + EPSILON).sqrt()
    key_norms = (keys.square().sum(-1) + EPSILON).sqrt()
    dots = (keys if masks is None else keys * masks) @ memory.transpose(1, 2)
    return dots / (key_norms.unsqueeze(2) * memory_norms + EPSILON)


def content_weighting(memory: Tensor, keys: Tensor, strengths: Tensor, masks: Tensor | None = None) -> Tensor:
    """C(M, k, β): a softmax over the slots of the cosine similarity times the key strength.

    :param memory: (B, N, W)
    :param keys: (B, R, W)
    :param strengths: (B, R), in [1, inf)
    :param masks: of :func:`cosine_similarity`, (B, R, W)
    :return: (B, R, N), distributions over the slots
    """
    return torch.softmax(cosine_similarity(memory, keys, masks) * strengths.unsqueeze(2), dim=-1)
