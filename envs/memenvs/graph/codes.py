"""The names of an episode: a code for every station and a label for every exit."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import CODES, FOLLOWING, LABEL
from memenvs.random import advance, between, integer

_ZERO, _ONE, _SIX, _LOW = np.uint64(0), np.uint64(1), np.uint64(6), np.uint64(63)


@njit
def draw_names(params, key, level):
    """Give every station a code of its own and every exit a label that no other exit of its station has.

    :return: the next key
    """
    used = np.zeros(CODES // 64 + 1, np.uint64)
    by_station = not params.by_line and params.labels > 0
    for u in range(level.stations):
        key, level.codes[u] = draw_unused(key, CODES, used)
        if by_station:
            key = draw_labels(level, key, u, params.labels)
    if by_station:
        return key
    used[:] = _ZERO
    size = np.int64(params.ways if params.by_line else level.stations)
    if params.label_codes[0] > 0:
        key = advance(key)
        size = between(key, params.label_codes)
    alphabet = np.empty(size, np.int16)
    for i in range(alphabet.size):
        key, alphabet[i] = draw_unused(key, params.labels if params.labels > 0 else CODES, used)
    if params.by_line:
        for edge in range(level.edges):
            level.links[edge, LABEL] = alphabet[level.ways[edge]]
        return key
    for u in range(level.stations):
        key = draw_labels_from(level, key, u, alphabet)
    return key


@njit
def draw_unused(key, n, used):
    """A number from 0 to n - 1 that was not drawn before, as the bits ``used`` say.

    :return: the next key and the number
    """
    while True:
        key = advance(key)
        number = np.uint64(integer(key, n))
        bit = _ONE << (number & _LOW)
        if used[number >> _SIX] & bit == _ZERO:
            used[number >> _SIX] |= bit
            return key, np.int64(number)


@njit
def draw_labels(level, key, station, labels):
    """Label the exits of a station with different numbers below ``labels``, of which there are 64 at most."""
    used = _ZERO
    edge = level.first[station]
    while edge >= 0:
        key = advance(key)
        label = integer(key, labels)
        bit = _ONE << np.uint64(label)
        if used & bit == _ZERO:
            used |= bit
            level.links[edge, LABEL] = label
            edge = level.links[edge, FOLLOWING]
    return key


@njit
def draw_labels_from(level, key, station, alphabet):
    """Label the exits of a station with different numbers out of an alphabet."""
    edge = level.first[station]
    while edge >= 0:
        key = advance(key)
        label = alphabet[integer(key, alphabet.size)]
        fresh = True
        other = level.first[station]
        while other != edge:
            fresh &= level.links[other, LABEL] != label
            other = level.links[other, FOLLOWING]
        if fresh:
            level.links[edge, LABEL] = label
            edge = level.links[edge, FOLLOWING]
    return key
