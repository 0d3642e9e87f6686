"""Intrinsic rewards in the windows of an agent: what they add to rewards, values and advantages."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from memagents.algorithms.rollout import Beyond, Minibatch, Window, advantages
from memagents.bonuses import Experience
from memagents.bonuses.reward import IntrinsicReward
from memagents.policies.actor_critic import Evaluated, MemoryPolicy
from memagents.policies.encoding import Observations, map_observations


class Exploration:
    """What an agent does with its intrinsic reward, window by window.

    :param reward: intrinsic reward
    :param gae_lambda: λ of the generalised advantage estimation
    """

    def __init__(self, reward: IntrinsicReward, gae_lambda: float):
        self.reward, self.gae_lambda = reward, gae_lambda
        self.mean_reward = 0.0  # of the present window
        self._experience: Experience | None = None
        self.rewards: Tensor | None = None  # of the present window's transitions, (T, B)

    def begin(self, window: Window, last: Observations, starts: Tensor, progress_remaining: float) -> None:
        """Take a full window; with one head, its bonuses are added to its rewards.

        :param last: observations after the window, (B, ...)
        :param starts: whether they begin episodes, (B,) booleans
        :param progress_remaining: from 1 to 0 over the training
        """
        observations = _followed_by(window.observations, last)
        self._experience = Experience(observations, torch.cat([window.starts, starts[None]]), window.actions)
        self.rewards = self.reward.rewards(self._experience, progress_remaining).to(window.rewards.dtype)
        self.mean_reward = self.rewards.mean().item()
        if self.reward.heads == 1:
            window.rewards += self.rewards

    def credit(self, window: Window, beyond: Beyond, policy: MemoryPolicy) -> None:
        """With two heads, add the advantages of the bonuses to the window's, and fill in their returns."""
        if self.reward.heads == 1:
            return
        last, cut = policy.bonus_values(beyond.last), policy.bonus_values(beyond.cut)
        assert self.rewards is not None
        assert last is not None
        assert cut is not None
        bootstrap, ends = torch.zeros_like(window.bootstrap), window.ends
        if self.reward.episodic:
            bootstrap[beyond.steps, beyond.rows] = cut
        else:
            ends = torch.zeros_like(ends)
        own = advantages(
            *(self.rewards, window.bonus_values, ends, bootstrap, last, self.reward.gamma, self.gae_lambda)
        )
        window.bonus_returns = own + window.bonus_values
        window.advantages = window.advantages + own

    def learn(self, rows: Tensor, log: Mapping[str, list[float]]) -> None:
        """Train the bonus's own networks on some rows of the present window."""
        assert self._experience is not None
        observations, starts, actions = self._experience
        some = Experience(
            map_observations(lambda values: values.index_select(1, rows), observations),
            starts.index_select(1, rows),
            actions.index_select(1, rows),
        )
        loss = self.reward.learn(some)
        if loss is not None:
            log["bonus_loss"].append(loss)

    def value_loss(self, batch: Minibatch, evaluated: Evaluated) -> dict[str, Tensor]:
        """Return the loss of the head that estimates the return of the bonuses, by its name; nothing with one head."""
        if self.reward.heads == 1:
            return {}
        assert evaluated.bonus_values is not None
        return {"bonus_value_loss": (batch.bonus_returns - evaluated.bonus_values).square().mean()}


def _followed_by(window: Observations, last: Observations) -> Observations:
    """Observations (T, B, ...) and those after them, (T + 1, B, ...)."""
    if isinstance(window, dict):
        assert isinstance(last, dict)
        return {name: torch.cat([values, last[name][None].to(values.dtype)]) for name, values in window.items()}
    assert isinstance(last, Tensor)
    return torch.cat([window, last[None].to(window.dtype)])
