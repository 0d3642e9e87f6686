"""How long ago what an agent acts by may be: its return when it forgets all that is older than an age."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from memagents.checks import natural_int
from memagents.experiments.evaluation import Agent, Interval, evaluate, mean_interval
from memagents.inspection.ablation import core_policy
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import Observations, map_observations

AGES = (0, 1, 2, 4, 8, 16, 32, 64)

_Past = tuple[tuple[Observations, Tensor], ...]  # observations (B, ...) and starts (B,) of the last steps, oldest first


class ForgetfulAgent:
    """Agent whose memory never goes back further than some steps.

    In each step its memory begins anew with the observation of ``age`` steps before, or that of the episode's
    beginning where it is later. With age 0 it is wiped in every step and knows the present observation alone.

    :param policy: that it acts by
    :param age: in steps, 0 or more
    """

    def __init__(self, policy: CorePolicy, age: int):
        self.policy, self.age = policy, natural_int("age", age)

    @torch.no_grad()
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Actions (B, ...), and as the state for the next call the observations that are remembered."""
        policy = self.policy
        now, _ = policy.obs_to_tensor(observation)
        starts = torch.as_tensor(np.asarray(episode_start, dtype=bool), device=policy.device)
        past: _Past = () if state is None else state
        core_state = policy.initial_state(len(starts))
        for observations, began in past:
            core_state = policy(observations, core_state, began, deterministic).state
        acted = policy(now, core_state, starts, deterministic)
        kept = (map_observations(torch.clone, now), starts.clone())
        return policy.to_env_actions(acted.actions), (*past, kept)[-self.age :] if self.age else ()


class Forgetting(NamedTuple):
    """Scores of an agent by how far back its memory goes.

    :param measure: ``"success"`` or ``"return"``
    :param ages: in steps
    :param scores: at these ages, with 95% intervals
    :param whole: with all of its memory
    """

    measure: str
    ages: tuple[int, ...]
    scores: list[Interval]
    whole: Interval

    @property
    def horizon(self) -> int | None:
        """Effective horizon: the least of the ages from which on forgetting costs nothing; None if all of them do.

        It costs nothing where the mean is not below the interval of the whole memory.
        """
        free = [score.mean >= self.whole.low for score in self.scores]
        return next((age for place, age in enumerate(self.ages) if all(free[place:])), None)


def forgetting(
    policy: CorePolicy,
    env: VecEnv,
    ages: Sequence[int] = AGES,
    episodes: int = 100,
    seed: int = 0,
    deterministic: bool = True,
    progress: Callable[[int], object] | None = None,
) -> Forgetting:
    """Play the same episodes with memories that go back less and less far.

    A step costs as many steps of the memory as its age says, and one more.

    :param policy: of an agent
    :param env: wrapped as the agent needs it
    :param ages: in steps, in any order
    :param episodes: for each of them
    :param seed: of the environments
    :param deterministic: the most likely actions instead of sampled ones
    :param progress: called with the number of episodes that have just ended
    :raises ValueError: if the policy is none of an agent, or an age is negative
    """
    policy = core_policy(policy)
    forgetful = [ForgetfulAgent(policy, age) for age in sorted(set(ages))]
    policy.set_training_mode(False)
    agents: list[Agent] = [policy, *forgetful]
    played = [evaluate(agent, env, episodes, deterministic, seed, progress) for agent in agents]
    known = played[0].success is not None
    scores = [mean_interval(done.success if known and done.success is not None else done.returns) for done in played]
    ages = tuple(agent.age for agent in forgetful)
    return Forgetting("success" if known else "return", ages, scores[1:], scores[0])
