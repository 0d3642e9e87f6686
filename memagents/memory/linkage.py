"""Remembering the order of writes: Graves et al. 2016, Methods, "Temporal memory linkage"."""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-6


def update_link(link: Tensor, precedence: Tensor, write_weights: Tensor) -> Tensor:
    """L_t[i, j] = (1 − w[i] − w[j]) L_{t-1}[i, j] + w[i] p[j], with a zero diagonal.

    :param link: L_{t-1}, (B, N, N); ``link[:, i, j]`` is how far slot i was written right after slot j
    :param precedence: the *previous* step's precedence p_{t-1}, (B, N)
    :param write_weights: w_t, (B, N)
    :return: (B, N, N)
    """
    rows, columns = write_weights.unsqueeze(2), write_weights.unsqueeze(1)
    link = (1 - rows - columns) * link + rows * precedence.unsqueeze(1)
    link.diagonal(dim1=1, dim2=2).zero_()
    return link


def update_precedence(precedence: Tensor, write_weights: Tensor) -> Tensor:
    """p_t = (1 − Σ w) p_{t-1} + w: how far each slot was the last one written.

    :param precedence: p_{t-1}, (B, N)
    :param write_weights: w_t, (B, N)
    :return: (B, N)
    """
    return (1 - write_weights.sum(dim=1, keepdim=True)) * precedence + write_weights


def forward_weighting(link: Tensor, read_weights: Tensor) -> Tensor:
    """f_t = L_t r_{t-1}: what was written after what was read.

    :param link: (B, N, N)
    :param read_weights: (B, R, N)
    :return: (B, R, N)
    """
    return read_weights @ link.transpose(1, 2)


def backward_weighting(link: Tensor, read_weights: Tensor) -> Tensor:
    """b_t = L_tᵀ r_{t-1}: what was written before what was read.

    :param link: (B, N, N)
    :param read_weights: (B, R, N)
    :return: (B, R, N)
    """
    return read_weights @ link


def sharpened(weights: Tensor, sharpness: Tensor) -> Tensor:
    """((d + ε) / max (d + ε))^s over its sum: what a link has blurred, made sharp (Csordás and Schmidhuber 2019, arXiv
    1904.10278, section 3.3). Where there are no links it is uniform.

    :param weights: d, of :func:`forward_weighting` or :func:`backward_weighting`, (B, R, N)
    :param sharpness: s, (B, R) in [1, inf)
    :return: (B, R, N), distributions over the slots
    """
    return torch.softmax(sharpness.unsqueeze(2) * (weights + _EPSILON).log(), dim=-1)  # the maximum is no matter
