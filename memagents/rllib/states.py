"""A core's state as RLlib carries it: nested dicts of arrays, by the names of the fields."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memagents.cores.core import State

NestedState = dict[str, Any]  # of tensors, complex ones as pairs of real numbers (..., 2)


def nested(state: Any) -> NestedState:
    """Return a state as nested dicts.

    :param state: a NamedTuple of tensors and of such
    """
    return {name: _leaf_or_nested(child) for name, child in zip(state._fields, state, strict=True)}


def _leaf_or_nested(child: Any) -> Any:
    if not isinstance(child, Tensor):
        return nested(child)
    return torch.view_as_real(child) if child.is_complex() else child


def from_nested(like: Any, values: NestedState) -> State:
    """Return the state that :func:`nested` made dicts of.

    :param like: a state of the same structure, of any number of rows
    :param values: nested dicts of tensors (B, ...)
    """
    children = []
    for name, child in zip(like._fields, like, strict=True):
        if isinstance(child, Tensor):
            value = values[name]
            children.append(torch.view_as_complex(value.contiguous()) if child.is_complex() else value.to(child.dtype))
        else:
            children.append(from_nested(child, values[name]))
    return type(like)(*children)
