"""Mazes, drawn into a grid by three algorithms.

A maze of side 2 n + 1 is a lattice of n by n places at odd coordinates; what lies between two neighbouring places is a
wall or a passage. The algorithms write which cells are free, as the bits of rows.
"""

from __future__ import annotations

import numpy as np

from memenvs.bitwise import lowest
from memenvs.compilation import njit
from memenvs.grid.cells import CELL, COLOURS, DOOR, EMPTY, FLOOR, GOAL, GREY, OPEN, WALL, ahead, cell
from memenvs.random import advance, integer, permute, uniform

ALGORITHMS = ("backtracker", "kruskal", "rooms")
BACKTRACKER, KRUSKAL, ROOMS = range(len(ALGORITHMS))
MOST_GOALS = len(COLOURS)
LANDMARK_EVERY = 8  # one of so many free cells of a maze without loops is a landmark

_ZERO, _ONE, _TWO, _THREE = (np.uint64(number) for number in range(4))
_TWELVE = 12  # which one, two, three and four divide

PARAMS = np.dtype(
    [
        ("low", np.int16),  # sides
        ("high", np.int16),
        ("algorithm", np.int16),
        ("loops", np.float64),
        ("goals", np.int16),
        ("trials", np.int32),  # 0 for no limit
        ("max_steps", np.int32),  # 0 for what suits the size
        ("colours", np.bool_),
        ("stays", np.bool_),  # whether every episode has the maze of this key
        ("fixed", np.uint64),
    ]
)


def level_dtype(side: int) -> np.dtype:
    """The layout of a maze of up to that side."""
    return np.dtype(
        [
            ("size", np.int16),
            ("goals", np.int16),
            ("trials", np.int32),
            ("max_steps", np.int32),
            ("places", np.int16, (MOST_GOALS, 2)),  # x and y of the goals
            ("rows", np.uint64, (side,)),  # which cells are free
            ("columns", np.uint64, (side,)),
            ("cells", CELL, (side * side,)),
        ]
    )


