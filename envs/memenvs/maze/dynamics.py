"""The effects of actions in a maze: moves, trials, goals, metrics."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.grid.cells import GOAL, ahead
from memenvs.grid.view import look, show_all
from memenvs.maze.search import search
from memenvs.random import fold, integer

LEFT, RIGHT, FORWARD = range(3)

_ONE = np.uint64(1)


def state_dtype(side: int) -> np.dtype:
    """The layout of a state in a maze of up to that side."""
    i2, i4 = np.int16, np.int32
    return np.dtype(
        [
            # First what is long and seldom read, so that the rest lies beside the level, which is read in every step.
            ("to_goal", i2, (4 * side * side,)),
            ("places", i2, (side * side,)),  # from near to far
            ("key", np.uint64),
            ("x", i2),
            ("y", i2),
            ("direction", i2),
            ("wanted", i2),  # the number of the goal that is asked for
            ("goal", i2, (2,)),  # its x and y
            ("found", i2),  # whether the last step reached a goal
            ("steps", i4),
            ("reached", i4),  # how many times a goal was
            ("shortest", i4),  # fewest steps that this trial takes
            ("trial_steps", i4),
            ("known", i4),  # bits: the goals that have been reached
            ("gained", i4, (2,)),  # by how much the trials before this one got nearer, to goals new and known
            ("spent", i4, (2,)),  # the steps that they took
            ("far", i2),  # the first of those places from which a trial may begin
            ("free", i2),  # how many places there are
            ("trail", np.uint64, (side,)),  # bits: the cells where the agent has been in this trial
        ]
    )


@njit
def reset(state, level):
    state.steps = state.reached = state.known = 0
    state.found = 0
    state.gained[:] = 0
    state.spent[:] = 0
    ask_for(state, level, integer(fold(state.key, 0), level.goals))
    put_elsewhere(state, level)
    begin_trial(state, level)


@njit
def ask_for(state, level, goal):
    """Make a goal the wanted one."""
    state.wanted = goal
    state.goal[:] = level.places[goal]
    state.far, state.free = search(
        level.rows[:], level.size, state.goal[0], state.goal[1], level.size // 2, state.to_goal[:], state.places[:]
    )


@njit
def put_elsewhere(state, level):
    """Put the agent at a place far from the goal."""
    key = fold(state.key, 2 * state.reached + 1)
    place = state.places[state.far + integer(key, state.free - state.far)]
    state.x, state.y = place % level.size, place // level.size
    state.direction = integer(fold(key, 1), 4)


@njit
def begin_trial(state, level):
    """Return the fewest steps from the agent to the goal."""
    state.trial_steps = 0
    state.shortest = state.to_goal[pose(state, level)]
    state.trail[: level.size] = np.uint64(0)
    state.trail[state.y] = _ONE << np.uint64(state.x)


@njit
def pose(state, level):
    """Return the index of the agent's place and direction in ``to_goal``."""
    return 4 * (state.y * level.size + state.x) + state.direction


@njit
def step(state, level, action):
    state.direction = (state.direction + (action == RIGHT) - (action == LEFT)) & 3
    dx, dy = ahead(state.direction)
    x, y = state.x + dx, state.y + dy
    free = (level.rows[np.uintp(y)] >> np.uint64(x)) & _ONE
    moved = np.int64(free) & (action == FORWARD)
    state.x += dx * moved
    state.y += dy * moved
    state.trail[np.uintp(state.y)] |= _ONE << np.uint64(state.x)
    state.steps += 1
    state.trial_steps += 1
    found = (state.x == state.goal[0]) & (state.y == state.goal[1])
    state.found = found
    if found:
        arrive(state, level)
    return 1.0 * found, found & (state.reached == level.trials), state.steps >= level.max_steps


@njit
def arrive(state, level):
    """End a trial, and begin the next one unless it was the last."""
    kind = (state.known >> state.wanted) & 1
    state.gained[kind] += state.shortest
    state.spent[kind] += state.trial_steps
    state.known |= 1 << state.wanted
    state.reached += 1
    state.trial_steps = 0
    state.shortest = 0
    if state.reached == level.trials:
        return
    if level.goals == 1:
        put_elsewhere(state, level)
    else:
        other = integer(fold(state.key, 2 * state.reached), level.goals - 1)
        ask_for(state, level, other + (other >= state.wanted))
    begin_trial(state, level)


@njit
def observe(state, level, out):
    size = level.size
    look(
        level.cells[:],
        level.rows[:],
        level.columns[:],
        size,
        size,
        state.x,
        state.y,
        state.direction,
        0,
        False,
        out.image[:],
    )
    out.direction = state.direction


@njit
def observe_hidden(state, level, out):
    observe(state, level, out)
    out.found = state.found


@njit
def observe_several(state, level, out):
    observe(state, level, out)
    out.wanted = state.wanted


@njit
def observe_all(state, level, out):
    size = level.size
    show_all(level.cells[:], size, size, state.x, state.y, state.direction, out.image)
    x, y = state.goal[0], state.goal[1]
    if (x != state.x) | (y != state.y):
        out.image[x, y, 0] = GOAL
    out.direction = state.direction


@njit
def observe_all_hidden(state, level, out):
    observe_all(state, level, out)
    out.found = state.found


@njit
def observe_all_several(state, level, out):
    observe_all(state, level, out)
    out.wanted = state.wanted


@njit
def oracle(state, level):
    """The first step of a shortest way to the wanted goal."""
    here = pose(state, level)
    dx, dy = ahead(state.direction)
    nearer = state.to_goal[here] - 1
    if state.to_goal[here + 4 * (dx + dy * level.size)] == nearer:
        return FORWARD
    return LEFT if state.to_goal[(here & ~3) | ((here - 1) & 3)] == nearer else RIGHT


@njit
def legal(state, level, mask):
    dx, dy = ahead(state.direction)
    mask[LEFT] = mask[RIGHT] = True
    mask[FORWARD] = (level.rows[state.y + dy] >> np.uint64(state.x + dx)) & _ONE


@njit
def measure(state, level, out):
    # The last trial, not ended: how much nearer it got.
    kind = (state.known >> state.wanted) & 1
    nearer = max(state.shortest - state.to_goal[pose(state, level)], 0) if state.trial_steps else 0
    out[0] = state.reached > 0
    out[1] = state.reached
    for i in range(2):
        gained = state.gained[i] + nearer * (i == kind)
        spent = state.spent[i] + state.trial_steps * (i == kind)
        out[2 + i] = gained / max(spent, 1)


@njit
def digest(level):
    """A hash of the walls and the goals."""
    total = np.uint64(level.size)
    for y in range(1, level.size - 1):
        total = fold(total, level.rows[y])
    for goal in range(level.goals):
        total = fold(total, level.places[goal, 1] * level.size + level.places[goal, 0])
    return total
