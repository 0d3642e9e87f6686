"""Gymnasium's vector environments as Stable-Baselines3's, and what the agents ask of either.

An agent here speaks to an SB3 ``VecEnv``: it resets a finished environment within the step, and leaves the episode's
last observation in ``infos[i]["terminal_observation"]``. Beyond that interface an environment may offer

- ``info["decision"]``: false where the action for the observation just given does not matter,
- ``oracle()``: the best action for every environment, −1 where it does not matter,
- ``random_walk(rng)``: random actions among those that do something,
- ``snapshot()`` and ``restore(snapshot)``: all of its state, for an exact continuation. A ``VecEnvWrapper`` other than
  SB3's offers the same for what it remembers itself.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Dict
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, is_vecenv_wrapped
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from memagents.environments.adapted import TidyEnv, adapted, named, named_space, numbers, tidy_steps
from memagents.environments.conditioning import ConditionOn
from memagents.environments.partial_reset import reset_rows
from memagents.environments.spaces import ObservationCheck, check_observation_space

Env = gym.Env | VectorEnv | VecEnv


class GymnasiumVecEnv(VecEnv):
    """A gymnasium ``VectorEnv`` seen as an SB3 ``VecEnv``.

    Resets happen within the step, whatever the autoreset mode: where it is not SAME_STEP, finished rows are reset by
    ``reset(options={"reset_mask": ...})``, as gymnasium's SyncVectorEnv and AsyncVectorEnv allow. A finished row's info
    holds ``terminal_observation``, ``TimeLimit.truncated``, ``episode`` (return r and length l, as ``Monitor`` gives
    them) and whatever else the environment says of that episode.

    Observations that are a ``Tuple`` become a ``Dict`` of its entries by their places.

    :param env: the vector environment
    :raises ValueError: at the first end of an episode, if the environment can not reset single rows; for observations
        outside their space, of compiled environments only for those of ``reset``
    """

    def __init__(self, env: VectorEnv):
        self.vector = env
        _tidy_steps(env.unwrapped)
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self.same_step = AutoresetMode(mode) == AutoresetMode.SAME_STEP
        self.render_mode = env.render_mode
        space = named_space(env.single_observation_space)
        super().__init__(env.num_envs, space, env.single_action_space)
        self.decision: np.ndarray | None = (
            None  # (num_envs,) for the observation last returned, where the environment says so
        )
        self._check = ObservationCheck(space, (env.num_envs,))
        self._checks_steps = not _has(env, "definition")  # in a compiled step it would be felt
        self._actions: np.ndarray | None = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)

    def reset(self) -> VecEnvObs:
        # Gymnasium derives the seeds of all rows from the first one.
        observations, infos = self.vector.reset(seed=self._seeds[0], options=self._options[0] or None)
        observations = named(observations)
        others = [options for options in self._options if options != self._options[0]]
        for options in [options for place, options in enumerate(others) if options not in others[:place]]:
            rows = np.array([own == options for own in self._options])
            observations, infos = self._reset_rows(rows, copy.deepcopy(observations), options)
        self._check(observations)
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        self.decision = _decisions(infos, self.num_envs)
        self.reset_infos = _rows(infos, self.num_envs)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, terminated, truncated, infos = self.vector.step(self._actions)
        observations = named(observations)
        rewards, dones = numbers(rewards, self.num_envs), terminated | truncated
        self._returns += rewards
        self._lengths += 1
        rows, self.decision = _rows(infos, self.num_envs), _decisions(infos, self.num_envs)
        if dones.any():
            if self.same_step:
                final, begun, ended = infos["final_obs"], rows, _rows(infos.get("final_info", {}), self.num_envs)
            else:
                final, ended = copy.deepcopy(observations), rows
                observations, infos = self._reset_rows(dones, final)
                begun, self.decision = (
                    _rows(infos, self.num_envs),
                    _merged(dones, _decisions(infos, self.num_envs), self.decision),
                )
            for i in np.flatnonzero(dones).tolist():
                self.reset_infos[i] = begun[i]
                rows[i] = {
                    **rows[i],
                    **ended[i],
                    "terminal_observation": self._observation(final, i),
                    "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                    "episode": {"r": float(self._returns[i]), "l": int(self._lengths[i])},
                }
            self._returns[dones] = 0
            self._lengths[dones] = 0
        if self._checks_steps:
            self._check(observations)
        return observations, rewards.astype(np.float32), dones, rows

    def _observation(self, batch: Any, i: int) -> Any:
        """Row i of a batch, a dict of batches or an array of dicts; without the masks that ``final_obs`` may hold."""
        row, space = named(_row(named(batch), i)), self.observation_space
        return {name: row[name] for name in space.spaces} if isinstance(space, Dict) else row

    def _reset_rows(
        self, dones: np.ndarray, before: Any, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes where ``dones`` is true; all other rows must stay as they were ``before``."""
        observations, infos = reset_rows(self.vector, dones, options)
        observations = named(observations)
        pairs = [(before, observations)]
        if isinstance(before, dict):
            pairs = [(before[name], observations[name]) for name in before]
        if not all(np.array_equal(was[~dones], now[~dones], equal_nan=_has_nan(was)) for was, now in pairs):
            raise ValueError(
                f"{_layers(self.vector)} can not reset single rows (it ignores options['reset_mask']); "
                "make it with autoreset_mode SAME_STEP, or by gymnasium.make_vec(..., vectorization_mode='sync')"
            )
        return observations, infos

    def oracle(self) -> np.ndarray:
        """The best action of every environment, (num_envs,); −1 where it does not matter."""
        return np.asarray(self._call("oracle"))

    def random_walk(self, rng: np.random.Generator) -> np.ndarray:
        """Random actions among those that do something, (num_envs, ...)."""
        return np.asarray(self._call("random_walk", rng))

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state, as arrays and numbers."""
        inner = _method(self.vector, "snapshot")()
        decision = None if self.decision is None else self.decision.copy()
        return {
            "vector": inner,
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "decision": decision,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on exactly from a snapshot."""
        _method(self.vector, "restore")(snapshot["vector"])
        self._returns[:] = snapshot["returns"]
        self._lengths[:] = snapshot["lengths"]
        self.decision = snapshot["decision"]
        self._reset_seeds()

    def close(self) -> None:
        self.vector.close()

    def has_attr(self, attr_name: str) -> bool:
        # Asked for what is not there, an AsyncVectorEnv would end its processes.
        if _has(self.vector, attr_name) or not _has(self.vector, "call"):
            return _has(self.vector, attr_name)
        return all(_method(self.vector, "call")("has_wrapper_attr", attr_name))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        if _has(self.vector, attr_name):
            value = _method(self.vector, attr_name)
            return [value for _ in self._get_indices(indices)]
        self._check_has(attr_name)
        values = _method(self.vector, "get_attr")(attr_name)
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute in the environments of some rows, by default of all.

        :raises ValueError: for some rows only of an environment that is a whole
        """
        rows, inner = list(self._get_indices(indices)), self.vector.unwrapped
        if isinstance(inner, SyncVectorEnv):
            for i in rows:
                inner.envs[i].set_wrapper_attr(attr_name, value)
        elif isinstance(inner, AsyncVectorEnv):
            whole = len(rows) == self.num_envs
            values = [value] * self.num_envs if whole else list(inner.get_attr(attr_name))
            for i in rows:
                values[i] = value
            inner.set_attr(attr_name, values)
        else:
            self._check_whole(rows, f"set_attr({attr_name!r})")
            setattr(inner, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method in the environments of some rows, by default of all.

        A method of the whole batch, such as ``oracle`` of memenvs, is called once; the results of the rows are taken.

        :raises AttributeError: if there is no such method
        :raises ValueError: for some rows only where all are asked together
        """
        rows, inner = list(self._get_indices(indices)), self.vector.unwrapped
        if not _has(self.vector, method_name):
            if isinstance(inner, SyncVectorEnv):
                return [inner.envs[i].get_wrapper_attr(method_name)(*args, **kwargs) for i in rows]
            self._check_whole(rows, f"env_method({method_name!r})")
        result = self._call(method_name, *args, **kwargs)
        return [_row(result, i) for i in rows]

    def _check_whole(self, rows: Sequence[int], what: str) -> None:
        """Refuse a part of the rows."""
        if len(rows) != self.num_envs:
            raise ValueError(f"indices: {what} reaches all rows of a {type(self.vector.unwrapped).__name__} or none")

    def _check_has(self, name: str) -> None:
        if not self.has_attr(name):
            raise AttributeError(f"the environment has no {name!r}")

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A method of the whole batch if there is one, else of each environment in it."""
        if _has(self.vector, name):
            return _method(self.vector, name)(*args, **kwargs)
        self._check_has(name)
        return _method(self.vector, "call")(name, *args, **kwargs)

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        # What a Monitor would tell of an episode is in the infos.
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        images: Any = None if self.render_mode is None else self.vector.render()
        return images if images is not None else [None] * self.num_envs


def as_vec_env(env: Env, condition_on: Sequence[str] = ()) -> VecEnv:
    """Any environment as the SB3 ``VecEnv`` that the agents and SB3's own functions take.

    :param env: an SB3 VecEnv (returned as it is), a gymnasium VectorEnv, or a single gymnasium Env (in a ``Monitor``)
    :param condition_on: ``"action"`` and/or ``"reward"``: what of the previous step to add to the observation
    :raises ValueError: if it is none of these, or its observations are of a space that the agents do not know
    """
    if isinstance(env, VectorEnv):
        check_observation_space(named_space(env.single_observation_space))
        vec_env: VecEnv = GymnasiumVecEnv(env)
    elif isinstance(env, gym.Env):
        single = adapted(env)
        check_observation_space(single.observation_space)
        monitored = single if is_wrapped(single, Monitor) else Monitor(single)
        vec_env = DummyVecEnv([lambda: monitored])
    elif isinstance(env, VecEnv):
        check_observation_space(env.observation_space)
        vec_env = env
        if isinstance(env.unwrapped, DummyVecEnv):
            for one in env.unwrapped.envs:
                tidy_steps(one)
    else:
        raise ValueError(f"env must be a gymnasium Env or VectorEnv or an SB3 VecEnv, not {type(env).__name__}")
    if condition_on and not is_vecenv_wrapped(vec_env, ConditionOn):
        vec_env = ConditionOn(vec_env, condition_on)
    return vec_env


def _tidy_steps(env: VectorEnv) -> None:
    """Tidy the steps of the environments in gymnasium's own vector environments."""
    if isinstance(env, SyncVectorEnv):
        for one in env.envs:
            tidy_steps(one)
    elif isinstance(env, AsyncVectorEnv) and env.autoreset_mode == AutoresetMode.SAME_STEP and env.worker is None:
        # What its processes step is out of reach, so they begin anew with environments that are prepared.
        functions = [TidyEnv(function) for function in env.env_fns]
        settings = {name: getattr(env, name) for name in _ASYNC_SETTINGS}
        env.close()
        env.closed = False
        env.__init__(functions, **settings)  # type: ignore[misc]


