"""The loops as plain Python, for looking for mistakes: an index is checked, and so is what is written into a record.

Compiled code does neither. A traceback points into the line of the function as it was written. What compiled code and
Python calculate differently stays as in Python: integers that are no uint64 have no largest value, and a uint64 is
NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.extending import _Intrinsic

from memenvs.compilation import is_compiled
from memenvs.engine.functions import RETURNS
from memenvs.engine.layout import ARGUMENTS
from memenvs.engine.loops import Loops


def interpreted(loops: Loops) -> Loops:
    """Return loops that run as plain Python on the same arrays."""
    made: dict[Any, Any] = {}
    return Loops(*(_on_guarded(_plain(loop, made)) for loop in loops))


def _on_guarded(loop: Callable) -> Callable:
    def run(*arguments: Any) -> Any:
        guarded = [
            argument.view(Guarded) if isinstance(argument, np.ndarray) else _value(argument) for argument in arguments
        ]
        with np.errstate(all="ignore"):  # a uint64 goes round, and what is no number is written
            return loop(*guarded)

    return run


class Record:
    """A record with its fields as attributes, as compiled code has it."""

    __slots__ = ("_void",)

    def __init__(self, record: np.void):
        object.__setattr__(self, "_void", record)

    def __getattr__(self, name: str) -> Any:
        return _value(self._void[self._known(name)])

    def __setattr__(self, name: str, value: Any) -> None:
        self._void[self._known(name)] = stored = _inside(value)
        _check_kept(self._void[name], stored)

    def _known(self, name: str) -> str:
        names = self._void.dtype.names or ()
        if name not in names:
            raise AttributeError(f"the record has no field {name!r}, only {list(names)}")
        return name


class Guarded(np.ndarray):
    """An array whose elements are Python's numbers, and that refuses numbers its type cannot hold."""

    def __getitem__(self, index: Any) -> Any:
        return _value(super().__getitem__(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        stored = _inside(value)
        super().__setitem__(index, stored)
        _check_kept(super().__getitem__(index), stored)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return _value(np.asarray(array)[()]) if return_scalar else super().__array_wrap__(array, context, False)

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))


def _value(value: Any) -> Any:
    """What compiled code sees of an element or an argument: 64 bits, whatever it is stored in."""
    if isinstance(value, np.void):
        return Record(value)
    if isinstance(value, np.ndarray):
        return value.view(Guarded)
    return value.item() if isinstance(value, np.generic) and value.dtype != np.uint64 else value


def _inside(value: Any) -> Any:
    """The NumPy value of what is guarded."""
    if isinstance(value, Guarded):
        return value.view(np.ndarray)
    if value is _unsigned:
        return np.uint64
    return value._void if isinstance(value, Record) else value


def _check_kept(kept: Any, value: Any) -> None:
    if kept.dtype.kind in "biu" and not np.array_equal(np.asarray(kept), np.broadcast_to(value, kept.shape)):
        raise ValueError(f"{value} cannot be held by {kept.dtype}")


def _plain(function: Any, made: dict[Any, Any]) -> Any:
    """Return a compiled function as Python that calls others as Python, too; other values as it is to see them."""
    if isinstance(function, np.ndarray):
        return function.view(Guarded)
    if isinstance(function, ModuleType):
        return _Module(function, made)
    if isinstance(function, _Intrinsic):
        return getattr(function, "plain", function)
    if not is_compiled(function):
        return function
    plain = getattr(function, "py_func", function)
    if function not in made:
        names = dict(plain.__globals__)
        cells = tuple(CellType() for _ in plain.__closure__ or ())
        made[function] = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, cells)
        for name in plain.__code__.co_names:
            if name in names:
                names[name] = _plain(names[name], made)
        for name, new, old in zip(plain.__code__.co_freevars, cells, plain.__closure__ or (), strict=True):
            inner = _plain(old.cell_contents, made)
            new.cell_contents = _checked(name, inner) if name in ARGUMENTS and _is_loop(plain) else inner
    return made[function]


def _is_loop(function: Any) -> bool:
    """Return whether a function is one of the engine's loops, whose closures are the functions of a definition."""
    return getattr(function, "__qualname__", "").startswith(("_loops.<locals>", "_decides.<locals>"))


class _Module:
    """A module whose compiled functions are plain, and whose arrays are guarded, those of its functions too."""

    def __init__(self, module: ModuleType, made: dict[Any, Any]):
        self._module, self._made = module, made

    def __getattr__(self, name: str) -> Any:
        value = _plain(getattr(self._module, name), self._made)
        if value is np.uint64:
            return _unsigned
        if self._module is not np or isinstance(value, type) or not callable(value):
            return value
        return lambda *args, **named: _value(
            value(*map(_inside, args), **{key: _inside(entry) for key, entry in named.items()})
        )


def _unsigned(value: Any) -> np.uint64:
    """``np.uint64`` as compiled code has it: negative numbers go round."""
    return np.uint64(int(value) & 0xFFFFFFFFFFFFFFFF)


def _checked(name: str, function: Callable) -> Callable:
    """Return a function of a definition that checks what it returns, as the compiler would."""

    def call(*arguments: Any) -> Any:
        value = function(*arguments)
        if name in RETURNS and not _is_right(name, value):
            raise TypeError(f"`{name}` must return {RETURNS[name][0]} on every path, not {value!r}")
        return value

    return call


def _is_right(name: str, value: Any) -> bool:
    flags = value[1:] if name == "step" and isinstance(value, tuple) else (value,)
    if name == "step" and not (isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], _NUMBERS)):
        return False
    return all(isinstance(flag, _INTEGERS) for flag in flags)


_INTEGERS = (bool, int, np.bool_, np.integer)
_NUMBERS = (*_INTEGERS, float, np.floating)
