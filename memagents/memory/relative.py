"""Attention to the past by its age: Transformer-XL's relative positions (Dai et al. 2019, section 3.3).

What a step sees of itself and its past stands on a timeline, see :mod:`memagents.memory.history`. In the score of
step i for position j, with R the sinusoids of the age i − j, ::

    (q_i + u) · k_j  +  (q_i + v) · W_R R_{i−j}

u says which contents matter whoever looks, v which ages. Nothing depends on where in the episode a step is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from memagents.memory import history
from memagents.memory.attention import attention
from memagents.memory.looking import may_look


def sinusoids(span: int, width: int, like: Tensor) -> Tensor:
    """Encodings R of the ages span − 1, …, 1, 0, in this order: that of the positions from the oldest to a step's own.

    The sines of age / 10000^(2i / W), then the cosines, as in Transformer-XL (Vaswani et al. 2017, section 3.5, has
    them by turns, which is the same to a learned W_R); of an odd width the last cosine is missing.

    :param span: number of ages
    :param width: W
    :param like: a floating-point tensor of the dtype and on the device wanted
    :return: (span, W)
    """
    ages = torch.arange(span - 1, -1, -1, device=like.device, dtype=like.dtype)
    indices = torch.arange(0, width, 2, device=like.device, dtype=like.dtype)
    angles = ages.unsqueeze(1) * torch.exp(indices * (-math.log(10_000) / width))
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


def constant_sinusoids(span: int, width: int, like: Tensor) -> Tensor:
    """The same as :func:`sinusoids`, which on a CPU are computed once; not to be changed.

    :param span: number of ages
    :param width: W
    :param like: a floating-point tensor of the dtype and on the device wanted
    :return: (span, W)
    """
    if not may_look(like):  # a captured or exported graph would own what it computes
        return sinusoids(span, width, like)
    return _sinusoids_on_cpu(span, width, like.dtype)


@functools.lru_cache(maxsize=64)
def _sinusoids_on_cpu(span: int, width: int, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():  # tensors of inference mode could not be learned with later
        return sinusoids(span, width, torch.empty(0, dtype=dtype))


def relative_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    encodings: Tensor,
    content_bias: Tensor,
    position_bias: Tensor,
    seen: Tensor,
    to_positions: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """softmax(((q + u) · k + (q + v) · r_age) / √K) v, for all steps of a window and all heads at once.

    :param queries: q of the T steps, (B, heads, T, K)
    :param keys: k of the timeline, (B, heads, L + T, K)
    :param values: (B, heads, L + T, V)
    :param encodings: r = W_R R, (heads, S, K), of the S ages from the oldest that a step may see to its own;
        S is at most L + 1
    :param content_bias: u, (heads, K)
    :param position_bias: v, (heads, K)
    :param seen: booleans (B, T, L + T) of :func:`memagents.memory.history.sees` with a span of at most S; each step
        sees something
    :param to_positions: brings scores by age, (B, heads, T, S), to the positions of the keys, (B, heads, T, L + T);
        by default :func:`memagents.memory.history.skew`
    :return: what each step finds, (B, heads, T, V), and its weights, (B, heads, T, L + T), distributions over the
        timeline; :func:`memagents.memory.history.unskew` gives those over ages
    """
    by_age = (queries + position_bias.unsqueeze(1)) @ encodings.transpose(-1, -2) * queries.shape[-1] ** -0.5
    if to_positions is None:
        by_position = history.skew(by_age, keys.shape[-2] - queries.shape[-2])
    else:
        by_position = to_positions(by_age)
    return attention(queries + content_bias.unsqueeze(1), keys, values, seen.unsqueeze(1), by_position)
