"""The distance to a goal, looked up in :mod:`memenvs.shrdlu.tables`."""

from __future__ import annotations

import numpy as np

from memenvs.bitwise import place_of_one
from memenvs.compilation import njit
from memenvs.shrdlu.boards import CELLS, PASS, fact_of, height, move, possible, take_back, undoes
from memenvs.shrdlu.tables import (
    FARTHEST,
    FIRST_WORD,
    MOST_BLOCKS,
    SHAPE_OF,
    STRINGS,
    WITHIN,
    WORDS,
)

ALL = np.uint64(2**64 - 1)
NONE = np.uint64(0)
MOST_CONSTRAINTS = 6

# The most moves that any goal is away from any board, by the number of blocks and of the goal's constraints; 0 where
# there are not as many pairs of adjacent blocks. All smaller numbers of moves occur too.
FARTHEST_GOAL = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 2, 0, 0, 0, 0, 0],
        [0, 4, 5, 0, 0, 0, 0],
        [0, 4, 7, 8, 7, 0, 0],
        [0, 6, 10, 12, 13, 12, 0],
        [0, 7, 12, 17, 18, 18, 18],
    ]
)


@njit
def outlook(cells, constraints, count, moves):
    """The most of the constraints that can be satisfied within so many moves, and the fewest moves that this takes.

    :param cells: the board
    :param constraints: (at least ``count``, 3): a block, a relation, another block
    """
    shape = SHAPE_OF[height(cells, 0), height(cells, 1), height(cells, 2)]
    strings = np.empty(MOST_CONSTRAINTS, np.int64)
    find_strings(cells, constraints, count, shape, strings)
    boards = np.int64(WITHIN[shape, min(moves, FARTHEST)])
    most, nearest = -1, 0
    at_least = np.empty(MOST_CONSTRAINTS + 1, np.uint64)  # bits: boards on which so many hold
    for word in range((boards + 63) // 64):
        at_least[0] = ALL
        for i in range(count):
            at_least[i + 1] = NONE
            string = STRINGS[strings[i] + word]
            for number in range(i + 1, 0, -1):
                at_least[number] |= at_least[number - 1] & string
        for number in range(count, most, -1):
            if at_least[number] != NONE:
                board = word * 64 + place_of_one(at_least[number], 0)
                if board < boards:
                    most, nearest = number, board
                    break
        if most == count:
            break
    distance = 0
    while WITHIN[shape, distance] <= nearest:
        distance += 1
    return most, distance


@njit
def find_strings(cells, constraints, count, shape, strings):
    """Return the starts of the constraints' bit strings, as seen from the board."""
    name = np.empty(MOST_BLOCKS + 1, np.int64)
    blocks = 0
    for cell in range(CELLS):
        if cells[cell] > 0:
            name[cells[cell]] = blocks
            blocks += 1
    for i in range(count):
        fact, first, second = fact_of(constraints[i])
        pair = name[first] * blocks + name[second]
        strings[i] = FIRST_WORD[shape] + (fact * blocks * blocks + pair) * WORDS[shape]


@njit
def best_action(cells, constraints, count, moves, last):
    """The first action of a shortest way to as many of the constraints as can be satisfied within so many moves.

    Among equals it is a pass, or else one that does not take back the ``last`` move.
    """
    best, best_score = PASS, score(cells, constraints, count, moves, last, PASS)
    for action in range(PASS):
        if possible(cells, action):
            action_score = score(cells, constraints, count, moves, last, action)
            if action_score > best_score:
                best, best_score = action, action_score
    return best


@njit
def score(cells, constraints, count, moves, last, action):
    """Return the score of an action: of two actions, the better one has the higher score."""
    move(cells, action)
    most, distance = outlook(cells, constraints, count, moves - 1)
    take_back(cells, action)
    return 2 * (most * (FARTHEST + 1) + FARTHEST - distance) + (not undoes(action, last))
