"""The state of an environment and of the wrappers around it, as plain data, for an exact continuation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from memagents.environments.conditioning import ConditionOn
from memagents.environments.vector import GymnasiumVecEnv

# What of a wrapper goes on from step to step, beside what it can compute anew.
_WRAPPER_STATE: dict[type[VecEnvWrapper], tuple[str, ...]] = {
    VecMonitor: ("episode_returns", "episode_lengths"),
    VecNormalize: ("returns",),
    VecTransposeImage: (),
    VecExtractDictObs: (),
    VecCheckNan: (),
    ConditionOn: (),
}


def snapshot_env(env: VecEnv) -> dict[str, Any]:
    """The state of an environment and its wrappers as arrays and numbers; None of what offers no ``snapshot``."""
    if not isinstance(env, VecEnvWrapper):
        return {"base": env.snapshot() if _offers(env, "snapshot") else None}  # type: ignore[attr-defined]
    return {"wrapper": type(env).__name__, "state": _wrapper_state(env), "inner": snapshot_env(env.venv)}


def restore_env(env: VecEnv, snapshot: dict[str, Any]) -> bool:
    """Put an environment back into a snapshot.

    :return: whether it now goes on exactly; if not, it has to be reset (its wrappers' statistics are restored)
    :raises ValueError: if the wrappers are others than when the snapshot was taken
    """
    if not isinstance(env, VecEnvWrapper):
        if "base" not in snapshot:
            raise ValueError(f"the environment was wrapped in {snapshot['wrapper']} when it was saved")
        if snapshot["base"] is None or not _offers(env, "restore"):
            return False
        env.restore(snapshot["base"])  # type: ignore[attr-defined]
        return True
    if snapshot.get("wrapper") != type(env).__name__:
        raise ValueError(f"the environment is wrapped in {type(env).__name__}, the saved one was not")
    known = snapshot["state"] is not None
    if known:
        _restore_wrapper(env, snapshot["state"])
    return restore_env(env.venv, snapshot["inner"]) and known


def join_snapshots(snapshots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the snapshot of as many rows as there are snapshots, of one row each.

    :param snapshots: of environments that are wrapped alike
    :raises ValueError: if an environment offers none
    """
    joined = _join(list(snapshots))
    inner = joined
    while "inner" in inner:
        if inner["state"] is None:
            raise ValueError(f"env: a {inner['wrapper']} does not tell its state, so that episodes cannot be forked")
        inner = inner["inner"]
    if inner["base"] is None:
        raise ValueError("env must offer snapshot() and restore(), as those of memenvs do, for episodes to be forked")
    return joined


def _join(nodes: list[Any]) -> Any:
    """Join arrays by their rows; all else, and statistics of all rows, is alike."""
    first = nodes[0]
    if isinstance(first, dict):
        return {
            name: value if name == "statistics" else _join([node[name] for node in nodes])
            for name, value in first.items()
        }
    return np.concatenate(nodes) if isinstance(first, np.ndarray) else first


def _wrapper_state(env: VecEnvWrapper) -> dict[str, Any] | None:
    """Return what a wrapper itself remembers; None if that is not known."""
    if hasattr(type(env), "snapshot"):
        return env.snapshot()
    kinds = [kind for kind in _WRAPPER_STATE if isinstance(env, kind)]
    if not kinds:
        return None
    state: dict[str, Any] = {name: np.array(getattr(env, name)) for kind in kinds for name in _WRAPPER_STATE[kind]}
    if isinstance(env, VecNormalize):
        state["statistics"] = normalization_statistics(env)
    return state


def _restore_wrapper(env: VecEnvWrapper, state: dict[str, Any]) -> None:
    if hasattr(type(env), "restore"):
        env.restore(state)
        return
    for name, value in state.items():
        if name != "statistics":
            setattr(env, name, np.array(value))
    if isinstance(env, VecNormalize):
        set_normalization_statistics(env, state["statistics"])


def normalization_statistics(env: VecNormalize) -> dict[str, Any]:
    """The running means and variances of a VecNormalize, as arrays."""
    return {name: [rms.mean, rms.var, rms.count] for name, rms in _running_statistics(env).items()}


def set_normalization_statistics(env: VecNormalize, statistics: dict[str, Any]) -> None:
    """Put back what :func:`normalization_statistics` gave."""
    for name, rms in _running_statistics(env).items():
        rms.mean, rms.var, rms.count = statistics[name]


def _running_statistics(env: VecNormalize) -> dict[str, Any]:
    """By name; a VecNormalize that leaves the observations alone has none of them."""
    observations = getattr(env, "obs_rms", {}) if env.norm_obs else {}
    named = observations if isinstance(observations, dict) else {"": observations}
    return {"return": env.ret_rms, **{f"observation/{name}": rms for name, rms in named.items()}}


def _offers(env: VecEnv, name: str) -> bool:
    """Return whether the environment under an adapter has a method of that name."""
    return hasattr(env.vector.unwrapped, name) if isinstance(env, GymnasiumVecEnv) else hasattr(env, name)
