"""Thinking for as long as it takes: Adaptive Computation Time (Graves 2016, section 2).

Positions ponder in steps n = 1, 2, …; after each one a probability h_n says how much of the answer is found there. A
position halts at the first step N at which Σ h_n reaches a threshold 1 − ε (or at the last step that is allowed), and
the answer is the mean of what it had at its steps, weighted by h_n, and at the last one by the remainder
R = 1 − Σ_{n<N} h_n::

    >>> import torch
    >>> probabilities = torch.tensor([[0.9, 0.3], [0.5, 0.3], [0.5, 0.3]])  # of three steps of two positions
    >>> pondering = start(probabilities[0])
    >>> for number, probability in enumerate(probabilities, start=1):
    ...     weights, pondering = ponder(pondering, probability, 0.99, last=number == len(probabilities))
    ...     weights
    tensor([0.9000, 0.3000])
    tensor([0.1000, 0.3000])
    tensor([0.0000, 0.4000])
    >>> pondering.steps, ponder_cost(pondering)
    (tensor([2, 3]), tensor([2.1000, 3.4000]))
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pondering(NamedTuple):
    """The progress of some positions (...)."""

    running: Tensor  # booleans (...), true where the position has not halted
    spent: Tensor  # Σ h_n over the steps after which the position went on, (...) in [0, 1)
    steps: Tensor  # N so far, int64 (...)


def start(like: Tensor) -> Pondering:
    """Before the first step.

    :param like: a tensor (...) whose shape, dtype and device the probabilities will have
    """
    running = torch.ones_like(like, dtype=torch.bool)
    return Pondering(running, torch.zeros_like(like), torch.zeros_like(like, dtype=torch.int64))


def ponder(pondering: Pondering, probability: Tensor, threshold: float, last: bool = False) -> tuple[Tensor, Pondering]:
    """One step.

    The comparison with the threshold is hard: gradients take the steps at which positions halt for given.

    :param pondering: before the step
    :param probability: h_n, (...) in [0, 1]; ignored where the position has halted
    :param threshold: 1 − ε
    :param last: no step follows, and all halt
    :return: what this step counts for, (...), zero where the position had halted; and where the positions stand now.
        Over the steps the weights of a position sum to 1
    """
    running, spent, steps = pondering
    reached = spent + probability
    goes_on = torch.zeros_like(running) if last else running & (reached < threshold)
    weights = torch.where(goes_on, probability, torch.where(running, 1 - spent, 0))
    return weights, Pondering(goes_on, torch.where(goes_on, reached, spent), steps + running)


def remainder(pondering: Pondering) -> Tensor:
    """R = 1 − Σ_{n<N} h_n of positions that have halted, (...) in (0, 1]."""
    return 1 - pondering.spent


def ponder_cost(pondering: Pondering) -> Tensor:
    """ρ = N + R of positions that have halted, (...).

    N is a count and has no gradient. The gradient of R raises the probabilities of the steps before the last, until one
    of these is the last.
    """
    return pondering.steps + remainder(pondering)
