"""Gymnasium spaces that the agents know, as plain JSON, so that a saved policy needs no pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

ArrayObservations = np.ndarray | dict[str, np.ndarray]  # of B environments, (B, ...) each


def check_observation_space(space: spaces.Space) -> None:
    """:raises ValueError: if it is not Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these, not nested"""
    entries = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    for name, entry in entries.items():
        if not isinstance(entry, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            raise ValueError(
                "observations must be Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these, "
                f"not {type(entry).__name__}{f' (the entry {name!r})' if name else ''}{_HINTS.get(type(entry), '')}"
            )


_HINTS = {
    spaces.Dict: "; gymnasium.wrappers.FlattenObservation makes one array of nested ones",
    spaces.Text: "; gymnasium.wrappers.FilterObservation leaves entries out",
}


class ObservationCheck:
    """Check of observations against their space: entries, shapes, and the numbers of discrete spaces.

    Those of a ``Box`` may lie outside its bounds, which many an environment gives only roughly.

    :param space: of one observation, as :func:`check_observation_space` allows
    :param rows: shape before that of an observation, as ``(B,)`` for a batch
    """

    def __init__(self, space: spaces.Space, rows: tuple[int, ...] = ()):
        self._rows, self._is_dict = rows, isinstance(space, spaces.Dict)
        self._entries = dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}
        self._shapes = {name: (*rows, *(entry.shape or ())) for name, entry in self._entries.items()}
        self._bounds = {
            name: bounds for name, entry in self._entries.items() if (bounds := integer_range(entry)) is not None
        }

    def __call__(self, observations: Any) -> None:
        """:raises ValueError: for observations outside the space; it names the entry, what it must be and what it is"""
        if self._is_dict:
            self._check_names(observations)
        for name, shape in self._shapes.items():
            values = observations[name] if self._is_dict else observations
            found = _shape(values)
            # One number by itself is taken for an array of one, and the other way round.
            if found != shape and not (isinstance(found, tuple) and math.prod(found) == math.prod(shape) == 1):
                raise self._error(name, f"have the shape {shape} of {self._entries[name]}", found)
            if name in self._bounds:
                self._check_codes(name, np.reshape(values, shape))

    def _check_names(self, observations: Any) -> None:
        given = list(observations) if isinstance(observations, Mapping) else type(observations).__name__
        if isinstance(given, str) or not set(self._entries) <= set(given):
            raise self._error("", f"be a dict with {', '.join(self._entries)}", given)

    def _check_codes(self, name: str, values: np.ndarray) -> None:
        low, high = self._bounds[name]
        if values.dtype.kind not in "biuf":
            raise self._error(name, f"be in {self._entries[name]}", repr(values.tolist()))
        wrong = ~((values >= low) & (values <= high))
        if wrong.any():
            row = tuple(np.argwhere(wrong)[0][: len(self._rows)])
            raise self._error(name, f"be in {self._entries[name]}", values[row].tolist())

    @staticmethod
    def _error(name: str, allowed: str, found: object) -> ValueError:
        return ValueError(f"{f'observation[{name!r}]' if name else 'observation'} must {allowed}, not {found}")


def _shape(values: Any) -> tuple[int, ...] | str:
    """The shape of an array, or the type of what is none."""
    try:
        return type(values).__name__ if isinstance(values, Mapping) else np.shape(values)
    except ValueError:
        return type(values).__name__


def integer_range(space: spaces.Space) -> tuple[Any, Any] | None:
    """The lowest and the highest number of each entry of a discrete space; None of a Box."""
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return (0, 1) if isinstance(space, spaces.MultiBinary) else None


def space_to_json(space: spaces.Space) -> dict[str, Any]:
    """A space as a dict of plain values.

    :raises ValueError: for a space that the agents do not support
    """
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {name: space_to_json(entry) for name, entry in space.spaces.items()}}
    common = {"type": type(space).__name__, "dtype": _type_name(space.dtype)}
    if isinstance(space, spaces.Box):
        return {**common, "shape": list(space.shape), "low": _bound(space.low), "high": _bound(space.high)}
    if isinstance(space, spaces.Discrete):
        return {**common, "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {**common, "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {**common, "n": space.n if isinstance(space.n, int) else list(space.shape)}
    raise ValueError(
        f"a space must be Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these, not {type(space).__name__}"
    )


def space_from_json(data: dict[str, Any]) -> spaces.Space:
    """The inverse of :func:`space_to_json`.

    :raises ValueError: if the data is of no such space
    """
    try:
        return _space(data)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, OverflowError, MemoryError) as error:
        raise ValueError(f"not a description of a space: {data!r}") from error


def _space(data: dict[str, Any]) -> spaces.Space:
    kind = data["type"]
    if kind == "Dict":
        # Pairs: Gymnasium sorts the entries of a mapping, and weights belong to entries in their order.
        return spaces.Dict([(name, _space(entry)) for name, entry in data["spaces"].items()])
    dtype = np.dtype(data["dtype"])
    if kind == "Box":
        shape = tuple(data["shape"])
        return spaces.Box(_array(data["low"], shape, dtype), _array(data["high"], shape, dtype), shape, dtype)
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"], dtype=dtype.type)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(data["nvec"], dtype=dtype.type, start=data["start"])
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["n"])
    raise ValueError(f"there is no space {kind!r}")


def _type_name(dtype: Any) -> str:
    """The name of a type, or where its bytes are in the other order the code, which says so."""
    return np.dtype(dtype).name if np.dtype(dtype).isnative else np.dtype(dtype).str


def _bound(values: np.ndarray) -> Any:
    """One number where all are equal, else the nested list; infinities as words, since JSON has none."""
    first = values.reshape(-1)[0] if values.size else values.dtype.type(0)
    words = np.array(str(first)) if (values == first).all() else values.astype(str)
    return words.tolist()


def _array(words: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    numbers = np.array(words) == "True" if dtype.kind == "b" else np.array(words).astype(dtype)
    return np.broadcast_to(numbers, shape).copy()
