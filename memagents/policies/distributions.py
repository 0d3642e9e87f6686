"""The distributions of actions: SB3's, but for choices, where half of its time is spent on the way there."""

from __future__ import annotations

import functools
import math
from typing import Any, Self

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    Distribution,
    MultiCategoricalDistribution,
    make_proba_distribution,
)
from torch import Tensor

_FEW = 16  # choices


class Choices(MultiCategoricalDistribution):
    """One choice, or several independent ones: what SB3's categorical distributions are, by a third of the operations.

    The same random numbers give the same choices.

    :param space: ``Discrete``, with actions (N,), or ``MultiDiscrete`` of K entries in any shape, with actions (N, K)
    """

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete):
        self.single = isinstance(space, spaces.Discrete)
        super().__init__([int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.ravel().tolist())
        self._log_probs: list[Tensor] = []  # of every possible choice, (N, choices)

    def proba_distribution(self, action_logits: Tensor) -> Self:
        """Take the logits (N, sum of choices)."""
        parts = [action_logits] if self.single else action_logits.split(self.action_dims, dim=1)
        self._log_probs = [_log_softmax(part) for part in parts]
        return self

    def log_prob(self, actions: Tensor) -> Tensor:
        """Return the log-probabilities (N,) of actions (N,) or (N, K)."""
        places = actions.long().view(len(actions), len(self.action_dims), 1).unbind(1)  # of no rows, too
        return _sum(own.gather(1, place) for own, place in zip(self._log_probs, places, strict=True)).squeeze(1)

    def entropy(self) -> Tensor:
        """In nats, (N,)."""
        return -_sum((own.exp() * own).sum(1) for own in self._log_probs)

    def probabilities(self) -> Tensor:
        """Of every possible choice, (N, sum of choices)."""
        return torch.cat(self._log_probs, dim=1).exp()

    def sample(self) -> Tensor:
        # Of clocks with these rates the first to ring, which is how torch.multinomial draws a single one.
        clocks = [own.exp() / own.new_empty(own.shape).exponential_() for own in self._log_probs]
        return self._joined([clock.argmax(1) for clock in clocks])

    def mode(self) -> Tensor:
        return self._joined([own.argmax(1) for own in self._log_probs])

    def _joined(self, chosen: list[Tensor]) -> Tensor:
        return chosen[0] if self.single else torch.stack(chosen, dim=1)


def kl_divergence(of: Distribution, to: Distribution) -> Tensor:
    """KL(of ‖ to) in nats, (N,), of two distributions of one action space."""
    if isinstance(of, Choices) and isinstance(to, Choices):
        pairs = zip(of._log_probs, to._log_probs, strict=True)
        return _sum((own.exp() * (own - other)).sum(1) for own, other in pairs)
    own: Any = of.distribution
    return torch.distributions.kl_divergence(own, to.distribution).sum(1)  # type: ignore[arg-type]


def _log_softmax(logits: Tensor) -> Tensor:
    """Over the last of (N, choices); torch has vectors along rows alone, where few choices leave them empty."""
    return logits.t().log_softmax(0).t() if logits.shape[1] < _FEW else logits.log_softmax(1)


_sum = functools.partial(functools.reduce, torch.add)


def distribution_for(space: spaces.Space) -> Distribution:
    """The distribution of the actions of a space.

    :param space: Box, Discrete, MultiDiscrete or MultiBinary
    """
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return Choices(space)
    if isinstance(space, spaces.MultiBinary):
        return BernoulliDistribution(math.prod(space.shape))
    return make_proba_distribution(space)
