"""Fewest steps to a goal from everywhere in a maze, for an agent that turns and goes forward."""

from __future__ import annotations

import numpy as np

from memenvs.bitwise import lowest
from memenvs.compilation import njit

UNREACHED, BLOCKED = np.int16(-1), np.int16(32767)
_ONE, _TWO, _THREE, _FOUR = (np.uintp(number) for number in (1, 2, 3, 4))


@njit
def search(rows, size, x, y, near, steps, places):
    """Search backwards from a goal, breadth first.

    :param rows: which cells are free, as bits; those of the border are not
    :param x: of the goal, as y
    :param near: a number of steps
    :param steps: written: fewest steps to the goal from each cell and direction, at ``4 * cell + direction``
    :param places: written: the cells from which there is a way to the goal, in the order of the fewest steps from the
        best direction, without the goal
    :return: the number of these cells that are less than ``near`` steps away, and their number in all
    """
    side = np.uintp(size)
    steps[: 4 * size * size] = BLOCKED
    for row in range(size):
        free, first = rows[row], _FOUR * side * np.uintp(row)
        while free:
            at = first + _FOUR * lowest(free)
            free &= free - _ONE
            for direction in range(4):
                steps[at + np.uintp(direction)] = UNREACHED
    queue = np.empty(_FOUR * side * side, np.int16)
    goal = _FOUR * (np.uintp(y) * side + np.uintp(x))
    for direction in range(4):
        steps[goal + np.uintp(direction)] = 0
        queue[np.uintp(direction)] = goal + np.uintp(direction)
    head, tail, count, nearer = np.uintp(0), _FOUR, np.uintp(0), np.uintp(0)
    while head < tail:
        pose = np.uintp(queue[head])
        head += _ONE
        distance = np.int16(steps[pose] + 1)
        cell, looking = pose & ~_THREE, pose & _THREE
        # Stores that no branch guards: what cannot be predicted costs more.
        for turn in (_ONE, _THREE):
            turned = cell | ((looking + turn) & _THREE)
            new = steps[turned] == UNREACHED
            queue[tail] = turned
            tail += np.uintp(new)
            steps[turned] = distance if new else steps[turned]
        way = side if looking & _ONE else _ONE
        behind = pose + _FOUR * (way if looking & _TWO else np.uintp(0) - way)
        new = steps[behind] == UNREACHED
        cell = behind & ~_THREE
        first = new & ((steps[cell] & steps[cell + _ONE] & steps[cell + _TWO] & steps[cell + _THREE]) == UNREACHED)
        queue[tail] = behind
        tail += np.uintp(new)
        steps[behind] = distance if new else steps[behind]
        places[count] = cell >> _TWO
        count += np.uintp(first)
        nearer += np.uintp(first & (distance < near))
    return np.int64(nearer), np.int64(count)
