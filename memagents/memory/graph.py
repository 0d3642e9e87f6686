"""Graphs of an episode, whose edges lead from earlier steps to later ones alone."""

from __future__ import annotations

import torch
from torch import Tensor

from memagents.memory import history, selection


def past(first: Tensor, length: int) -> Tensor:
    """Mark the positions of a timeline that each step comes after, of its episode alone and so many at most.

    :param first: of :func:`memagents.memory.history.first_positions`, (B, T)
    :param length: L
    :return: (B, T, L + T) booleans
    """
    steps = first.shape[1]
    own = torch.eye(steps, dtype=torch.bool, device=first.device)
    return history.sees(first, length, length + 1) & ~torch.cat([own.new_zeros(steps, length), own], dim=1)


def drawn_edges(scores: Tensor, uniforms: Tensor, mask: Tensor) -> Tensor:
    """Edges that are drawn from a softmax of scores, several for each node, of which some may coincide.

    Backward each draw is as if it were the softmax (straight-through).

    :param scores: (..., N), of a node's edges to all others
    :param uniforms: a number in [0, 1) for each draw, (..., K)
    :param mask: booleans (..., N), where an edge may be
    :return: (..., N), of zeros and ones; all zero where there may be none
    """
    missing = torch.ones_like(scores)
    for uniform in uniforms.split(1, dim=-1):
        missing = missing * (1 - selection.sampled(scores, uniform, mask))
    return 1 - missing


def neighbourhood(edges: Tensor, nodes: Tensor, mean: bool) -> Tensor:
    """The sum over each step's neighbours, or their mean, which is zero without any.

    :param edges: (B, T, N)
    :param nodes: (B, N, W)
    :return: (B, T, W)
    """
    if mean:
        edges = edges / edges.sum(dim=-1, keepdim=True).clamp(min=1)
    return edges @ nodes
