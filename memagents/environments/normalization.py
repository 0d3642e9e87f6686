"""Running normalisation of observations and rewards by Stable-Baselines3's VecNormalize, as far as it makes sense."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from memagents.environments.snapshot import normalization_statistics, set_normalization_statistics


def normalized(env: VecEnv, observations: bool, rewards: bool, gamma: float = 0.99) -> VecEnv:
    """Wrap an environment in a VecNormalize, where anything is to be normalised.

    :param observations: scale numbers in observations to mean 0 and variance 1; codes, bits and pictures stay
    :param rewards: divide rewards by the running standard deviation of the discounted return
    :param gamma: of that return
    :raises ValueError: if observations are to be normalised, and there are no numbers in them
    """
    if not (observations or rewards):
        return env
    space, keys = env.observation_space, None
    if observations:
        if isinstance(space, spaces.Dict):
            keys = [name for name, entry in space.items() if _numbers(entry)]
        if keys == [] or (keys is None and not _numbers(space)):
            raise ValueError(
                f"normalize_observations needs numbers (Box, no pictures) in the observations, not {space}"
            )
    return VecNormalize(env, norm_obs=observations, norm_reward=rewards, gamma=gamma, norm_obs_keys=keys)


def statistics_of(env: VecEnv | None) -> dict[str, Any] | None:
    """Return the statistics of an environment's VecNormalize and what it normalises, as a tree; None without one."""
    found = find(env)
    if found is None:
        return None
    return {
        "observations": found.norm_obs,
        "rewards": found.norm_reward,
        "keys": found.norm_obs_keys,
        "clip": [found.clip_obs, found.clip_reward],
        "epsilon": found.epsilon,
        "statistics": normalization_statistics(found),
    }


def frozen(env: VecEnv, tree: dict[str, Any]) -> VecEnv:
    """Normalise observations by the statistics of a training, which do not change any more; rewards stay as they are.

    :param env: without a VecNormalize of its own
    :param tree: what :func:`statistics_of` returned
    """
    wrapped = VecNormalize(
        env,
        training=False,
        norm_obs=tree["observations"],
        norm_reward=False,
        clip_obs=tree["clip"][0],
        epsilon=tree["epsilon"],
        norm_obs_keys=tree["keys"],
    )
    set_normalization_statistics(wrapped, tree["statistics"])
    return wrapped


def carry_over(before: VecEnv | None, after: VecEnv) -> None:
    """Let an environment go on with the statistics of the one before it."""
    tree, found = statistics_of(before), find(after)
    if tree is not None and found is not None:
        set_normalization_statistics(found, tree["statistics"])


def find(env: VecEnv | None) -> VecNormalize | None:
    """Return the VecNormalize around an environment, if there is one."""
    while isinstance(env, VecEnvWrapper) and not isinstance(env, VecNormalize):
        env = env.venv
    return env if isinstance(env, VecNormalize) else None


def _numbers(space: spaces.Space) -> bool:
    """Return whether a space holds numbers, and no pictures or codes."""
    return isinstance(space, spaces.Box) and np.dtype(space.dtype).kind == "f" and not is_image_space(space)
