"""The previous action and reward as part of the observation, zero where an episode begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

CONDITIONS = ("action", "reward")
CONDITION_ENTRIES = PREVIOUS_ACTION, PREVIOUS_REWARD = ("previous_action", "previous_reward")  # of the observations


class ConditionOn(VecEnvWrapper):
    """Adds ``previous_action`` (one-hot where it is discrete) and ``previous_reward`` to every observation.

    A Dict observation gains the entries; any other becomes the entry ``observation`` of a Dict.

    :param venv: the environment
    :param condition_on: ``"action"``, ``"reward"`` or both
    :raises ValueError: for another word, an action space that is not supported, or an observation that has such entries
    """

    def __init__(self, venv: VecEnv, condition_on: Sequence[str]):
        self.condition_on = check_conditions(condition_on)
        self.added: dict[str, spaces.Box] = {}
        if "action" in self.condition_on:
            self.added[PREVIOUS_ACTION] = _action_code_space(venv.action_space)
        if "reward" in self.condition_on:
            self.added[PREVIOUS_REWARD] = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        base = venv.observation_space
        entries = dict(base.spaces) if isinstance(base, spaces.Dict) else {"observation": base}
        if entries.keys() & self.added.keys():
            raise ValueError(f"condition_on: the observations already have {', '.join(entries.keys() & self.added)}")
        super().__init__(venv, observation_space=spaces.Dict({**entries, **self.added}))
        self._actions = np.zeros(0)

    def reset(self) -> dict[str, np.ndarray]:
        return self._extend(self.venv.reset(), None, None)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = np.asarray(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        codes = _encode_actions(self._actions, self.action_space)
        extended = self._extend(observations, codes, rewards)
        for i in np.flatnonzero(dones):
            final = infos[i]["terminal_observation"]
            final = dict(final) if isinstance(final, dict) else {"observation": final}
            for name in self.added:
                final[name] = extended[name][i].copy()
                extended[name][i] = 0
            infos[i]["terminal_observation"] = final
        return extended, rewards, dones, infos

    def _extend(
        self, observations: VecEnvObs, codes: np.ndarray | None, rewards: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        assert not isinstance(observations, tuple)  # which no agent here takes
        extended = dict(observations) if isinstance(observations, dict) else {"observation": observations}
        for name, space in self.added.items():
            extended[name] = np.zeros((self.num_envs, *space.shape), space.dtype)
            values = codes if name == PREVIOUS_ACTION else rewards
            if values is not None:
                extended[name][:] = values.reshape(extended[name].shape)
        return extended


def check_conditions(condition_on: Sequence[str]) -> tuple[str, ...]:
    """The conditions in their fixed order, without repetition.

    :raises ValueError: naming what is allowed
    """
    words = isinstance(condition_on, Iterable) and not isinstance(condition_on, str)
    if not words or any(word not in CONDITIONS for word in condition_on):
        raise ValueError(f"condition_on must be a list of words among {', '.join(CONDITIONS)}, not {condition_on!r}")
    return tuple(c for c in CONDITIONS if c in condition_on)


def _action_code_space(space: spaces.Space) -> spaces.Box:
    """Return the space of an action's code: one-hot (concatenated) if it is discrete, else the action itself."""
    if isinstance(space, spaces.Discrete):
        return spaces.Box(0, 1, (int(space.n),), np.uint8)
    if isinstance(space, spaces.MultiDiscrete):
        return spaces.Box(0, 1, (int(np.sum(space.nvec)),), np.uint8)
    if isinstance(space, spaces.MultiBinary):
        return spaces.Box(0, 1, (int(np.prod(space.shape)),), np.uint8)
    if isinstance(space, spaces.Box):
        return spaces.Box(-np.inf, np.inf, (int(np.prod(space.shape)),), np.float32)
    raise ValueError(f"actions of {type(space).__name__} cannot be conditioned on")


def _encode_actions(actions: np.ndarray, space: spaces.Space) -> np.ndarray:
    """A batch of actions (B, ...) as codes (B, C)."""
    if isinstance(space, spaces.Discrete):
        return np.eye(int(space.n), dtype=np.uint8)[actions.reshape(-1) - int(space.start)]
    if isinstance(space, spaces.MultiDiscrete):
        columns = actions.reshape(len(actions), -1) - space.start.reshape(-1)
        return np.concatenate(
            [np.eye(int(n), dtype=np.uint8)[columns[:, i]] for i, n in enumerate(space.nvec.reshape(-1))], axis=1
        )
    return actions.reshape(len(actions), -1)
