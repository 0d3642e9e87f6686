"""Compilation of a definition's functions one by one, so that an error names the function, not the loop around it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.core import ir
from numba.core.errors import NumbaError

from memenvs.engine.defaults import DEFAULTS
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
    :raises TypeError: for a function that does not compile, or returns what it must not
    :raises ValueError: for a function with an index beyond the end of an array
    """
    given = argument_types(definition, row)
    for name, arguments in ARGUMENTS.items():
        function = getattr(definition, name)
        if function is None or function in DEFAULTS:
            continue
        apart = name in APART and (name != "oracle" or definition.decides is not None)
        # Those of memenvs itself are known to be right: they wait until they are used.
        known = function.py_func.__module__.startswith("memenvs.") if apart else stepped
        if not known:
            _compile(definition.name, name, function, {argument: given[name, argument] for argument in arguments})


def argument_types(definition: Definition, row: types.Record) -> dict[tuple[str, str], types.Type]:
    """Return the types of all functions' arguments, by the names of function and argument."""
    state, level = row.typeof("state"), row.typeof("level")
    common = {
        "params": numba.typeof(definition.params).dtype,
        "key": types.uint64,
        "level": level,
        "state": state,
        "action": types.int64,
        "mask": types.Array(types.boolean, 1, "C"),
        "out": numba.typeof(np.empty(0, definition.out)).dtype,
    }
    named = {(name, argument): common[argument] for name, arguments in ARGUMENTS.items() for argument in arguments}
    return named | {("measure", "out"): types.Array(types.float64, 1, "A")}


def _compile(owner: str, name: str, function: Any, arguments: dict[str, types.Type]) -> None:
    signature = tuple(arguments.values())
    try:
        function.compile(signature)
    except NumbaError as error:
        raise _not_compiled(name, owner, _reason(str(error))) from None
    except KeyError as error:  # Numba's answer to a field that a record lacks
        fields = {argument: list(kind.fields) for argument, kind in arguments.items() if isinstance(kind, types.Record)}
        raise _not_compiled(name, owner, f"no record has a field {error} among {fields}") from None
    overload = function.overloads[signature]
    returned = overload.signature.return_type
    if name in RETURNS and not RETURNS[name][1](returned):
        raise TypeError(f"`{name}` of {owner} must return {RETURNS[name][0]} on every path, not {_words(returned)}")
    for index, array, line in _indices_beyond(overload.type_annotation):
        function._cache.flush()  # what is loaded from there is not looked through
        raise ValueError(f"`{name}` of {owner} has the index {index} into an array of shape {array}, in line {line}")


def _not_compiled(name: str, owner: str, reason: str) -> TypeError:
    text = f"`{name}` of {owner} cannot be compiled: {reason}"
    return TypeError(f"{text}. To run it as plain Python: memenvs.testing.debug")


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


def _reason(text: str) -> str:
    """What is wrong and where, from the many lines of a Numba error."""
    place = re.search(r'File "(.+?)", line (\d+)', text)
    return _cause(text) + (f" ({place[1]}, line {place[2]})" if place else "")


def _cause(text: str) -> str:
    unknown = r"Untyped global name '(\w+)':.{0,40}Cannot determine Numba type of <class 'function'>"
    plain = re.search(unknown, text, re.DOTALL)
    if plain:
        return f"it calls `{plain[1]}`, which must be decorated with memenvs.compilation.njit"
    undefined = re.search(r"NameError: name '(\w+)' is not defined", text)
    if undefined:
        return f"`{undefined[1]}` is not defined"
    paths = re.search(r"Can't unify return type from the following types: ([^\n]+)", text)
    if paths:
        return f"its paths return values of different types, {_without_records(paths[1])}"
    lines = [line.strip() for line in _without_records(text).splitlines()]
    said = [line for line in lines if line and not line.startswith("Failed in nopython mode")]
    return " ".join(said[:3])[:LONGEST_REASON]


def _without_records(text: str) -> str:
    """A text without the fields of records, of which each takes several lines."""
    return re.sub(r"Record\(\[.*?\], \d+, (True|False)\)", "a record", text, flags=re.S)


def _indices_beyond(annotation: Any) -> Iterator[tuple[object, tuple[int, ...], int]]:
    """The constant indices beyond the end of a record's array: index, shape and line.

    Code from the cache has lost what it was compiled from; it was looked through then.
    """
    for block in getattr(annotation, "blocks", {}).values():
        for statement in block.body:
            access: Any = statement.value if isinstance(statement, ir.Assign) else statement
            reads = isinstance(access, ir.Expr) and access.op == "static_getitem"
            if reads or isinstance(access, ir.StaticSetItem):
                target = access.value if reads else access.target
                array = annotation.typemap.get(target.name)
                if isinstance(array, types.NestedArray) and _is_beyond(access.index, array.shape):
                    yield access.index, array.shape, statement.loc.line


def _is_beyond(index: object, shape: tuple[int, ...]) -> bool:
    places = index if isinstance(index, tuple) else (index,)
    return any(isinstance(place, int) and not -size <= place < size for place, size in zip(places, shape, strict=False))
