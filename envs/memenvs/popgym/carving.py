"""The mazes of POPGym's labyrinths, from the seed: those of mazelib's "hunt and kill", with the very same draws.

Rooms lie at odd places of the grid. A walk goes from room to room and takes away the wall between them, always into one
that is closed yet, until there is none beside it. Then another room is drawn and walked from, if it is open already, as
often as the grid has squares. Python's generator draws rooms, ways and entrances; NumPy's legacy generator shuffles the
ways before one is drawn.
"""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.popgym.mt19937 import WORDS, below, seed_numpy, seed_python, shuffle, skip_below

FREE, WALL, START, GOAL = range(4)

# The ways to a neighbouring square, in the order in which mazelib lists them: up, down, left, right.
_DOWN, _ACROSS = np.array([-1, 1, 0, 0]), np.array([0, 0, -1, 1])


@njit
def carve(seed, size, grid, start, end):
    """Draw a maze and its two entrances.

    :param seed: from 0 to below 2^32
    :param size: the odd side of the maze
    :param grid: written in its first ``size`` rows and columns: FREE or WALL; both entrances are walls as yet
    :param start: written: (row, column) in an outer wall
    :param end: written: (row, column) in the opposite wall
    """
    random, shuffling = np.empty(WORDS + 1, np.uint32), np.empty(WORDS + 1, np.uint32)
    seed_python(random, seed)
    seed_numpy(shuffling, seed)
    grid[:size, :size] = WALL
    rooms = size // 2
    row, column = 1 + 2 * below(random, rooms), 1 + 2 * below(random, rooms)
    grid[row, column] = FREE
    closed, hunts = rooms * rooms - 1, size * size
    while True:
        if grid[row, column] == FREE:
            closed -= _walk(random, shuffling, size, grid, row, column)
        if hunts == 0 or closed == 0:
            break
        hunts -= 1
        row, column = 1 + 2 * below(random, rooms), 1 + 2 * below(random, rooms)
    skip_below(random, rooms, 2 * hunts)  # walks from nowhere to nowhere
    side, last = below(random, 4), size - 1
    first, second = 1 + 2 * below(random, rooms), 1 + 2 * below(random, rooms)
    near, far = (0, last) if side % 2 == 0 else (last, 0)
    if side < 2:
        start[0], start[1], end[0], end[1] = near, first, far, second
    else:
        start[0], start[1], end[0], end[1] = first, near, second, far


@njit
def _walk(random, shuffling, size, grid, row, column):
    """Walk from an open room as long as there is a closed one beside it, and return how many were opened."""
    ways, opened = np.empty(4, np.int64), 0
    while True:
        n = 0
        for way in range(4):
            other_row, other_column = row + 2 * _DOWN[way], column + 2 * _ACROSS[way]
            inside = min(other_row, other_column) > 0 and max(other_row, other_column) < size
            if inside and grid[other_row, other_column] == WALL:
                ways[n] = way
                n += 1
        if n == 0:
            return opened
        shuffle(shuffling, ways, n)
        way = ways[below(random, n)]
        grid[row + _DOWN[way], column + _ACROSS[way]] = FREE
        row, column = row + 2 * _DOWN[way], column + 2 * _ACROSS[way]
        grid[row, column] = FREE
        opened += 1
