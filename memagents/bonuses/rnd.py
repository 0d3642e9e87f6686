"""Random network distillation (Burda et al. 2019, arXiv:1810.12894), and NovelD made of it (Zhang et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium import spaces
from torch import Tensor

from memagents.bonuses.bonus import Bonus, Experience
from memagents.bonuses.count import EpisodicCounts
from memagents.bonuses.features import Encoder, Features, Whitening
from memagents.bonuses.hashing import ObservationHash, counted_space, seen_space
from memagents.checks import finite, in_range, positive, positive_int
from memagents.policies.encoding import Observations, map_observations


class RNDBonus(Bonus):
    """Bonus for what was seen rarely in the whole training: how wrongly a network predicts a random one's features.

    r = mean over features of (f̂(o') − f(o'))², f fixed at random, f̂ trained on what is met.

    :param space: of one observation
    :param rows: environments B
    :param width: features
    :param hidden_size: units of the predictor's two layers behind the encoder
    :param share: of the observations of a minibatch that the predictor learns from
    :param encoder: of the observations, the policy's
    """

    def __init__(
        self,
        space: spaces.Space,
        rows: int,
        width: int = 64,
        hidden_size: int = 128,
        share: float = 1.0,
        encoder: Encoder = "auto",
    ):
        super().__init__(rows)
        width, hidden_size = positive_int("width", width), positive_int("hidden_size", hidden_size)
        self.share = in_range("share", positive("share", share), 0, 1)
        self.whitening = Whitening(seen_space(space, encoder))
        self.target = Features(space, [width], encoder).requires_grad_(False)
        self.predictor = Features(space, [hidden_size, hidden_size, width], encoder)

    def bonus(self, experience: Experience) -> Tensor:
        following = map_observations(lambda values: values[1:], experience.observations)
        self.whitening.update(following)
        with torch.no_grad():
            return self.errors(following).masked_fill(experience.starts[1:], 0)

    def loss(self, experience: Experience) -> Tensor:
        errors = self.errors(map_observations(lambda values: values[1:], experience.observations))
        if self.share == 1:
            return errors.mean()
        chosen = torch.rand_like(errors) < self.share
        return (errors * chosen).sum() / chosen.sum().clamp(min=1)

    def errors(self, observations: Observations) -> Tensor:
        """Mean squared errors of the predictor, (T, B)."""
        whitened = self.whitening(observations)
        return (self.predictor(whitened) - self.target(whitened)).square().mean(-1)


class NovelDBonus(RNDBonus):
    """Bonus for crossing from what is known to what is new (Zhang et al. 2021, NeurIPS; as BeBold arXiv:2012.08621).

    r = max(n(o') − α n(o), 0) · 1[o' is new in this episode], n the norm of the error of random network distillation.
    The authors count states of the whole world, which here are to be an entry of the observation that ``counted``
    names; by default what the agent sees is counted.

    :param space: of one observation
    :param rows: environments B
    :param alpha: α
    :param capacity: different observations of an episode that are kept apart
    :param resolution: measured numbers are rounded to multiples of it before they are counted
    :param counted: names of the entries of the observation that count in the episode; by default all that is seen
    :param width: features
    :param hidden_size: units of the predictor's two layers behind the encoder
    :param share: of the observations of a minibatch that the predictor learns from
    :param encoder: of the observations, the policy's
    """

    def __init__(
        self,
        space: spaces.Space,
        rows: int,
        alpha: float = 0.5,
        capacity: int = 1024,
        resolution: float | None = None,
        counted: str | Sequence[str] | None = None,
        width: int = 64,
        hidden_size: int = 128,
        share: float = 1.0,
        encoder: Encoder = "auto",
    ):
        super().__init__(space, rows, width, hidden_size, share, encoder)
        self.alpha = finite("alpha", alpha)
        self.hash = ObservationHash(counted_space(space, counted, encoder), resolution)
        self.counts = EpisodicCounts(rows, capacity)

    def bonus(self, experience: Experience) -> Tensor:
        self.whitening.update(map_observations(lambda values: values[1:], experience.observations))
        counts = self.counts(self.hash(experience.observations), experience.starts)
        with torch.no_grad():
            novelty = self.errors(experience.observations).mul(self.predictor.width).sqrt()
        rewards = (novelty[1:] - self.alpha * novelty[:-1]).clamp(min=0) * (counts == 1)
        return rewards.masked_fill(experience.starts[1:], 0)
