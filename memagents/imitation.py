"""Learning from the oracle of an environment: behaviour cloning, and DAgger (Ross et al. 2011)."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule

from memagents.algorithm import MemoryAlgorithm
from memagents.checks import in_range
from memagents.cores.core import State, map_state
from memagents.policy import Acted
from memagents.rollout import CutEpisodes, Minibatch, Window, advantages
from memagents.vector import oracle_actions


class Imitation(MemoryAlgorithm):
    """Cross-entropy on the oracle's actions, through the memory.

    The environment must offer ``oracle()``; where it says −1 the action does not matter and teaches nothing. The critic
    learns the returns of what was done, so that PPO can go on from the policy.

    :param oracle_share: probability β of doing what the oracle says instead of what the policy says, at each step; a
        number or a function of the remaining progress. At 1 (behaviour cloning) the policy does not act at all while
        collecting, which saves a forward pass.
    :param kwargs: see :class:`memagents.algorithm.MemoryAlgorithm`; ``n_epochs`` is 1 here unless it is given
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (*MemoryAlgorithm.hyperparameters, "oracle_share")

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: float | Schedule = 3e-4,
        *,
        oracle_share: float | Schedule = 1.0,
        n_epochs: int = 1,
        **kwargs: Any,
    ):
        self._accuracy = math.nan  # of the last window
        self.oracle_share = oracle_share if callable(oracle_share) else in_range("oracle_share", oracle_share, 0, 1)
        self._share = 1.0  # of the present window
        super().__init__(policy, env, learning_rate, n_epochs=n_epochs, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        if not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(f"imitation needs Discrete actions, not {type(self.action_space).__name__}")

    def collect(self, callback: BaseCallback) -> bool:
        """As :meth:`MemoryAlgorithm.collect`, with the oracle's share as it is at the window's beginning."""
        self._share = in_range("oracle_share", FloatSchedule(self.oracle_share)(self._current_progress_remaining), 0, 1)
        return super().collect(callback)

    def choose(self, observations: Any, state: State, t: int) -> Acted:
        space: Any = self.action_space
        actions = torch.from_numpy(oracle_actions(self.env)).to(self.device)
        labels = torch.where(actions == -1, -1, actions - int(space.start))
        self._window.labels[t] = labels
        oracle = labels.clamp(min=0)
        if self._share == 1:
            nothing = torch.zeros(len(labels), device=self.device)
            return Acted(oracle, nothing, nothing, state)
        acted = super().choose(observations, state, t)
        follow = torch.rand(len(labels), device=self.device) < self._share
        return acted._replace(actions=torch.where(follow & (labels >= 0), oracle, acted.actions))

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
        for name, values in log.items():
            self.logger.record(f"train/{name}", float(np.mean(values)))
        self._accuracy = float(np.mean(log["accuracy"])) if log["accuracy"] else math.nan

    def recent_figures(self) -> dict[str, str]:
        """How often the policy would do as the oracle does; success and return are in part the oracle's own."""
        return {} if math.isnan(self._accuracy) else {"as the oracle": f"{self._accuracy:.0%}"}

    def _update(self, batch: Minibatch, cloning: bool, log: dict[str, list[float]]) -> State:
        """One optimiser step on a minibatch; the memory's state after its window."""
        outputs, state, core_losses = self.policy.unroll(batch.observations, batch.initial_state, batch.starts)
        values, decided = self.policy.values(outputs), batch.labels >= 0
        distribution: Any = self.policy.distribution(outputs[decided])
        logits = distribution.distribution.logits
        labels = batch.labels[decided]
        returns = batch.returns
        if cloning:
            with torch.no_grad():
                # What follows the window, or a time limit, is taken to be worth what the last step was.
                following = batch.bootstrap * values
                returns = values + advantages(
                    batch.rewards, values, batch.ends, following, values[-1], self.gamma, self.gae_lambda
                )
        losses = {
            "cross_entropy_loss": torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            / max(1, len(labels)),
            "value_loss": (returns - values).square().mean(),
            **{f"{name}_loss": loss.mean() for name, loss in core_losses.items()},
        }
        log["gradient_norm"].append(self.step_optimizer(losses))
        for name, loss in losses.items():
            log[name].append(loss.item())
        if len(labels):
            log["accuracy"].append((logits.argmax(-1) == labels).float().mean().item())
        return state

    def _bootstrap(self, window: Window, cut: list[CutEpisodes]) -> None:
        if self._share < 1:
            super()._bootstrap(window, cut)
            return
        for episodes in cut:  # a mark: the values are not known before the window is unrolled
            window.bootstrap[episodes.t, torch.from_numpy(episodes.rows).to(self.device)] = 1
