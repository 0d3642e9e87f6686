"""Resets of single rows of a vector environment, through wrappers that would forget the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorObservationWrapper, VectorWrapper
from gymnasium.wrappers.vector import NormalizeReward


def reset_rows(env: VectorEnv, mask: np.ndarray, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
    """Begin new episodes where ``mask`` is true, and leave the other rows as they are.

    Gymnasium's SyncVectorEnv and AsyncVectorEnv take a mask, but not all of its wrappers do (1.4): NormalizeReward
    forgets the running returns of all rows, NormalizeObservation refuses. Statistics of observations gain those that
    begin episodes, as they do where rows reset by themselves.

    :param env: the environment, wrapped or not
    :param mask: booleans (num_envs,)
    :param options: of these rows' resets
    :return: observations of all rows, and infos
    """
    if isinstance(env, VectorObservationWrapper):
        raw, infos = reset_rows(env.env, mask, options)
        return _observed(env, raw, mask), infos
    if isinstance(env, NormalizeReward):
        observations, infos = reset_rows(env.env, mask, options)
        env.accumulated_reward[mask] = 0
        env._prev_dones[mask] = 0  # else it would take the next step for one that only resets
        return observations, infos
    if isinstance(env, VectorWrapper) and type(env).reset is VectorWrapper.reset:
        return reset_rows(env.env, mask, options)
    return env.reset(options={**(options or {}), "reset_mask": mask.copy()})


def _observed(env: VectorObservationWrapper, raw: Any, mask: np.ndarray) -> Any:
    """Return what the wrapper makes of observations; only those of the rows in the mask count in its statistics."""
    if not getattr(env, "update_running_mean", False):
        return env.observations(raw)
    env.update_running_mean = False  # type: ignore[attr-defined]
    try:
        observations = env.observations(raw)
    finally:
        env.update_running_mean = True  # type: ignore[attr-defined]
    env.obs_rms.update(raw[mask])  # type: ignore[attr-defined]
    return observations
