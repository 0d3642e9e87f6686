"""Levels: a board, and goals that are satisfied a given number of moves away from it."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.random import advance, between, integer, permute
from memenvs.shrdlu.boards import (
    ABOVE,
    BELOW,
    CELLS,
    DESTINATIONS,
    LEFT_OF,
    PASS,
    RIGHT_OF,
    SOURCES,
    move,
    possible,
)
from memenvs.shrdlu.planning import FARTHEST_GOAL, MOST_CONSTRAINTS, outlook
from memenvs.shrdlu.tables import COLUMNS, FIRST_SHAPE, HEIGHT, SHAPES

LETTERS = 26
MOST_GOALS = 10
MOST_MOVES = 10  # goals that are further away are seldom found
TRIES = 64  # of finding a goal with a drawn number of constraints and moves
DRAWS = 32  # of those numbers, before another board is drawn

PARAMS = np.dtype(
    [
        ("goals", np.int64, (2,)),
        ("blocks", np.int64, (2,)),
        ("constraints", np.int64, (2,)),
        ("moves", np.int64, (2,)),
        ("slack", np.int64),
        ("invalid_penalty", np.float64),
        ("undo_penalty", np.float64),
    ]
)
LEVEL = np.dtype(
    [
        ("blocks", np.int8),
        ("goals", np.int8),
        ("asked", np.int8),  # the goal to be satisfied
        ("distance", np.int8),  # fewest moves that satisfy it
        ("moves", np.int16),  # moves that the agent has
        ("description", np.int16),  # steps of it: the constraints of all goals
        ("start", np.int8, (CELLS,)),
        ("board", np.int8, (CELLS,)),  # from which the generator takes constraints
        ("letters", np.int8, (MOST_GOALS,)),  # 1 to 26
        ("counts", np.int8, (MOST_GOALS,)),  # of the constraints of each goal
        ("constraints", np.int8, (MOST_GOALS, MOST_CONSTRAINTS, 3)),  # a block, a relation, another block
        ("order", np.int8, (MOST_GOALS * MOST_CONSTRAINTS,)),  # of the description: goal * MOST_CONSTRAINTS + number
        ("invalid_penalty", np.float64),
        ("undo_penalty", np.float64),
    ]
)


@njit
def generate(params, key, level):
    """A uniformly drawn board, goals that are all drawn alike, and one of them to ask for."""
    key = advance(key)
    level.blocks = between(key, params.blocks)
    key = advance(key)
    level.goals = between(key, params.goals)
    key = advance(key)
    level.asked = integer(key, level.goals)
    key = draw_board(level, key)
    for goal in range(level.goals):
        key, distance = draw_goal(params, key, level, goal)
        if distance < 0:
            return False
        if goal == level.asked:
            level.distance = distance
    draw_description(level, key)
    level.moves = level.distance + params.slack
    level.invalid_penalty = params.invalid_penalty
    level.undo_penalty = params.undo_penalty
    return True


@njit
def draw_board(level, key):
    """A board, uniformly among all with as many blocks.

    :return: the next key
    """
    numbers = np.empty(level.blocks, np.int64)
    key = permute(key, numbers, level.blocks)
    key = advance(key)
    first = FIRST_SHAPE[level.blocks]
    shape = first + integer(key, FIRST_SHAPE[level.blocks + 1] - first)
    placed = 0
    for cell in range(CELLS):
        level.start[cell] = 0
        if cell % HEIGHT < SHAPES[shape, cell // HEIGHT]:
            level.start[cell] = numbers[placed] + 1
            placed += 1
    return key


@njit
def draw_goal(params, key, level, goal):
    """Draw constraints that a board some moves away satisfies, and no nearer one does.

    :return: the next key, and the number of moves; -1 where no goal was found
    """
    board = level.board
    constraints = level.constraints[goal]
    for _ in range(DRAWS):
        key = advance(key)
        count = between(key, params.constraints)
        key = advance(key)
        moves = between(key, params.moves)
        if moves > FARTHEST_GOAL[level.blocks, count]:
            continue
        for _ in range(TRIES):
            for cell in range(CELLS):
                board[cell] = level.start[cell]
            key = wander(board, key, moves)
            key, chosen = draw_constraints(board, key, count, constraints)
            if chosen < count:
                continue
            most, distance = outlook(level.start, constraints, count, moves)
            if most == count and distance == moves:
                level.counts[goal] = count
                return key, moves
    return key, -1


@njit
def wander(board, key, moves):
    """Make random moves, none of the block that was moved last, as long as there are any.

    :return: the next key
    """
    last = -1
    for _ in range(moves):
        candidates, chosen = 0, -1
        for action in range(PASS):
            if SOURCES[action] != last and possible(board, action):
                # Replaced by the n-th with probability 1/n, each move is equally likely to stay.
                candidates += 1
                key = advance(key)
                if integer(key, candidates) == 0:
                    chosen = action
        if chosen < 0:
            break
        move(board, chosen)
        last = DESTINATIONS[chosen]
    return key


@njit
def draw_constraints(board, key, count, constraints):
    """Choose so many of the pairs of adjacent blocks and describe the place of one seen from the other.

    :return: the next key, and how many were chosen: fewer where there are not enough
    """
    pairs = 0
    for cell in range(CELLS):
        pairs += has_above(board, cell) + has_right(board, cell)
    chosen = 0
    for cell in range(CELLS):
        for upward in range(2):
            if not (has_above(board, cell) if upward else has_right(board, cell)):
                continue
            key = advance(key)
            if integer(key, pairs) < count - chosen:
                other = board[cell + 1] if upward else board[cell + HEIGHT]
                key = advance(key)
                write_constraint(constraints[chosen], board[cell], BELOW if upward else LEFT_OF, other, key)
                chosen += 1
            pairs -= 1
    return key, chosen


@njit
def has_above(board, cell):
    """Return whether there are blocks in a cell and in the one above it."""
    return cell % HEIGHT < HEIGHT - 1 and board[cell] > 0 and board[cell + 1] > 0


@njit
def has_right(board, cell):
    """Return whether there are blocks in a cell and in the one at its right."""
    return cell < (COLUMNS - 1) * HEIGHT and board[cell] > 0 and board[cell + HEIGHT] > 0


@njit
def write_constraint(constraint, first, relation, second, key):
    """Write a constraint in one of the two ways of saying it."""
    if integer(key, 2) == 0:
        first, second = second, first
        relation = ABOVE if relation == BELOW else RIGHT_OF
    constraint[0], constraint[1], constraint[2] = first, relation, second


@njit
def draw_description(level, key):
    """Draw different letters for the goals, and all constraints of all goals in a random order."""
    letters = np.empty(LETTERS, np.int64)
    key = permute(key, letters, LETTERS)
    level.description = 0
    for goal in range(level.goals):
        level.letters[goal] = letters[goal] + 1
        level.description += level.counts[goal]
    places = np.empty(level.description, np.int64)
    permute(key, places, level.description)
    written = 0
    for goal in range(level.goals):
        for number in range(level.counts[goal]):
            level.order[places[written]] = goal * MOST_CONSTRAINTS + number
            written += 1
