"""A number per batch row: the vector type in which the CPU kernels are written.

A :class:`Vector` holds one float of each of :func:`lanes` batch rows and lives in one register, so kernel code reads as
if it were written for a single row, and every row is computed by the same instructions whatever the other rows hold:
results do not depend on the batch a row is in. Arrays of vectors are C-contiguous with the rows of the batch last,
(entries, lanes). The compiler reorders and contracts nothing here; what should round once is an :func:`fma`.

All functions but :func:`lanes` are for use inside Numba-compiled code. A float32 vector has eight rows, as registers of
AVX2; the wider ones of AVX-512 made the whole no faster (sixteen rows outgrow the first cache) and leave small batches
fewer tiles to share between threads.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from llvmlite import ir
from numba import carray, extending, njit, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

part = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Compiles a function that only compiled code calls (from Python it would crash): a third faster without wrappers."""

intrinsic: Any = extending.intrinsic
"""Typed so because Numba's own type wants from a caller what only Numba passes."""

_LANES = {types.float32: 8, types.float64: 4}
BYTES = {types.float32: 4, types.float64: 8}


def lanes(dtype: torch.dtype) -> int:
    """The number of batch rows in one vector of ``dtype``, ``torch.float32`` or ``torch.float64``."""
    return _LANES[types.float32 if dtype == torch.float32 else types.float64]


class Vector(types.Type):
    """One float of every row of a tile.

    :param dtype: Numba's float32 or float64
    """

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = _LANES[dtype]
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = ir.FloatType() if fe_type.dtype is types.float32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


# --- memory ---------------------------------------------------------------------------------------------------------


def element_address(context, builder, array_type, array, element):
    data = context.data_model_manager[array_type].get_field_position("data")
    return builder.gep(builder.extract_value(array, data), [element])


def _vector_address(context, builder, array_type, array, element):
    vector = context.get_value_type(Vector(array_type.dtype))
    return builder.bitcast(element_address(context, builder, array_type, array, element), vector.as_pointer())


def _contiguous(array) -> bool:
    return isinstance(array, types.Array) and array.layout == "C" and array.dtype in _LANES


@intrinsic
def load(typingctx, array, entry):
    """The vector at an entry of an (entries, lanes) array."""
    if not _contiguous(array):
        return None
    vector = Vector(array.dtype)

    def codegen(context, builder, signature, args):
        element = builder.mul(args[1], args[1].type(vector.lanes))
        address = _vector_address(context, builder, array, args[0], element)
        return builder.load(address, align=BYTES[array.dtype])

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx, array, entry, value):
    """Write a vector to an entry of an (entries, lanes) array."""
    if not (_contiguous(array) and isinstance(value, Vector) and value.dtype is array.dtype):
        return None

    def codegen(context, builder, signature, args):
        element = builder.mul(args[1], args[1].type(value.lanes))
        address = _vector_address(context, builder, array, args[0], element)
        builder.store(args[2], address, align=BYTES[array.dtype])
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def load_at(typingctx, array, element):
    """The vector that begins at a flat element of a C-contiguous array."""

    def codegen(context, builder, signature, args):
        return builder.load(_vector_address(context, builder, array, *args), align=BYTES[array.dtype])

    return Vector(array.dtype)(array, types.intp), codegen


@intrinsic
def store_at(typingctx, array, element, value):
    """Write a vector from a flat element on."""
    if not (isinstance(value, Vector) and value.dtype is array.dtype):
        return None

    def codegen(context, builder, signature, args):
        builder.store(args[2], _vector_address(context, builder, array, *args[:2]), align=BYTES[array.dtype])
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def splat(typingctx, array, element):
    """A vector that holds the same flat element of a C-contiguous array in every lane."""
    if not _contiguous(array):
        return None

    def codegen(context, builder, signature, args):
        scalar = builder.load(element_address(context, builder, array, *args))
        return broadcast(context, builder, scalar, Vector(array.dtype))

    return Vector(array.dtype)(array, types.intp), codegen


@intrinsic
def full(typingctx, array, value):
    """A vector of ``array``'s type with ``value`` in every lane."""
    vector = Vector(array.dtype)

    def codegen(context, builder, signature, args):
        scalar = context.cast(builder, args[1], signature.args[1], vector.dtype)
        return broadcast(context, builder, scalar, vector)

    return vector(array, value), codegen