@njit
def generate(params, key, level):
    key = advance(params.fixed if params.stays else key)
    size = np.int64(params.low + 2 * integer(key, (params.high - params.low) // 2 + 1))
    level.size = size
    level.goals, level.trials = params.goals, params.trials
    level.max_steps = params.max_steps if params.max_steps else 2 * size * size
    rows, doors = level.rows[:], np.zeros(size, np.uint64)  # a slice has the same type for all layouts: compiled once
    rows[:size] = _ZERO
    if params.algorithm == BACKTRACKER:
        key = carve_backtracker(key, size, rows)
    elif params.algorithm == KRUSKAL:
        key = carve_kruskal(key, size, rows)
    else:
        key = build_rooms(key, size, rows, doors)
    if params.loops > 0:
        key = open_loops(key, size, params.loops, rows, doors if params.algorithm == ROOMS else rows)
    key = lay_out(key, size, rows, doors, params.colours, level.columns[:], level.cells[:])
    key = hide_goals(key, level)
    if params.colours:
        lay_landmarks(key, level)
    return True


@njit
def lay_out(key, size, rows, doors, colours, columns, cells):
    """Write the columns and the cells of the free places.

    :return: the next key
    """
    columns[:size] = _ZERO
    size = np.uint64(size)
    for y in range(size):
        free = rows[y]
        for x in range(size):
            here = (free >> x) & _ONE
            columns[x] |= here << y
            cells[y * size + x] = EMPTY if here else cell(WALL, GREY)
        framed = doors[y]
        while framed:
            key = advance(key)
            colour = integer(key, len(COLOURS)) if colours else GREY
            cells[y * size + lowest(framed)] = cell(DOOR, colour, OPEN)
            framed &= framed - _ONE
    return key


# --- the algorithms ---------------------------------------------------------------------------------------------------


def _choices() -> np.ndarray:
    """Return for each set of four directions, as bits, and each number below twelve a member, all equally often."""
    table = np.zeros((16, _TWELVE), np.uint8)
    for members in range(1, 16):
        directions = [d for d in range(4) if members >> d & 1]
        table[members] = np.repeat(directions, _TWELVE // len(directions))
    return table


_CHOICES = _choices()


@njit
def carve_backtracker(key, size, rows):
    """Recursive backtracking: walk at random to places not yet reached, go back where there are none.

    :return: the next key
    """
    n = size // 2
    fresh = np.zeros(n + 2, np.uint64)  # bit i + 1 of word j + 1: the place (i, j) has not been reached
    fresh[1 : n + 1] = ((_ONE << np.uint64(n)) - _ONE) << _ONE
    stack = np.empty((n * n, 2), np.uint8)
    key = advance(key)
    i = integer(key, n)
    key = advance(key)
    j = integer(key, n)
    depth = 0
    fresh[j + 1] ^= _ONE << np.uint64(i + 1)
    free(rows, 2 * i + 1, 2 * j + 1)
    while True:
        here = fresh[j + 1] >> np.uint64(i)  # its bits 0 and 2: to the left and to the right
        below, above = fresh[j + 2] >> np.uint64(i + 1), fresh[j] >> np.uint64(i + 1)
        members = (here >> _TWO) & _ONE | (below & _ONE) << _ONE | (here & _ONE) << _TWO | (above & _ONE) << _THREE
        if members == 0:
            if depth == 0:
                return key
            depth -= 1
            i, j = np.int64(stack[depth, 0]), np.int64(stack[depth, 1])
            continue
        stack[depth, 0], stack[depth, 1] = i, j
        depth += 1
        key = advance(key)
        dx, dy = ahead(_CHOICES[members, integer(key, _TWELVE)])
        free(rows, 2 * i + 1 + dx, 2 * j + 1 + dy)
        i, j = i + dx, j + dy
        fresh[j + 1] ^= _ONE << np.uint64(i + 1)
        free(rows, 2 * i + 1, 2 * j + 1)


@njit
def carve_kruskal(key, size, rows):
    """Kruskal's algorithm: walls in random order, each taken away if it parts two places not yet connected.

    :return: the next key
    """
    n = size // 2
    for place in range(n * n):
        free(rows, 2 * (place % n) + 1, 2 * (place // n) + 1)
    parts = np.arange(n * n)  # a forest: a place, or one nearer to the root of its part
    order = np.empty(2 * n * (n - 1), np.int16)
    key = permute(key, order, order.size)
    missing = n * n - 1  # passages
    for number in order:
        place, down = inner_wall(number, n)
        first, second = root(parts, place), root(parts, place + n if down else place + 1)
        if first != second:
            parts[first] = second
            x, y = between(place, down, n)
            free(rows, x, y)
            missing -= 1
            if missing == 0:
                break
    return key


@njit
def root(parts, place):
    """The root of a place's tree; ways to it are halved on the way."""
    while parts[place] != place:
        parts[place] = parts[parts[place]]
        place = parts[place]
    return place


@njit
def build_rooms(key, size, rows, doors):
    """Recursive division: a wall with one door through a room, and again, until rooms are a third of the side or less.

    :return: the next key
    """
    n = size // 2
    most = max(n // 3, 2)
    rows[1 : size - 1] = (_ONE << np.uint64(size - 1)) - _TWO
    rooms = np.empty((n * n, 4), np.int64)  # left, top, width, height, in places
    rooms[0] = (0, 0, n, n)
    waiting = 1
    while waiting:
        waiting -= 1
        left, top, width, height = rooms[waiting]
        if max(width, height) <= most:
            continue
        key = advance(key)
        upright = width > height or (width == height and integer(key, 2) == 0)
        key = advance(key)
        before = 1 + integer(key, (width if upright else height) - 1)  # places on one side of the wall
        key = advance(key)
        door = 2 * integer(key, height if upright else width)
        if upright:
            x, y = 2 * (left + before), 2 * top + 1
            for along in range(2 * height - 1):
                rows[y + along] &= ~(_ONE << np.uint64(x))
            y += door
            rooms[waiting] = (left, top, before, height)
            rooms[waiting + 1] = (left + before, top, width - before, height)
        else:
            x, y = 2 * left + 1, 2 * (top + before)
            rows[y] &= ~(((_ONE << np.uint64(2 * width - 1)) - _ONE) << np.uint64(x))
            x += door
            rooms[waiting] = (left, top, width, before)
            rooms[waiting + 1] = (left, top + before, width, height - before)
        waiting += 2
        free(rows, x, y)
        free(doors, x, y)
    return key


@njit
def open_loops(key, size, share, rows, doors):
    """Take away each of the remaining walls between two neighbouring places with a probability.

    :param doors: written: those that were taken away, in addition to what is there
    :return: the next key
    """
    n = size // 2
    for number in range(2 * n * (n - 1)):
        key = advance(key)
        x, y = between(*inner_wall(number, n), n)
        if uniform(key) < share and not (rows[y] >> np.uint64(x)) & _ONE:
            free(rows, x, y)
            free(doors, x, y)
    return key


# --- walls between places ---------------------------------------------------------------------------------------------


@njit
def free(rows, x, y):
    """Make a cell free."""
    rows[np.uintp(y)] |= _ONE << np.uint64(x)


@njit
def inner_wall(number, n):
    """Return one of the 2 n (n - 1) pairs of neighbours: a place, and whether the other is below or to the right."""
    number = np.int64(number)
    down = number >= n * (n - 1)
    return (number - n * (n - 1), True) if down else (number // (n - 1) * n + number % (n - 1), False)


@njit
def between(place, down, n):
    """The cell between a place and its neighbour, (x, y)."""
    return 2 * (place % n) + (1 if down else 2), 2 * (place // n) + (2 if down else 1)


# --- what lies in a maze ----------------------------------------------------------------------------------------------


@njit
def draw_empty(key, level):
    """A random cell with nothing in it that is no goal.

    :return: the next key, and x and y
    """
    while True:
        key = advance(key)
        x = integer(key, level.size)
        key = advance(key)
        y = integer(key, level.size)
        hidden = (level.goals == 1) & (level.places[0, 0] == x) & (level.places[0, 1] == y)
        if (level.cells[y * level.size + x] == EMPTY) & (not hidden):
            return key, x, y


@njit
def hide_goals(key, level):
    """Choose the cells of the goals. If they are several they are seen, each in a colour of its own.

    :return: the next key
    """
    level.places[:] = 0
    for number in range(level.goals):
        key, x, y = draw_empty(key, level)
        level.places[number, 0], level.places[number, 1] = x, y
        if level.goals > 1:
            level.cells[y * level.size + x] = cell(GOAL, number)
    return key


@njit
def lay_landmarks(key, level):
    """Give some of the empty cells a coloured floor."""
    n = level.size // 2
    for _ in range(2 * n * n // LANDMARK_EVERY):
        key, x, y = draw_empty(key, level)
        key = advance(key)
        level.cells[y * level.size + x] = cell(FLOOR, integer(key, len(COLOURS)))
