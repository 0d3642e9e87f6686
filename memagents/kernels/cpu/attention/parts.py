"""Vectors that begin anywhere in a flat array, and what the attention of single queries needs of them."""

from __future__ import annotations

from numba import types

from memagents.kernels.cpu.vector.simd import (
    BYTES,
    Vector,
    element_address,
    full,
    intrinsic,
    lanes_of,
    part,
    select_less,
    transposed,
)


def _address(context, builder, array_type, array, element):
    shape = context.get_value_type(Vector(array_type.dtype))
    return builder.bitcast(element_address(context, builder, array_type, array, element), shape.as_pointer())


@intrinsic
def load_at(typingctx, array, element):
    """The vector that begins at a flat element of a C-contiguous array."""

    def codegen(context, builder, signature, args):
        return builder.load(_address(context, builder, array, *args), align=BYTES[array.dtype])

    return Vector(array.dtype)(array, types.intp), codegen


@intrinsic
def store_at(typingctx, array, element, value):
    """Write a vector from a flat element on."""
    if not (isinstance(value, Vector) and value.dtype is array.dtype):
        return None

    def codegen(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, array, *args[:2]), align=BYTES[array.dtype])
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@part
def within(lane, count, value, other):
    """``value`` in the first ``count`` lanes and ``other`` in those after them.

    :param lane: the numbers 0, 1, … of the lanes, an array of one vector
    """
    return select_less(load_at(lane, 0), full(lane, count), value, other)


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
            vectors.append(builder.load(_address(context, builder, rows, args[0], at), align=align))
        for j, vector in enumerate(transposed(builder, vectors)):
            at = builder.add(to, builder.mul(apart, apart.type(j)))
            builder.store(vector, _address(context, builder, columns, args[3], at), align=align)
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, columns, types.intp, types.intp), codegen


@part
def pack_columns(rows, at, stride, first, last, count, columns, apart):
    """``columns[k, p] = rows[p, k]`` for rows ``first`` to before ``last``, and zero for two vectors after them.

    :param at: where row 0 begins
    :param stride: from the beginning of a row to that of the next
    :param count: numbers of a row, a multiple of a vector's lanes
    :param apart: from the beginning of a column to that of the next
    """
    width, zero = lanes_of(columns), full(columns, 0.0)
    done = last - (last - first) % width
    for k in range(0, count, width):
        for p in range(first, done, width):
            transpose_at(rows, at + p * stride + k, stride, columns, k * apart + p, apart)
    for k in range(count):
        for p in range(done, last):
            columns[k * apart + p] = rows[at + p * stride + k]
        store_at(columns, k * apart + last, zero)
        store_at(columns, k * apart + last + width, zero)
