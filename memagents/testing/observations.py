"""Observations to ask a policy with: random ones of its space, or those of an environment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

WIDEST = 100.0  # of a Box; bounds beyond this are no scale of what is observed
TYPICAL = 3.0

Observations = np.ndarray | dict[str, np.ndarray]


def observations_of(space: spaces.Space, env: Any, steps: int, rows: int, seed: int) -> Observations:
    """Observations (T, B, ...), or a dict of such.

    :param space: the policy's observation space, from which they are drawn if ``env`` is None
    :param env: a gymnasium environment or an SB3 ``VecEnv`` in which random actions are taken
    :raises ValueError: for another ``env``
    """
    if env is None:
        stream = _drawn(space, seed)
    elif isinstance(env, VecEnv):
        stream = _of_vec_env(env, seed)
    elif isinstance(env, gym.Env):
        stream = _of_env(env, seed)
    else:
        raise ValueError(f"env must be a gymnasium.Env, an SB3 VecEnv or None, not {env!r}")
    seen = [next(stream) for _ in range(steps * rows)]
    if isinstance(seen[0], dict):
        return {key: _stacked([one[key] for one in seen], steps, rows) for key in seen[0]}
    return _stacked(seen, steps, rows)


def _stacked(seen: list[Any], steps: int, rows: int) -> np.ndarray:
    values = np.stack(seen)
    return values.reshape(rows, steps, *values.shape[1:]).swapaxes(0, 1).copy()


def _drawn(space: spaces.Space, seed: int) -> Iterator[Any]:
    space = _of_moderate_size(space)
    space.seed(seed)
    while True:
        yield space.sample()


def _of_moderate_size(space: spaces.Space) -> spaces.Space:
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _of_moderate_size(entry) for key, entry in space.items()})
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        low, high = np.nan_to_num(space.low), np.nan_to_num(space.high)
        low, high = np.where(low < -WIDEST, -TYPICAL, low), np.where(high > WIDEST, TYPICAL, high)
        return spaces.Box(np.minimum(low, high), high, dtype=space.dtype.type)
    return copy.deepcopy(space)


def _of_env(env: gym.Env, seed: int) -> Iterator[Any]:
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    while True:
        yield copy.deepcopy(observation)
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()


def _of_vec_env(env: VecEnv, seed: int) -> Iterator[Any]:
    env.seed(seed)
    env.action_space.seed(seed)
    observations: Any = env.reset()
    while True:
        for row in range(env.num_envs):
            yield copy.deepcopy(at(observations, row))
        observations = env.step(np.stack([env.action_space.sample() for _ in range(env.num_envs)]))[0]


def at(observations: Any, place: int | slice) -> Any:
    """Some steps of observations (T, ...), or some rows of (B, ...)."""
    return map_observations(lambda values: values[place], observations)


def map_observations(function: Callable[[Any], Any], observations: Any) -> Any:
    """Apply a function to an array, or to each entry of a dict of arrays."""
    if isinstance(observations, dict):
        return {key: function(values) for key, values in observations.items()}
    return function(observations)
