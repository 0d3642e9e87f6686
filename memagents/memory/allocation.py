"""Knowing which slots are free: Graves et al. 2016, Methods, "Dynamic memory allocation"."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-6


def update_usage(usage: Tensor, write_weights: Tensor, read_weights: Tensor, free_gates: Tensor) -> Tensor:
    """u_t = (u + w − u∘w) ∘ ψ, ψ of :func:`retention`.

    :param usage: u_{t-1}, (B, N) in [0, 1]
    :param write_weights: the previous step's write weighting w_{t-1}, (B, N)
    :param read_weights: the previous step's read weightings r_{t-1}, (B, R, N)
    :param free_gates: f_t, (B, R) in [0, 1]
    :return: (B, N) in [0, 1]
    """
    return (usage + write_weights - usage * write_weights) * retention(read_weights, free_gates)


def retention(read_weights: Tensor, free_gates: Tensor) -> Tensor:
    """ψ = Π_i (1 − f_i r_i): how much of each slot is kept by all heads that read it.

    :param read_weights: the previous step's read weightings r_{t-1}, (B, R, N)
    :param free_gates: f_t, (B, R) in [0, 1]
    :return: (B, N) in [0, 1]
    """
    # Not torch.prod: its backward looks for zeros, for which a GPU would have to be waited for.
    return functools.reduce(torch.mul, (1 - free_gates.unsqueeze(2) * read_weights).unbind(1))


def allocation_weighting(usage: Tensor) -> Tensor:
    """a_t[φ_j] = (1 − u[φ_j]) Π_{i<j} u[φ_i], φ the slots in ascending order of usage (equal ones by their index).

    Differentiable but for the order. A small constant keeps the usage away from zero, in here only: the product is
    computed as a sum of logarithms.

    :param usage: u_t, (B, N) in [0, 1]
    :return: (B, N), non-negative, with a sum of at most 1
    """
    usage = _EPSILON + (1 - _EPSILON) * usage
    ascending, order = usage.sort(dim=-1, stable=True)
    # Not torch.cumprod, for the same reason as above.
    taken_before = functional.pad(ascending.log()[:, :-1], (1, 0)).cumsum(dim=-1).exp()
    return torch.zeros_like(usage).scatter(-1, order, (1 - ascending) * taken_before)