_ASYNC_SETTINGS = (
    *("shared_memory", "copy", "context", "daemon"),
    *("observation_mode", "autoreset_mode", "max_concurrency"),
)


def _has(env: VectorEnv, name: str) -> bool:
    """Return whether a vector environment has an attribute, as a batch."""
    return hasattr(env, name) or hasattr(env.unwrapped, name)


def _layers(env: VectorEnv) -> str:
    """The names of an environment and its wrappers, the outermost first; without one that is known to be right."""
    names = []
    while isinstance(env, VectorWrapper):
        names.append(type(env).__name__)
        env = env.env
    if not (names and isinstance(env, SyncVectorEnv | AsyncVectorEnv)):
        names.append(type(env).__name__)
    return ", or below it ".join(names)


def _method(env: VectorEnv, name: str) -> Any:
    """An attribute of a vector environment, below its wrappers if need be."""
    return getattr(env, name) if hasattr(env, name) else getattr(env.unwrapped, name)


def _has_nan(values: np.ndarray) -> bool:
    return np.issubdtype(values.dtype, np.inexact)


def _decisions(infos: dict[str, Any], count: int) -> np.ndarray | None:
    """The entry ``decision`` as (num_envs,) booleans, true where its mask says nothing; None without it."""
    if "decision" not in infos:
        return None
    decision = np.asarray(infos["decision"], dtype=bool)
    if decision.size != count:
        raise ValueError(
            f"infos['decision'] must be {count} booleans, one for each environment, not {infos['decision']!r}"
        )
    decision = decision.reshape(count)
    return decision | ~infos["_decision"] if "_decision" in infos else decision


def _merged(mask: np.ndarray, yes: np.ndarray | None, no: np.ndarray | None) -> np.ndarray | None:
    """Row by row ``yes`` where the mask is true, else ``no``; None, where nothing is said, is true."""
    if yes is None and no is None:
        return None
    return np.where(mask, True if yes is None else yes, True if no is None else no)


def _row(values: Any, i: int) -> Any:
    """Row i of a batch: an array, a list, or a dict of batches."""
    return {name: _row(value, i) for name, value in values.items()} if isinstance(values, dict) else values[i]


def _rows(infos: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Gymnasium's dict of batches as a dict per row; an entry counts where its mask ``_name`` is true."""
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, values in infos.items():
        if name.startswith("_") or name in ("final_obs", "final_info", "decision"):
            continue
        for i in np.flatnonzero(infos["_" + name]).tolist() if "_" + name in infos else range(count):
            rows[i][name] = _row(values, i)
    return rows
