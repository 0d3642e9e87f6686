"""Resets of single rows of a vector environment, through wrappers that would forget the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorObservationWrapper, VectorWrapper
from gymnasium.wrappers.vector import NormalizeObservation, NormalizeReward


def reset_rows(env: VectorEnv, mask: np.ndarray, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
    """Begin new episodes where ``mask`` is true, and leave the other rows as they are.

    Gymnasium's SyncVectorEnv and AsyncVectorEnv take a mask, but not all of its wrappers do (1.4): NormalizeReward
    forgets the running returns of all rows, NormalizeObservation refuses, RecordEpisodeStatistics finds that what it
    wraps has taken the mask out of the options. Statistics of observations gain those that begin episodes, as they do
    where rows reset by themselves.

    :param env: the environment, wrapped or not
    :param mask: booleans (num_envs,)
    :param options: of these rows' resets
    :return: observations of all rows, and infos
    :raises ValueError: if a wrapper drops the mask, or forgets what it knew of other rows
    """
    if isinstance(env, VectorObservationWrapper) and _resets_as(env, VectorObservationWrapper, NormalizeObservation):
        raw, infos = reset_rows(env.env, mask, options)
        return _observed(env, raw, mask), infos
    if isinstance(env, NormalizeReward) and _resets_as(env, NormalizeReward):
        observations, infos = reset_rows(env.env, mask, options)
        env.accumulated_reward[mask] = 0
        env._prev_dones[mask] = 0  # else it would take the next step for one that only resets
        return observations, infos
    if not isinstance(env, VectorWrapper):
        return env.reset(options={**(options or {}), "reset_mask": mask.copy()})
    if _resets_as(env, VectorWrapper):
        return reset_rows(env.env, mask, options)
    return _reset_by_wrapper(env, mask, options or {})


def _resets_as(env: VectorWrapper, *kinds: type[VectorWrapper]) -> bool:
    return any(type(env).reset is kind.reset for kind in kinds)


def _reset_by_wrapper(env: VectorWrapper, mask: np.ndarray, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Let a wrapper do it that has a ``reset`` of its own, and see that it keeps to the mask."""
    inner, before = env.env, _of_rows(env, ~mask)
    env.env = _Masked(inner, mask, type(env).__name__)  # type: ignore[assignment]
    try:
        given = env.reset(options={**options, "reset_mask": mask.copy()})
    finally:
        env.env = inner
    after = _of_rows(env, ~mask)
    for name, values in before.items():
        if name in after and not np.array_equal(values, after[name], equal_nan=values.dtype.kind in "fc"):
            raise ValueError(
                f"{type(env).__name__}.reset changes {name!r} of rows that go on: let it keep to "
                "options['reset_mask'], or give the environments autoreset_mode SAME_STEP"
            )
    return given


class _Masked:
    """What a wrapper wraps, while it resets some rows: its reset needs the mask, and leaves the options as they are."""

    def __init__(self, env: VectorEnv, mask: np.ndarray, wrapper: str):
        self._env, self._mask, self._wrapper = env, mask, wrapper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        given = (options or {}).get("reset_mask")
        if given is None or not np.array_equal(given, self._mask):
            raise ValueError(
                f"{self._wrapper} can not reset single rows (its reset drops options['reset_mask']): let it pass the "
                "options on, or give the environments autoreset_mode SAME_STEP"
            )
        return reset_rows(self._env, self._mask, {k: v for k, v in (options or {}).items() if k != "reset_mask"})


def _of_rows(env: VectorWrapper, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return copies of a wrapper's own arrays with an entry for each environment, of these rows."""
    own = ((name, value) for name, value in vars(env).items() if isinstance(value, np.ndarray))
    return {name: value[rows] for name, value in own if value.ndim and len(value) == len(rows)}


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
