"""A loss for a memory that the task does not reward yet: to recall what was observed some steps before.

Letters in shapes: T steps, B batch rows, I entries of an encoded observation, O the memory's output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from memagents.checks import positive_int


class Recall(nn.Linear):
    """Linear layer that recalls, from what a memory gives, the encoded observations of some steps before.

    :param width: O
    :param encoded_size: I
    :param lags: so many steps before, from :func:`lags_of`
    """

    def __init__(self, width: int, encoded_size: int, lags: Sequence[int]):
        super().__init__(width, len(lags) * encoded_size)
        self.lags = list(lags)

    def error(self, encoded: Tensor, outputs: Tensor, starts: Tensor) -> Tensor:
        """Return how wrongly earlier observations are recalled: squared errors (T, B), means over I and the lags.

        Each number of the encoded observations is standardised over the window: an encoder that learns would else make
        them large, and this loss the only one. An observation from before the window or of an earlier episode counts as
        recalled without an error.

        :param encoded: what the memory took, (T, B, I)
        :param outputs: what it gave, (T, B, O)
        :param starts: (T, B) booleans
        """
        episodes, truth = starts.cumsum(0), standardised(encoded.detach())
        recalled = self(outputs).unflatten(-1, (len(self.lags), -1))  # (T, B, lags, I)
        total = encoded.new_zeros(starts.shape)
        for number, lag in enumerate(min(lag, len(starts)) for lag in self.lags):
            earlier = len(starts) - lag
            errors = (recalled[lag:, :, number] - truth[:earlier]).square().mean(-1)
            known = torch.where(episodes[lag:] == episodes[:earlier], errors, 0)
            total = total + torch.cat([known.new_zeros(lag, starts.shape[1]), known])
        return total / len(self.lags)


def standardised(values: Tensor) -> Tensor:
    """Return values (T, B, I) with mean 0 and standard deviation 1 over T and B; 0 where one never varies."""
    centred = values - values.mean((0, 1))
    return centred / (centred.square().mean((0, 1)).sqrt() + 1e-6)


def lags_of(recall_lag: int | Sequence[int] | None) -> list[int]:
    """Return the lags at which the past is recalled; none for None.

    :raises ValueError: for anything but positive integers, each once
    """
    if recall_lag is None:
        return []
    given: Sequence[Any] = recall_lag if isinstance(recall_lag, list | tuple) else [recall_lag]
    lags = [positive_int("recall_lag", lag) for lag in given]
    if not lags or len(set(lags)) < len(lags):
        raise ValueError(f"recall_lag must be a positive integer, or several different ones, not {recall_lag!r}")
    return lags
