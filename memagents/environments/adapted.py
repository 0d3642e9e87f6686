"""Single environments adapted to what the agents take: no text, no tuples, no array that is written to again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FilterObservation, TransformObservation

from memagents.checks import warn_user
from memagents.environments.spaces import ObservationCheck

Step = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]


def adapted(env: gym.Env) -> gym.Env:
    """Return an environment whose observations the agents take, as far as it can be done.

    Missions of MiniGrid become numbers of words, or are left out where they never change. Those of BabyAI, whose words
    no fixed list has, are left out with a warning. A ``Tuple`` becomes a ``Dict`` of its entries by their places.
    """
    env = _named(_without_text(env))
    tidy_steps(env)
    return env


def tidy_steps(env: gym.Env) -> None:
    """Let the steps of an environment return a copy of an episode's last observation, and rewards that are numbers.

    Observations outside of their space are refused, there and by ``reset``.

    Many an environment writes every observation into the same array, and its reset over the final one, of which a value
    is bootstrapped where a time limit cuts an episode; some return a reward of shape (1,). Its own method is replaced,
    instead of a wrapper put around it, so that its attributes stay where its owner looks for them. Below wrappers it is
    done as well: some of them, as ``Monitor``, take numbers alone. What steps in the processes of Stable-Baselines3's
    SubprocVecEnv is out of reach: there such an environment must return copies.
    """
    check = ObservationCheck(env.observation_space)  # wrappers may bring into it what lies outside below them
    if not isinstance(env.step, TidyStep):
        env.reset = CheckedReset(env.reset, check)  # type: ignore[method-assign]
        env.step = TidyStep(env.step, check)  # type: ignore[method-assign]
    if not isinstance(env.unwrapped.step, TidyStep):
        env.unwrapped.step = TidyStep(env.unwrapped.step)  # type: ignore[method-assign]


class TidyEnv:
    """Function that makes an environment with tidy steps; other processes load it without torch.

    :param function: makes the environment
    """

    def __init__(self, function: Callable[[], gym.Env]):
        self.function = function

    def __call__(self) -> gym.Env:
        env = self.function()
        tidy_steps(env)
        return env


class TidyStep:
    """Method ``step`` of an environment, as :func:`tidy_steps` wants it.

    :param step: the environment's own
    :param check: of observations
    :raises ValueError: while stepping, for a reward that is more than one number, for an end that is None, and as
        ``check`` does
    """

    def __init__(self, step: Callable[[Any], Step], check: ObservationCheck | None = None):
        self.step, self.check = step, check

    def __call__(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = self.step(action)
        if terminated is None or truncated is None:  # no episode would ever end
            name = "terminated" if terminated is None else "truncated"
            raise ValueError(f"step() must return {name} as True or False, not None")
        if self.check is not None:
            self.check(observation)
        if terminated or truncated:
            observation = copy.deepcopy(observation)
        if isinstance(reward, np.ndarray) and reward.ndim:
            reward = float(numbers(reward, 1)[0])
        return observation, reward, terminated, truncated, info


class CheckedReset:
    """Method ``reset`` of an environment that refuses observations outside of their space.

    :param reset: the environment's own
    :param check: of observations
    """

    def __init__(self, reset: Callable[..., tuple[Any, dict[str, Any]]], check: ObservationCheck):
        self.reset, self.check = reset, check

    def __call__(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.reset(**kwargs)
        self.check(observation)
        return observation, info


def numbers(rewards: np.ndarray, count: int) -> np.ndarray:
    """Return rewards as (count,) numbers, one for each environment.

    :raises ValueError: for more or fewer of them
    """
    if np.shape(rewards) == (count,):
        return rewards
    if np.size(rewards) != count:
        raise ValueError(f"rewards must be a number for each environment, not an array of shape {np.shape(rewards)}")
    return np.reshape(rewards, count)


def named_space(space: spaces.Space) -> spaces.Space:
    """Return a ``Tuple`` as a ``Dict`` of its entries by their places, any other space as it is."""
    if not isinstance(space, spaces.Tuple):
        return space
    return spaces.Dict({str(place): entry for place, entry in enumerate(space.spaces)})


def named(observation: Any) -> Any:
    """Return an observation, or a batch of them, as :func:`named_space` has it."""
    if not isinstance(observation, tuple):
        return observation
    return {str(place): entry for place, entry in enumerate(observation)}


def _named(env: gym.Env) -> gym.Env:
    """Turn observations that are a ``Tuple`` (some of POPGym's) into a ``Dict`` of its entries by their places."""
    space = env.observation_space
    if not isinstance(space, spaces.Tuple):
        return env
    return TransformObservation(env, named, named_space(space))


def _without_text(env: gym.Env) -> gym.Env:
    """Turn missions into numbers of words, or leave them out, since text is nothing that an agent here takes."""
    space = env.observation_space
    entries = dict(space.spaces) if isinstance(space, spaces.Dict) else {}
    mission = entries.pop("mission", None)
    kinds = [kind.__name__ for kind in type(mission).__mro__]  # by name, so that MiniGrid is imported by whom it is for
    if kinds[0] == "MissionSpace":
        from memenvs.grid.missions import MissionWords

        return MissionWords(env)
    if "MissionSpace" in kinds:
        name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        warn_user(
            f"{name}: the mission is left out of the observations, since no fixed list has its words: the agent does "
            "not see what it is asked for. Wrap the environment to give it as numbers if it matters"
        )
        return FilterObservation(env, list(entries))
    return env
