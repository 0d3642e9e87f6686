"""Learning from windows: T steps of B environments are collected, then learned from, and forgotten.

An agent subclasses :class:`WindowAlgorithm`, defines ``train`` (what is learned from a window) and, where it does not
simply follow its policy, overrides ``choose``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule
from torch import Tensor

from memagents import ranks
from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.algorithms.causes import observations_named, visible_cause
from memagents.algorithms.late_critic import LateCritic
from memagents.algorithms.rollout import (
    Beyond,
    CutEpisodes,
    Window,
    all_observations,
    cut_episodes,
    cut_rows,
    observation_tensors,
)
from memagents.checks import finite, in_range, positive_int, scheduled, warn_user
from memagents.cores.core import State, map_state, overwriting
from memagents.environments.adapted import numbers
from memagents.environments.guidance import decision_mask
from memagents.environments.normalization import running_sums, share_sums
from memagents.environments.vector import Env
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import Acted
from memagents.policies.encoding import Observations


class WindowAlgorithm(MemoryAlgorithm):
    """The base of the agents that learn from windows of experience.

    :param n_steps: length T of a window; it should hold two episodes or more where the task allows
    :param n_minibatches: sets into which the environments are dealt; by default 4, or as many as there are environments
    :param n_epochs: passes over a window
    :param gae_lambda: λ of the generalised advantage estimation
    :param ent_coef: weight of the entropy bonus; a number or a function of the remaining progress
    :param vf_coef: weight of the value loss
    :param kwargs: see :class:`memagents.algorithms.algorithm.MemoryAlgorithm`
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = dict.fromkeys(
        ("MlpPolicy", "CnnPolicy", "MultiInputPolicy"), MemoryPolicy
    )
    hyperparameters: ClassVar[tuple[str, ...]] = (
        *MemoryAlgorithm.hyperparameters,
        *("n_steps", "n_minibatches", "n_epochs", "gae_lambda", "ent_coef", "vf_coef"),
    )
    learns_together: ClassVar[bool] = True
    policy: MemoryPolicy
    _window: Window

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Env | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        n_steps: int = 128,
        n_minibatches: int | None = None,
        n_epochs: int = 4,
        gae_lambda: float = 0.95,
        ent_coef: float | Schedule = 0.0,
        vf_coef: float = 0.5,
        **kwargs: Any,
    ):
        self.n_steps = positive_int("n_steps", n_steps)
        self.n_epochs = positive_int("n_epochs", n_epochs, most=10_000)  # or a file's word would end no window
        self.n_minibatches = n_minibatches if n_minibatches is None else positive_int("n_minibatches", n_minibatches)
        self.gae_lambda = in_range("gae_lambda", gae_lambda, 0, 1)
        self.ent_coef = scheduled("ent_coef", ent_coef, finite)
        self.vf_coef = finite("vf_coef", vf_coef)
        self._late: LateCritic | None = None
        self._shared: Tensor | None = None  # sums of the normalisation that all processes have
        super().__init__(policy, env, learning_rate, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.env is not None and self.n_minibatches is not None and self.n_minibatches > self.n_envs:
            raise ValueError(f"n_minibatches must be at most the number of environments ({self.n_envs})")

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self.memory_state()
        if ranks.size() > 1 and self._shared is None and self.env is not None:
            self._shared = running_sums(self.env)  # before the first reset, which counts in what one process sees
        result = super()._setup_learn(*args, **kwargs)
        self._window = Window(
            self.n_steps,
            self.n_envs,
            self.observation_space,
            self.action_space,
            self.policy.core.output_size,
            self.device,
            self.policy.dtype,
        )
        self._late = LateCritic(self.policy, self._window)
        far = [lag for lag in getattr(self.policy, "recall_lags", ()) if lag >= self.n_steps]
        if far:
            warn_user(f"recall_lag {far[0]} reaches beyond windows of n_steps {self.n_steps}, and so asks for nothing")
        return result

    @property
    def window(self) -> Window:
        """The window that is collected or learned from, which the next one overwrites; there from ``learn`` on."""
        return self._window

    def collect(self, callback: BaseCallback) -> bool:
        """Fill the window with ``n_steps`` steps of every environment."""
        with self.policy.acting():
            return self._collect(callback)

    def _collect(self, callback: BaseCallback) -> bool:
        window, results, env = self._window, self._window.results, self.env
        assert env is not None
        self.policy.set_training_mode(False)
        window.initial_state = map_state(torch.clone, self._state)  # acting may write over it
        window.bootstrap.zero_()
        assert self._late is not None
        self._late.begin()
        cut: list[CutEpisodes] = []
        callback.on_rollout_start()
        for t in range(self.n_steps):
            window.starts[t].copy_(torch.as_tensor(self._last_episode_starts))
            results.decisions[t] = self._decisions
            # As while learning, or what is dropped at random would differ; a callback may have called predict.
            if not self.policy.core.training:
                self.policy.core.train()
            with torch.no_grad(), overwriting():
                acted = self.choose(window.store_observation(t, self._last_obs), self._state, t)
            window.actions[t] = acted.actions
            if acted.outputs is not None:
                window.outputs[t, :, : acted.outputs.shape[1]] = acted.outputs
            actions = self.policy.to_env_actions(acted.actions)
            new_obs, rewards, dones, infos = env.step(actions)
            results.rewards[t], results.ends[t] = numbers(rewards, self.n_envs), dones
            self._state = acted.state
            self._late.note(t, acted.waiting)
            if dones.any():
                rows = cut_rows(dones, infos)
                if len(rows):
                    cut.append(cut_episodes(t, rows, infos, acted.state if acted.waiting is None else ()))
                self._update_info_buffer([infos[i] for i in np.flatnonzero(dones)])
            self._last_obs, self._last_episode_starts = new_obs, dones  # type: ignore[assignment]
            self._decisions = decision_mask(env, infos, dones)
            self.num_timesteps += env.num_envs * ranks.size()
            callback.update_locals(locals())
            if not callback.on_step():
                if ranks.size() == 1:
                    return False
                self.stop()  # when the window is full, which the other processes wait for
        self._shared = share_sums(env, self._shared)
        self.share_episodes()
        window.take_results()
        self.memory_state()
        self.appraise(window)
        self._bootstrap(window, cut)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def choose(self, observations: Observations, state: State, t: int) -> Acted:
        """Act on step t of the window; the state is the core's before it, leaves (B, ...)."""
        return self.policy.act(observations, state, self._window.starts[t])

    def memory_state(self) -> State:
        """Return it as :meth:`MemoryAlgorithm.memory_state` does; a critic's memory catches up now."""
        if self._late is not None:
            self._state = self._late.caught_up(self._state)
        return self._state

    @torch.no_grad()
    def appraise(self, window: Window) -> None:
        """Fill in values and log-probabilities of the window's steps, now that it is full."""
        appraised = self.policy.appraise(window.outputs, window.actions)
        window.values, window.log_probs = appraised.values, appraised.log_probs
        if appraised.bonus_values is not None:
            window.bonus_values = appraised.bonus_values

    def train(self) -> None:
        """Learn from ``self._window``."""
        raise NotImplementedError

    @torch.no_grad()
    def _bootstrap(self, window: Window, cut: list[CutEpisodes]) -> None:
        """Look beyond the window's edges, where time limits cut episodes in one pass, and credit what was done."""
        starts = torch.as_tensor(self._last_episode_starts, device=self.device)
        last = self.policy.look(observation_tensors(self._last_obs, self.device), self._state, starts)
        nowhere = torch.zeros(0, dtype=torch.int64, device=self.device)
        beyond = Beyond(last, nowhere, nowhere, last[:0])
        if cut:
            observations = observation_tensors([o for episodes in cut for o in episodes.observations], self.device)
            rows = torch.from_numpy(np.concatenate([episodes.rows for episodes in cut])).to(self.device)
            steps = torch.tensor([e.t for e in cut for _ in e.rows], device=self.device)
            beyond = Beyond(last, steps, rows, self._after(steps, rows, observations, cut))
        self.credit(window, beyond)

    def _after(self, steps: Tensor, rows: Tensor, observations: Observations, cut: list[CutEpisodes]) -> Tensor:
        """Outputs of the memory for final observations (K, ...) of episodes that a time limit cut, (K, O)."""
        if self._late is not None and self._late.waits:
            return self._late.after(steps, rows, observations)
        state = map_state(lambda *leaves: torch.cat(leaves), *(episodes.state for episodes in cut))
        going_on = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
        return self.policy.look(observations, state, going_on)

    def credit(self, window: Window, beyond: Beyond) -> None:
        """Fill in the window's advantages and returns."""
        window.bootstrap[beyond.steps, beyond.rows] = self.policy.values(beyond.cut)
        window.compute_returns(self.policy.values(beyond.last), self.gamma, self.gae_lambda)

    def minibatch_count(self) -> int:
        """Into how many sets the environments are dealt."""
        return min(4, self.n_envs) if self.n_minibatches is None else self.n_minibatches

    def visible_cause(self) -> str:
        """Look for it in the window, and in the observations beyond its edges."""
        window, last = getattr(self, "_window", None), self.num_timesteps
        if window is None:  # step_optimizer may be called before learn
            return ""
        seen = all_observations(window, self._last_obs)
        return visible_cause(
            {
                "reward": (window.results.rewards, last),
                **observations_named(seen, last),
                "value of the final observation": (window.bootstrap.cpu().numpy(), last),
            },
            self.n_envs,
        )

    def loss_weights(self) -> dict[str, float]:
        return {
            "value_loss": self.vf_coef,
            "bonus_value_loss": self.vf_coef,
            "entropy_loss": FloatSchedule(self.ent_coef)(self._current_progress_remaining),
        }
