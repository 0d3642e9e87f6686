"""Checks of parameters: each returns the value, or raises a ``ValueError`` naming the argument and what it may be."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

MOST = 2**31 - 1  # of what records keep in 32 bits


def is_integer(value: object) -> TypeGuard[int]:
    """Return whether a value is an integer, which a boolean is not meant to be."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def positive(name: str, value: object) -> int:
    """An integer of at least 1 that fits into 32 bits."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
    if value > MOST:
        raise ValueError(f"{name} must be at most {MOST}, not {value}")
    return int(value)


def within(name: str, value: object, least: int, most: int) -> int:
    """An integer of the range."""
    if not is_integer(value) or not least <= value <= most:
        raise ValueError(f"{name} must be an integer from {least} to {most}, not {value!r}")
    return int(value)


def odd(name: str, value: object, least: int, most: int) -> int:
    """An odd integer of the range."""
    if not is_integer(value) or not least <= value <= most or value % 2 == 0:
        raise ValueError(f"{name} must be an odd integer from {least} to {most}, not {value!r}")
    return int(value)


def bounds(name: str, value: object, least: int, most: int) -> tuple[int, int]:
    """A range, given as ``(low, high)`` or as one integer."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(map(is_integer, pair)):
        raise ValueError(f"{name} must be an integer or a pair (low, high) of integers, not {value!r}")
    low, high = int(pair[0]), int(pair[1])
    if not least <= low <= high <= most:
        raise ValueError(f"{name} must be within {least} to {most}, low before high, not {value!r}")
    return low, high


def flag(name: str, value: object) -> bool:
    """A boolean."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def number(name: str, value: object, least: float, most: float) -> float:
    """A number of a range, both ends included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}, not {value!r}")
    return float(value)
