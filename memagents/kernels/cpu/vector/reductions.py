"""One number of all lanes of a vector."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from memagents.kernels.cpu.vector.simd import Vector, intrinsic

LEAST = -3e38
"""Below all scores: where a search for the greatest begins."""

LAYER_NORM_EPSILON = 1e-5
"""The constant of torch's LayerNorm."""


def _reduce(builder, name, shape, *args, fastmath=()):
    """Call the LLVM intrinsic that makes one number of a vector of such a shape."""
    suffix = f"v{shape.count}f{32 if isinstance(shape.element, ir.FloatType) else 64}"
    kind = ir.FunctionType(shape.element, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.{name}.{suffix}")
    return builder.call(function, args, fastmath=fastmath)


@intrinsic
def sum_lanes(typingctx, vector):
    """The sum of a vector's lanes."""
    if not isinstance(vector, Vector):
        return None

    def codegen(context, builder, signature, args):
        shape = args[0].type
        return _reduce(builder, "fadd", shape, ir.Constant(shape.element, -0.0), args[0], fastmath=("reassoc",))

    return vector.dtype(vector), codegen


@intrinsic
def max_lanes(typingctx, vector):
    """The greatest of a vector's lanes."""
    if not isinstance(vector, Vector):
        return None
    return vector.dtype(vector), lambda context, builder, signature, args: _reduce(
        builder, "fmax", args[0].type, args[0]
    )
