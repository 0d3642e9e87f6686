"""Guidance that environments give beside observations: where actions matter, and which is the best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from memagents.environments.spaces import integer_range


def decision_mask(env: VecEnv, infos: Sequence[dict] | None, dones: np.ndarray | None) -> np.ndarray:
    """Return where the action for the observation just returned matters.

    :param env: the environment, at any depth of wrappers
    :param infos: what ``step`` gave, or None after ``reset``
    :param dones: what ``step`` gave, (num_envs,); a finished row's observation belongs to the next episode
    :return: (num_envs,) booleans, true where nothing is said
    """
    decision = getattr(env, "decision", None)
    if decision is not None:
        return np.asarray(decision, dtype=bool)
    rows = env.unwrapped.reset_infos  # a wrapper has a list of its own, which stays empty
    if infos is not None and dones is not None:
        rows = [reset if done else info for reset, info, done in zip(rows, infos, dones, strict=True)]
    return np.array([_is_decision(row.get("decision", True)) for row in rows])


def _is_decision(value: Any) -> bool:
    """:raises ValueError: for anything but one boolean, or a number in its place"""
    if isinstance(value, bool):
        return value
    flag = np.asarray(value)
    if flag.size != 1 or flag.dtype.kind not in "biuf":
        raise ValueError(f"info['decision'] must be True or False, not {value!r}")
    return bool(flag)


def measure(info: dict[str, Any], name: str) -> float | None:
    """Return an environment's own measure of an episode; None where it gives none.

    :param info: of the episode's last step
    :param name: of the measure; ``"success"`` is also found as ``"is_success"``, as SB3 has it
    :raises ValueError: for anything but a number
    """
    name = "is_success" if name == "success" and "is_success" in info else name
    value = info.get(name)
    if value is None:
        return None
    number = np.asarray(value)
    if number.size != 1 or number.dtype.kind not in "biuf":
        raise ValueError(f"info[{name!r}] must be a number, or a boolean, at the end of an episode, not {value!r}")
    return float(number.reshape(()))


def has_oracle(env: VecEnv) -> bool:
    """Return whether an environment knows its best actions; none of its rows need have been reset."""
    if not env.has_attr("oracle"):
        return False
    if not env.has_attr("definition"):
        return True
    from memenvs import catalogue  # whose environments all have the method, and some nothing behind it
    from memenvs.batched import Definition

    own = env.get_attr("definition", [0])[0]
    return not isinstance(own, Definition) or catalogue.has_oracle(own)


def oracle_actions(env: VecEnv) -> np.ndarray:
    """Return the best action of every environment, (num_envs, ...) integers; −1 (all of it) where it does not matter.

    Where actions begin below 0, −1 is one of them, and only :func:`decision_mask` says where none matters.

    :raises ValueError: if the environment has no oracle
    """
    try:
        oracle = getattr(env, "oracle", None)
        return np.asarray(oracle() if oracle is not None else env.env_method("oracle"), dtype=np.int64)
    except AttributeError as error:
        raise ValueError("the environment has no oracle: it must offer a method oracle()") from error


def choices(space: spaces.Space) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest number of each entry of a discrete action, and how many numbers there are."""
    bounds = integer_range(space)
    assert bounds is not None  # no Box
    low, high = (np.asarray(bound, np.int64) for bound in bounds)
    return low, np.asarray(high - low + 1)


def oracle_labels(env: VecEnv, decisions: np.ndarray) -> np.ndarray:
    """Return the oracle's actions counted from 0, (num_envs, ...) integers; −1 (all of it) where none matters.

    :param env: whose actions are Discrete, MultiDiscrete or MultiBinary
    :param decisions: (num_envs,) booleans of :func:`decision_mask`
    :raises ValueError: if the environment has no oracle, or it names an action that there is not
    """
    actions, space = oracle_actions(env), env.action_space
    start, count = choices(space)
    if actions.shape[1:] != (space.shape or ()):
        raise ValueError(f"the oracle's actions must have the shape {space.shape or ()} each, not {actions.shape[1:]}")
    matters = decisions if start.min() < 0 else (actions.reshape(len(actions), -1) != -1).any(1)
    matters = np.broadcast_to(matters.reshape(-1, *(1,) * (actions.ndim - 1)), actions.shape)
    labels = np.where(matters, actions - start, -1)
    wrong = matters & ((labels < 0) | (labels >= count))
    if wrong.any():
        action = actions[np.nonzero(wrong)[0][0]].tolist()
        raise ValueError(f"the oracle names the action {action}, which {space} does not have")
    return labels
