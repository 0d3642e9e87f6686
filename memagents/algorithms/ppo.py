"""Proximal policy optimisation (Schulman et al. 2017) through a memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule, explained_variance
from torch import Tensor

from memagents.algorithms.causes import visible_cause
from memagents.algorithms.cuda_graphs import GraphedFunction, look
from memagents.algorithms.exploration import Exploration
from memagents.algorithms.refresh import Past
from memagents.algorithms.rollout import Beyond, Minibatch, Window, observation_tensors
from memagents.algorithms.window_algorithm import WindowAlgorithm
from memagents.bonuses import check_bonus
from memagents.bonuses.reward import IntrinsicReward
from memagents.checks import boolean, in_range, string_keyed
from memagents.cores.core import State
from memagents.environments.vector import Env
from memagents.policies.actor_critic import Evaluated
from memagents.policies.core_policy import Acted
from memagents.policies.encoding import Observations
from memagents.policies.popart import PopArt
from memagents.ranks import mean_count, moments, size, take_first

KL_TOLERANCE = 1.5  # times ``target_kl``, as in OpenAI's Spinning Up and Stable-Baselines3


class Update(NamedTuple):
    """Result of a minibatch: for each parameter its clipped gradient, None where it has no part; else scalars."""

    gradients: list[Tensor | None]
    losses: dict[str, Tensor]
    figures: dict[str, Tensor]
    norm: Tensor  # of the gradients before clipping


class RecurrentPPO(WindowAlgorithm):
    """PPO with the clipped surrogate objective, over any memory core.

    A minibatch is a set of environments with their whole window, unrolled from the memory at the window's start, so
    that gradients flow through the memory and nothing is padded. Steps at which the action does not matter
    (``info["decision"]`` false) train the critic and the memory, not the actor.

    The critic has a memory of its own, like the actor's; with ``policy_kwargs={"critic_core": None}`` both share one,
    which is faster. docs/training.md shows what either learns.

    :param clip_range: ε of the surrogate objective; a number or a function of the remaining progress
    :param clip_range_vf: the same around the old values, or None for no clipping
    :param normalize_advantage: advantages of the whole window to mean 0 and standard deviation 1
    :param normalize_values: let the critic learn returns in units of their running mean and standard deviation, see
        :class:`memagents.policies.popart.PopArt`; values, and ``clip_range_vf``, stay in real units, the loss does not
    :param refresh_states: before each epoch but the first of a window, let the present weights live through the window
        before it once more, without gradients, for the memory's state at its start; there is no such window after the
        beginning of ``learn`` or of a resumed run whose episodes begin anew. A forward pass for each epoch
    :param target_kl: stop the epochs of a window beyond 1.5 times this approximate divergence, or None
    :param cuda_graphs: on a CUDA device, capture acting and a minibatch's update once in each call of ``learn`` and
        replay them from then on (see :class:`memagents.algorithms.cuda_graphs.GraphedFunction`); without effect on
        other devices. The state that acting returns is then written over in the next step
    :param bonus: intrinsic reward by its name, see :func:`memagents.bonuses.make_bonus`, or None. Returns and successes
        that are logged are those of the environment's rewards alone
    :param bonus_kwargs: its parameters, and those of :class:`memagents.bonuses.reward.IntrinsicReward`
    :param kwargs: see :class:`memagents.algorithms.window_algorithm.WindowAlgorithm`
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (
        *WindowAlgorithm.hyperparameters,
        *("clip_range", "clip_range_vf", "normalize_advantage", "normalize_values", "refresh_states"),
        *("target_kl", "cuda_graphs", "bonus", "bonus_kwargs"),
    )
    policy_defaults: ClassVar[dict[str, Any]] = {"critic_core": "same"}

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Env | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        normalize_values: bool = False,
        refresh_states: bool = False,
        target_kl: float | None = None,
        cuda_graphs: bool = False,
        bonus: str | None = None,
        bonus_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        self.clip_range = clip_range if callable(clip_range) else in_range("clip_range", clip_range, 0)
        if clip_range_vf is not None and not callable(clip_range_vf):
            clip_range_vf = in_range("clip_range_vf", clip_range_vf, 0)
        self.clip_range_vf = clip_range_vf
        self.normalize_advantage = boolean("normalize_advantage", normalize_advantage)
        self.normalize_values = boolean("normalize_values", normalize_values)
        self.refresh_states = boolean("refresh_states", refresh_states)
        self.target_kl = target_kl if target_kl is None else in_range("target_kl", target_kl, 0)
        self.cuda_graphs = boolean("cuda_graphs", cuda_graphs)
        self.bonus, self.bonus_kwargs = bonus, string_keyed("bonus_kwargs", bonus_kwargs)
        if bonus is not None:
            check_bonus(bonus)
        elif self.bonus_kwargs:
            raise ValueError(f"bonus_kwargs: {self.bonus_kwargs!r} is for bonus, which is None")
        self._past: Past | None = None  # the last window that was learned from, if no step has been made since
        self._before: Past | None = None  # the one at whose end the present window began
        self._exploration: Exploration | None = None  # there is none without an environment to explore
        super().__init__(policy, env, learning_rate, **kwargs)

    def _setup_model(self) -> None:
        if self.bonus is not None and self.bonus_kwargs.get("heads") == 2:
            self.policy_kwargs = {**self.policy_kwargs, "bonus_head": True}
        if self.normalize_values:
            self.policy_kwargs = {**self.policy_kwargs, "normalize_values": True}
        super()._setup_model()
        if self.env is not None:
            self._explore()

    def _explore(self) -> None:
        """Make the bonus, where there is to be one: by its environments, each with an episodic memory."""
        if self.bonus is not None:
            spaces = self.observation_space, self.action_space
            own = {"encoder": self.policy_kwargs.get("encoder", "auto"), **self.bonus_kwargs}
            reward = IntrinsicReward(self.bonus, *spaces, self.n_envs, self.gamma, **own)
            self._exploration = Exploration(reward.to(self.device), self.gae_lambda)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        result = super()._setup_learn(*args, **kwargs)
        if self._exploration is None:  # the environment has come by set_env
            self._explore()
        self._acting: Callable[..., Acted] = self.policy.act
        self._updating: Callable[..., Update] = self._update
        if self.cuda_graphs and size() > 1:
            raise ValueError("cuda_graphs: processes that learn together send messages, which no graph holds")
        if self._exploration is not None:
            take_first([*self._exploration.reward.bonus.parameters(), *self._exploration.reward.bonus.buffers()])
        if self.cuda_graphs:  # new ones: the policy, and what is constant in them, may have changed
            self._acting, self._updating = (GraphedFunction(f, self.device) for f in (self.policy.act, self._update))
        return result

    def collect(self, callback: BaseCallback) -> bool:
        self._before, self._past = self._past, None
        return super().collect(callback)

    def choose(self, observations: Observations, state: State, t: int) -> Acted:
        return self._acting(observations, state, self._window.starts[t])

    def credit(self, window: Window, beyond: Beyond) -> None:
        if self._exploration is None:
            super().credit(window, beyond)
            return
        last = observation_tensors(self._last_obs, self.device)
        starts = torch.as_tensor(self._last_episode_starts, device=self.device)
        self._exploration.begin(window, last, starts, self._current_progress_remaining)
        super().credit(window, beyond)
        self._exploration.credit(window, beyond, self.policy)
        self.logger.record("rollout/bonus_mean", self._exploration.mean_reward)

    def visible_cause(self) -> str:
        """Look also at the bonus."""
        found = super().visible_cause()
        if found or self._exploration is None or self._exploration.rewards is None:
            return found
        return visible_cause({"bonus": (self._exploration.rewards.cpu().numpy(), self.num_timesteps)}, self.n_envs)

    def own_state(self) -> dict[str, Any] | None:
        bonus = None if self._exploration is None else self._exploration.reward.state()
        return bonus if self._past is None else {"bonus": bonus, "past": self._past.to_tree()}

    def restore_own_state(self, tree: Any) -> None:
        if isinstance(tree, dict) and "past" in tree:
            if self.refresh_states:
                self._past = Past.of_tree(tree["past"], self.policy.initial_state(self.n_envs), self.device)
            tree = tree["bonus"]
        if self._exploration is not None:
            self._exploration.reward.restore(tree)

    def train(self) -> None:
        """Epochs of minibatch updates on the window."""
        window, popart = self._window, self._popart()
        if popart is not None:
            popart.update(window.returns)
        # Tensors, since they may follow schedules and an update must not depend on numbers.
        clip = self._clip_range(self.clip_range)
        clip_vf = None if self.clip_range_vf is None else self._clip_range(self.clip_range_vf)
        weights = {
            name: torch.tensor(weight, dtype=self.policy.dtype, device=self.device)
            for name, weight in self.loss_weights().items()
        }
        if self.normalize_advantage:
            normalize(window.advantages, window.decisions)
        log: dict[str, list[float]] = defaultdict(list)
        for epoch in range(self.n_epochs):
            divergences = []
            if epoch > 0 and self._before is not None:
                window.initial_state = self._before.refreshed(self.policy, window)
            for batch in window.minibatches(self.minibatch_count()):
                update = self._updating(batch, clip, clip_vf, weights)
                figures = look({**update.losses, **update.figures, "gradient_norm": update.norm})
                norm = figures.pop("gradient_norm")
                for name, value in figures.items():
                    log[name].append(value)
                divergences.append(figures["approx_kl"])
                if self._too_far(divergences[-1]):
                    break
                self.descend(update.gradients, {name: figures[name] for name in update.losses}, norm)
                log["gradient_norm"].append(norm)
                if epoch == 0 and self._exploration is not None:
                    self._learn_bonus(self._exploration, batch.rows, log)
            self._n_updates += 1
            if self._too_far(divergences[-1]):
                break
        if self.refresh_states:
            self._past = Past.of(window)
        self.record_means(log)
        explained = explained_variance(window.values.flatten().cpu().numpy(), window.returns.flatten().cpu().numpy())
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if self.policy.log_std is not None:
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())

    def _learn_bonus(self, exploration: Exploration, rows: Tensor, log: dict[str, list[float]]) -> None:
        try:
            exploration.learn(rows, log)
        except FloatingPointError:
            raise self.not_finite(["bonus_loss"]) from None

    def _popart(self) -> PopArt | None:
        """Return the critic's last layer where it is to learn in units of its own."""
        layer = self.policy.value_net
        return layer if self.normalize_values and isinstance(layer, PopArt) else None

    def _too_far(self, divergence: float) -> bool:
        """Return whether the policy has moved so far from the one that acted that the window's epochs end."""
        return self.target_kl is not None and divergence > KL_TOLERANCE * self.target_kl

    def _clip_range(self, schedule: float | Schedule) -> Tensor:
        """The present ε, in float64, so that 1 ± ε is rounded once."""
        value = FloatSchedule(schedule)(self._current_progress_remaining)
        return torch.tensor(value, dtype=torch.float64, device=self.device)

    def _update(self, batch: Minibatch, clip: Tensor, clip_vf: Tensor | None, weights: dict[str, Tensor]) -> Update:
        """From a minibatch to its gradients, without a look at the device."""
        evaluated = self.policy.evaluate_actions(batch.observations, batch.actions, batch.initial_state, batch.starts)
        losses, figures = self._losses(batch, evaluated, clip, clip_vf)
        gradients, norm = self.gradients(losses, weights)
        return Update(gradients, {name: loss.detach() for name, loss in losses.items()}, figures, norm)

    def _losses(
        self, batch: Minibatch, evaluated: Evaluated, clip: Tensor, clip_vf: Tensor | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses of a minibatch and the figures that are logged beside them, scalars."""
        log_ratio, count = evaluated.log_probs - batch.log_probs, mean_count(batch.decisions)
        ratio = log_ratio.exp()
        surrogate = torch.min(batch.advantages * ratio, batch.advantages * ratio.clamp(1 - clip, 1 + clip))
        values = evaluated.values
        if clip_vf is not None:
            values = batch.values + (values - batch.values).clamp(-clip_vf, clip_vf)
        errors, popart = batch.returns - values, self._popart()
        if popart is not None:
            errors = errors / popart.std.to(errors.dtype)
        losses = {
            "policy_gradient_loss": -masked_mean(surrogate, batch.decisions, count),
            "value_loss": errors.square().mean(),
            **(self._exploration.value_loss(batch, evaluated) if self._exploration is not None else {}),
            "entropy_loss": -masked_mean(evaluated.entropy, batch.decisions, count),
            **{f"{name}_loss": loss.mean() for name, loss in evaluated.losses.items()},
        }
        with torch.no_grad():
            figures = {
                "approx_kl": masked_mean(ratio - 1 - log_ratio, batch.decisions, count),
                "clip_fraction": masked_mean(((ratio - 1).abs() > clip).to(ratio.dtype), batch.decisions, count),
            }
        return losses, figures


def masked_mean(values: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """The mean where the mask is true; zero where it never is.

    :param count: by what to divide the sum, where ranks have it together
    """
    return torch.where(mask, values, 0).sum() / (mask.sum().clamp(min=1) if count is None else count)


def normalize(advantages: Tensor, mask: Tensor) -> None:
    """In place to mean 0 and standard deviation 1 over the steps where the mask is true."""
    count, mean, squares = moments(advantages[mask])
    if count > 1:
        advantages.sub_(mean).div_((squares / (count - 1)).sqrt() + 1e-8)
