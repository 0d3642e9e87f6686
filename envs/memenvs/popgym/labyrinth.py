"""The labyrinths of POPGym: find the way out of a maze, or see all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import MOST, flag, odd, within
from memenvs.compilation import njit
from memenvs.engine.defaults import always_decides
from memenvs.popgym.carving import FREE, GOAL, START, WALL, carve
from memenvs.random import fold

LEFT, RIGHT, UP, DOWN, NONE = range(5)
AGENT, VISITED = 4, 3  # where the whole grid is shown
CODES = 5
SIDES = (19, 41)  # for which there are layouts
LEAST_SIZE = 7
_SEED = np.uint64(0xFFFFFFFF)

PARAMS = np.dtype([("size", np.int32), ("max_steps", np.int32), ("goal", np.int32)])
OUT = np.dtype([("observation", np.int64, (10,))])


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
    return (0 <= row) & (row < level.size) & (0 <= column) & (column < level.size)


def define_labyrinth(goal: bool, size: int, max_steps: int, observable: bool) -> dict[str, Any]:
    """Return the entries of a definition that both labyrinths have."""
    size = odd("size", size, LEAST_SIZE, SIDES[-1])
    max_steps = within("max_steps", max_steps, 2, MOST)
    observable = flag("observable", observable)
    side = next(side for side in SIDES if side >= size)
    shown = f"size={size}, max_steps={max_steps}{', observable=True' if observable else ''}"
    codes = np.full(size * size, CODES, np.int64)
    return {
        "name": f"Labyrinth{'Escape' if goal else 'Explore'}({shown})",
        "params": np.array([(size, max_steps, goal)], PARAMS),
        "level": level_dtype(side),
        "state": state_dtype(side),
        "out": np.dtype([("observation", np.uint8, codes.shape)]) if observable else OUT,
        "observation_space": MultiDiscrete(codes, dtype=np.uint8) if observable else MultiDiscrete([CODES] * 10),
        "action_space": Discrete(NONE),
        "generate": generate,
        "reset": reset,
        "decides": always_decides,
        "legal": legal,
        "digest": digest,
        "distinct_levels": 2**32,  # at most: as many as seeds
        "sound": sound,
        "text": text,
        "draw": draw,
        "frames_per_second": 8,
        "action_names": ("left", "right", "up", "down"),
    }


def define_escape(size: int = 11, max_steps: int = 1024, observable: bool = False) -> Definition:
    """The definition of a maze to leave; the parameters are those of :class:`LabyrinthEscape`."""
    return Definition(
        **define_labyrinth(True, size, max_steps, observable),
        step=step_escape,
        observe=observe_all_escape if observable else observe,
        oracle=oracle_escape,
        metrics=("success", "spl"),
        measure=measure_escape,
    )


def define_explore(size: int = 11, max_steps: int = 1024, observable: bool = False) -> Definition:
    """The definition of a maze to explore; the parameters are those of :class:`LabyrinthExplore`."""
    return Definition(
        **define_labyrinth(False, size, max_steps, observable),
        step=step_explore,
        observe=observe_all_explore if observable else observe,
        oracle=oracle_explore,
        metrics=("success", "explored"),
        measure=measure_explore,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the maze with the agent, its view and the squares that it has visited, (H, W, 3) uint8."""
    from memenvs.popgym.draw_labyrinth import draw_labyrinth

    return draw_labyrinth(state, level)


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_labyrinth import ansi_labyrinth

    return ansi_labyrinth(state, level)


class LabyrinthEscape(SingleEnv):
    """``memenvs/popgym-LabyrinthEscapeEasy-v0``: find the way out of a maze.

    POPGym's LabyrinthEscape, step for step that of ``reset(seed=level["seed"])``. The agent begins in an opening of an
    outer wall and looks for the one in the opposite wall. It sees the eight squares around it. POPGym itself says that
    this hardly needs a memory.

    - Observation: ``MultiDiscrete`` of ten 5s, int64: three by three squares, row by row (0 free, 1 wall, 2 the start,
      3 the goal), and the last action, 4 before the first. The agent is in the middle, but at the upper wall in the
      upper row, and at the left wall in the left column; the last row or column is then filled with walls.
    - Action: 0 left, 1 right, 2 up, 3 down; against a wall the agent stays.
    - Reward: -1 / ``max_steps``, and at the goal 1 more.
    - End: terminated at the goal, truncated in step ``max_steps`` - 1, as POPGym has it; in that step it can be both.
    - ``info``: ``success``, and ``spl``, the steps of the shortest way over the steps made, 0 without success.

    Mean returns at Easy, Medium and Hard: random play -0.46, -0.82, -0.91; depth-first search without a map 0.960,
    0.922, 0.855; the oracle, which takes the shortest way, 0.980, 0.963, 0.951. POPGym's infos, which hold the whole
    maze and the position, are left out.

    :param size: the side of the maze, walls included, odd, from 7 to 41; 11, 15 and 19 at Easy, Medium and Hard
    :param max_steps: at least 2
    :param observable: show the whole maze, ``MultiDiscrete`` of bytes, row by row, with 4 where the agent is
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_escape)


class BatchedLabyrinthEscape(BatchedEnv):
    """The batched :class:`LabyrinthEscape`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_escape)


class LabyrinthExplore(SingleEnv):
    """``memenvs/popgym-LabyrinthExploreEasy-v0``: visit every square of a maze.

    POPGym's LabyrinthExplore, step for step that of ``reset(seed=level["seed"])``. The mazes are those of
    :class:`LabyrinthEscape` without the second opening. Nothing shows which squares have been visited.

    - Observation: ``MultiDiscrete`` of ten 5s, int64: three by three squares, row by row (0 free, 1 wall, 2 the start),
      and the last action, 4 before the first. The agent is in the middle, but at the upper wall in the upper row, and
      at the left wall in the left column; the last row or column is then filled with walls.
    - Action: 0 left, 1 right, 2 up, 3 down; against a wall the agent stays.
    - Reward: on a square not visited before 1 / F, F the number of free squares without the start (49, 97 and 161 at
      Easy, Medium and Hard); else -1 / ``max_steps``.
    - End: terminated when all have been visited, truncated in step ``max_steps`` - 1, as POPGym has it; in that step it
      can be both.
    - ``info``: ``success``, 1 if all were visited, and ``explored``, the share of them.

    Mean returns at Easy, Medium and Hard: random play -0.42, -0.64, -0.75; depth-first search without a map 0.971,
    0.926, 0.869; the oracle 0.983, 0.960, 0.917. The maze is a tree: the oracle's walk is the shortest one, every
    branch there and back, except for the one with the farthest square, which is the last.

    :param size: the side of the maze, walls included, odd, from 7 to 41; 11, 15 and 19 at Easy, Medium and Hard
    :param max_steps: at least 2
    :param observable: show the whole maze, ``MultiDiscrete`` of bytes, row by row, with 3 for what has been visited, and
        4 where the agent is
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_explore)


class BatchedLabyrinthExplore(BatchedEnv):
    """The batched :class:`LabyrinthExplore`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_explore)
