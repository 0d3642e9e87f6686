"""Gymnasium's vector environments as Stable-Baselines3's, and what the agents ask of either.

An agent here speaks to an SB3 ``VecEnv``: it resets a finished environment within the step, and leaves the episode's
last observation in ``infos[i]["terminal_observation"]``. Beyond that interface an environment may offer

- ``info["decision"]``: false where the action for the observation just given does not matter,
- ``oracle()``: the best action for every environment, −1 where it does not matter,
- ``random_walk(rng)``: random actions among those that do something,
- ``snapshot()`` and ``restore(snapshot)``: all of its state, for an exact continuation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecMonitor, VecNormalize

from memagents.conditioning import ConditionOn


class GymnasiumVecEnv(VecEnv):
    """A gymnasium ``VectorEnv`` seen as an SB3 ``VecEnv``.

    Resets happen within the step, whatever the autoreset mode: where it is not SAME_STEP, finished rows are reset by
    ``reset(options={"reset_mask": ...})``. A finished row's info holds ``terminal_observation``,
    ``TimeLimit.truncated``, ``episode`` (return r and length l, as ``Monitor`` gives them) and whatever else the
    environment says of that episode.

    :param env: the vector environment
    """

    def __init__(self, env: VectorEnv):
        self.vector = env
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.same_step = AutoresetMode(mode) == AutoresetMode.SAME_STEP
        self.render_mode = env.render_mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.decision: np.ndarray | None = None  # (num_envs,) for the observation last returned, where it is told
        self._actions: np.ndarray | None = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)

    def reset(self) -> Any:
        # Gymnasium derives the seeds of all rows from the first one.
        observations, infos = self.vector.reset(seed=self._seeds[0], options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        self.decision = infos.get("decision")
        self.reset_infos = _rows(infos, self.num_envs)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, terminated, truncated, infos = self.vector.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        rows = _rows(infos, self.num_envs)
        if dones.any():
            if self.same_step:
                final = infos["final_obs"]
                for row, ended in zip(rows, _rows(infos.get("final_info", {}), self.num_envs), strict=True):
                    row.update(ended)
            else:
                final = copy.deepcopy(observations)
                observations, infos = self.vector.reset(options={"reset_mask": dones})
            for i in np.flatnonzero(dones):
                rows[i]["terminal_observation"] = _row(final, i)
                rows[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
                rows[i]["episode"] = {"r": float(self._returns[i]), "l": int(self._lengths[i])}
            self._returns[dones] = 0
            self._lengths[dones] = 0
        self.decision = infos.get("decision")
        return observations, rewards.astype(np.float32), dones, rows

    def oracle(self) -> np.ndarray:
        """The best action of every environment, (num_envs,); −1 where it does not matter."""
        return _method(self.vector, "oracle")()

    def random_walk(self, rng: np.random.Generator) -> np.ndarray:
        """Random actions among those that do something, (num_envs, ...)."""
        return _method(self.vector, "random_walk")(rng)

    def snapshot(self) -> dict[str, Any]:
        """All of the state, as arrays and numbers."""
        inner = _method(self.vector, "snapshot")()
        return {"vector": inner, "returns": self._returns, "lengths": self._lengths, "decision": self.decision}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on exactly from a snapshot."""
        _method(self.vector, "restore")(snapshot["vector"])
        self._returns[:] = snapshot["returns"]
        self._lengths[:] = snapshot["lengths"]
        self.decision = snapshot["decision"]

    def close(self) -> None:
        self.vector.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        value = _method(self.vector, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self.vector.unwrapped, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        result = _method(self.vector, method_name)(*args, **kwargs)
        return [_row(result, i) for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        # What a Monitor would tell of an episode is in the infos.
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        images = self.vector.render()
        return images if images is not None else [None] * self.num_envs


def as_vec_env(env: gym.Env | VectorEnv | VecEnv, condition_on: Sequence[str] = ()) -> VecEnv:
    """Any environment as the SB3 ``VecEnv`` that the agents and SB3's own functions take.

    :param env: an SB3 VecEnv (returned as it is), a gymnasium VectorEnv, or a single gymnasium Env (in a ``Monitor``)
    :param condition_on: ``"action"`` and/or ``"reward"``: what of the previous step to add to the observation
    :raises ValueError: if it is none of these
    """
    if isinstance(env, VectorEnv):
        env = GymnasiumVecEnv(env)
    elif isinstance(env, gym.Env):
        monitored = env if is_wrapped(env, Monitor) else Monitor(env)
        env = DummyVecEnv([lambda: monitored])
    if not isinstance(env, VecEnv):
        raise ValueError(f"env must be a gymnasium Env or VectorEnv or an SB3 VecEnv, not {type(env).__name__}")
    if condition_on and not has_wrapper(env, ConditionOn):
        env = ConditionOn(env, condition_on)
    return env


def has_wrapper(env: VecEnv, wrapper: type) -> bool:
    """Whether a VecEnv is wrapped by ``wrapper``, at any depth."""
    while env is not None:
        if isinstance(env, wrapper):
            return True
        env = getattr(env, "venv", None)
    return False


def decision_mask(env: VecEnv, infos: Sequence[dict] | None, dones: np.ndarray | None) -> np.ndarray:
    """Where the action for the observation just returned matters.

    :param env: the environment, at any depth of wrappers
    :param infos: what ``step`` gave, or None after ``reset``
    :param dones: what ``step`` gave, (num_envs,); a finished row's observation belongs to the next episode
    :return: (num_envs,) booleans, true where nothing is said
    """
    told = getattr(env, "decision", None)
    if told is not None:
        return np.asarray(told, dtype=bool)
    rows = env.reset_infos
    if infos is not None and dones is not None:
        rows = [reset if done else info for reset, info, done in zip(rows, infos, dones, strict=True)]
    return np.array([bool(row.get("decision", True)) for row in rows])


def oracle_actions(env: VecEnv) -> np.ndarray:
    """The best action of every environment, (num_envs,) integers; −1 where it does not matter.

    :raises ValueError: if the environment has no oracle
    """
    try:
        oracle = getattr(env, "oracle", None)
        return np.asarray(oracle() if oracle is not None else env.env_method("oracle"), dtype=np.int64)
    except AttributeError as error:
        raise ValueError("the environment has no oracle: it must offer a method oracle()") from error


def _method(env: VectorEnv, name: str) -> Any:
    """An attribute of a vector environment, below its wrappers if need be."""
    return getattr(env, name) if hasattr(env, name) else getattr(env.unwrapped, name)


def _row(values: Any, i: int) -> Any:
    """Row i of a batch: an array, a list, or a dict of batches."""
    return {name: _row(value, i) for name, value in values.items()} if isinstance(values, dict) else values[i]


def _rows(infos: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Gymnasium's dict of batches as a dict per row; an entry counts where its mask ``_name`` is true."""
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, values in infos.items():
        if name.startswith("_") or name in ("final_obs", "final_info", "decision"):
            continue
        for i in np.flatnonzero(infos["_" + name]) if "_" + name in infos else range(count):
            rows[i][name] = _row(values, i)
    return rows


# --- snapshots ------------------------------------------------------------------------------------------------------

# What of a wrapper of SB3's goes on from step to step, beside what it can compute anew.
_WRAPPER_STATE = {
    VecMonitor: ("episode_returns", "episode_lengths"),
    VecNormalize: ("returns",),
}


def snapshot_env(env: VecEnv) -> dict[str, Any]:
    """The state of an environment and its wrappers as arrays and numbers.

    :return: ``{"base": None, ...}`` where the environment itself offers no ``snapshot``
    """
    if not isinstance(env, VecEnvWrapper):
        return {"base": env.snapshot() if _offers(env, "snapshot") else None}
    state = {
        name: getattr(env, name) for kind, names in _WRAPPER_STATE.items() if isinstance(env, kind) for name in names
    }
    if isinstance(env, VecNormalize):
        state["statistics"] = normalization_statistics(env)
    return {"wrapper": type(env).__name__, "state": state, "inner": snapshot_env(env.venv)}


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
        env.restore(snapshot["base"])
        return True
    if snapshot.get("wrapper") != type(env).__name__:
        raise ValueError(f"the environment is wrapped in {type(env).__name__}, the saved one was not")
    state = dict(snapshot["state"])
    statistics = state.pop("statistics", None)
    for name, value in state.items():
        setattr(env, name, value)
    if statistics is not None:
        set_normalization_statistics(env, statistics)
    return restore_env(env.venv, snapshot["inner"])


def normalization_statistics(env: VecNormalize) -> dict[str, Any]:
    """The running means and variances of a VecNormalize, as arrays."""
    observations = env.obs_rms if isinstance(env.obs_rms, dict) else {"": env.obs_rms}
    named = {"return": env.ret_rms, **{f"observation/{name}": rms for name, rms in observations.items()}}
    return {name: [rms.mean, rms.var, rms.count] for name, rms in named.items()}


def set_normalization_statistics(env: VecNormalize, statistics: dict[str, Any]) -> None:
    """Put back what :func:`normalization_statistics` gave."""
    for name, (mean, variance, count) in statistics.items():
        if name == "return":
            rms = env.ret_rms
        else:
            rms = env.obs_rms[name.removeprefix("observation/")] if isinstance(env.obs_rms, dict) else env.obs_rms
        rms.mean, rms.var, rms.count = mean, variance, count


def _offers(env: VecEnv, name: str) -> bool:
    """Whether the environment under an adapter has a method of that name."""
    return hasattr(env.vector.unwrapped, name) if isinstance(env, GymnasiumVecEnv) else hasattr(env, name)
