"""Checks of records from a snapshot: every index and loop of a maze must be safe with them."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.grid.cells import lets_pass
from memenvs.grid.view import survey
from memenvs.maze.dynamics import pose
from memenvs.maze.search import UNREACHED, search

_ONE = np.uint64(1)


@njit
def sound(params, state, level):
    return sound_level(params, level) and sound_state(state, level)


@njit
def sound_level(params, level):
    """Return whether a maze is closed, its bits are those of its cells, and the goals lie in it."""
    size = np.int64(level.size)
    if not params.low <= size <= params.high or size % 2 == 0:
        return False
    if level.goals != params.goals or level.trials != params.trials or level.max_steps <= 0:
        return False
    rows, columns = np.empty(size, np.uint64), np.empty(size, np.uint64)
    survey(level.cells[:], size, size, rows, columns)
    closed = not (rows[0] | columns[0] | rows[size - 1] | columns[size - 1])
    if not (closed and np.array_equal(rows, level.rows[:size]) and np.array_equal(columns, level.columns[:size])):
        return False
    good = True
    for place in range(size * size):
        good &= lets_pass(level.cells[place]) == is_free(level, place % size, place // size)
    for goal in range(level.goals):
        good &= is_free(level, level.places[goal, 0], level.places[goal, 1])
    return good


@njit
def is_free(level, x, y):
    """Return whether a cell lies in the maze and is free."""
    inside = (min(x, y) >= 0) & (max(x, y) < level.size)
    return inside and (level.rows[y] >> np.uint64(x)) & _ONE != 0


@njit
def sound_state(state, level):
    """Return whether the agent stands in a sound maze, and the ways to the goal are as they should be."""
    if not is_free(level, state.x, state.y) or not 0 <= state.direction < 4:
        return False
    if not 0 <= state.wanted < level.goals or not 0 <= state.found <= 1:
        return False
    goal = level.places[state.wanted]
    to_goal, places = np.empty(state.to_goal.size, np.int16), np.empty(state.places.size, np.int16)
    far, free = search(level.rows[:], level.size, goal[0], goal[1], level.size // 2, to_goal, places)
    poses = 4 * level.size * level.size
    return (
        state.far == far < free == state.free
        and np.array_equal(goal, state.goal)
        and to_goal[pose(state, level)] != UNREACHED
        and np.array_equal(to_goal[:poses], state.to_goal[:poses])
        and np.array_equal(places[:free], state.places[:free])
    )
