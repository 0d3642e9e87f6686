"""Checks of a training state that was read from a file, before it is used: torch itself looks at little of it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import Tensor
from torch.optim import Optimizer

from memagents.checks import most_threads, positive_int

_COUNTS = ("num_timesteps", "_total_timesteps", "_episode_num", "_n_updates", "iteration", "lesson")
_FACTORS = ("row_var", "col_var")  # Adafactor's, which broadcast to a parameter
_NUMBERS = ("step", "mu_product", "mu", "eta")  # one for a whole parameter: steps taken, and NAdam's and ASGD's


def check_optimizer(optimizer: Optimizer, saved: Any) -> None:
    """Hold the state of an optimiser against its parameters.

    :param saved: what ``state_dict()`` is said to have returned
    :raises ValueError: for an entry that is missing, unknown, of another shape or dtype, or not finite
    """
    own = optimizer.state_dict()["param_groups"]
    groups, state = _entry(saved, "param_groups", list), _entry(saved, "state", Mapping)
    if len(groups) != len(own):
        raise ValueError(f"the optimiser's state has {len(groups)} groups of parameters, not {len(own)}")
    for group, ours in zip(groups, own, strict=True):
        if not isinstance(group, Mapping) or group.get("params") != ours["params"]:
            raise ValueError("the optimiser's state is of other parameters")
        for name, value in group.items():
            if name != "params" and not _alike(value, ours.get(name)):
                raise ValueError(f"the optimiser's {name} is {value!r}, where {ours.get(name)!r} is usual")
    parameters = dict(
        zip(
            (number for group in own for number in group["params"]),
            (parameter for group in optimizer.param_groups for parameter in group["params"]),
            strict=True,
        )
    )
    for number, entries in state.items():
        if number not in parameters or not isinstance(entries, Mapping):
            raise ValueError(f"the optimiser's state is of a parameter {number!r} that there is not")
        for name, value in entries.items() if type(optimizer).__module__.startswith("torch.optim") else ():
            _check_entry(f"the optimiser's {name} of parameter {number}", name, value, parameters[number])


def _check_entry(what: str, name: str, value: Any, parameter: Tensor) -> None:
    """:raises ValueError: for an entry that the parameter's optimiser could not have made"""
    if value is None or (_is_number(value) and math.isfinite(value)):
        return
    if not isinstance(value, Tensor):
        shown = repr(value) if isinstance(value, str | float) else f"a {type(value).__name__}"
        raise ValueError(f"{what} is {shown}, neither a tensor nor a finite number")
    if name in _NUMBERS:
        fits = value.numel() == 1
    elif name in _FACTORS:
        fits = value.dim() == parameter.dim() and all(
            size in (1, own) for size, own in zip(value.shape, parameter.shape, strict=True)
        )
    else:
        fits = value.shape == parameter.shape
    if not fits:
        raise ValueError(f"{what} is {tuple(value.shape)}, the parameter {tuple(parameter.shape)}")
    if value.dtype != parameter.dtype and not (name in _NUMBERS and value.is_floating_point()):
        raise ValueError(f"{what} is of {value.dtype}, the parameter of {parameter.dtype}")
    if not value.isfinite().all():
        raise ValueError(f"{what} is not finite")


def check_counters(counters: Any) -> None:
    """:raises ValueError: for a counter that counts nothing"""
    for name in _COUNTS:
        value = _entry(counters, name, int)
        if isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} must be a count, not {value!r}")
    progress = _entry(counters, "_current_progress_remaining", float)
    if not math.isfinite(progress):
        raise ValueError(f"_current_progress_remaining must be finite, not {progress!r}")


def check_past_episodes(state: Mapping[str, Any]) -> None:
    """:raises ValueError: for returns, lengths, successes or accuracies of past episodes that are no numbers"""
    for episode in _entry(state, "episodes", list):
        if not isinstance(episode, Mapping) or not all(map(_is_one_number, map(episode.get, "rl"))):
            raise ValueError(f"episodes must hold a return r and a length l each, not {episode!r}")
    for name in ("successes", "accuracies"):
        for value in _entry(state, name, list):
            if not _is_number(value):
                raise ValueError(f"{name} must be numbers, not {value!r}")


def check_present_episodes(state: Mapping[str, Any], space: spaces.Space, rows: int) -> None:
    """Hold the last observations of B environments, and what belongs to them, against the space.

    :raises ValueError: for an array that is missing, of another shape or dtype
    """
    check_observations(state.get("last_obs"), space, rows, "last_obs")
    for name in ("last_episode_starts", "decisions"):
        value = state.get(name)
        if name == "decisions" and value is None:
            continue
        if not isinstance(value, np.ndarray) or value.shape != (rows,) or value.dtype != bool:
            raise ValueError(f"{name} must be {rows} booleans")


def check_observations(value: Any, space: spaces.Space, rows: int, name: str) -> None:
    """:raises ValueError: if these are no observations (B, ...) of a space, or of its entries"""
    if isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping) or value.keys() != space.spaces.keys():
            raise ValueError(f"{name} must have the entries {', '.join(space.spaces)}")
        for key, part in space.spaces.items():
            check_observations(value[key], part, rows, f"{name}[{key!r}]")
        return
    shape = (rows, *(space.shape or ()))
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers of shape {shape}")


def threads_here(threads: Any) -> int:
    """Return a saved number of threads, or as many as this machine may have if it is more.

    :raises ValueError: if it is no positive integer
    """
    return min(positive_int("threads", threads), most_threads())


def _entry(tree: Any, name: str, kind: type) -> Any:
    """:raises ValueError: if a tree lacks an entry, or it is of another kind"""
    value = tree.get(name) if isinstance(tree, Mapping) else None
    if not isinstance(value, kind):
        raise ValueError(f"it lacks {name!r}, or that is no {kind.__name__}")
    return value


def _alike(value: Any, usual: Any) -> bool:
    """Return whether a setting of an optimiser is of the same kind as the usual one, and finite."""
    if isinstance(usual, tuple | list):
        return isinstance(value, tuple | list) and len(value) == len(usual) and all(map(_alike, value, usual))
    if isinstance(usual, Tensor):
        return isinstance(value, Tensor) and value.shape == usual.shape and bool(value.isfinite().all())
    if _is_number(usual) and _is_number(value):
        return math.isfinite(value)
    if usual is None:  # of a newer torch, or a scheduler's
        return value is None or isinstance(value, bool | str) or (_is_number(value) and math.isfinite(value))
    return value is None or type(value) is type(usual)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | np.bool_)


def _is_one_number(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf")
