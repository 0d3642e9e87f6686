"""The bits of a machine word, for compiled code."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit

_ONE = np.uint64(1)

# Leiserson, Prokop & Randall (1998): a product with a de Bruijn sequence has another top for each power of two.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACES = np.zeros(64, np.uint8)
for _place in range(64):
    _PLACES[((int(_DE_BRUIJN) << _place) & (2**64 - 1)) >> 58] = _place


@njit
def ones(word):
    """How many bits of a uint64 are 1."""
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


@njit
def lowest(word):
    """The place of the lowest 1 of a uint64 that has one."""
    return np.uint64(_PLACES[((word & (~word + _ONE)) * _DE_BRUIJN) >> np.uint64(58)])
