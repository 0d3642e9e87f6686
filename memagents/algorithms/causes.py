"""Causes of a loss that is not finite, looked for once there is one: what the environment gave beyond all bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LARGEST = 1e18  # whose square float32 still holds


def visible_cause(given: Mapping[str, tuple[Any, int]], every: int, first_row: int = 0) -> str:
    """Return which number of an environment is not finite or very large, in words; nothing if there is none.

    :param given: by what the numbers are called, such as ``"reward"``: arrays (T, B, ...), and the number of steps
        that were made when the last of the T came
    :param every: steps that are made at a time
    :param first_row: number of the first of the B environments
    """
    floats = {name: (np.asarray(v, np.float64), last) for name, (v, last) in given.items() if _is_float(v)}
    for odd in (_not_finite, _large):
        for name, (values, last) in floats.items():
            places = np.argwhere(odd(values))
            if len(places):
                place = tuple(int(i) for i in places[0])
                step = last - (len(values) - 1 - place[0]) * every
                verb = "is" if values.ndim == 2 else "holds"
                return f"the {name} of environment {first_row + place[1]} at step {step} {verb} {values[place]:g}"
    return ""


def observations_named(observations: Any, last: int) -> dict[str, tuple[Any, int]]:
    """Return observations (T, B, ...), or the entries of a dict of them, as :func:`visible_cause` takes them.

    :param last: number of steps that were made when the last ones came
    """
    if isinstance(observations, dict):
        return {f"observation[{name!r}]": (values, last) for name, values in observations.items()}
    return {"observation": (observations, last)}


def listed(names: Sequence[str]) -> str:
    """Return names as the subject of a sentence, with its verb: ``a is``, ``a and b are``, ``a, b and c are``."""
    *others, last = names
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


def _is_float(values: Any) -> bool:
    return np.asarray(values).dtype.kind == "f"


def _not_finite(values: np.ndarray) -> np.ndarray:
    return ~np.isfinite(values)


def _large(values: np.ndarray) -> np.ndarray:
    return np.abs(values) > LARGEST
