"""Arguments checked, with one clear error that names the argument and what it may be."""

from __future__ import annotations

import math
import numbers
import sys
import warnings
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def positive_int(name: str, value: int) -> int:
    """``value`` if it is a positive integer.

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return int(value)


def in_range(name: str, value: float, low: float, high: float = math.inf) -> float:
    """``value`` if it is a number in [low, high].

    :raises ValueError: otherwise
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= value <= high:
        raise ValueError(f"{name} must be a number in [{low}, {high}], not {value!r}")
    return float(value)


def one_of(name: str, value: T, allowed: Sequence[T]) -> T:
    """``value`` if it is among those allowed.

    :raises ValueError: otherwise
    """
    if not any(type(value) is type(choice) and value == choice for choice in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def warn_user(message: str, kind: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of this library, and of those that it is called through, that led here.

    What is shown is the message alone, without that line.

    :param kind: category of the warning
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _THROUGH:
        frame, level = frame.f_back, level + 1
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        warnings.warn(message, kind, stacklevel=level)
    finally:
        warnings.formatwarning = before


_THROUGH = ("memagents", "stable_baselines3", "gymnasium")
