"""Exploration via elliptical episodic bonuses (Henaff et al. 2022, arXiv:2210.05805)."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from memagents.bonuses.bonus import Bonus, Experience
from memagents.bonuses.features import Encoder, Features, Whitening
from memagents.bonuses.hashing import seen_space
from memagents.checks import positive, positive_int
from memagents.policies.distributions import distribution_for
from memagents.policies.encoding import map_observations


class E3BBonus(Bonus):
    """Bonus for what is unlike all else of this episode, in features that an action can change.

    b = φᵀ C⁻¹ φ with φ of the observation that a step leads to and C = λ I + Σ φ φᵀ over the episode before it; then
    C⁻¹ ← C⁻¹ − u uᵀ / (1 + b), u = C⁻¹ φ. φ learns by an inverse model alone: which action led from o to o'. With
    one-hot φ, b is 1 / (λ + N). Measured numbers are whitened first: large ones would leave of C⁻¹ but rounding.

    :param space: of one observation
    :param rows: environments B
    :param action_space: of one environment
    :param width: features D; a step costs D² a row, and so do the row's bytes
    :param hidden_size: units of the inverse model
    :param ridge: λ
    :param encoder: of the observations, the policy's
    """

    def __init__(
        self,
        space: spaces.Space,
        rows: int,
        action_space: spaces.Space,
        width: int = 64,
        hidden_size: int = 128,
        ridge: float = 0.1,
        encoder: Encoder = "auto",
    ):
        super().__init__(rows)
        width, hidden_size = positive_int("width", width), positive_int("hidden_size", hidden_size)
        self.ridge = positive("ridge", ridge)  # or the first step of an episode would be infinitely new
        self.whitening = Whitening(seen_space(space, encoder))
        self.features = Features(space, [width], encoder)
        distribution: Any = distribution_for(action_space)
        self.distribution = distribution
        self.hidden = nn.Sequential(nn.Linear(2 * width, hidden_size), nn.ReLU())
        self.log_std: nn.Parameter | None = None  # of Gaussian actions
        if isinstance(action_space, spaces.Box):
            self.actions, self.log_std = distribution.proba_distribution_net(hidden_size, 0.0)
        else:
            self.actions = distribution.proba_distribution_net(hidden_size)
        self.register_buffer("inverse", torch.zeros(rows, width, width))  # C⁻¹
        self.inverse: Tensor

    @torch.no_grad()
    def bonus(self, experience: Experience) -> Tensor:
        self.whitening.update(map_observations(lambda values: values[1:], experience.observations))
        features = self.features(self.whitening(experience.observations))
        begun = torch.eye(features.shape[-1], device=features.device) / self.ridge
        rewards = []
        for t, (now, start) in enumerate(zip(features, experience.starts, strict=True)):
            self.inverse[:] = torch.where(start.view(-1, 1, 1), begun, self.inverse)
            moved = torch.bmm(self.inverse, now.unsqueeze(2)).squeeze(2)  # u
            bonus = (now * moved).sum(1).clamp(min=0)  # below 0 by rounding alone
            if t == 0:  # the window before has taken it in, unless it begins an episode
                moved = moved * start.unsqueeze(1)
            self.inverse -= moved.unsqueeze(2) * moved.unsqueeze(1) / (1 + bonus).view(-1, 1, 1)
            rewards.append(bonus)
        return torch.stack(rewards[1:]).masked_fill(experience.starts[1:], 0)

    def loss(self, experience: Experience) -> Tensor:
        """The mean surprise of the inverse model by the actions, in nats, where no episode ended."""
        features, within = self.features(self.whitening(experience.observations)), ~experience.starts[1:]
        pairs = torch.cat([features[:-1], features[1:]], dim=-1)[within]
        mean = self.actions(self.hidden(pairs))
        given = (mean,) if self.log_std is None else (mean, self.log_std)
        actions = experience.actions.unsqueeze(-1).flatten(2)[within]  # (N, numbers of an action)
        log_probs = self.distribution.proba_distribution(*given).log_prob(actions)
        return -log_probs.sum() / max(1, len(pairs))