def broadcast(context, builder, scalar, vector):
    shape = context.get_value_type(vector)
    index = ir.IntType(32)
    one = builder.insert_element(ir.Constant(shape, ir.Undefined), scalar, index(0))
    return builder.shuffle_vector(
        one, ir.Constant(shape, ir.Undefined), ir.Constant(ir.VectorType(index, vector.lanes), None)
    )


@intrinsic
def gather_entries(typingctx, batch, element, stride, tile, entry):
    """Transpose as many entries as there are lanes, from one row of the batch per lane to (entries, lanes).

    Lane r of ``tile[entry + e]`` becomes the flat element ``element + r * stride + e`` of ``batch``.
    """
    if not (_contiguous(batch) and _contiguous(tile) and batch.dtype is tile.dtype):
        return None

    def codegen(context, builder, signature, args):
        _, element, stride, _, entry = args
        count = _LANES[tile.dtype]
        rows = []
        for row in range(count):
            at = builder.add(element, builder.mul(stride, stride.type(row)))
            rows.append(builder.load(_vector_address(context, builder, batch, args[0], at), align=BYTES[tile.dtype]))
        for e, vector in enumerate(transposed(builder, rows)):
            at = builder.mul(builder.add(entry, entry.type(e)), entry.type(count))
            builder.store(vector, _vector_address(context, builder, tile, args[3], at), align=BYTES[tile.dtype])
        return context.get_dummy_value()

    return types.void(batch, types.intp, types.intp, tile, types.intp), codegen


@intrinsic
def scatter_entries(typingctx, tile, entry, batch, element, stride):
    """Reverse of :func:`gather_entries`."""
    if not (_contiguous(batch) and _contiguous(tile) and batch.dtype is tile.dtype):
        return None

    def codegen(context, builder, signature, args):
        _, entry, _, element, stride = args
        count = _LANES[tile.dtype]
        entries = []
        for e in range(count):
            at = builder.mul(builder.add(entry, entry.type(e)), entry.type(count))
            entries.append(builder.load(_vector_address(context, builder, tile, args[0], at), align=BYTES[tile.dtype]))
        for row, vector in enumerate(transposed(builder, entries)):
            at = builder.add(element, builder.mul(stride, stride.type(row)))
            builder.store(vector, _vector_address(context, builder, batch, args[2], at), align=BYTES[tile.dtype])
        return context.get_dummy_value()

    return types.void(tile, types.intp, batch, types.intp, types.intp), codegen


def transposed(builder, vectors):
    """A square of vectors, by exchanging ever smaller off-diagonal blocks."""
    count = len(vectors)
    index = ir.IntType(32)
    vectors = list(vectors)
    block = count // 2
    while block:
        upper = [e if not e & block else count + e - block for e in range(count)]
        lower = [e + block if not e & block else count + e for e in range(count)]
        for i in range(count):
            if not i & block:
                pair = vectors[i], vectors[i + block]
                for place, mask in ((i, upper), (i + block, lower)):
                    constant = ir.Constant(ir.VectorType(index, count), [index(e) for e in mask])
                    vectors[place] = builder.shuffle_vector(*pair, constant)
        block //= 2
    return vectors


@intrinsic
def transpose_at(typingctx, rows, element, stride, columns, to, apart):
    """As many numbers of as many rows as a vector has lanes, to columns.

    Number i of the vector at ``to + j * apart`` of ``columns`` becomes flat element ``element + i * stride + j`` of
    ``rows``.
    """

    def codegen(context, builder, signature, args):
        _, element, stride, _, to, apart = args
        count, align = Vector(columns.dtype).lanes, BYTES[columns.dtype]
        vectors = []
        for i in range(count):
            at = builder.add(element, builder.mul(stride, stride.type(i)))
            vectors.append(builder.load(_vector_address(context, builder, rows, args[0], at), align=align))
        for j, vector in enumerate(transposed(builder, vectors)):
            at = builder.add(to, builder.mul(apart, apart.type(j)))
            builder.store(vector, _vector_address(context, builder, columns, args[3], at), align=align)
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, columns, types.intp, types.intp), codegen


@intrinsic
def _pointer(typingctx, address, like):
    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.intp, like), codegen


