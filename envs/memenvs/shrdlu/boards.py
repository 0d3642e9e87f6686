"""Boards in compiled code: nine cells, column by column and each from the bottom, with the number of a block or 0."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.shrdlu.tables import AT_LEFT, COLUMNS, HEIGHT, MOVES, ON_TOP

CELLS = COLUMNS * HEIGHT
LEFT_OF, RIGHT_OF, ABOVE, BELOW = range(1, 5)  # relations of a block to the next one there; 0 is none
RELATIONS = ("", "left of", "right of", "above", "below")
PASS = len(MOVES)  # the action
SOURCES = np.array([i for i, _ in MOVES] + [-1])
DESTINATIONS = np.array([j for _, j in MOVES] + [-1])


@njit
def height(cells, column):
    """Return the number of blocks in a column."""
    blocks = 0
    while blocks < HEIGHT and cells[column * HEIGHT + blocks] > 0:
        blocks += 1
    return blocks


@njit
def possible(cells, action):
    """Return whether a move can be made; a pass always can."""
    return action == PASS or (height(cells, SOURCES[action]) > 0 and height(cells, DESTINATIONS[action]) < HEIGHT)


@njit
def move(cells, action):
    """Make a move that is possible."""
    if action != PASS:
        carry(cells, SOURCES[action], DESTINATIONS[action])


@njit
def take_back(cells, action):
    """Take back a move that was just made."""
    if action != PASS:
        carry(cells, DESTINATIONS[action], SOURCES[action])


@njit
def carry(cells, source, destination):
    """Put the top block of one column on another."""
    top = source * HEIGHT + height(cells, source) - 1
    cells[destination * HEIGHT + height(cells, destination)] = cells[top]
    cells[top] = 0


@njit
def undoes(action, last):
    """Return whether a move takes back the last one, which may be -1 for none."""
    return last >= 0 and SOURCES[action] == DESTINATIONS[last] and DESTINATIONS[action] == SOURCES[last]


@njit
def fact_of(constraint):
    """Return the meaning of a constraint (a block, a relation, another block): its fact and its two blocks."""
    first, relation, second = constraint[0], constraint[1], constraint[2]
    if relation in (RIGHT_OF, BELOW):
        first, second = second, first
    return ON_TOP if relation in (ABOVE, BELOW) else AT_LEFT, first, second


@njit
def holds(cells, constraint):
    """Return whether a constraint is satisfied."""
    fact, first, second = fact_of(constraint)
    place, other = 0, 0
    for cell in range(CELLS):
        if cells[cell] == first:
            place = cell
        if cells[cell] == second:
            other = cell
    if fact == AT_LEFT:
        return other == place + HEIGHT
    return place == other + 1 and place % HEIGHT > 0


@njit
def is_board(cells, blocks):
    """Return whether the cells hold the blocks 1 to ``blocks``, each once and none above a hole."""
    seen = 0
    for column in range(COLUMNS):
        for h in range(HEIGHT):
            block = cells[column * HEIGHT + h]
            if block == 0:
                continue
            if not 0 < block <= blocks or h >= height(cells, column) or (seen >> block) & 1:
                return False
            seen |= 1 << block
    return seen == (2 << blocks) - 2
