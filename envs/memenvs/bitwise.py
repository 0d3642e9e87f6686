"""The bits of a machine word, for compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from memenvs.compilation import njit

intrinsic: Any = numba_intrinsic  # its own type wants from a caller what only Numba passes

_ONE = np.uint64(1)


@njit
def ones(word):
    """Return the number of ones in a uint64."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit
def place_of_one(word, number):
    """The place of the 1 number ``number`` in a uint64, from the lowest."""
    for _ in range(number):
        word &= word - _ONE
    return ones((word & (~word + _ONE)) - _ONE)


@intrinsic
def trailing_zeros(context, word):
    """The processor's own count of the zeros below the lowest 1."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), generate


trailing_zeros.plain = lambda word: np.uint64((int(word) & -int(word)).bit_length() - 1)  # for interpreted code


@njit
def lowest(word):
    """The place of the lowest 1 of a uint64 that has one."""
    return trailing_zeros(word)


@intrinsic
def wide_product(context, a, b):
    """The upper and the lower 64 bits of the product of two uint64."""

    def generate(context, builder, signature, arguments):
        double = ir.IntType(128)
        product = builder.mul(*(builder.zext(factor, double) for factor in arguments))
        upper = builder.lshr(product, ir.Constant(double, 64))
        halves = [builder.trunc(half, arguments[0].type) for half in (upper, product)]
        return context.make_tuple(builder, signature.return_type, halves)

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), generate


wide_product.plain = lambda a, b: tuple(map(np.uint64, divmod(int(a) * int(b), 2**64)))  # for interpreted code
