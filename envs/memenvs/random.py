"""Random numbers for compiled code: SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), a counter and a hash.

A key is a ``uint64``. ``key = advance(key)`` moves to the next draw, ``integer(key, n)`` or ``uniform(key)`` reads it,
and ``fold(key, index)`` gives an independent stream. A state that carries its key carries all of its randomness.
"""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit

# With a plain integer Numba makes an expression of uint64 a signed one, whose shifts and remainders are others.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STREAM = np.uint64(0xD1B54A32D192ED03)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = (np.uint64(shift) for shift in (27, 30, 31, 32))
_S40, _FINE = np.uint64(40), np.float32(2.0**-24)


@njit
def bits(key):
    """The 64 random bits of a key: SplitMix64's finaliser."""
    key = np.uint64(key)
    key = (key ^ (key >> _S30)) * _FIRST
    key = (key ^ (key >> _S27)) * _SECOND
    return key ^ (key >> _S31)


@njit
def advance(key):
    """The next key."""
    return np.uint64(key) + _GOLDEN


@njit
def fold(key, index):
    """The key of the stream number ``index`` below ``key``."""
    return bits(np.uint64(key) + _STREAM * (np.uint64(index) + np.uint64(1)))


@njit
def integer(key, n):
    """An integer from 0 to n - 1. The upper 32 bits scaled: its bias is below n / 2^32."""
    return np.int64(((bits(key) >> _S32) * np.uint64(n)) >> _S32)


@njit
def between(key, pair):
    """An integer from ``pair[0]`` to ``pair[1]``."""
    return pair[0] + integer(key, pair[1] - pair[0] + 1)


@njit
def uniform(key):
    """A float32 from 0 to below 1, a multiple of 2^-24."""
    return np.float32(bits(key) >> _S40) * _FINE


@njit
def permute(key, values, n):
    """Write 0 to n - 1 in a random order into the first places of ``values``.

    :return: the next key
    """
    for place in range(n):
        key = advance(key)
        other = integer(key, place + 1)
        values[place] = values[other]
        values[other] = place
    return key
