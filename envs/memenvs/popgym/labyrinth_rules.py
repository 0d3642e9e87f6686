"""The rules of POPGym's labyrinths: levels, steps, views, best ways, and checks of records."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.popgym.carving import FREE, GOAL, START, WALL, carve
from memenvs.random import fold

LEFT, RIGHT, UP, DOWN, NONE = range(5)
AGENT, VISITED = 4, 3  # where the whole grid is shown
_SEED = np.uint64(0xFFFFFFFF)

PARAMS = np.dtype([("size", np.int32), ("max_steps", np.int32), ("goal", np.int32)])


def level_dtype(side: int) -> np.dtype:
    """The layout of a level of up to so many squares a side."""
    return np.dtype(
        [
            ("seed", np.int64),
            ("size", np.int32),
            ("max_steps", np.int32),
            ("squares", np.int32),  # free ones, without the start
            ("start", np.int8, (2,)),  # row and column
            ("end", np.int8, (2,)),
            ("grid", np.uint8, (side + 1, side + 1)),  # beyond the maze walls, since the view may reach one further
        ]
    )


def state_dtype(side: int) -> np.dtype:
    """The layout of a state in a level of up to so many squares a side."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("row", np.int32),
            ("column", np.int32),
            ("last", np.int32),  # the last action, or NONE
            ("steps", np.int32),
            ("left", np.int32),  # free squares not visited yet
            ("visited", np.uint8, (side, side)),
        ]
    )


@njit
def generate(params, key, level):
    level.seed = np.uint64(key) & _SEED
    level.size, level.max_steps = params.size, params.max_steps
    size, grid = params.size, level.grid
    grid[:] = WALL
    carve(level.seed, size, grid, level.start, level.end)
    free = 0
    for row in range(1, size - 1):
        for column in range(1, size - 1):
            free += grid[row, column] == FREE
    level.squares = free
    grid[level.start[0], level.start[1]] = START
    if params.goal:
        grid[level.end[0], level.end[1]] = GOAL
    return True


@njit
def reset(state, level):
    state.row, state.column = level.start[0], level.start[1]
    state.last = NONE
    state.steps = 0
    state.left = level.squares
    size = level.size
    state.visited[:size, :size] = 0
    state.visited[state.row, state.column] = 1


@njit
def beside(level, row, column, action):
    """Return where an action leads from a square: into walls and out of the maze nowhere."""
    last = level.size - 1
    to_row = min(max(row - (action == UP) + (action == DOWN), 0), last)
    to_column = min(max(column - (action == LEFT) + (action == RIGHT), 0), last)
    free = level.grid[to_row, to_column] != WALL
    return to_row if free else row, to_column if free else column


@njit
def move(state, level, action):
    """Go, and return whether the square is a new one."""
    state.row, state.column = beside(level, state.row, state.column, action)
    state.last = action
    state.steps += 1
    new = state.visited[state.row, state.column] == 0
    state.visited[state.row, state.column] = 1
    state.left -= new
    return new


@njit
def step_escape(state, level, action):
    move(state, level, action)
    out = level.grid[state.row, state.column] == GOAL
    reward = -1.0 / level.max_steps
    return reward + 1.0 if out else reward, out, state.steps == level.max_steps - 1


@njit
def step_explore(state, level, action):
    new = move(state, level, action)
    reward = 1.0 / level.squares if new else -1.0 / level.max_steps
    return reward, state.left == 0, state.steps == level.max_steps - 1


@njit
def observe(state, level, out):
    # As in POPGym: what is cut off at the upper and the left wall is filled up with walls at the other side.
    top, left = max(state.row - 1, 0), max(state.column - 1, 0)
    for row in range(3):
        for column in range(3):
            near = (top + row <= state.row + 1) & (left + column <= state.column + 1)
            out.observation[3 * row + column] = level.grid[top + row, left + column] if near else WALL
    out.observation[9] = state.last


@njit
def observe_all_escape(state, level, out):
    size = level.size
    for row in range(size):
        for column in range(size):
            out.observation[row * size + column] = level.grid[row, column]
    out.observation[state.row * size + state.column] = AGENT


