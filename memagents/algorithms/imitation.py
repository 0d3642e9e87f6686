"""Learning from the oracle of an environment: behaviour cloning, and DAgger (Ross et al. 2011)."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule
from torch import Tensor

from memagents.algorithms.cuda_graphs import look
from memagents.algorithms.rollout import CutEpisodes, Minibatch, Window, advantages
from memagents.algorithms.window_algorithm import WindowAlgorithm
from memagents.checks import boolean, in_range
from memagents.cores.core import State, map_state
from memagents.environments.conditioning import PREVIOUS_ACTION
from memagents.environments.guidance import choices, oracle_labels
from memagents.environments.vector import Env
from memagents.policies.core_policy import Acted
from memagents.policies.encoding import Observations
from memagents.ranks import mean_count


class Imitation(WindowAlgorithm):
    """Cross-entropy on the oracle's actions, through the memory.

    The environment must offer ``oracle()``; where it says −1 the action does not matter and teaches nothing. What it
    says where no action matters (``decision``) teaches as well, but counts for no accuracy. The critic learns the
    returns of what was done, so that PPO can go on from the policy.

    What is seen is fed as it is, whatever the policy would have done (teacher forcing), where the oracle's share is 1
    or actions do not change observations, as in the algorithmic tasks. There this is supervised learning of sequences,
    and ``train/bits_per_sequence`` is the cost that Graves et al. (2014) report.

    :param oracle_share: probability β of doing what the oracle says instead of what the policy says, at each step; a
        number or a function of the remaining progress. At 1 (behaviour cloning) the policy does not act at all while
        collecting, which saves a forward pass. Where the oracle says −1, action 0 is done then, or, if the agent sees
        its previous action (``condition_on``), a random one, so that it learns to make nothing of it.
    :param whole_episodes: begin new episodes with every window, so that none is cut before its first end; a window
        should then be as long as the longest episode
    :param kwargs: see :class:`memagents.algorithms.window_algorithm.WindowAlgorithm`; ``n_epochs`` is 1 by default
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (*WindowAlgorithm.hyperparameters, "oracle_share", "whole_episodes")
    reports_accuracy: ClassVar[bool] = True

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Env | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        oracle_share: float | Schedule = 1.0,
        whole_episodes: bool = False,
        n_epochs: int = 1,
        **kwargs: Any,
    ):
        self.oracle_share = oracle_share if callable(oracle_share) else in_range("oracle_share", oracle_share, 0, 1)
        self.whole_episodes = boolean("whole_episodes", whole_episodes)
        self._share, self._taught = 1.0, 0  # of the present window: the oracle's share, the lesson
        self._reviewing = np.zeros(0, dtype=bool)  # which rows of it review earlier lessons
        super().__init__(policy, env, learning_rate, n_epochs=n_epochs, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        if isinstance(self.action_space, spaces.Box):
            raise ValueError("imitation needs Discrete, MultiDiscrete or MultiBinary actions, not Box")
        self._choices: Tensor | None = None  # of each entry of an action, where the agent sees what it did
        if PREVIOUS_ACTION in getattr(self.observation_space, "spaces", ()):
            self._choices = torch.from_numpy(choices(self.action_space)[1]).to(self.device)

    def collect(self, callback: BaseCallback) -> bool:
        """Fill the window, with the oracle's share as it is at the window's beginning."""
        self._share = in_range("oracle_share", FloatSchedule(self.oracle_share)(self._current_progress_remaining), 0, 1)
        if self.whole_episodes:
            self.begin_episodes()
        # Noted now: a curriculum may give the agent the next lesson before it has learned from the window.
        self._taught = self.lesson
        self._reviewing = getattr(self.env, "reviewing", np.zeros(self.n_envs, dtype=bool))
        return super().collect(callback)

    def choose(self, observations: Observations, state: State, t: int) -> Acted:
        assert self._decisions is not None
        labels = torch.from_numpy(oracle_labels(self.env, self._decisions)).to(self.device)
        self._window.labels[t] = labels
        asked = decided(labels, 1).view(-1, *(1,) * (labels.dim() - 1))
        if self._share == 1:
            idle = torch.zeros_like(labels)
            if self._choices is not None:
                idle = (torch.rand(labels.shape, device=self.device) * self._choices).to(labels.dtype)
            return Acted(torch.where(asked, labels, idle), None, state)
        acted = super().choose(observations, state, t)
        follow = torch.rand(len(labels), device=self.device) < self._share
        follows = follow.view_as(asked) & asked
        return acted._replace(actions=torch.where(follows, labels.to(acted.actions.dtype), acted.actions))

    def appraise(self, window: Window) -> None:
        if self._share < 1:
            super().appraise(window)
        else:  # nobody asked the policy
            window.values.zero_()

    def train(self) -> None:
        """One pass (or more) over the window; the memory's state after it is what the next window begins with."""
        window, cloning = self._window, self._share == 1
        log: dict[str, list[float]] = defaultdict(list)
        after = map_state(torch.clone, self._state)
        for epoch in range(self.n_epochs):
            for batch in window.minibatches(self.minibatch_count()):
                state = self._update(batch, cloning, log)
                if epoch == 0:
                    map_state(
                        lambda whole, part, rows=batch.rows: whole.index_copy_(0, rows, part.detach()), after, state
                    )
            self._n_updates += 1
        if cloning:
            self._state = after
        counts = {name: sum(log.pop(name, [])) for name in ("right", "asked", "bits", "sequences")}
        self.record_means(log)
        if counts["asked"]:
            accuracy = counts["right"] / counts["asked"]
            if self._taught == self.lesson:
                self.recent_accuracies.append(accuracy)
            self.logger.record("train/accuracy", accuracy)
        if counts["sequences"]:
            self.logger.record("train/bits_per_sequence", counts["bits"] / counts["sequences"])

    def recent_figures(self) -> dict[str, str]:
        """Return how often the policy agrees with the oracle; success and return are in part the oracle's own."""
        return {"as the oracle": f"{np.mean(self.recent_accuracies):.0%}"} if self.recent_accuracies else {}

    def _update(self, batch: Minibatch, cloning: bool, log: dict[str, list[float]]) -> State:
        """One optimiser step on a minibatch; the memory's state after its window."""
        outputs, state, core_losses = self.policy.unroll(batch.observations, batch.initial_state, batch.starts)
        values, asked = self.policy.values(outputs), decided(batch.labels, 2)
        distribution = self.policy.distribution(outputs[asked])
        labels = batch.labels[asked].flatten(1) if batch.labels.dim() > 2 else batch.labels[asked]  # (N,) or (N, K)
        surprise = -distribution.log_prob(labels.to(outputs.dtype))  # nats, of the steps that were decisions
        returns = batch.returns
        if cloning:
            with torch.no_grad():
                # What follows the window, or a time limit, is taken to be worth what the last step was.
                following = batch.bootstrap * values
                returns = values + advantages(
                    batch.rewards, values, batch.ends, following, values[-1], self.gamma, self.gae_lambda
                )
        losses = {
            "cross_entropy_loss": surprise.sum() / mean_count(asked),
            "value_loss": (returns - values).square().mean(),
            **{f"{name}_loss": loss.mean() for name, loss in core_losses.items()},
        }
        log["gradient_norm"].append(self.step_optimizer(losses))
        with torch.no_grad():
            lesson = ~torch.from_numpy(self._reviewing).to(self.device)[batch.rows]  # rows that review no earlier one
            counted = (lesson & batch.decisions)[asked]
            right = (distribution.mode() == labels).view(len(labels), *labels.shape[1:] or (1,)).all(-1)
            nats = torch.zeros(asked.shape, dtype=surprise.dtype, device=self.device).masked_scatter(asked, surprise)
            whole = in_whole_episodes(batch.starts, batch.ends) & lesson
            figures = {name: loss.detach() for name, loss in losses.items()}
            figures |= {
                "right": (right & counted).sum(),
                "asked": counted.sum(),
                "bits": nats[whole].sum() / math.log(2),
                "sequences": (whole & batch.ends).sum(),
            }
        for name, value in look({name: figure.double() for name, figure in figures.items()}).items():
            log[name].append(value)
        return state

    def _bootstrap(self, window: Window, cut: list[CutEpisodes]) -> None:
        if self._share < 1:
            super()._bootstrap(window, cut)
            return
        for episodes in cut:  # a mark: the values are not known before the window is unrolled
            window.bootstrap[episodes.t, torch.from_numpy(episodes.rows).to(self.device)] = 1


def decided(labels: Tensor, leading: int) -> Tensor:
    """Return where the oracle said anything but −1.

    :param labels: with so many leading dimensions, and those of an action
    :return: booleans of the leading dimensions
    """
    shape = labels.shape[:leading]
    return (labels.view(*shape, math.prod(labels.shape[leading:])) >= 0).all(-1)


def in_whole_episodes(starts: Tensor, ends: Tensor) -> Tensor:
    """The steps of a window (T, B) whose episode both begins and ends in it."""
    begun = starts.cumsum(0) > 0
    ending = ends.flip(0).cumsum(0).flip(0) > 0
    return begun & ending
