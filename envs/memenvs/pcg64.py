"""NumPy's generator of random numbers for compiled code: it repeats the draws of environments that were written for it.

PCG64 is a linear congruential generator of 128 bits with a permuted output (O'Neill 2014, HMC-CS-2014-0905). NumPy
cuts its 64 bits into two halves where 32 are enough, and keeps the second one for the next call. A generator is a
(6,) uint64 array: state (high, low), increment (high, low), whether a half is kept, and that half.
"""

from __future__ import annotations

import math

import numpy as np
from numba.np.random import _constants as ziggurat
from numpy.typing import NDArray

from memenvs.bitwise import wide_product
from memenvs.compilation import njit

_MULTIPLIER_HIGH, _MULTIPLIER_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
_HALF, _HALF_BITS = np.uint64(32), np.uint64(0xFFFFFFFF)
_NONE, _ONE, _TOP, _WORD_BITS = np.uint64(0), np.uint64(1), np.uint64(58), np.uint64(63)
_S8, _S9, _S11 = np.uint64(8), np.uint64(9), np.uint64(11)
_DOUBLE, _FLOAT = 2.0**-53, np.float32(2.0**-24)
# The tables of NumPy's normals, by the ziggurat (Marsaglia & Tsang 2000): widths, what lies surely inside, heights.
_WIDTHS, _INSIDE, _HEIGHTS = ziggurat.wi_double, ziggurat.ki_double, ziggurat.fi_double
_TAIL, _INVERSE_OF_TAIL = ziggurat.ziggurat_nor_r, ziggurat.ziggurat_nor_inv_r
_LAYER_BITS, _MANTISSA_BITS = np.uint64(0xFF), np.uint64(0x000FFFFFFFFFFFFF)

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
def seeded(random, seed):
    """Begin as NumPy's ``PCG64(seed)`` does, for a seed of up to 64 bits."""
    state_high, state_low, increment_high, increment_low = _seed_words(np.uint64(seed))
    random[INCREMENT_HIGH] = increment_high << _ONE | increment_low >> _WORD_BITS
    random[INCREMENT_LOW] = increment_low << _ONE | _ONE
    random[STATE_HIGH], random[STATE_LOW] = random[INCREMENT_HIGH], random[INCREMENT_LOW]  # one step from 0
    low = random[STATE_LOW] + state_low
    random[STATE_HIGH] += state_high + np.uint64(low < state_low)
    random[STATE_LOW] = low
    _next_64(random)
    random[KEPT] = random[HALF] = _NONE


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
def double(random):
    """The same as ``generator.random()``: a float64 from 0 to below 1."""
    return np.float64(_next_64(random) >> _S11) * _DOUBLE


@njit
def float32(random):
    """The same as ``generator.random(dtype=np.float32)``, of which an array is drawn number by number."""
    return np.float32(_next_32(random) >> _S8) * _FLOAT


@njit
def normal(random):
    """The same as ``generator.standard_normal()``."""
    while True:
        word = _next_64(random)
        layer, negative = word & _LAYER_BITS, word >> _S8 & _ONE
        mantissa = word >> _S9 & _MANTISSA_BITS
        x = np.float64(mantissa) * _WIDTHS[layer]
        if negative:
            x = -x
        if mantissa < _INSIDE[layer]:
            return x
        if layer == _NONE:
            return _tail(random, mantissa)
        height = _HEIGHTS[layer]
        if (_HEIGHTS[layer - _ONE] - height) * double(random) + height < math.exp(-0.5 * x * x):
            return x


@njit
def shuffle(random, array):
    """The same as ``generator.shuffle(array)`` for an array of one axis with less than 2^32 entries.

    From the last place on, each changes with one before it or itself, a number of so many bits, of which those that are
    too large are rejected. Here such a round lets a place change with itself: a processor that guesses wrong at every
    third number would lose far more.
    """
    last = np.uint64(max(array.size, 1) - 1)
    high, low, kept, half = random[STATE_HIGH], random[STATE_LOW], random[KEPT], random[HALF]
    increment_high, increment_low = random[INCREMENT_HIGH], random[INCREMENT_LOW]
    mask = _ONE
    while mask < last:
        mask += mask + _ONE
    while last > _NONE:
        shorter = mask >> _ONE
        while last > shorter:
            if kept:
                word = half
            else:
                high, low = _moved(high, low, increment_high, increment_low)
                word = _permuted(high, low)
                half = word >> _HALF
            kept ^= _ONE
            number = word & mask
            taken = number <= last
            other = number if taken else last
            array[last], array[other] = array[other], array[last]
            last -= np.uint64(taken)
        mask = shorter
    random[STATE_HIGH], random[STATE_LOW], random[KEPT], random[HALF] = high, low, kept, half


