"""NumPy's generator of random numbers for compiled code: it repeats the draws of MiniGrid within an episode.

PCG64 is a linear congruential generator of 128 bits with a permuted output (O'Neill 2014, HMC-CS-2014-0905). NumPy
cuts its 64 bits into two halves where 32 are enough, and keeps the second one for the next call. A generator is a
(6,) uint64 array: state (high, low), increment (high, low), whether a half is kept, and that half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memenvs.compilation import njit

_MULTIPLIER_HIGH, _MULTIPLIER_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
_HALF, _HALF_BITS = np.uint64(32), np.uint64(0xFFFFFFFF)
_NONE, _ONE, _TOP, _WORD_BITS = np.uint64(0), np.uint64(1), np.uint64(58), np.uint64(63)

STATE_HIGH, STATE_LOW, INCREMENT_HIGH, INCREMENT_LOW, KEPT, HALF = range(6)


def from_numpy(generator: np.random.Generator) -> NDArray[np.uint64]:
    """The array that goes on where a NumPy generator is, which itself stays there.

    :raises ValueError: for a generator of other bits than PCG64's
    """
    state = generator.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise ValueError(f"generator must draw from PCG64, not {state['bit_generator']}")
    words = [part for name in ("state", "inc") for part in divmod(state["state"][name], 2**64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


@njit
def integers(random, low, high):
    """The same as NumPy's ``generator.integers(low, high)`` for ``low < high``, and ``random`` moves on as it does."""
    most = np.uint64(high) - np.uint64(low) - _ONE  # the number is low and at most this
    if most == 0:
        return np.int64(low)
    if most <= _HALF_BITS:
        return np.int64(np.uint64(low) + _below_32(random, most + _ONE))
    return np.int64(np.uint64(low) + _below_64(random, most + _ONE))


@njit
def ends(random):
    """Return whether its draws come to an end: with an even increment the same rejected number could come for ever."""
    return random[INCREMENT_LOW] & _ONE == _ONE


@njit
def _next_64(random):
    high, low = _product(random[STATE_LOW], _MULTIPLIER_LOW)
    high += random[STATE_HIGH] * _MULTIPLIER_LOW + random[STATE_LOW] * _MULTIPLIER_HIGH
    low += random[INCREMENT_LOW]
    high += random[INCREMENT_HIGH] + np.uint64(low < random[INCREMENT_LOW])
    random[STATE_HIGH], random[STATE_LOW] = high, low
    turn = high >> _TOP
    mixed = high ^ low
    return mixed >> turn | mixed << ((~turn + _ONE) & _WORD_BITS)


@njit
def _next_32(random):
    if random[KEPT]:
        random[KEPT] = _NONE
        return random[HALF] & _HALF_BITS
    word = _next_64(random)
    random[KEPT] = _ONE
    random[HALF] = word >> _HALF
    return word & _HALF_BITS


@njit
def _below_32(random, n):
    """A number below n <= 2^32 (Lemire 2019, ACM TOMACS 29)."""
    scaled = _next_32(random) * n
    if scaled & _HALF_BITS < n:
        least = (_HALF_BITS + _ONE - n) % n
        while scaled & _HALF_BITS < least:
            scaled = _next_32(random) * n
    return scaled >> _HALF


@njit
def _below_64(random, n):
    """A number below n."""
    high, low = _product(_next_64(random), n)
    if low < n:
        least = (~n + _ONE) % n
        while low < least:
            high, low = _product(_next_64(random), n)
    return high


@njit
def _product(a, b):
    """The upper and the lower 64 bits of a product."""
    a_high, a_low, b_high, b_low = a >> _HALF, a & _HALF_BITS, b >> _HALF, b & _HALF_BITS
    lowest, first, second = a_low * b_low, a_high * b_low, a_low * b_high
    carried = (lowest >> _HALF) + (first & _HALF_BITS) + (second & _HALF_BITS)
    return a_high * b_high + (first >> _HALF) + (second >> _HALF) + (carried >> _HALF), a * b
