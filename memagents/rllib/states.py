"""A core's state as RLlib carries it: nested dicts of arrays, by the names of the fields."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from memagents.cores.core import State, as_reals, from_reals

NestedState = dict[str, Any]  # of tensors, complex ones as pairs of real numbers (..., 2)


def nested(state: Any) -> NestedState:
    """Return a state as nested dicts.

    :param state: a NamedTuple of tensors and of such
    """
    return {
        name: as_reals(child) if isinstance(child, Tensor) else nested(child)
        for name, child in zip(state._fields, state, strict=True)
    }


def from_nested(like: Any, values: NestedState) -> State:
    """Return the state that :func:`nested` made dicts of.

    :param like: a state of the same structure, of any number of rows
    :param values: nested dicts of tensors (B, ...)
    """
    children: list[Any] = []
    for name, child in zip(like._fields, like, strict=True):
        if isinstance(child, Tensor):
            children.append(from_reals(child, values[name].contiguous()).to(child.dtype))
        else:
            children.append(from_nested(child, values[name]))
    return type(like)(*children)
