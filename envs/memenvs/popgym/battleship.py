"""POPGym's Battleship: find the ships under a board of which nothing is seen but the last shot's outcome."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.bitwise import lowest
from memenvs.checks import flag, is_integer, within
from memenvs.compilation import njit
from memenvs.pcg64 import integers, seeded
from memenvs.random import fold

MOST_BOARD, MOST_SHIPS = 16, 8
WORDS = MOST_BOARD * MOST_BOARD // 64
ATTEMPTS = 2_000  # of placing a ship, before the board is drawn anew; only boards that are nearly full need many

PARAMS = np.dtype(
    [("board", np.int32), ("squares", np.int32), ("ships", np.int32), ("length", np.int32, (MOST_SHIPS,))]
)
# A board is the bits of four words, square after square from the lowest: no division, and all of it close together.
LEVEL = np.dtype(
    [
        ("seed", np.uint64),
        ("random", np.uint64, (6,)),  # the generator after all draws
        ("board", np.int32),
        ("squares", np.int32),  # that ships take up
        ("ships", np.uint64, (WORDS,)),
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("hits", np.int32),
        ("hit", np.int32),  # whether the last shot was one
        ("last", np.int32),  # the square shot at last, or -1
        ("shots", np.uint64, (WORDS,)),
    ]
)
OUT = np.dtype([("observation", np.int64)])


@njit
def generate(params, key, level):
    level.seed = key
    level.board = params.board
    level.squares = params.squares
    level.ships[:] = 0
    seeded(level.random, key)
    placed = True
    for ship in range(params.ships):
        placed &= place(level, params.length[ship])
    return placed


@njit
def place(level, length):
    """Place a ship where none is; return whether it was possible.

    Drawn are an end of it, then the axis along which it lies (0 for a column) and the side (0 for the greater numbers).
    """
    random, board = level.random, level.board
    for _ in range(ATTEMPTS):
        row, column = integers(random, 0, board), integers(random, 0, board)
        axis, side = integers(random, 0, 2), integers(random, 0, 2)
        reach = (1 - 2 * side) * (length - 1)
        end = (row if axis == 0 else column) + reach
        if not 0 <= end < board:
            continue
        first = min(row, end) * board + column if axis == 0 else row * board + min(column, end)
        stride = board if axis == 0 else 1
        taken = np.int64(0)
        for part in range(length):
            taken += bit(level.ships, first + part * stride)
        if taken == 0:
            for part in range(length):
                put(level.ships, first + part * stride)
            return True
    return False


@njit
def bit(words, square):
    """The bit of a square, 0 or 1."""
    return np.int64(words[square >> 6] >> np.uint64(square & 63) & np.uint64(1))


@njit
def put(words, square):
    """Set the bit of a square."""
    words[square >> 6] |= np.uint64(1) << np.uint64(square & 63)


@njit
def reset(state, level):
    state.time = 0
    state.hits = 0
    state.hit = 0
    state.last = -1
    state.shots[:] = 0


@njit
def step(state, level, action):
    hit = bit(level.ships, action) & ~bit(state.shots, action)
    put(state.shots, action)
    state.hit = hit
    state.hits += hit
    state.last = action
    state.time += 1
    whole = level.board * level.board
    reward = 1.0 / level.squares if hit else -1.0 / (whole - level.squares)
    return reward, state.hits == level.squares, state.time >= whole


@njit
def observe(state, level, out):
    out.observation = state.hit


@njit
def observe_all(state, level, out):
    for square in range(level.board * level.board):
        out.observation[square] = 2 * bit(state.shots, square) + bit(level.ships, square)


@njit
def oracle(state, level):
    for word in range(WORDS):
        left = level.ships[word] & ~state.shots[word]
        if left:
            return np.int64(64 * word) + np.int64(lowest(left))
    return np.int64(-1)


@njit
def decides(state, level):
    return state.hits < level.squares


@njit
def measure(state, level, out):
    out[0] = state.hits == level.squares
    out[1] = state.hits / level.squares
    out[2] = state.hits / max(state.time, 1)


@njit
def digest(level):
    total = np.uint64(0)
    for word in range(WORDS):
        total = fold(total, level.ships[word])
    return total


@njit
def sound(params, state, level):
    if level.board != params.board or level.squares != params.squares or state.time < 0:
        return False
    squares = hits = np.int64(0)
    for square in range(64 * WORDS):
        ship = bit(level.ships, square)
        if ship and square >= level.board * level.board:
            return False
        squares += ship
        hits += ship & bit(state.shots, square)
    good = squares == level.squares and hits == state.hits and 0 <= state.hit <= 1
    return good and -1 <= state.last < level.board * level.board


def define(board: int = 10, ships: tuple[int, ...] = (2, 3, 3, 4), observable: bool = False) -> Definition:
    """The definition of a sea battle; the parameters are those of :class:`Battleship`."""
    board = within("board", board, 4, MOST_BOARD)
    ships = _ships(ships, board)
    observable = flag("observable", observable)
    lengths = [*ships, *[0] * (MOST_SHIPS - len(ships))]
    places = [board * board if length == 1 else 2 * board * (board - length + 1) for length in ships]
    squares = board * board
    shown = f"board={board}, ships={ships}{', observable=True' if observable else ''}"
    return Definition(
        name=f"Battleship({shown})",
        params=np.array([(board, sum(ships), len(ships), lengths)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", np.uint8, (squares,))]) if observable else OUT,
        observation_space=MultiDiscrete([4] * squares, dtype=np.uint8) if observable else Discrete(2),
        action_space=MultiDiscrete([board, board]),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        decides=decides,
        metrics=("success", "found", "economy"),
        measure=measure,
        digest=digest,
        distinct_levels=math.prod(places) // math.factorial(len(places)),  # at most: they must not overlap
        both_ends=True,
        sound=sound,
        draw=draw,
        text=text,
    )


def _ships(ships: object, board: int) -> tuple[int, ...]:
    """Return the lengths of ships that fit onto a board, or raise a ``ValueError``."""
    if not isinstance(ships, (tuple, list)) or not all(is_integer(one) and 1 <= one <= board for one in ships):
        raise ValueError(f"ships must be lengths from 1 to {board}, the board's, not {ships!r}")
    if not 1 <= len(ships) <= MOST_SHIPS:
        raise ValueError(f"ships must be 1 to {MOST_SHIPS} lengths, not {len(ships)}")
    if 2 * sum(ships) > board * board:
        raise ValueError(f"ships must take up at most half of the {board * board} squares, not {sum(ships)}")
    return tuple(map(int, ships))


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the ships and the shots, (H, W, 3) uint8."""
    from memenvs.popgym.draw_boards import draw_board

    return draw_board(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal: ``■`` a ship, ``x`` one that is hit, ``o`` a shot into the water."""
    from memenvs.popgym.draw_boards import ansi_board

    return ansi_board(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[list[list[str]], int, str]:
    """Return a sign for each square, the square shot at last, and a line of words."""
    board = int(level["board"])
    ships, shots = (
        np.unpackbits(words.view(np.uint8), bitorder="little") for words in (level["ships"], state["shots"])
    )
    places = range(0, board * board, board)
    signs = [["·■ox"[2 * shots[at] + ships[at]] for at in range(first, first + board)] for first in places]
    words = f"{state['hits']} of {level['squares']} hit with {state['time']} shots of {board * board}"
    return signs, int(state["last"]), words


class Battleship(SingleEnv):
    """``memenvs/popgym-BattleshipEasy-v0``, Medium and Hard: hit all ships of a board of which nothing is shown.

    POPGym's Battleship (Morad et al. 2023, arXiv:2303.01859), bit for bit. The ships lie along rows and columns and may
    touch. What has been shot at is for the agent to remember, and so is where: the observation is a single bit. The
    paper's agents were also shown their last action (``condition_on=["action"]`` for the agents of memagents).

    - Observation: ``Discrete(2)``, whether the last shot hit a square of a ship for the first time; 0 at the start.
    - Action: ``MultiDiscrete([board, board])``, the row and the column to shoot at.
    - Reward: 1 / s for a hit, with s the number of squares with a ship (12); for any other shot, a repeated hit too,
      the negative of 1 / (``board``² - s).
    - End: terminated when all is hit; truncated after ``board``² shots, which may be both.
    - ``info``: ``success``, 1 if all was hit; ``found``, the share that was; ``economy``, the share of the shots that
      hit.

    The oracle gets 1. Without knowing the board, shooting where of all boards that are still possible most have a ship
    gets 0.60 to 0.62 at all three levels; every square once gets 1 / 13 in the mean, random actions about -0.43.

    The split of a level follows from the squares with ships.

    :param board: rows and columns, from 4 to 16
    :param ships: the lengths of up to 8 ships, together at most half of the board
    :param observable: show the whole board: 1 for a square with a ship, plus 2 if it has been shot at
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedBattleship(BatchedEnv):
    """The batched :class:`Battleship`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
