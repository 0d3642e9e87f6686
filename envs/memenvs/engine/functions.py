"""Compilation of a definition's functions one by one, so that an error names the function, not the loop around it."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from gymnasium.spaces import Box, Discrete
from numba import types
from numba.core.errors import NumbaError, UnsupportedBytecodeError

from memenvs.engine.defaults import DEFAULTS
from memenvs.engine.errors import DefinitionError
from memenvs.engine.indices import beyond_arrays, beyond_records
from memenvs.engine.layout import ARGUMENTS

if TYPE_CHECKING:
    from memenvs.engine.definition import Definition

APART = ("oracle", "legal", "sound")  # not called by the loop that steps, but for the oracle without ``decides``
LONGEST_REASON = 300  # characters of Numba's own words


def compile_functions(definition: Definition, row: types.Record, stepped: bool) -> None:
    """Compile the functions of a definition, each alone, and check what they return.

    The loops call them with the same types, so nothing is compiled twice.

    :param row: the type of an environment's record in the loops
    :param stepped: the functions of the loop that steps have been checked before
    :raises DefinitionError: for a function that does not compile, returns what it must not, or has an index beyond the
        end of an array
    """
    given = argument_types(definition, row)
    lengths = {"measure": len(definition.metrics)}
    if isinstance(definition.action_space, Discrete):
        lengths["legal"] = int(definition.action_space.n)
    for name, arguments in ARGUMENTS.items():
        function = getattr(definition, name)
        if function is None or function in DEFAULTS:
            continue
        apart = name in APART and (name != "oracle" or definition.decides is not None)
        # Those of memenvs itself are known to be right: they wait until they are used.
        ours = function.py_func.__module__.startswith("memenvs.")
        if not (ours if apart else stepped):
            _compile(definition.name, name, function, {argument: given[name, argument] for argument in arguments})
        if not ours:
            last = {len(arguments) - 1: (lengths[name],)} if name in lengths else {}
            for index, array, line in beyond_arrays(function, last):
                raise _beyond(name, definition.name, index, array, line)


def argument_types(definition: Definition, row: types.Record) -> dict[tuple[str, str], types.Type]:
    """Return the types of all functions' arguments, by the names of function and argument."""
    state, level = row.typeof("state"), row.typeof("level")
    space = definition.action_space
    action = numba.typeof(np.empty(space.shape, space.dtype)) if isinstance(space, Box) else types.int64
    common = {
        "params": numba.typeof(definition.params).dtype,
        "key": types.uint64,
        "level": level,
        "state": state,
        "action": action,
        "mask": types.Array(types.boolean, 1, "C"),
        "out": numba.typeof(np.empty(0, definition.out)).dtype,
    }
    named = {(name, argument): common[argument] for name, arguments in ARGUMENTS.items() for argument in arguments}
    return named | {("measure", "out"): types.Array(types.float64, 1, "A")}


def _compile(owner: str, name: str, function: Any, arguments: dict[str, types.Type]) -> None:
    signature = tuple(arguments.values())
    try:
        function.compile(signature)
    except (NumbaError, UnsupportedBytecodeError) as error:
        raise _not_compiled(name, owner, _reason(str(error), function.py_func.__code__)) from None
    except KeyError as error:  # Numba's answer to a field that a record lacks
        raise _not_compiled(name, owner, _missing_field(name, error.args[0], arguments)) from None
    overload = function.overloads[signature]
    returned = overload.signature.return_type
    if name in RETURNS and not RETURNS[name][1](returned):
        raise DefinitionError(
            f"`{name}` of {owner} must return {RETURNS[name][0]} on every path, not {_words(returned)}"
        )
    for index, array, line in beyond_records(overload.type_annotation):
        function._cache.flush()  # what is loaded from there is not looked through
        raise _beyond(name, owner, index, array, line)


def _not_compiled(name: str, owner: str, reason: str) -> DefinitionError:
    text = f"`{name}` of {owner} cannot be compiled: {reason}"
    return DefinitionError(f"{text}. To run it as plain Python: memenvs.testing.debug")


