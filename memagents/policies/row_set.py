"""A set of rows of bytes, each with the number of its first appearance; compiled by Numba."""

from __future__ import annotations

import functools

import numpy as np

from memagents.compilation import njit

_SLOTS_PER_ROW = 4  # of the table of hashes: then a search ends after one or two looks
_FREE = -1


class RowSet:
    """Different rows of ``size`` bytes, numbered from 0 on as they come.

    :param size: bytes of a row
    :param capacity: different rows that there is room for
    """

    def __init__(self, size: int, capacity: int):
        self.count, self.capacity = 0, capacity
        self._rows = np.empty((capacity, size), np.uint8)
        self._table = np.full(1 << (_SLOTS_PER_ROW * capacity - 1).bit_length(), _FREE, np.int32)
        self._weights = _weights(size)

    def has_room(self, rows: int) -> bool:
        """Return whether so many more can be added, be they all different."""
        return self.count + rows <= self.capacity

    def add(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take rows (B, size) of bytes.

        :return: their numbers (B,), and where among them the new ones are, in the order of their numbers
        """
        numbers, new = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        before = self.count
        self.count = _add(rows, self._rows, before, self._table, self._weights, numbers, new)
        return numbers, new[: self.count - before]


@functools.cache
def _weights(size: int) -> np.ndarray:
    """Return the weights of a row's bytes in its hash."""
    return np.random.default_rng(0).integers(2**64, size=size, dtype=np.uint64)


@njit
def _add(rows, known, count, table, weights, numbers, new):
    mask, before = len(table) - 1, count
    for r in range(len(rows)):
        mixed = np.uint64(0)
        for i in range(rows.shape[1]):
            mixed += weights[i] * np.uint64(rows[r, i])
        # The low bits of a product know only the low bits of its factors.
        slot = np.int64(mixed >> np.uint64(20)) & mask
        while table[slot] != _FREE and _differ(known[table[slot]], rows[r]):
            slot = (slot + 1) & mask
        if table[slot] == _FREE:
            table[slot] = count
            known[count] = rows[r]
            new[count - before] = r
            count += 1
        numbers[r] = table[slot]
    return count


@njit
def _differ(one, other):
    different = np.uint8(0)
    for i in range(len(one)):  # to the end, so that many bytes are compared at once
        different |= one[i] ^ other[i]
    return different != 0
