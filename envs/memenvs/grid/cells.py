"""A cell of a grid world as one number, in MiniGrid's own codes (Chevalier-Boisvert et al. 2023, arXiv:2306.13831).

From the lowest bit: four bits of the object's type, three of its colour, two of its state, and seven for what a box
holds, which is that object's type and colour. A grid is a flat array of such numbers, row after row: the cell at column
x and row y of a grid of some width is number ``y * width + x``.
"""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit

UNSEEN, EMPTY, WALL, FLOOR, DOOR, KEY, BALL, BOX, GOAL, LAVA = range(10)
AGENT = 10  # where the whole grid is shown
RED, GREEN, BLUE, PURPLE, YELLOW, GREY = range(6)
OPEN, CLOSED, LOCKED = range(3)

TYPES = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava")
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")

RIGHT, DOWN, LEFT, UP = range(4)  # directions

CELL = np.uint16
COLOUR_AT, STATE_AT, CONTENT_AT = 4, 7, 9  # bits


@njit
def cell(kind, colour=0, state=0, content=0):
    """Return the number of a cell; ``content`` is the number of the object in a box."""
    return kind | colour << COLOUR_AT | state << STATE_AT | content << CONTENT_AT


@njit
def kind_of(cell):
    """Return the type of a cell."""
    return cell & 15


@njit
def colour_of(cell):
    """Return the colour of a cell."""
    return (cell >> COLOUR_AT) & 7


@njit
def state_of(cell):
    """The state of a door."""
    return (cell >> STATE_AT) & 3


@njit
def content_of(cell):
    """The cell that a box leaves when it is opened."""
    content = np.int64(cell) >> CONTENT_AT
    return content if content else EMPTY


@njit
def lets_see(cell):
    """Return whether an agent sees what is behind: not behind walls and doors that are not open."""
    return (kind_of(cell) != WALL) & ((kind_of(cell) != DOOR) | (state_of(cell) == OPEN))


@njit
def lets_pass(cell):
    """Return whether an agent may step there."""
    kind = kind_of(cell)
    return (
        (kind == EMPTY)
        | (kind == GOAL)
        | (kind == LAVA)
        | (kind == FLOOR)
        | ((kind == DOOR) & (state_of(cell) == OPEN))
    )


@njit
def may_be_carried(cell):
    """Return whether an agent can pick it up."""
    return (kind_of(cell) >= KEY) & (kind_of(cell) <= BOX)


@njit
def ahead(direction):
    """Return (dx, dy), one step in a direction; y grows downwards."""
    return (direction == RIGHT) - np.int64(direction == LEFT), (direction == DOWN) - np.int64(direction == UP)