@njit
def observe_all_explore(state, level, out):
    size = level.size
    for row in range(size):
        for column in range(size):
            code = level.grid[row, column]
            out.observation[row * size + column] = VISITED if code == FREE and state.visited[row, column] else code
    out.observation[state.row * size + state.column] = AGENT


@njit
def spread(level, row, column, back, places):
    """Search breadth first from a square.

    :param back: written: the action that leads from each square, at ``row * size + column``, one step back; -1 where
        there is no way, NONE at the square itself
    :param places: written: the squares, the nearest first
    :return: the number of these squares
    """
    size = level.size
    back[: size * size] = -1
    first = row * size + column
    back[first], places[0] = NONE, first
    read, found = 0, 1
    while read < found:
        here = places[read]
        read += 1
        for action in range(NONE):
            to_row, to_column = beside(level, here // size, here % size, action)
            place = to_row * size + to_column
            if back[place] == -1:
                back[place] = action ^ 1  # left and right, up and down are opposite
                places[found] = place
                found += 1
    return found


@njit
def oracle_escape(state, level):
    cells = level.size * level.size
    back, places = np.empty(cells, np.int64), np.empty(cells, np.int64)
    spread(level, level.end[0], level.end[1], back, places)
    return max(back[state.row * level.size + state.column], 0) % NONE


@njit
def oracle_explore(state, level):
    """A step into a branch that is not yet visited, into that with the farthest square last: it needs no way back."""
    size = level.size
    cells = size * size
    back, places = np.empty(cells, np.int64), np.empty(cells, np.int64)
    found = spread(level, state.row, state.column, back, places)
    branch, wanted = np.full(cells, -1, np.int64), np.zeros(NONE, np.int64)
    last = 0
    for index in range(1, found):
        place = places[index]
        row, column = beside(level, place // size, place % size, back[place])
        before = branch[row * size + column]
        branch[place] = back[place] ^ 1 if before < 0 else before
        if state.visited[place // size, place % size] == 0:
            last = branch[place]
            wanted[last] = 1
    for action in range(NONE):
        if wanted[action] and action != last:
            return np.int64(action)
    return np.int64(last)


@njit
def legal(state, level, mask):
    for action in range(NONE):
        row, column = beside(level, state.row, state.column, action)
        mask[action] = (row != state.row) | (column != state.column)
    if not mask.any():
        mask[:] = True


@njit
def measure_escape(state, level, out):
    out[0] = level.grid[state.row, state.column] == GOAL
    cells = level.size * level.size
    back, places = np.empty(cells, np.int64), np.empty(cells, np.int64)
    spread(level, level.end[0], level.end[1], back, places)
    row, column = np.int64(level.start[0]), np.int64(level.start[1])
    shortest = 0
    while back[row * level.size + column] >= 0 and back[row * level.size + column] != NONE:
        row, column = beside(level, row, column, back[row * level.size + column])
        shortest += 1
    out[1] = out[0] * shortest / max(state.steps, 1)


@njit
def measure_explore(state, level, out):
    out[0] = state.left == 0
    out[1] = 1.0 - state.left / level.squares


@njit
def digest(level):
    total = np.uint64(0)
    for row in range(level.size):
        for column in range(level.size):
            total = fold(total, level.grid[row, column])
    return total


@njit
def sound(params, state, level):
    size, grid = params.size, level.grid
    if level.size != size or level.max_steps != params.max_steps or not 0 <= state.steps < params.max_steps:
        return False
    if not 0 <= state.last <= NONE or not inside(level, level.end[0], level.end[1]):
        return False
    if not inside(level, level.start[0], level.start[1]) or grid[level.start[0], level.start[1]] == WALL:
        return False
    if not inside(level, state.row, state.column) or grid[state.row, state.column] == WALL:
        return False
    free = left = 0
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            within_maze = row < size and column < size
            if grid[row, column] > GOAL or (not within_maze and grid[row, column] != WALL):
                return False
            if within_maze:
                free += grid[row, column] == FREE
                left += grid[row, column] == FREE and state.visited[row, column] == 0
    return level.squares == free > 0 and state.left == left


@njit
def inside(level, row, column):
    """Return whether a square lies in the maze."""
    return (min(row, column) >= 0) & (max(row, column) < level.size)
