"""Navigation for goal-conditioned learning: the desired and the achieved goal are part of the observation."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium.spaces import Dict
from gymnasium.spaces.utils import flatten, flatten_space
from gymnasium.utils import RecordConstructorArgs

from memenvs.engine.definition import Definition, Goals
from memenvs.engine.types import Observation

__all__ = ["GoalView"]


class GoalView(gymnasium.ObservationWrapper, RecordConstructorArgs):
    """A navigation task with ``Dict`` observations, as Hindsight Experience Replay needs them.

    The entries are ``observation``, which no longer shows the goal (and is one array: a ``Dict`` is flattened);
    ``achieved_goal``, the place to which the last step led; and ``desired_goal``. Actions, rewards and ends stay as
    they are, and :meth:`compute_reward` gives the reward that a step would have brought if another goal had been
    desired (Andrychowicz et al. 2017, arXiv:1707.01495)::

        env = GoalView(gymnasium.make("memenvs/Underground-v0"))
        DQN("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer)

    What is left of the episode after a goal that was put in afterwards is not cut off: Stable-Baselines3 keeps the ends
    of the episodes as they were. ``memagents.algorithms.HindsightReplay`` ends them there; docs/hindsight.md
    has an example.

    :param env: a single environment of memenvs whose definition has goals, such as the Underground's
    :raises ValueError: for any other environment
    """

    def __init__(self, env: gymnasium.Env):
        RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        definition: Definition | None = getattr(env.unwrapped, "definition", None)
        goals = definition.goals if definition else None
        if goals is None:
            name = getattr(definition, "name", env)
            raise ValueError(f"env must be a navigation task, whose definition has goals; {name} has none")
        self._goals: Goals = goals
        own, space = env.observation_space, self._goals.space
        self._flat = isinstance(own, Dict)
        own = flatten_space(own) if self._flat else own
        self.observation_space = Dict({"observation": own, "achieved_goal": space, "desired_goal": space})

    def observation(self, observation: Observation) -> dict[str, np.ndarray]:
        """Return the observation with its goals."""
        rows = self.unwrapped.batch.rows  # type: ignore[attr-defined]
        achieved, desired = self._goals.read(rows["state"][0], rows["level"][0])
        hidden = self._goals.hide(observation)
        if self._flat:
            hidden = flatten(self.env.observation_space, hidden)
        return {"observation": hidden, "achieved_goal": achieved, "desired_goal": desired}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: object) -> float | np.ndarray:
        """Return the reward of a step.

        :param achieved_goal: after the step, (n,), or (B, n) for B steps
        :param desired_goal: likewise
        :param info: not needed
        :return: a float, or float64 (B,)
        """
        rewards = self._goals.reward(np.asarray(achieved_goal), np.asarray(desired_goal))
        return float(rewards) if np.ndim(rewards) == 0 else rewards
