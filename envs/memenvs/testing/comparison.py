"""The error of a broken promise, and comparisons that raise it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Dict, Tuple

LONGEST_TEXT = 300  # characters of a value in a message

# One step of a batch: observations, rewards, terminated, truncated, infos.
Step = tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class ConformanceError(AssertionError):
    """A broken promise.

    :param check: the name of the check, as listed at :func:`memenvs.testing.check_environment`
    :param subject: the thing that was looked at
    :param wanted: the value it must have, or a description of it
    :param seen: the value it has
    :param hint: at what may be the cause
    """

    def __init__(self, check: str, subject: str, wanted: object, seen: object, hint: str = ""):
        self.check = check
        said = f"{check}: {subject} must be {shortened(wanted)}, not {shortened(seen)}"
        super().__init__(f"{said}. {hint}" if hint else said)


def shortened(value: object) -> str:
    """A value as a text that fits into a message."""
    text = " ".join(
        np.array2string(value, threshold=20).split() if isinstance(value, np.ndarray) else str(value).split()
    )
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " ..."


def layout(value: object) -> str:
    """Dtype and shape of an array, or the type of what is none."""
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray | np.generic) else type(value).__name__


def leaves(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays in nested dicts and tuples, by their paths."""
    if isinstance(tree, Mapping):
        items = [(f"{prefix}[{key!r}]", value) for key, value in tree.items()]
    elif isinstance(tree, tuple):
        items = [(f"{prefix}[{place}]", value) for place, value in enumerate(tree)]
    else:
        return {prefix: np.asarray(tree)}
    return {path: leaf for name, value in items for path, leaf in leaves(value, name).items()}


def copied(tree: Any) -> dict[str, np.ndarray]:
    """Copies of the arrays in nested dicts and tuples, by their paths."""
    return {path: leaf.copy() for path, leaf in leaves(tree).items()}


def row(step: Step, index: int) -> dict[str, np.ndarray]:
    """Everything that a step reports of one row; the infos that are masked out for it are left out."""
    *arrays, infos = step
    names = ("observation", "reward", "terminated", "truncated")
    reported = {
        name: value
        for name, value in infos.items()
        if not name.startswith("_") and (f"_{name}" not in infos or infos[f"_{name}"][index])
    }
    entries = dict(zip(names, arrays, strict=True)) | {f"infos[{name!r}]": value for name, value in reported.items()}
    return {f"{name}{path}": leaf[index] for name, value in entries.items() for path, leaf in leaves(value).items()}


def want(check: str, subject: str, wanted: object, seen: object) -> None:
    """Raise an error unless two values are equal."""
    if wanted != seen:
        raise ConformanceError(check, subject, wanted, seen)


def want_same(check: str, subject: str, wanted: Any, seen: Any) -> None:
    """Raise an error unless two trees have the same entries with equal arrays; it names the first that differs."""
    want_leaves(check, subject, leaves(wanted), leaves(seen))


def want_leaves(
    check: str,
    subject: str,
    wanted: Mapping[str, np.ndarray],
    seen: Mapping[str, np.ndarray],
    hint: Callable[[], str] = str,
) -> None:
    """Raise an error unless arrays by their paths are equal; it names the first that differs.

    :param hint: called for the hint of an error
    """
    if sorted(wanted) != sorted(seen):
        raise ConformanceError(check, f"the entries of {subject}", sorted(wanted), sorted(seen), hint())
    for path, leaf in wanted.items():
        if not np.array_equal(leaf, seen[path], equal_nan=leaf.dtype.kind == "f"):
            raise ConformanceError(check, f"{subject} {path}".rstrip(), leaf, seen[path], hint())


def want_inside(space: gymnasium.Space, observation: Any, subject: str) -> None:
    """Raise an error unless an observation has the layout of its space and lies in it."""
    if isinstance(space, Dict):
        entries = sorted(observation) if isinstance(observation, Mapping) else layout(observation)
        want("spaces", f"the entries of {subject}", sorted(space.spaces), entries)
        for name, entry in space.spaces.items():
            want_inside(entry, observation[name], f"{subject}[{name!r}]")
        return
    if isinstance(space, Tuple):
        count = len(observation) if isinstance(observation, tuple) else layout(observation)
        want("spaces", f"the number of entries of {subject}, a tuple,", len(space.spaces), count)
        for place, entry in enumerate(space.spaces):
            want_inside(entry, observation[place], f"{subject}[{place}]")
        return
    if space.shape != np.shape(observation):
        raise ConformanceError("spaces", f"the shape of {subject}", space.shape, np.shape(observation))
    if isinstance(observation, np.ndarray) and observation.dtype != space.dtype:
        raise ConformanceError("spaces", f"the dtype of {subject}", space.dtype, observation.dtype)
    if not space.contains(observation):
        raise ConformanceError("spaces", subject, f"in {space}", observation)
