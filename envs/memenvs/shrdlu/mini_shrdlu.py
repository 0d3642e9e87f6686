"""Mini-SHRDLU, the block puzzle of Graves et al. (2016): goals are described, then one of them is asked for."""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, number, within
from memenvs.compilation import njit
from memenvs.random import fold
from memenvs.shrdlu.boards import (
    CELLS,
    PASS,
    RELATIONS,
    fact_of,
    holds,
    is_board,
    move,
    possible,
    undoes,
)
from memenvs.shrdlu.generate import LETTERS, LEVEL, MOST_GOALS, MOST_MOVES, PARAMS, generate
from memenvs.shrdlu.lessons import LESSONS, Lesson
from memenvs.shrdlu.planning import MOST_CONSTRAINTS, best_action
from memenvs.shrdlu.tables import FEWEST_BLOCKS, MOST_BLOCKS, MOVES, nearest_boards

DESCRIPTION, CUE, PLAY = range(3)
MOST_SLACK = 50

STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int16),
        ("made", np.int16),  # actions in play other than a pass
        ("satisfied", np.int8),  # constraints of the asked goal
        ("last", np.int8),  # the last move of a block, or -1
        ("cells", np.int8, (CELLS,)),
    ]
)
OUT = np.dtype([("observation", np.uint8, (5 + CELLS,))])


@njit
def reset(state, level):
    state.time = 0
    state.made = 0
    state.last = -1
    for cell in range(CELLS):
        state.cells[cell] = level.start[cell]
    state.satisfied = satisfied(state, level)


@njit
def satisfied(state, level):
    """Return the number of satisfied constraints of the queried goal."""
    count = 0
    for i in range(level.counts[level.asked]):
        count += holds(state.cells, level.constraints[level.asked, i])
    return count


@njit
def moves_left(state, level):
    """Return the number of moves that the agent has left, in play."""
    return level.description + 1 + level.moves - state.time


@njit
def step(state, level, action):
    if state.time <= level.description:
        state.time += 1
        return 0.0, False, False
    if moves_left(state, level) == 0:
        return 0.0, True, False
    # The first move is paid for all that is satisfied after it, which makes the return what is satisfied at the end.
    paid = 0 if state.time == level.description + 1 else state.satisfied
    penalty = 0.0
    if action != PASS:
        state.made += 1
        if possible(state.cells, action):
            penalty = level.undo_penalty if undoes(action, state.last) else 0.0
            move(state.cells, action)
            state.last = action
            state.satisfied = satisfied(state, level)
        else:
            penalty = level.invalid_penalty
    state.time += 1
    return (state.satisfied - paid) / level.counts[level.asked] - penalty, moves_left(state, level) == 0, False


@njit
def observe(state, level, out):
    observation = out.observation
    for i in range(5):
        observation[i] = 0
    if state.time < level.description:
        place = level.order[state.time]
        goal, i = place // MOST_CONSTRAINTS, place % MOST_CONSTRAINTS
        observation[0] = level.letters[goal]
        for part in range(3):
            observation[1 + part] = level.constraints[goal, i, part]
        observation[4] = DESCRIPTION
    elif state.time == level.description:
        observation[0] = level.letters[level.asked]
        observation[4] = CUE
    else:
        observation[4] = PLAY
    for cell in range(CELLS):
        observation[5 + cell] = state.cells[cell]


@njit
def decides(state, level):
    return state.time > level.description and moves_left(state, level) > 0


@njit
def oracle(state, level):
    """A first move of a shortest way, or to as many constraints as the moves left allow."""
    if not decides(state, level):
        return -1
    constraints, count = level.constraints[level.asked], np.int64(level.counts[level.asked])
    return best_action(state.cells, constraints, count, moves_left(state, level), state.last)


@njit
def legal(state, level, mask):
    for action in range(mask.size):
        mask[action] = not decides(state, level) or possible(state.cells, action)


@njit
def measure(state, level, out):
    success = state.satisfied == level.counts[level.asked]
    out[0] = success
    out[1] = success and state.made == level.distance
    out[2] = state.satisfied / level.counts[level.asked]


@njit
def digest(level):
    """The board and the goal asked for, whatever it is called, however it is said and whatever else is described."""
    total = np.uint64(0)
    for cell in range(CELLS):
        total = fold(total, level.start[cell])
    facts = np.uint64(0)
    for i in range(level.counts[level.asked]):
        fact, first, second = fact_of(level.constraints[level.asked, i])
        facts += fold(fold(fold(total, fact), first), second)  # a sum does not depend on the order
    return fold(total, facts)


@njit
def sound(params, state, level):
    if not params.blocks[0] <= level.blocks <= params.blocks[1]:
        return False
    if not params.goals[0] <= level.goals <= params.goals[1] or not 0 <= level.asked < level.goals:
        return False
    if not params.moves[0] <= level.distance <= params.moves[1] or level.moves != level.distance + params.slack:
        return False
    if level.invalid_penalty != params.invalid_penalty or level.undo_penalty != params.undo_penalty:
        return False
    if not sound_goals(params, level):
        return False
    if not is_board(level.start, level.blocks) or not is_board(state.cells, level.blocks):
        return False
    made = max(0, state.time - level.description - 1)
    if not 0 <= state.time <= level.description + 1 + level.moves or not 0 <= state.made <= made:
        return False
    return -1 <= state.last < PASS and state.satisfied == satisfied(state, level)


