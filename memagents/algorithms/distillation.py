"""Learning from another agent: its policy, put into a policy of another memory (Rusu et al. 2016, arXiv 1511.06295)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import FloatSchedule
from torch import Tensor

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.algorithms.cuda_graphs import look
from memagents.algorithms.ppo import masked_mean
from memagents.algorithms.rollout import Minibatch
from memagents.algorithms.training_state import state_like
from memagents.algorithms.window_algorithm import WindowAlgorithm
from memagents.checks import in_range
from memagents.cores.core import State, draw_keys, map_state, state_leaves
from memagents.environments import normalization
from memagents.environments.vector import Env
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import Acted
from memagents.policies.distributions import kl_divergence
from memagents.policies.encoding import Observations, map_observations
from memagents.ranks import mean_count
from memagents.runs import agent_files
from memagents.runs.random_states import preserved_random_states


class Distillation(WindowAlgorithm):
    """The teacher's distribution of actions as the student's target, in every step that the student sees.

    The loss is KL(teacher ‖ student), the mean over the steps of a window whose action matters. The student acts, and
    the teacher lives through the same observations with a memory of its own, so that the student learns what to do
    where its own mistakes lead it (Czarnecki et al. 2019, arXiv 1902.02186, recommend that over the teacher's own way).
    The critic learns the returns of what was done, so that PPO can go on from the policy.

    :param teacher: an agent of memagents that acts by a MemoryPolicy, such as RecurrentPPO or Imitation, or its run
        folder; both must see the same observations. Only a folder is saved with the student: an agent has to be given
        again to ``resume``. None: an agent that only acts
    :param teacher_share: probability of doing what the teacher says instead of what the student says, at each step; a
        number or a function of the remaining progress
    :param kwargs: see :class:`memagents.algorithms.window_algorithm.WindowAlgorithm`; ``n_epochs`` is 1 by default
    :raises ValueError: for a teacher of other spaces, or one that saw normalised observations
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (*WindowAlgorithm.hyperparameters, "teacher", "teacher_share")
    reports_accuracy: ClassVar[bool] = True

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Env | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        teacher: MemoryAlgorithm | str | Path | None = None,
        teacher_share: float | Schedule = 0.0,
        n_epochs: int = 1,
        **kwargs: Any,
    ):
        if not isinstance(teacher, MemoryAlgorithm | str | Path | None):
            raise ValueError(f"teacher must be an agent of memagents or a run folder, not {teacher!r}")
        self.teacher = str(teacher) if isinstance(teacher, str | Path) else None
        self._given = teacher if isinstance(teacher, MemoryAlgorithm) else None
        self._taught: MemoryPolicy | None = None  # the teacher's policy, once it is needed
        self._teacher_state: State = ()  # of its memory, before the steps of the window that it has not seen
        self._acting_state: State = ()  # the same where it acts, step by step
        self._outputs: Tensor | None = None  # of its memory, (T, B, its O)
        self._seen = self._noted = 0  # steps of the window: those that it has seen, those that have been made
        self.teacher_share = (
            teacher_share if callable(teacher_share) else in_range("teacher_share", teacher_share, 0, 1)
        )
        self._share = 0.0  # of the present window
        super().__init__(policy, env, learning_rate, n_epochs=n_epochs, **kwargs)

    # --- the teacher --------------------------------------------------------------------------------------------------

    def teacher_policy(self) -> MemoryPolicy:
        """The teacher's policy, on this agent's device.

        :raises ValueError: if there is none, or it is of no use here
        :raises CheckpointError: if its run folder cannot be loaded
        """
        if self._taught is None:
            policy = self._find_teacher().policy
            if not isinstance(policy, MemoryPolicy):
                raise ValueError(f"teacher must act by a MemoryPolicy, not a {type(policy).__name__}")
            for name in ("observation_space", "action_space"):
                theirs, ours = getattr(policy, name), getattr(self, name)
                if theirs != ours:
                    raise ValueError(f"teacher: its {name} is {theirs}, this agent's is {ours}")
            policy = policy.to(self.device)
            policy.set_training_mode(False)
            self._taught = policy.requires_grad_(False) if self._given is None else policy
        return self._taught

    def _find_teacher(self) -> MemoryAlgorithm:
        if self._given is None and self.teacher is None:
            raise ValueError("teacher: there is none to learn from; give an agent or its run folder")
        seen = normalization.statistics_of(self._given.env) if self._given is not None else None
        if self.teacher is not None:
            seen = agent_files.read_normalization(self.teacher)
        if any(tree is not None and tree["observations"] for tree in (seen, normalization.statistics_of(self.env))):
            raise ValueError("teacher and student must see the same observations, and none that are normalised")
        if self._given is not None:
            return self._given
        with preserved_random_states():  # what is loaded begins with its own seed
            return type(self).load(str(self.teacher), device=self.device, teacher=None)

    @torch.no_grad()
    def _ask_teacher(self) -> None:
        """Let the teacher live through the steps that were made since it was asked last."""
        if self._seen == self._noted:
            return
        steps, window = slice(self._seen, self._noted), self._window
        observations = map_observations(lambda values: values[steps], window.observations)
        outputs, self._teacher_state, _ = self.teacher_policy().unroll(
            observations, self._teacher_state, window.starts[steps]
        )
        if self._outputs is None:
            self._outputs = outputs.new_empty(window.steps, *outputs.shape[1:])
        self._outputs[steps] = outputs
        self._seen = self._noted

    # --- collecting ---------------------------------------------------------------------------------------------------

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self.teacher_policy()
        result = super()._setup_learn(*args, **kwargs)
        self._outputs = None
        return result

    def _fresh_state(self) -> State:
        """The student's memory as episodes begin; the teacher's begins, too."""
        with torch.no_grad():
            self._teacher_state = draw_keys(self.teacher_policy().initial_state(self.n_envs))
        return super()._fresh_state()

    def collect(self, callback: BaseCallback) -> bool:
        """Fill the window, with the teacher's share as it is at the window's beginning."""
        share = FloatSchedule(self.teacher_share)(self._current_progress_remaining)
        self._share = in_range("teacher_share", share, 0, 1)
        self._seen = self._noted = 0
        self._acting_state = map_state(torch.clone, self._teacher_state)
        return super().collect(callback)

    def choose(self, observations: Observations, state: State, t: int) -> Acted:
        acted = super().choose(observations, state, t)
        if self._share:
            told = self.teacher_policy().act(observations, self._acting_state, self._window.starts[t])
            self._acting_state = told.state
            follows = torch.rand(len(told.actions), device=self.device) < self._share
            follows = follows.view(-1, *(1,) * (told.actions.dim() - 1))
            acted = acted._replace(actions=torch.where(follows, told.actions, acted.actions))
        self._noted = t + 1
        return acted

    def memory_state(self) -> State:
        """Return it as :meth:`MemoryAlgorithm.memory_state` does; the teacher's catches up now."""
        self._ask_teacher()
        return super().memory_state()

    def own_state(self) -> dict[str, Any] | None:
        return {"teacher": state_leaves(self._teacher_state)}

    def restore_own_state(self, tree: Any) -> None:
        like = self.teacher_policy().initial_state(self.n_envs)
        self._teacher_state = state_like(like, tree["teacher"])

    # --- learning -----------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Take one pass (or more) over the window."""
        self._ask_teacher()
        log: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.n_epochs):
            for batch in self._window.minibatches(self.minibatch_count()):
                self._update(batch, log)
            self._n_updates += 1
        right, asked = (sum(log.pop(name)) for name in ("right", "asked"))
        self.record_means(log)
        if asked:
            self.recent_accuracies.append(right / asked)
            self.logger.record("train/accuracy", right / asked)

    def recent_figures(self) -> dict[str, str]:
        """Return how often the student's most likely action is the teacher's."""
        return {"as the teacher": f"{np.mean(self.recent_accuracies):.0%}"} if self.recent_accuracies else {}

    def _update(self, batch: Minibatch, log: dict[str, list[float]]) -> None:
        """One optimiser step on a minibatch."""
        assert self._outputs is not None
        outputs, _, core_losses = self.policy.unroll(batch.observations, batch.initial_state, batch.starts)
        decisions = batch.decisions.flatten()
        student = self.policy.distribution(outputs.flatten(0, 1))
        with torch.no_grad():
            theirs = self._outputs.index_select(1, batch.rows).flatten(0, 1)
            teacher = self.teacher_policy().distribution(theirs)
        losses = {
            "distillation_loss": masked_mean(kl_divergence(teacher, student), decisions, mean_count(decisions)),
            "value_loss": (batch.returns - self.policy.values(outputs)).square().mean(),
            **{f"{name}_loss": loss.mean() for name, loss in core_losses.items()},
        }
        log["gradient_norm"].append(self.step_optimizer(losses))
        with torch.no_grad():
            alike = (student.mode() == teacher.mode()).view(len(decisions), -1).all(-1)
            figures = {**losses, "right": (alike & decisions).sum(), "asked": decisions.sum()}
            for name, value in look({name: figure.double() for name, figure in figures.items()}).items():
                log[name].append(value)
