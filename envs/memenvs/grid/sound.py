"""Checks of records from a snapshot: every index and loop of a MiniGrid level must be safe with them."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.grid.cells import (
    BOX,
    CONTENT_AT,
    DOOR,
    EMPTY,
    GREY,
    LAVA,
    LOCKED,
    colour_of,
    kind_of,
    may_be_carried,
    state_of,
)
from memenvs.grid.pools import digest
from memenvs.grid.records import MOST_LINES, OBSTACLES_RULE
from memenvs.grid.view import survey
from memenvs.pcg64 import ends


@njit
def sound(params, state, level):
    if not 0 <= level.number < params.levels or level.max_steps != params.max_steps:
        return False
    which = params.which[level.number]
    if which < 0 or not same_level(params.records[which], level):
        return False
    width, height = level.width, level.height
    if not (0 < state.x < width - 1 and 0 < state.y < height - 1 and 0 <= state.direction <= 3):
        return False
    if not 0 <= state.steps <= level.max_steps:
        return False
    if state.carried != 0 and not (is_cell(state.carried) and may_be_carried(state.carried)):
        return False
    for i in range(width * height):
        if not is_cell(state.cells[i]):
            return False
    rows, columns = np.zeros(MOST_LINES, np.uint64), np.zeros(MOST_LINES, np.uint64)
    survey(state.cells, width, height, rows, columns)
    if not (same(rows, state.rows, height) and same(columns, state.columns, width)):
        return False
    if level.rule != OBSTACLES_RULE:
        return True
    for i in range(level.moving):
        if not (0 < state.obstacles[i, 0] < width - 1 and 0 < state.obstacles[i, 1] < height - 1):
            return False
    return ends(state.random)


@njit
def same_level(source, level):
    """Return whether a level is the one of the pool that it says it is; steps are counted apart."""
    if level.width != source.width or level.height != source.height or level.rule != source.rule:
        return False
    if level.through_walls != source.through_walls or level.wanted != source.wanted or level.moving != source.moving:
        return False
    if not (same(source.target, level.target, 2) and same(source.other, level.other, 2)):
        return False
    if not (same(source.rows, level.rows, level.height) and same(source.columns, level.columns, level.width)):
        return False
    if level.rule == OBSTACLES_RULE:
        for i in range(level.moving):
            if not same(source.obstacles[i], level.obstacles[i], 2):
                return False
        if not same(source.random, level.random, level.random.size):
            return False
    return digest(source) == digest(level)


@njit
def same(first, second, n):
    """Return whether the first n numbers of two arrays are equal."""
    equal = True
    for i in range(n):
        equal &= first[i] == second[i]
    return equal


@njit
def is_cell(cell):
    """Return whether a number is a cell that can be."""
    kind, content = kind_of(cell), np.int64(cell) >> CONTENT_AT
    good = (kind >= EMPTY) & (kind <= LAVA) & (colour_of(cell) <= GREY)
    good &= (state_of(cell) == 0) | ((kind == DOOR) & (state_of(cell) <= LOCKED))
    return good & ((content == 0) | ((kind == BOX) & may_be_carried(content) & (colour_of(content) <= GREY)))
