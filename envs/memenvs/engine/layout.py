"""Checks of a definition that need no compiling: its records, its observation space, its metrics and its functions."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Dict, Tuple
from numba.core.dispatcher import Dispatcher

from memenvs.compilation import is_disabled
from memenvs.engine.defaults import no_metrics, no_oracle
from memenvs.engine.errors import DefinitionError

Definition = Any  # that of memenvs.engine.definition, which imports this file

# The compiled functions of a definition, and what each is called with.
ARGUMENTS = {
    "generate": ("params", "key", "level"),
    "reset": ("state", "level"),
    "step": ("state", "level", "action"),
    "observe": ("state", "level", "out"),
    "oracle": ("state", "level"),
    "decides": ("state", "level"),
    "legal": ("state", "level", "mask"),
    "measure": ("state", "level", "out"),
    "digest": ("level",),
    "sound": ("params", "state", "level"),
}
KINDS = "biufcSU"  # of a field: booleans, numbers and characters


def check_layout(definition: Definition) -> None:
    """Check all of a definition that can be seen without compiling.

    :raises ValueError: for records, spaces or metrics that contradict one another; it names the definition and the part
    :raises DefinitionError: for a function that is not compiled, or takes other arguments
    """
    params = definition.params
    if not isinstance(params, np.ndarray) or params.shape != (1,):
        raise ValueError(f"`params` of {definition.name} must be one record in an array of shape (1,), not {params!r}")
    for name, dtype in records(definition).items():
        _check_record(definition.name, name, dtype)
    _check_key(definition)
    _check_observation(definition)
    _check_metrics(definition)
    if isinstance(definition.action_space, Box) and definition.oracle is not no_oracle:
        raise ValueError(f"`oracle` of {definition.name} must be left out: it returns an integer, actions are a Box")
    for name in ARGUMENTS:
        _check_function(definition, name)


def records(definition: Definition) -> dict[str, np.dtype]:
    """Return the dtypes of a definition's records by the names of its parameters."""
    return {"params": definition.params.dtype} | {name: getattr(definition, name) for name in ("level", "state", "out")}


def leaves(dtype: np.dtype, path: str) -> Iterator[tuple[str, np.dtype, tuple[int, ...]]]:
    """Yield path, scalar dtype and shape of the fields of a record, and of the records in it."""
    base, shape = dtype.base, dtype.shape
    if base.names is None:
        yield path, base, shape
    for name in base.names or ():
        yield from leaves(base[name], f"{path}.{name}")


def _check_record(owner: str, name: str, dtype: object) -> None:
    if not isinstance(dtype, np.dtype) or not dtype.names:
        raise ValueError(f"`{name}` of {owner} must be a dtype of named fields, not {dtype!r}")
    for path, leaf, shape in leaves(dtype, name):
        if leaf.kind not in KINDS:
            raise ValueError(f"`{path}` of {owner} must be a number, not {leaf}")
        if not leaf.isnative:
            raise ValueError(f"`{path}` of {owner} must have this machine's order of bytes, not {leaf.str!r}")
        if leaf.kind == "b" and shape:
            raise ValueError(f"`{path}` of {owner} must be an array of uint8: Numba has no arrays of bool in records")


def _check_key(definition: Definition) -> None:
    fields: Mapping[str, Any] = definition.state.fields or {}
    if "key" not in fields or fields["key"][0] != np.uint64:
        found = f"not {fields['key'][0]}" if "key" in fields else f"which is missing among {list(fields)}"
        raise ValueError(f"`state` of {definition.name} must have a field 'key' of uint64, {found}")


def _check_observation(definition: Definition) -> None:
    """Refuse records of an observation that differ from the observation space."""
    names, space = definition.out.names or (), definition.observation_space
    subject = f"`out` of {definition.name}"
    if len(names) == 1:
        if isinstance(space, Dict | Tuple):
            raise ValueError(
                f"{subject} has one field, which gives an array: observation_space must be one of arrays, not {space}"
            )
        _check_entry(f"{subject} and its observation_space", definition.out[0], space)
        return
    if isinstance(space, Tuple):
        if len(names) != len(space.spaces):
            raise ValueError(
                f"{subject} must have a field for each of the {len(space.spaces)} entries of observation_space, "
                f"not {list(names)}"
            )
        for place, name in enumerate(names):
            _check_entry(
                f"{subject}, at {name!r}, and entry {place} of its observation_space",
                definition.out[name],
                space[place],
            )
        return
    if not isinstance(space, Dict):
        raise ValueError(
            f"{subject} has the fields {list(names)}: observation_space must be a Dict or a Tuple, not {space}"
        )
    if set(names) != set(space.spaces):
        raise ValueError(
            f"{subject} must have a field for each entry of observation_space, {sorted(space.spaces)}, "
            f"not {sorted(names)}"
        )
    for name in names:
        _check_entry(f"{subject} and its observation_space, at {name!r},", definition.out[name], space[name])


def _check_entry(subject: str, field: np.dtype, space: Space) -> None:
    """Refuse a field of another dtype or shape than its space."""
    if (field.base, field.shape) != (space.dtype, space.shape):
        raise ValueError(
            f"{subject} must have the same dtype and shape, not {field.base} {field.shape} and "
            f"{space.dtype} {space.shape}"
        )


def _check_metrics(definition: Definition) -> None:
    metrics, given = definition.metrics, definition.measure is not no_metrics
    if isinstance(metrics, str) or not all(isinstance(name, str) for name in metrics):
        raise ValueError(f"`metrics` of {definition.name} must be a tuple of names, not {metrics!r}")
    if metrics and not given:
        raise ValueError(f"`measure` of {definition.name} must be given, to write its metrics {list(metrics)}")
    if given and not metrics:
        raise ValueError(f"`metrics` of {definition.name} must name what its `measure` writes")


def _check_function(definition: Definition, name: str) -> None:
    """Refuse a function that is not compiled, or takes another number of arguments."""
    function, arguments = getattr(definition, name), ARGUMENTS[name]
    if function is None and name == "decides":
        return
    if not callable(function):
        raise DefinitionError(f"`{name}` of {definition.name} must be a function, not {function!r}")
    if not isinstance(function, Dispatcher) and not is_disabled():
        raise DefinitionError(f"`{name}` of {definition.name} must be decorated with memenvs.compilation.njit")
    signature, wanted = inspect.signature(getattr(function, "py_func", function)), ", ".join(arguments)
    subject = f"`{name}` of {definition.name} must take the arguments ({wanted})"
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise DefinitionError(f"{subject}: {error}") from None
    own = tuple(signature.parameters)
    # Other names may be given to them, but not one's name to another.
    if any(
        argument in arguments and argument != arguments[place] for place, argument in enumerate(own[: len(arguments)])
    ):
        raise DefinitionError(f"{subject}, in this order, not ({', '.join(own)})")
