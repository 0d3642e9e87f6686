"""Wide vectors, of twice the lanes of :mod:`memagents.kernels.cpu.vector.simd`, as registers of AVX-512.

For kernels whose lanes are entries of a row and so cost a small batch nothing. Arithmetic is that of
:mod:`memagents.kernels.cpu.vector.simd` and functions those of :mod:`memagents.kernels.cpu.vector.functions`,
which take either kind of vector; arrays of wide vectors are C-contiguous, (entries, lanes), with as many numbers in an
entry as :func:`wide_lanes` says.
"""

from __future__ import annotations

import torch
from numba import types
from numba.extending import register_model

from memagents.kernels.cpu.vector import simd
from memagents.kernels.cpu.vector.simd import Vector, array_at, intrinsic, lanes, part


def wide_lanes(dtype: torch.dtype) -> int:
    """The numbers in one wide vector of ``dtype``, ``torch.float32`` or ``torch.float64``."""
    return 2 * lanes(dtype)


class WideVector(Vector):
    """:func:`wide_lanes` entries of one row."""

    def __init__(self, dtype):
        super().__init__(dtype)
        self.lanes *= 2
        types.Type.__init__(self, name=f"WideVector({dtype} x {self.lanes})")


register_model(WideVector)(simd.VectorModel)


def _address(context, builder, array_type, array, element):
    shape = context.get_value_type(WideVector(array_type.dtype))
    return builder.bitcast(simd.element_address(context, builder, array_type, array, element), shape.as_pointer())


def _entry_address(context, builder, array_type, array, entry):
    element = builder.mul(entry, entry.type(WideVector(array_type.dtype).lanes))
    return _address(context, builder, array_type, array, element)


@intrinsic
def load(typingctx, array, entry):
    """Same as :func:`simd.load`."""

    def codegen(context, builder, signature, args):
        address = _entry_address(context, builder, array, *args)
        return builder.load(address, align=simd.BYTES[array.dtype])

    return WideVector(array.dtype)(array, types.intp), codegen


@intrinsic
def store(typingctx, array, entry, value):
    """Same as :func:`simd.store`."""
    if not (isinstance(value, WideVector) and value.dtype is array.dtype):
        return None

    def codegen(context, builder, signature, args):
        address = _entry_address(context, builder, array, *args[:2])
        builder.store(args[2], address, align=simd.BYTES[array.dtype])
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def load_at(typingctx, array, element):
    """Same as :func:`simd.load_at`."""

    def codegen(context, builder, signature, args):
        return builder.load(_address(context, builder, array, *args), align=simd.BYTES[array.dtype])

    return WideVector(array.dtype)(array, types.intp), codegen


@intrinsic
def store_at(typingctx, array, element, value):
    """Same as :func:`simd.store_at`."""
    if not (isinstance(value, WideVector) and value.dtype is array.dtype):
        return None

    def codegen(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, array, *args[:2]), align=simd.BYTES[array.dtype])
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def splat(typingctx, array, element):
    """Same as :func:`simd.splat`."""

    def codegen(context, builder, signature, args):
        scalar = builder.load(simd.element_address(context, builder, array, *args))
        return simd.broadcast(context, builder, scalar, WideVector(array.dtype))

    return WideVector(array.dtype)(array, types.intp), codegen


@intrinsic
def full(typingctx, array, value):
    """Same as :func:`simd.full`."""
    vector = WideVector(array.dtype)

    def codegen(context, builder, signature, args):
        scalar = context.cast(builder, args[1], signature.args[1], vector.dtype)
        return simd.broadcast(context, builder, scalar, vector)

    return vector(array, value), codegen


@intrinsic
def lanes_of(typingctx, array):
    """Same as :func:`simd.lanes_of`."""
    count = WideVector(array.dtype).lanes
    return types.intp(array), lambda context, builder, signature, args: context.get_constant(types.intp, count)


@intrinsic
def transpose(typingctx, matrix, element, stride, out, entry):
    """Transpose as many entries of as many rows of a matrix as there are lanes.

    Number i of ``out[entry + j]`` becomes flat element ``element + i * stride + j`` of ``matrix``.
    """

    def codegen(context, builder, signature, args):
        _, element, stride, _, entry = args
        count, align = WideVector(out.dtype).lanes, simd.BYTES[out.dtype]
        rows = []
        for i in range(count):
            at = builder.add(element, builder.mul(stride, stride.type(i)))
            rows.append(builder.load(_address(context, builder, matrix, args[0], at), align=align))
        for j, vector in enumerate(simd.transposed(builder, rows)):
            at = builder.add(entry, entry.type(j))
            builder.store(vector, _entry_address(context, builder, out, args[3], at), align=align)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, out, types.intp), codegen


@part
def vectors_at(address, entries, like):
    """Return so many vectors at an address; tensors reach compiled code ten times faster so than as arrays."""
    return array_at(address, entries, lanes_of(like), like)