def _beyond(name: str, owner: str, index: object, shape: tuple[int, ...], line: int) -> DefinitionError:
    return DefinitionError(f"`{name}` of {owner} has the index {index} into an array of shape {shape}, in line {line}")


def _missing_field(name: str, field: object, arguments: dict[str, types.Type]) -> str:
    """What is wrong where a record is asked for a field that it lacks."""
    fields = {argument: list(kind.fields) for argument, kind in arguments.items() if isinstance(kind, types.Record)}
    owners = [argument for argument, names in fields.items() if field in names]
    if not owners:
        return f"no record has a field {field!r} among {fields}"
    order = ", ".join(ARGUMENTS[name])
    return f"it asks another record for the field {field!r} of `{owners[0]}`; it must take ({order}), in this order"


def _is_flag(kind: types.Type) -> bool:
    return isinstance(kind, types.Boolean | types.Integer)


def _parts(kind: Any) -> tuple[types.Type, ...]:
    """The types in that of a tuple."""
    is_tuple: bool = isinstance(kind, types.BaseTuple)
    return tuple(kind) if is_tuple else ()


def _is_step(kind: types.Type) -> bool:
    parts = _parts(kind)
    if len(parts) != 3:
        return False
    reward, *ends = parts
    return isinstance(reward, types.Number | types.Boolean) and all(map(_is_flag, ends))


RETURNS: dict[str, tuple[str, Callable[[types.Type], bool]]] = {
    "generate": ("True or False", _is_flag),
    "step": ("reward, terminated and truncated", _is_step),
    "oracle": ("an integer", _is_flag),
    "decides": ("True or False", _is_flag),
    "digest": ("an integer", _is_flag),
    "sound": ("True or False", _is_flag),
}


def _words(kind: types.Type) -> str:
    """The name of a type for people."""
    if isinstance(kind, types.Optional):
        return f"{kind.type} or None"
    if isinstance(kind, types.NoneType):
        return "None"
    if isinstance(kind, types.BaseTuple):
        parts = _parts(kind)
        return f"{len(parts)} values ({', '.join(map(_words, parts))})"
    return str(kind)


def _reason(text: str, code: CodeType) -> str:
    """What is wrong and where, from the many lines of a Numba error about a function's code."""
    place = re.search(r'File "(.+?)", line (\d+)', text) or re.search(r"Raised from (\S+\.py) \((\d+)\)", text)
    file, line = place.groups() if place else (code.co_filename, code.co_firstlineno)
    return f"{_cause(text)} ({file}, line {line})"


def _cause(text: str) -> str:
    unknown = re.search(
        r"Untyped global name '(\w+)':.{0,40}Cannot determine Numba type of <class '(.+?)'>", text, re.S
    )
    if unknown and unknown[2] == "function":
        return f"it calls `{unknown[1]}`, which must be decorated with memenvs.compilation.njit"
    container = re.search(r"The use of a (?:reflected )?(\w+)\(.*?assigned to variable '(\w+)'", text, re.S)
    found = (unknown[1], unknown[2]) if unknown else (container[2], container[1]) if container else None
    if found:
        name, kind = found
        return f"the global `{name}` must be a number, a tuple or a NumPy array, not a {kind}"
    undefined = re.search(r"NameError: name '(\w+)' is not defined", text)
    if undefined:
        return f"`{undefined[1]}` is not defined"
    paths = re.search(r"Can't unify return type from the following types: ([^\n]+)", text)
    if paths:
        return f"its paths return values of different types, {_without_records(paths[1])}"
    lines = [line.strip() for line in _without_records(text).splitlines()]
    said = [line.partition(" Raised from ")[0] for line in lines if line and not line.startswith(_NOISE)]
    return " ".join(said[:3])[:LONGEST_REASON].rstrip(".")


_NOISE = "Failed in nopython mode"  # how errors begin, whatever is wrong


def _without_records(text: str) -> str:
    """A text without the fields of records, of which each takes several lines."""
    return re.sub(r"Record\(\[.*?\], \d+, (True|False)\)", "a record", text, flags=re.S)
