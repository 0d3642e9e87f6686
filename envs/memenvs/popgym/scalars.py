"""What NumPy makes of single floats, where compiled code would give another last bit or take long."""

from __future__ import annotations

import math

import numpy as np

from memenvs.compilation import njit

TURN = 2 * math.pi
# A turn in two parts: multiples of the first one, of 45 bits, are exact, and so is what they leave of an angle.
_LONG = math.ldexp(math.floor(math.ldexp(TURN, 42)), -42)
_SHORT = TURN - _LONG
_FAR = 128.0  # up to which they are
_SPLIT = 2.0**27 + 1
_DOUBT = 0.1 * 2.0**-53  # as a share of a square at least a twentieth of its last bit
_DOUBT_32 = 0.04 * 2.0**-24  # of a float32 at least a fiftieth
_TINY, _TINY_32 = 1e-140, 1e-15  # below it the rest of a square is not exact, or the square itself is not


@njit
def squared(x):
    """``x ** 2`` of a finite number: the C library's ``pow``, now and then another last bit than ``x * x``.

    Its error is at most 0.54 of a last bit (so glibc says of its own), so that it gives the product where the exact
    square is not near the middle between two floats; only there it is called.
    """
    product = x * x
    shifted = _SPLIT * x
    high = shifted - (shifted - x)
    low = x - high
    rest = ((high * high - product) + 2.0 * high * low) + low * low  # of the exact square (Dekker 1971)
    doubt = _DOUBT * product
    if abs(x) > _TINY and product + (rest - doubt) == product and product + (rest + doubt) == product:
        return product
    return _power(x, 2.0 + 0.0 * x)


@njit
def squared_32(x):
    """The same for a float32.

    Of all numbers from 1e-15 to 2 the C library's square was, in glibc, off by at most 0.502 of a last bit.
    """
    exact = np.float64(x) * np.float64(x)
    product, doubt = np.float32(exact), _DOUBT_32 * exact
    if abs(x) > _TINY_32 and np.float32(exact - doubt) == product and np.float32(exact + doubt) == product:
        return product
    return np.float32(_power(x, np.float32(2.0) + np.float32(0.0) * x))


@njit
def _power(x, exponent):
    """A power whose exponent the compiler does not know, else it would make a product of a square."""
    return x**exponent


@njit
def within_turn(angle):
    """``angle % (2 * math.pi)``, as it is in Python and NumPy."""
    size = abs(angle)
    if not size < _FAR:
        return angle % TURN
    turns = np.floor(size * (1.0 / TURN))
    rest = (size - turns * _LONG) - turns * _SHORT
    rest = rest + TURN if rest < 0.0 else rest
    rest = rest - TURN if rest >= TURN else rest
    return rest if angle >= 0.0 else TURN - rest if rest > 0.0 else 0.0
