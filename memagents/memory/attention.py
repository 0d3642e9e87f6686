"""Finding by learned queries and keys: the scaled dot-product attention of Vaswani et al. 2017, equation 1."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(q kᵀ / √K) v, for any leading dimensions (batch rows, heads).

    :param queries: q, (..., Q, K)
    :param keys: k, (..., N, K)
    :param values: v, (..., N, V)
    :return: what each query finds, (..., Q, V), and its weights, (..., Q, N), distributions over the N
    """
    queries = queries * queries.shape[-1] ** -0.5
    weights = torch.softmax(queries @ keys.transpose(-1, -2), dim=-1)
    return weights @ values, weights
