"""Constant indices beyond the end of an array, which compiled code would follow into other memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numba import types
from numba.core import ir
from numba.core.compiler import run_frontend
from numba.core.errors import ConstantInferenceError

Beyond = tuple[object, tuple[int, ...], int]  # index, shape of the array, line


def beyond_records(annotation: Any) -> Iterator[Beyond]:
    """Yield the constant indices beyond the end of a record's array.

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


def beyond_arrays(function: Any, shapes: Mapping[int, tuple[int, ...]]) -> tuple[Beyond, ...]:
    """Return the constant indices beyond the end of arrays that are arguments of a function, or global.

    Their shapes are in no type, so this is looked for in every process, whatever the cache holds.

    :param function: a compiled function
    :param shapes: of those of its arguments that are arrays, by their places
    """
    return _beyond_arrays(function.py_func, tuple(shapes.items()))


@functools.cache
def _beyond_arrays(function: Any, shapes: tuple[tuple[int, tuple[int, ...]], ...]) -> tuple[Beyond, ...]:
    code, found = run_frontend(function), []
    for block in code.blocks.values():
        for statement in block.body:
            access: Any = statement.value if isinstance(statement, ir.Assign) else statement
            reads = isinstance(access, ir.Expr) and access.op == "getitem"
            if not reads and not isinstance(access, ir.SetItem):
                continue
            shape = _shape(code, access.value if reads else access.target, dict(shapes))
            index = _constant(code, access.index)
            if shape is not None and _is_beyond(index, shape):
                found.append((index, shape, statement.loc.line))
    return tuple(found)


def _shape(code: ir.FunctionIR, array: ir.Var, shapes: Mapping[int, tuple[int, ...]]) -> tuple[int, ...] | None:
    """The shape of an array, where it is known."""
    try:
        definition: Any = code.get_definition(array)
    except KeyError:  # it is another one on another path
        return None
    if isinstance(definition, ir.Arg):
        return shapes.get(definition.index)
    value: Any = definition.value if isinstance(definition, ir.Global | ir.FreeVar) else None
    return value.shape if isinstance(value, np.ndarray) else None


def _constant(code: ir.FunctionIR, index: ir.Var) -> object:
    try:
        return code.infer_constant(index)
    except ConstantInferenceError:
        return None


def _is_beyond(index: object, shape: tuple[int, ...]) -> bool:
    places = index if isinstance(index, tuple) else (index,)
    return any(isinstance(place, int) and not -size <= place < size for place, size in zip(places, shape, strict=False))
