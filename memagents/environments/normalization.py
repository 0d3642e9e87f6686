"""Running normalisation of observations and rewards by Stable-Baselines3's VecNormalize, as far as it makes sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from torch import Tensor

from memagents.environments.snapshot import normalization_statistics, set_normalization_statistics
from memagents.environments.vector import Env, as_vec_env
from memagents.ranks import total


def normalized(env: VecEnv, observations: bool, rewards: bool, gamma: float = 0.99) -> VecEnv:
    """Wrap an environment in a VecNormalize, where anything is to be normalised.

    :param observations: scale numbers in observations to mean 0 and variance 1; codes, bits and pictures stay
    :param rewards: divide rewards by the running standard deviation of the discounted return
    :param gamma: of that return
    :raises ValueError: if observations are to be normalised, and there are no numbers in them; if the environment
        normalises already
    """
    if not (observations or rewards):
        return env
    _check_not_normalized(env, observations, rewards)
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
        "gamma": found.gamma,
        "training": found.training,
        "epsilon": found.epsilon,
        "statistics": normalization_statistics(found),
    }


def as_trained(env: Env, tree: dict[str, Any] | None, going_on: bool = False) -> Env:
    """Normalise as a training did, unless the environment does so itself.

    :param env: an environment, or a VecNormalize, which is left alone
    :param tree: what :func:`statistics_of` returned of the training
    :param going_on: let the statistics go on and normalise rewards, too, where the training did; by default
        observations are normalised by :func:`frozen` statistics
    """
    if tree is None or not (tree["observations"] or going_on):
        return env
    vec_env = as_vec_env(env)
    return env if find(vec_env) is not None else _wrapped(vec_env, tree, going_on)


def frozen(env: VecEnv, tree: dict[str, Any]) -> VecEnv:
    """Normalise observations by the statistics of a training, which do not change any more; rewards stay as they are.

    :param env: without a VecNormalize of its own
    :param tree: what :func:`statistics_of` returned
    """
    return _wrapped(env, tree, going_on=False)


def _wrapped(env: VecEnv, tree: dict[str, Any], going_on: bool) -> VecEnv:
    wrapped = VecNormalize(
        env,
        training=going_on and tree.get("training", True),
        norm_obs=tree["observations"],
        norm_reward=going_on and tree["rewards"],
        clip_obs=tree["clip"][0],
        clip_reward=tree["clip"][1],
        gamma=tree.get("gamma", 0.99),
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


def running_sums(env: VecEnv) -> Tensor | None:
    """Return the running statistics of an environment's VecNormalize as sums, which can be added; None without any.

    :return: for each statistic count, Σ x and Σ x², a vector of float64
    """
    found = find(env)
    if found is None or not found.training:
        return None
    parts: list[np.ndarray] = []
    for mean, var, count in normalization_statistics(found).values():
        parts += [np.atleast_1d(count), np.ravel(count * mean), np.ravel(count * (var + np.square(mean)))]
    return torch.from_numpy(np.concatenate(parts).astype(np.float64))


def share_sums(env: VecEnv, before: Tensor | None) -> Tensor | None:
    """Count in what all processes have seen (:mod:`memagents.ranks`) since they had the same statistics.

    :param before: :func:`running_sums` at that time, None for nothing
    :return: those that all have now
    """
    found, after = find(env), running_sums(env)
    if found is None or before is None or after is None:
        return None
    shared = before + total(after - before)
    sums, place, statistics = shared.numpy(), 0, {}
    for name, (mean, _, _) in normalization_statistics(found).items():
        shape, n = np.shape(mean), np.size(mean)
        count, first, second = np.split(sums[place : place + 1 + 2 * n], [1, 1 + n])
        mean = first / count
        var = np.maximum(second / count - mean**2, 0)
        statistics[name] = [mean.reshape(shape), var.reshape(shape), float(count[0])]
        place += 1 + 2 * n
    set_normalization_statistics(found, statistics)
    return shared


def find(env: VecEnv | None) -> VecNormalize | None:
    """Return the VecNormalize around an environment, if there is one."""
    while isinstance(env, VecEnvWrapper) and not isinstance(env, VecNormalize):
        env = env.venv
    return env if isinstance(env, VecNormalize) else None


def _check_not_normalized(env: VecEnv, observations: bool, rewards: bool) -> None:
    """Refuse to normalise twice."""
    asked = " and ".join(
        name for name, on in (("normalize_observations", observations), ("normalize_reward", rewards)) if on
    )
    if find(env) is not None:
        raise ValueError(f"{asked}: the environment is a VecNormalize already; leave one of the two out")
    for kind, on in ((NormalizeObservation, observations), (NormalizeReward, rewards)):
        if on and any(env.env_is_wrapped(kind)):
            raise ValueError(
                f"{asked}: the environment has Gymnasium's {kind.__name__} already; leave one of the two out"
            )


def _numbers(space: spaces.Space) -> bool:
    """Return whether a space holds numbers, and no pictures or codes."""
    return isinstance(space, spaces.Box) and np.dtype(space.dtype).kind == "f" and not is_image_space(space)