@njit
def sound_goals(params, level):
    """Return whether goals, their constraints and the order of the description are what they may be."""
    description = 0
    for goal in range(level.goals):
        count = level.counts[goal]
        if not params.constraints[0] <= count <= params.constraints[1] or not 1 <= level.letters[goal] <= LETTERS:
            return False
        description += count
        for i in range(count):
            first, relation, second = level.constraints[goal, i]
            if not 0 < first <= level.blocks or not 0 < second <= level.blocks or first == second:
                return False
            if not 0 < relation < len(RELATIONS):
                return False
    if level.description != description:
        return False
    seen = np.uint64(0)
    for t in range(description):
        place = level.order[t]
        if not 0 <= place < level.goals * MOST_CONSTRAINTS:
            return False
        if place % MOST_CONSTRAINTS >= level.counts[place // MOST_CONSTRAINTS]:
            return False
        if (seen >> np.uint64(place)) & np.uint64(1):
            return False
        seen |= np.uint64(1) << np.uint64(place)
    return True


# --- parameters -------------------------------------------------------------------------------------------------------


def define(
    lesson: int = 26,
    goals: int | tuple[int, int] | None = None,
    blocks: int | tuple[int, int] | None = None,
    constraints: int | tuple[int, int] | None = None,
    moves: int | tuple[int, int] | None = None,
    slack: int = 6,
    invalid_penalty: float = 0.05,
    undo_penalty: float = 0.05,
) -> Definition:
    """The definition of a lesson; the parameters are those of :class:`MiniShrdlu`."""
    preset = LESSONS[within("lesson", lesson, 1, len(LESSONS))]
    ranges = Lesson(
        bounds("goals", preset.goals if goals is None else goals, 1, MOST_GOALS),
        bounds("blocks", preset.blocks if blocks is None else blocks, FEWEST_BLOCKS, MOST_BLOCKS),
        bounds("constraints", preset.constraints if constraints is None else constraints, 1, MOST_CONSTRAINTS),
        bounds("moves", preset.moves if moves is None else moves, 1, MOST_MOVES),
    )
    slack = within("slack", slack, 0, MOST_SLACK)
    penalties = number("invalid_penalty", invalid_penalty, 0, 1), number("undo_penalty", undo_penalty, 0, 1)
    said = ", ".join(f"{name}={value}" for name, value in ranges._asdict().items())
    return Definition(
        name=f"MiniShrdlu({said}, slack={slack}, invalid_penalty={penalties[0]}, undo_penalty={penalties[1]})",
        params=np.array([(*ranges, slack, *penalties)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=MultiDiscrete(
            [LETTERS + 1, MOST_BLOCKS + 1, len(RELATIONS), MOST_BLOCKS + 1, 3] + [MOST_BLOCKS + 1] * CELLS,
            dtype=np.uint8,
        ),
        action_space=Discrete(PASS + 1),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        decides=decides,
        legal=legal,
        metrics=("success", "optimality", "constraints"),
        measure=measure,
        digest=digest,
        distinct_levels=levels_at_least(ranges),
        sound=sound,
        draw=draw,
        text=text,
        action_names=(*(f"{i + 1} to {j + 1}" for i, j in MOVES), "pass"),
    )


def levels_at_least(ranges: Lesson) -> int:
    """A number of boards with a goal that there surely are: of goals of one constraint all, of others their namesakes.

    If there is a goal at all, then another for each way of renaming the blocks.
    """
    blocks, (low, high) = ranges.blocks[1], ranges.moves
    away = nearest_boards(blocks)
    goals = int(np.sum((low <= away) & (away <= high))) if ranges.constraints[0] == 1 else 1
    return factorial(blocks) * goals


# --- pictures ---------------------------------------------------------------------------------------------------------


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The board and the goals, (H, W, 3) uint8."""
    from memenvs.shrdlu.draw import draw_puzzle

    return draw_puzzle(**puzzle(state, level))


def text(state: np.void, level: np.void) -> str:
    """The board and the goals as text."""
    from memenvs.shrdlu.draw import ansi_puzzle

    return ansi_puzzle(**puzzle(state, level))


def puzzle(state: np.void, level: np.void) -> dict[str, Any]:
    """Return the contents of a picture: the board, the goals as far as described, and the current phase."""
    from memenvs.shrdlu.draw import Constraint, Goal

    time, description, asked = int(state["time"]), int(level["description"]), int(level["asked"])
    shown = {int(place): t for t, place in enumerate(level["order"][:description])}
    goals = []
    for goal in range(level["goals"]):
        constraints = []
        for i, constraint in enumerate(level["constraints"][goal, : level["counts"][goal]]):
            first, relation, second = constraint.tolist()
            t = shown[goal * MOST_CONSTRAINTS + i]
            satisfied = bool(holds(state["cells"], constraint))
            constraints.append(Constraint(first, RELATIONS[relation], second, t <= time, t == time, satisfied))
        goals.append(Goal(letter(level, goal), constraints, goal == asked and time >= description))
    count = int(level["counts"][asked])
    note = f"{state['satisfied']} of {count} satisfied" if time >= description else ""
    if time < description:
        title = f"Reading: {time + 1} of {description}"
    elif time == description:
        title = f"Go for {letter(level, asked)}!"
    else:
        title = f"{letter(level, asked)}: move {time - description - 1} of {level['moves']}"
        note += f", fewest moves {level['distance']}"
    columns = [[int(block) for block in column if block] for column in state["cells"].reshape(3, 3)]
    return {"columns": columns, "goals": goals, "title": title, "note": note}


def letter(level: np.void, goal: int) -> str:
    """The letter of a goal."""
    return chr(ord("A") + int(level["letters"][goal]) - 1)


# --- the environments -------------------------------------------------------------------------------------------------


class MiniShrdlu(SingleEnv):
    """``memenvs/MiniShrdlu-v0``: remember the constraints of many goals, then move blocks to satisfy one of them.

    The block puzzle of Graves et al. (2016, Nature 538:471). Numbered blocks stand in the three columns of a board,
    at most three on each other. A goal has a letter and constraints, each of which says where a block is, seen from
    another: left of it, right of it, above it or below it, always in the very next cell. Three phases follow each
    other. *Description*: the constraints of all goals, one a step, in random order across the goals. *Cue*: one step
    with the letter of a goal. *Play*: the agent moves the top block of a column to another column, or passes. It has
    ``slack`` moves more than the fewest that satisfy the goal, a pass counts as a move, and all are played: what holds
    at the end counts, so the agent has to know by itself when it is done.

    - Observation: ``MultiDiscrete([27, 7, 5, 7, 3] + [7] * 9)`` of bytes. The letter of a goal (1 for A), a block, its
      relation (1 left of, 2 right of, 3 above, 4 below) to another block, that block; all 0 where there is none. The
      phase (0 description, 1 cue, 2 play). The nine cells of the board as it stands, in every phase, column by column
      and each from the bottom: the number of a block, or 0.
    - Action: ``Discrete(7)``: move the top block from the first column to the second or third (0, 1), from the second
      to the first or third (2, 3), from the third to the first or second (4, 5), or pass (6); without effect before
      play. A move from an empty or to a full column is invalid and leaves the board as it is.
    - Reward: in play, the change of the share of the goal's constraints that are satisfied, counted from 0 before the
      first move, less ``invalid_penalty`` for an invalid move and ``undo_penalty`` for one that takes back the last
      move (passes and invalid moves between the two do not matter). The return is thus ``constraints`` less penalties,
      and 1 at best.
    - End: terminated after the last move. The number of moves is part of the task, so this is no truncation.
    - ``info``: ``success`` (1 if all constraints of the goal are satisfied at the end), ``optimality`` (1 if moreover
      no action but the fewest possible moves and passes was taken) and ``constraints`` (the share of them that is
      satisfied at the end).

    A board is drawn uniformly. Each goal draws the number of its constraints and of moves, makes so many random moves
    from the board, takes constraints from what then stands side by side, and is drawn again unless the fewest moves
    that satisfy it are as many as drawn. All goals are drawn alike, and then one to be asked for. Numbers that have
    failed often are drawn anew: few boards have a goal of one constraint seven moves away, so that such pairs of
    numbers are rarer than others where the ranges have them.

    The lessons are those of the paper, from ``lesson=1`` (two goals of one constraint, three blocks, one move) to
    ``lesson=26`` (ten goals of 1 to 6 constraints, six blocks, 1 to 7 moves). Where their table is not quite legible
    (6 to 10 and 17), the ranges were filled in such that none falls from one lesson to the next.

    The oracle takes a shortest way; where the moves left do not allow for it any more, a shortest way to as many
    constraints as they do. After a mistake this may take back a move in spite of the penalty.

    The split of a level follows from the board and the asked goal's constraints, whatever its letter, their order and
    the other goals. Of few blocks there may be too few levels for it.

    :param lesson: 1 to 26, which gives the four ranges below where they are not given
    :param goals: number of goals described, (low, high) or one number, from 1 to 10
    :param blocks: number of blocks on the board, (low, high) or one number, from 2 to 6
    :param constraints: number of constraints of a goal, (low, high) or one number, from 1 to 6
    :param moves: the fewest that satisfy a goal, (low, high) or one number, from 1 to 10
    :param slack: moves beyond these before the episode ends, from 0 to 50
    :param invalid_penalty: the cost of an invalid move, from 0 to 1
    :param undo_penalty: the cost of taking back the last move, from 0 to 1
    :param split: ``"train"`` or ``"test"`` for boards with goals that the other never asks for, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMiniShrdlu(BatchedEnv):
    """The batched :class:`MiniShrdlu`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
