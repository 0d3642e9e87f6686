"""Elementary functions of a vector: exponential, logarithm, and what squashes.

They work on the vectors of :mod:`memagents.kernels.cpu.vector.simd` and of :mod:`memagents.kernels.cpu.vector.wide`.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from memagents.kernels.cpu.vector.simd import call_intrinsic, elementwise, emit_select_less


def _constant(shape, value: float):
    return ir.Constant(shape, [ir.Constant(shape.element, value)] * shape.count)


def _polynomial(builder, x, coefficients):
    """Horner's rule, the constant term first in ``coefficients``."""
    result = _constant(x.type, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = call_intrinsic(builder, "fma", result, x, _constant(x.type, coefficient))
    return result


def _power_and_rest(builder, x):
    """(s, p) with s = 2^n a power of two and e^x = s (1 + p), |p| < 0.42 with a small *relative* error.

    x = n ln 2 + r with |r| <= ln(2) / 2, and p = e^r - 1 by its Taylor series. Adding 1.5 * 2^m (m the bits of the
    mantissa) rounds x / ln 2 to an integer and leaves it in the lowest bits; a shift takes it to the exponent.
    """
    shape = x.type
    single = isinstance(shape.element, ir.FloatType)
    mantissa, bias, terms, limit = (23, 127, 7, 87.0) if single else (52, 1023, 13, 708.0)
    high = float(np.float32(math.log(2.0))) if single else math.log(2.0)
    low = math.log(2.0) - high if single else 2.3190468138462996e-17
    x = emit_select_less(builder, x, _constant(shape, -limit), _constant(shape, -limit), x)
    x = emit_select_less(builder, _constant(shape, limit), x, _constant(shape, limit), x)
    shifter = _constant(shape, 1.5 * 2.0**mantissa)
    shifted = call_intrinsic(builder, "fma", x, _constant(shape, float(np.float32(1 / math.log(2.0)))), shifter)
    n = builder.fneg(builder.fsub(shifted, shifter))
    r = call_intrinsic(builder, "fma", n, _constant(shape, high), x)
    r = call_intrinsic(builder, "fma", n, _constant(shape, low), r)
    p = builder.fmul(_polynomial(builder, r, [1 / math.factorial(k) for k in range(1, terms + 1)]), r)
    integers = ir.VectorType(ir.IntType(32 if single else 64), shape.count)
    bits = builder.shl(builder.bitcast(shifted, integers), _constant(integers, mantissa))
    s = builder.bitcast(builder.add(bits, _constant(integers, bias << mantissa)), shape)
    return s, p


def _emit_exp(builder, x):
    s, p = _power_and_rest(builder, x)
    return call_intrinsic(builder, "fma", s, p, s)


def _emit_tanh(builder, x):
    # By e^2x - 1, so that a small x keeps its relative precision; beyond +-22 even float64 is at its limit.
    twice = builder.fadd(x, x)
    twice = emit_select_less(builder, twice, _constant(x.type, -44.0), _constant(x.type, -44.0), twice)
    twice = emit_select_less(builder, _constant(x.type, 44.0), twice, _constant(x.type, 44.0), twice)
    s, p = _power_and_rest(builder, twice)
    grown = call_intrinsic(builder, "fma", s, p, builder.fsub(s, _constant(x.type, 1.0)))
    return builder.fdiv(grown, builder.fadd(grown, _constant(x.type, 2.0)))


def _emit_sigmoid(builder, x):
    one = _constant(x.type, 1.0)
    return builder.fdiv(one, builder.fadd(one, _emit_exp(builder, builder.fneg(x))))


def _emit_softplus(builder, x):
    # max(x, 0) + log(1 + y), y = e^-|x|, by log(1 + y) = 2 artanh(y / (2 + y)), whose argument is at most 1/3.
    single = isinstance(x.type.element, ir.FloatType)
    zero = _constant(x.type, 0.0)
    y = _emit_exp(builder, emit_select_less(builder, zero, x, builder.fneg(x), x))
    s = builder.fdiv(y, builder.fadd(y, _constant(x.type, 2.0)))
    series = _polynomial(builder, builder.fmul(s, s), [2 / (2 * k + 1) for k in range(8 if single else 18)])
    return builder.fadd(emit_select_less(builder, zero, x, x, zero), builder.fmul(series, s))


def _emit_log(builder, x):
    # x = 2^e m with m from 1/sqrt(2) to sqrt(2), and log m = 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172.
    shape = x.type
    single = isinstance(shape.element, ir.FloatType)
    mantissa, kind, words = (23, np.float32, np.int32) if single else (52, np.float64, np.int64)
    integers = ir.VectorType(ir.IntType(32 if single else 64), shape.count)
    least = _constant(integers, int(np.array(math.sqrt(0.5), kind).view(words)))
    bits, places = builder.bitcast(x, integers), _constant(integers, mantissa)
    e = builder.ashr(builder.sub(bits, least), places)
    m = builder.bitcast(builder.sub(bits, builder.shl(e, places)), shape)
    one = _constant(shape, 1.0)
    s = builder.fdiv(builder.fsub(m, one), builder.fadd(m, one))
    series = _polynomial(builder, builder.fmul(s, s), [2 / (2 * k + 1) for k in range(5 if single else 11)])
    return call_intrinsic(
        builder, "fma", builder.sitofp(e, shape), _constant(shape, math.log(2.0)), builder.fmul(series, s)
    )


exp = elementwise(_emit_exp, "exp", 1)
"""e^x, never quite 0 or infinity: x is clipped to ±87 in float32, ±708 in float64."""
tanh = elementwise(_emit_tanh, "tanh", 1)
"""The hyperbolic tangent."""
sigmoid = elementwise(_emit_sigmoid, "sigmoid", 1)
"""1 / (1 + e^-x)."""
softplus = elementwise(_emit_softplus, "softplus", 1)
"""log(1 + e^x)."""
log = elementwise(_emit_log, "log", 1)
"""The natural logarithm of a positive number that is not subnormal."""