@part
def array_at(address, rows, entries, like):
    """The (rows, entries) array at an address, of the type of numbers that ``like`` has."""
    return carray(_pointer(address, like), (rows, entries))


@intrinsic
def next_ticket(typingctx, tickets):
    """The number in a one-element int64 array, which is then one higher: every thread gets another number."""

    def codegen(context, builder, signature, args):
        address = element_address(context, builder, tickets, args[0], ir.IntType(64)(0))
        return builder.atomic_rmw("add", address, ir.IntType(64)(1), "monotonic")

    return types.int64(tickets), codegen


@intrinsic
def lanes_of(typingctx, array):
    """The lanes of a vector of an array's numbers, a constant to the compiler."""
    count = _LANES[array.dtype]
    return types.intp(array), lambda context, builder, signature, args: context.get_constant(types.intp, count)


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _vector_of(*operands):
    """The vector type of a mixture of vectors and scalars, or None if there is none (or more than one)."""
    vectors = {operand for operand in operands if isinstance(operand, Vector)}
    scalars = all(isinstance(operand, (Vector, types.Number)) for operand in operands)
    return vectors.pop() if len(vectors) == 1 and scalars else None


def elementwise(emit: Callable, name: str, operands: int):
    """An intrinsic over vectors and scalars (which stand for a vector of equal lanes)."""

    def typer(*operand_types):
        vector = _vector_of(*operand_types)
        if vector is None:
            return None

        def codegen(context, builder, signature, args):
            values = []
            for value, kind in zip(args, signature.args, strict=True):
                if kind != vector:
                    value = broadcast(context, builder, context.cast(builder, value, kind, vector.dtype), vector)
                values.append(value)
            return emit(builder, *values)

        return vector(*operand_types), codegen

    # Numba reads the number of arguments off the function itself.
    wrappers = {
        1: lambda typingctx, a: typer(a),
        2: lambda typingctx, a, b: typer(a, b),
        3: lambda typingctx, a, b, c: typer(a, b, c),
        4: lambda typingctx, a, b, c, d: typer(a, b, c, d),
    }
    wrapper = wrappers[operands]
    wrapper.__name__ = wrapper.__qualname__ = name
    return intrinsic(wrapper)


def call_intrinsic(builder, name: str, *args):
    """Call the LLVM intrinsic ``name`` for the vector type of the arguments."""
    shape = args[0].type
    suffix = f"v{shape.count}f{32 if isinstance(shape.element, ir.FloatType) else 64}"
    kind = ir.FunctionType(shape, [shape] * len(args))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}")
    return builder.call(function, args)


def emit_select_less(builder, a, b, x, y):
    return builder.select(builder.fcmp_ordered("<", a, b), x, y)


_add = elementwise(lambda builder, a, b: builder.fadd(a, b), "add", 2)
_subtract = elementwise(lambda builder, a, b: builder.fsub(a, b), "subtract", 2)
_multiply = elementwise(lambda builder, a, b: builder.fmul(a, b), "multiply", 2)
_divide = elementwise(lambda builder, a, b: builder.fdiv(a, b), "divide", 2)
_negate = elementwise(lambda builder, a: builder.fneg(a), "negate", 1)
sqrt = elementwise(lambda builder, a: call_intrinsic(builder, "sqrt", a), "sqrt", 1)
"""The square root."""
fma = elementwise(lambda builder, a, b, c: call_intrinsic(builder, "fma", a, b, c), "fma", 3)
"""a * b + c with one rounding."""
select_less = elementwise(emit_select_less, "select_less", 4)
"""Lane by lane, ``x`` where ``a < b`` and ``y`` elsewhere, of arguments a, b, x, y."""


def _operator(function: Callable, *symbols: Callable) -> None:
    def typed(a, b):
        return (lambda a, b: function(a, b)) if _vector_of(a, b) else None

    for symbol in symbols:
        overload(symbol)(typed)


_operator(_add, operator.add, operator.iadd)
_operator(_subtract, operator.sub, operator.isub)
_operator(_multiply, operator.mul, operator.imul)
_operator(_divide, operator.truediv, operator.itruediv)


@overload(operator.neg)
def _typed_negate(a):
    return (lambda a: _negate(a)) if isinstance(a, Vector) else None
