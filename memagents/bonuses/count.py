"""Counting what is seen in an episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from gymnasium import spaces
from torch import Tensor, nn

from memagents.bonuses.bonus import Bonus, Experience
from memagents.bonuses.features import Encoder
from memagents.bonuses.hashing import ObservationHash, counted_space
from memagents.checks import one_of, positive_int


class EpisodicCounts(nn.Module):
    """How often each observation was seen in the present episode of each row.

    Of more than ``capacity`` different observations in one episode, those that were met first are forgotten.

    :param rows: B
    :param capacity: different observations of an episode that are kept apart
    """

    def __init__(self, rows: int, capacity: int = 1024):
        super().__init__()
        capacity = positive_int("capacity", capacity)
        self.register_buffer("keys", torch.zeros(rows, capacity, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(rows, capacity, dtype=torch.int64))
        self.register_buffer("met", torch.zeros(rows, dtype=torch.int64))  # different observations of the episode
        self.keys: Tensor
        self.counts: Tensor
        self.met: Tensor

    def forward(self, keys: Tensor, starts: Tensor) -> Tensor:
        """Return how often each observation has been seen in its episode with this time, int64 (T, B).

        The first observation is taken to have been counted before, unless it begins an episode: row 0 of a window is
        the last of the window before.

        :param keys: of observations, int64 (T + 1, B)
        :param starts: (T + 1, B) booleans
        """
        counts = [self._count(keys[0], starts[0], starts[0])]
        everywhere = torch.ones_like(starts[0])
        counts += [self._count(now, start, everywhere) for now, start in zip(keys[1:], starts[1:], strict=True)]
        return torch.stack(counts[1:])

    def _count(self, keys: Tensor, starts: Tensor, counted: Tensor) -> Tensor:
        """Count one step of observations (B,) where ``counted``, after emptying the rows that start."""
        self.met.masked_fill_(starts, 0)
        capacity = self.keys.shape[1]
        used = capacity if keys.device.type != "cpu" else min(capacity, max(1, int(self.met.max())))
        places = torch.arange(used, device=keys.device)
        known = (self.keys[:, :used] == keys.unsqueeze(1)) & (places < self.met.unsqueeze(1))
        found, place = known.any(1), known.to(torch.uint8).argmax(1)
        place = torch.where(found, place, self.met % capacity).unsqueeze(1)
        before = torch.where(found, self.counts.gather(1, place).squeeze(1), 0)
        count = before + 1
        self.keys.scatter_(1, place, torch.where(counted, keys, self.keys.gather(1, place).squeeze(1)).unsqueeze(1))
        kept = torch.where(counted, count, self.counts.gather(1, place).squeeze(1))
        self.counts.scatter_(1, place, kept.unsqueeze(1))
        self.met += (counted & ~found).long()
        return count


class CountBonus(Bonus):
    """Bonus for what has been seen rarely in this episode: 1/√N, or 1 the first time and then 0.

    N counts the observation that a step leads to, with this time: what the agent sees of it, or the entries of the
    observation that are named, such as a state of the world that the policy does not see.

    :param space: of one observation
    :param rows: environments B
    :param form: ``"sqrt"`` for 1/√N, ``"first"`` for 1[N = 1]
    :param capacity: different observations of an episode that are kept apart
    :param resolution: measured numbers are rounded to multiples of it
    :param counted: names of the entries of the observation that count; by default all that the agent sees
    :param encoder: of the policy, which may leave out entries
    """

    def __init__(
        self,
        space: spaces.Space,
        rows: int,
        form: Literal["sqrt", "first"] = "sqrt",
        capacity: int = 1024,
        resolution: float | None = None,
        counted: str | Sequence[str] | None = None,
        encoder: Encoder = "auto",
    ):
        super().__init__(rows)
        self.form = one_of("form", form, ("sqrt", "first"))
        self.hash = ObservationHash(counted_space(space, counted, encoder), resolution)
        self.counts = EpisodicCounts(rows, capacity)

    @torch.no_grad()
    def bonus(self, experience: Experience) -> Tensor:
        counts = self.counts(self.hash(experience.observations), experience.starts)
        rewards = (counts == 1).float() if self.form == "first" else counts.float().rsqrt()
        return rewards.masked_fill(experience.starts[1:], 0)