@njit
def ends(random):
    """Return whether its draws come to an end: with an even increment the same rejected number could come for ever."""
    return random[INCREMENT_LOW] & _ONE == _ONE


@njit
def _moved(high, low, increment_high, increment_low):
    """The state after this one."""
    product_high, product_low = wide_product(low, _MULTIPLIER_LOW)
    product_high += high * _MULTIPLIER_LOW + low * _MULTIPLIER_HIGH
    product_low += increment_low
    return product_high + increment_high + np.uint64(product_low < increment_low), product_low


@njit
def _permuted(high, low):
    """The output of a state."""
    turn, mixed = high >> _TOP, high ^ low
    return mixed >> turn | mixed << ((~turn + _ONE) & _WORD_BITS)


@njit
def _next_64(random):
    high, low = _moved(random[STATE_HIGH], random[STATE_LOW], random[INCREMENT_HIGH], random[INCREMENT_LOW])
    random[STATE_HIGH], random[STATE_LOW] = high, low
    return _permuted(high, low)


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
    high, low = wide_product(_next_64(random), n)
    if low < n:
        least = (~n + _ONE) % n
        while low < least:
            high, low = wide_product(_next_64(random), n)
    return high


@njit
def _tail(random, mantissa):
    """A normal beyond the lowest layer of the ziggurat; a bit of the mantissa is its sign."""
    while True:
        x = -_INVERSE_OF_TAIL * math.log1p(-double(random))
        y = -math.log1p(-double(random))
        if y + y > x * x:
            return -(_TAIL + x) if mantissa >> _S8 & _ONE else _TAIL + x


# --- NumPy's SeedSequence, which makes of a seed the words that a generator begins with ---

_SHIFT = np.uint64(16)
_MIX_LEFT, _MIX_RIGHT = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
_POOL_FIRST, _POOL_FACTOR = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
_WORDS_FIRST, _WORDS_FACTOR = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)


@njit
def _hashed(value, constant, factor):
    """A hash of 32 bits, and the constant of the next one."""
    value ^= constant
    constant = constant * factor & _HALF_BITS
    value = value * constant & _HALF_BITS
    return value ^ value >> _SHIFT, constant


@njit
def _mixed(x, y):
    mixed = (_MIX_LEFT * x - _MIX_RIGHT * y) & _HALF_BITS
    return mixed ^ mixed >> _SHIFT


@njit
def _pooled(into, value, constant):
    """A word of the pool with the hash of another one mixed into it, and the next constant."""
    value, constant = _hashed(value, constant, _POOL_FACTOR)
    return _mixed(into, value), constant


@njit
def _seed_words(seed):
    """Return ``SeedSequence(seed).generate_state(4, np.uint64)``. In scalars, which stay in the processor."""
    a, constant = _hashed(seed & _HALF_BITS, _POOL_FIRST, _POOL_FACTOR)
    b, constant = _hashed(seed >> _HALF, constant, _POOL_FACTOR)
    c, constant = _hashed(_NONE, constant, _POOL_FACTOR)
    d, constant = _hashed(_NONE, constant, _POOL_FACTOR)
    b, constant = _pooled(b, a, constant)
    c, constant = _pooled(c, a, constant)
    d, constant = _pooled(d, a, constant)
    a, constant = _pooled(a, b, constant)
    c, constant = _pooled(c, b, constant)
    d, constant = _pooled(d, b, constant)
    a, constant = _pooled(a, c, constant)
    b, constant = _pooled(b, c, constant)
    d, constant = _pooled(d, c, constant)
    a, constant = _pooled(a, d, constant)
    b, constant = _pooled(b, d, constant)
    c, constant = _pooled(c, d, constant)
    first, constant = _word(a, b, _WORDS_FIRST)
    second, constant = _word(c, d, constant)
    third, constant = _word(a, b, constant)
    fourth, _ = _word(c, d, constant)
    return first, second, third, fourth


@njit
def _word(lower, upper, constant):
    """64 bits of two words of the pool, and the next constant."""
    lower, constant = _hashed(lower, constant, _WORDS_FACTOR)
    upper, constant = _hashed(upper, constant, _WORDS_FACTOR)
    return upper << _HALF | lower, constant
