"""POPGym's MineSweeper: open all squares without a mine, on a board of which only the last number is seen."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.pcg64 import integers, seeded
from memenvs.random import fold

MOST_BOARD = 16
MOST_SEEN = 9  # mines around a square and under it

PARAMS = np.dtype([("board", np.int32), ("mines", np.int32)])
# A row of a board is the bits of an integer. Around the mines lies a margin of one square without any, so that the
# square (row, column) is the bit column + 1 of the row number row + 1.
LEVEL = np.dtype(
    [
        ("seed", np.uint64),
        ("random", np.uint64, (6,)),
        ("board", np.int32),
        ("mines", np.int32),
        ("mined", np.int32, (MOST_BOARD + 2,)),
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("found", np.int32),  # squares opened that have no mine
        ("exploded", np.int32),
        ("last", np.int32),  # the square opened last, or -1
        ("open", np.int32, (MOST_BOARD,)),
    ]
)
OUT = np.dtype([("observation", np.int64)])


@njit
def generate(params, key, level):
    """Draw mines without replacement as NumPy does (Floyd's method); that it shuffles them changes nothing here."""
    level.seed = key
    level.board, level.mines = params.board, params.mines
    level.mined[:] = 0
    seeded(level.random, key)
    squares = params.board * params.board
    for most in range(squares - params.mines, squares):
        drawn = integers(level.random, 0, most + 1)
        put(level, most if is_mined(level, drawn) else drawn)
    return True


@njit
def put(level, square):
    """Put a mine under a square."""
    level.mined[square // level.board + 1] |= 1 << (square % level.board + 1)


@njit
def is_mined(level, square):
    return level.mined[square // level.board + 1] >> (square % level.board + 1) & 1


@njit
def around(level, square):
    """The number of mines in the nine squares around a square, its own included."""
    row, column = square // level.board, square % level.board
    total = np.int64(0)
    for at in range(row, row + 3):
        three = level.mined[at] >> column & 7
        total += (three & 1) + (three >> 1 & 1) + (three >> 2)
    return total


@njit
def free(level):
    """The number of squares without a mine, which is also the limit of steps."""
    return level.board * level.board - level.mines


@njit
def reset(state, level):
    state.time = 0
    state.found = 0
    state.exploded = 0
    state.last = -1
    state.open[:] = 0


@njit
def step(state, level, action):
    row, column = action // level.board, action % level.board
    state.last = action
    state.time += 1
    needed = free(level)
    if is_mined(level, action):
        state.exploded = 1
        return -0.5 - 1.0 / needed, True, False
    if state.open[row] >> column & 1:
        return -0.5 / (needed - 2), False, state.time == needed
    state.open[row] |= 1 << column
    state.found += 1
    over = state.found == needed
    return 1.0 / needed, over, state.time == needed and not over


@njit
def observe(state, level, out):
    out.observation = around(level, state.last) if state.last >= 0 else 0


@njit
def observe_all(state, level, out):
    for square in range(level.board * level.board):
        opened = state.open[square // level.board] >> (square % level.board) & 1
        out.observation[square] = 2 if opened else is_mined(level, square)


@njit
def oracle(state, level):
    for square in range(level.board * level.board):
        opened = state.open[square // level.board] >> (square % level.board) & 1
        if not opened and not is_mined(level, square):
            return np.int64(square)
    return np.int64(-1)


@njit
def decides(state, level):
    return state.found < free(level)


@njit
def measure(state, level, out):
    out[0] = state.found == free(level)
    out[1] = state.found / free(level)
    out[2] = state.exploded


@njit
def digest(level):
    total = np.uint64(0)
    for row in range(level.board):
        total = fold(total, np.int64(level.mined[row + 1]))
    return total


@njit
def sound(params, state, level):
    board = params.board
    if level.board != board or level.mines != params.mines or level.mined[0] or level.mined[board + 1]:
        return False
    mines = found = 0
    for row in range(board):
        if level.mined[row + 1] & 1 or level.mined[row + 1] >> (board + 1) or state.open[row] >> board:
            return False
        for column in range(board):
            mines += level.mined[row + 1] >> (column + 1) & 1
            found += state.open[row] >> column & 1
    return mines == level.mines and found == state.found and -1 <= state.last < board * board and state.time >= 0


def define(board: int = 4, mines: int = 2, observable: bool = False) -> Definition:
    """The definition of a mine field; the parameters are those of :class:`MineSweeper`."""
    board = within("board", board, 2, MOST_BOARD)
    squares = board * board
    mines = within("mines", mines, 1, squares - 3)
    observable = flag("observable", observable)
    seen = min(mines, MOST_SEEN) + 1
    return Definition(
        name=f"MineSweeper(board={board}, mines={mines}{', observable=True' if observable else ''})",
        params=np.array([(board, mines)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", np.uint8, (squares,))]) if observable else OUT,
        observation_space=MultiDiscrete([3] * squares, dtype=np.uint8) if observable else Discrete(seen),
        action_space=MultiDiscrete([board, board]),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        decides=decides,
        metrics=("success", "found", "exploded"),
        measure=measure,
        digest=digest,
        distinct_levels=math.comb(squares, mines),
        sound=sound,
        draw=draw,
        text=text,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the mines and the numbers of the squares that are open, (H, W, 3) uint8."""
    from memenvs.popgym.draw_boards import draw_board

    return draw_board(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal: ``*`` a mine, ``x`` one that went off."""
    from memenvs.popgym.draw_boards import ansi_board

    return ansi_board(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[list[list[str]], int, str]:
    """Return a sign for each square, the square opened last, and a line of words."""
    board, last = int(level["board"]), int(state["last"])
    mined = np.array([[int(row) >> column & 1 for column in range(board + 2)] for row in level["mined"][: board + 2]])

    def sign(row: int, column: int) -> str:
        if mined[row + 1, column + 1]:
            return "x" if state["exploded"] and last == row * board + column else "*"
        if int(state["open"][row]) >> column & 1:
            return str(mined[row : row + 3, column : column + 3].sum())
        return "·"

    signs = [[sign(row, column) for column in range(board)] for row in range(board)]
    needed = board * board - int(level["mines"])
    return signs, last, f"{state['found']} of {needed} open with {state['time']} steps of {needed}"


class MineSweeper(SingleEnv):
    """``memenvs/popgym-MineSweeperEasy-v0``, Medium and Hard: open all squares but the mines, shown one number a time.

    POPGym's MineSweeper (Morad et al. 2023, arXiv:2303.01859), bit for bit. Numbers and places are for the agent to
    remember; the observation does not say where it was. The first square can be a mine, and nothing opens by itself.
    The paper's agents were also shown their last action (``condition_on=["action"]`` for the agents of memagents).

    - Observation: ``Discrete(min(mines, 9) + 1)``: the mines in the nine squares around the one just opened, its own
      included; 0 at the start.
    - Action: ``MultiDiscrete([board, board])``, the row and the column to open.
    - Reward: 1 / f for a square without a mine, with f the number of those; -0.5 / (f - 2) for one that is open;
      -0.5 - 1 / f for a mine.
    - End: terminated by a mine or when all f squares are open; truncated after f steps, so that one wasted is too many.
    - ``info``: ``success``, 1 if all squares were opened; ``found``, the share that was; ``exploded``, 1 if a mine was.

    The oracle gets 1. Without knowing the mines, always opening a square that is least likely to have one gets 0.77
    (beginning in a corner), 0.52 and 0.53 at the three levels; random actions get -0.27, -0.40 and -0.43.

    The split of a level follows from the places of its mines.

    :param board: rows and columns, from 2 to 16
    :param mines: how many; at least three squares stay free
    :param observable: show the whole board: 0 for a free square, 1 for a mine, 2 for a square that is open
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMineSweeper(BatchedEnv):
    """The batched :class:`MineSweeper`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
