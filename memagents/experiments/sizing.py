"""Memories of equal size: the parameter of a core that makes an agent have about so many weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from memagents.cores import core_class

KNOBS = ("hidden_size", "controller_size", "width", "output_size")
"""Parameters by which a core grows, the first that it has."""
_LARGEST = 1 << 14


def sized(core: str, core_kwargs: dict[str, Any], parameters: int, count: Callable[[dict[str, Any]], int]) -> dict:
    """Return a core's parameters with which an agent has as nearly as can be so many weights.

    :param core: name of the core
    :param core_kwargs: parameters that are kept, but for the one that is chosen
    :param parameters: number of weights asked for
    :param count: weights of an agent whose core has these parameters; a ``ValueError`` says that they do not fit
    :raises ValueError: if the core has no parameter that sizes it, or no value of it makes so many weights or so few
    """
    grow = _growth(core, core_kwargs)

    def weights(units: int) -> int:
        return count(grow(units))

    if weights(1) > parameters:
        raise ValueError(f"parameters: with the core {core!r} an agent has {weights(1):,} weights at least")
    low, high = 1, 2
    while weights(high) < parameters:
        if high >= _LARGEST:
            raise ValueError(f"parameters: with the core {core!r} an agent has {weights(high):,} weights at most")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if weights(middle) <= parameters else (low, middle)
    best = min((low, high), key=lambda units: abs(weights(units) - parameters))
    return grow(best)


def _growth(core: str, core_kwargs: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    """Return how a core's parameters follow from its size, in steps from 1: those of a stack size each core within."""
    allowed = inspect.signature(core_class(core)).parameters
    if "cores_kwargs" in allowed:
        within, own = (core_kwargs.get(name, allowed[name].default) for name in ("cores", "cores_kwargs"))
        listed = isinstance(own, list | tuple)
        several = list(own) if listed else [own or {}] * (len(within) if isinstance(within, list | tuple) else 1)
        names = [within] * len(several) if isinstance(within, str) else within
        if not isinstance(names, list | tuple) or len(names) != len(several):
            raise ValueError(f"cores_kwargs must be parameters for all cores or for each of {within!r}, not {own!r}")
        each = [_growth(name, kwargs) for name, kwargs in zip(names, several, strict=True)]
        if len(each) == 1 and not listed:  # for all of them
            return lambda units: {**core_kwargs, "cores_kwargs": each[0](units)}
        return lambda units: {**core_kwargs, "cores_kwargs": [one(units) for one in each]}
    knob = next((name for name in KNOBS if name in allowed), None)
    if knob is None:
        raise ValueError(f"parameters: the core {core!r} has none of {', '.join(KNOBS)} to be sized by")
    heads = core_kwargs.get("heads", getattr(allowed.get("heads"), "default", 1))  # which must divide a width
    step = heads if knob in ("width", "hidden_size") and isinstance(heads, int) else 1
    return lambda units: {**core_kwargs, knob: units * step}
