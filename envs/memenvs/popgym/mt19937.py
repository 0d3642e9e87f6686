"""The Mersenne twister for compiled code: Python's ``random`` and NumPy's legacy generator, as POPGym's mazes draw.

MT19937 (Matsumoto & Nishimura 1998, ACM TOMACS 8) gives 32 bits at a time, from 624 words that are renewed when all
have been read. Python and NumPy differ in how these words follow from a seed, and in what they make of the bits. A
generator is a (625,) uint32 array: the words, and how many have been read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memenvs.compilation import njit

WORDS, AHEAD, READ = 624, 397, 624
_BITS = np.uint64(0xFFFFFFFF)
_TOP, _REST, _TWIST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)
_FIRST_MASK, _SECOND_MASK = np.uint32(0x9D2C5680), np.uint32(0xEFC60000)
_ONE = np.uint32(1)
_S7, _S11, _S15, _S18 = (np.uint32(shift) for shift in (7, 11, 15, 18))
_S30, _S32 = np.uint64(30), np.uint32(32)
_LINEAR, _MIX, _REMIX = np.uint64(1812433253), np.uint64(1664525), np.uint64(1566083941)
_PYTHON = 19650218  # from which Python's words begin, whatever the seed


@njit
def seed_numpy(random, seed):
    """Begin as ``numpy.random.RandomState(seed)`` does, for a seed below 2^32."""
    word = np.uint64(seed)
    random[0] = word
    for place in range(1, WORDS):
        word = _LINEAR * (word ^ (word >> _S30)) + np.uint64(place) & _BITS
        random[place] = word
    random[READ] = WORDS


def _begun() -> NDArray[np.uint32]:
    """The words that Python mixes a seed into."""
    random = np.empty(WORDS + 1, np.uint32)
    word = _PYTHON
    for place in range(WORDS):
        random[place] = word
        word = (1812433253 * (word ^ (word >> 30)) + place + 1) & 0xFFFFFFFF
    return random


BEGUN = _begun()


@njit
def seed_python(random, seed):
    """Begin as ``random.Random(seed)`` does, for a seed from 0 to below 2^32."""
    seed = np.uint64(seed)
    word = np.uint64(BEGUN[0])
    for place in range(1, WORDS):
        word = ((np.uint64(BEGUN[place]) ^ ((word ^ (word >> _S30)) * _MIX)) + seed) & _BITS
        random[place] = word
    # The 624th of these steps is at place 1 once more, after which the last word stands at place 0, too.
    first = ((np.uint64(random[1]) ^ ((word ^ (word >> _S30)) * _MIX)) + seed) & _BITS
    random[1] = word = first
    for place in range(2, WORDS):
        word = ((np.uint64(random[place]) ^ ((word ^ (word >> _S30)) * _REMIX)) - np.uint64(place)) & _BITS
        random[place] = word
    random[1] = ((np.uint64(first) ^ ((word ^ (word >> _S30)) * _REMIX)) - np.uint64(1)) & _BITS
    random[0] = _TOP
    random[READ] = WORDS


@njit
def _renew(random):
    """Make the next 624 words of those there are."""
    for place in range(WORDS - AHEAD):
        random[place] = random[place + AHEAD] ^ _twisted(random[place], random[place + 1])
    for place in range(WORDS - AHEAD, WORDS - 1):
        random[place] = random[place + AHEAD - WORDS] ^ _twisted(random[place], random[place + 1])
    random[WORDS - 1] = random[AHEAD - 1] ^ _twisted(random[WORDS - 1], random[0])


@njit
def _twisted(word, following):
    mixed = (np.uint32(word) & _TOP) | (np.uint32(following) & _REST)
    return np.uint32(mixed >> _ONE) ^ np.uint32(_TWIST * np.uint32(mixed & _ONE))


@njit
def bits_32(random):
    """The next 32 random bits."""
    place = random[READ]
    if place >= WORDS:
        _renew(random)
        place = 0
    random[READ] = place + 1
    word = np.uint32(random[place])
    word = np.uint32(word ^ (word >> _S11))
    word = np.uint32(word ^ ((word << _S7) & _FIRST_MASK))
    word = np.uint32(word ^ ((word << _S15) & _SECOND_MASK))
    return np.uint32(word ^ (word >> _S18))


@njit
def below(random, n):
    """An integer below ``n`` < 2^32, as Python's ``randrange`` and ``choice`` draw it."""
    length = 0
    while n >> length:
        length += 1
    shift = _S32 - np.uint32(length)
    number = bits_32(random) >> shift
    while number >= n:
        number = bits_32(random) >> shift
    return np.int64(number)


@njit
def to(random, most):
    """An integer from 0 to ``most`` < 2^32, as NumPy's legacy ``shuffle`` draws it; 0 takes no bits."""
    if most == 0:
        return np.int64(0)
    mask = most
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    number = np.int64(bits_32(random)) & mask
    while number > most:
        number = np.int64(bits_32(random)) & mask
    return number


@njit
def shuffle(random, values, n):
    """Put the first ``n`` values into a random order, as NumPy's legacy ``shuffle`` does with a list."""
    for place in range(n - 1, 0, -1):
        other = to(random, place)
        values[place], values[other] = values[other], values[place]


@njit
def skip_below(random, n, count):
    """Leave out the next ``count`` integers that :func:`below` would draw."""
    length = 0
    while n >> length:
        length += 1
    shift = _S32 - np.uint32(length)
    while count > 0:
        count -= (bits_32(random) >> shift) < n
