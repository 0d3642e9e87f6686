"""What every bonus is: a reward of the agent's own for what is new to it, in shapes of a window.

Letters in shapes: T steps, B rows (environments).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.policies.encoding import Observations


class Experience(NamedTuple):
    """Window of experience with the observation that follows it.

    ``starts[t + 1]`` says that the transition from t to t + 1 crosses the end of an episode.
    """

    observations: Observations  # (T + 1, B, ...)
    starts: Tensor  # (T + 1, B) booleans, true where the observation begins an episode
    actions: Tensor  # (T, B, ...)


class Bonus(nn.Module):
    """Intrinsic reward. What it remembers, of episodes and of the whole training, is in its buffers.

    A subclass defines :meth:`bonus`, and :meth:`loss` where it has networks that learn.

    :param rows: environments B, each with an episodic memory of its own
    """

    def __init__(self, rows: int):
        super().__init__()
        self.rows = rows

    def bonus(self, experience: Experience) -> Tensor:
        """Return the reward of each transition for the observation it leads to, (T, B), and remember what was seen.

        Windows are to be given in their order, each once.
        """
        raise NotImplementedError

    def loss(self, experience: Experience) -> Tensor | None:
        """Return the loss of the networks on a window or some rows of it, a scalar; None where nothing is learned."""
        return None


class Product(Bonus):
    """Product of bonuses, such as an episodic one by one that lasts (Henaff et al. 2023, arXiv:2306.03236).

    :param factors: bonuses of the same number of rows
    """

    def __init__(self, factors: Sequence[Bonus]):
        super().__init__(factors[0].rows)
        self.factors = nn.ModuleList(factors)

    def bonus(self, experience: Experience) -> Tensor:
        return torch.stack([factor.bonus(experience) for factor in self._bonuses()]).prod(0)

    def loss(self, experience: Experience) -> Tensor | None:
        losses = [loss for factor in self._bonuses() if (loss := factor.loss(experience)) is not None]
        return torch.stack(losses).sum() if losses else None

    def _bonuses(self) -> list[Bonus]:
        return [factor for factor in self.factors if isinstance(factor, Bonus)]
