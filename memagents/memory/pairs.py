"""Pairs of a step and a row that it sees, for those who go through the rows one after another.

They are in the order in which a recurrence goes through them: first the oldest row of every step, then the next of all
steps that see two, and so on; the steps in the order of how many they see, the most first. What belongs to the steps
that still go on is then always in front.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pairs(NamedTuple):
    """M pairs of N steps and their facts."""

    facts: Tensor  # int64 (M,): rows of all facts
    steps: Tensor  # int64 (M,): which step, in the window's order
    places: Tensor  # int64 (M,): the how-manieth fact that the step sees, from 0
    states: Tensor  # int64 (N,): the place of every step among the states of the GRU
    counts: list[int]  # how many steps see more than 0, 1, … facts


def pairs_of(begin: Tensor, count: Tensor) -> Pairs:
    """The pairs of a window.

    :param begin: row of the oldest fact of every step, int64 (N,)
    :param count: how many facts each sees, one after another, int64 (N,), at least 1
    """
    order = count.argsort(descending=True, stable=True)
    sees = count[order] > torch.arange(int(count.max())).unsqueeze(1)  # (S, N)
    places, states = sees.nonzero(as_tuple=True)
    steps = order[states]
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    return Pairs(begin[steps] + places, steps, places, inverse, sees.sum(1).tolist())
