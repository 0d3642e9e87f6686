"""Mazes with a goal that is found again and again: hidden as in a water maze, or one of several that are asked for."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, flag, number, positive, within
from memenvs.compilation import njit
from memenvs.engine.definition import Goals, always_decides
from memenvs.grid.cells import COLOURS, ahead, lets_pass
from memenvs.grid.view import MOST_VIEW, look, survey
from memenvs.maze.generators import ALGORITHMS, MOST_GOALS, PARAMS, generate, level_dtype
from memenvs.maze.search import UNREACHED, search
from memenvs.random import fold, integer

LEFT, RIGHT, FORWARD = range(3)
SIDES = (25, 41)  # for which there are layouts
LEAST_SIDE = 7

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
    """Put the agent somewhere from where the goal is far."""
    key = fold(state.key, 2 * state.reached + 1)
    place = state.places[state.far + integer(key, state.free - state.far)]
    state.x, state.y = place % level.size, place // level.size
    state.direction = integer(fold(key, 1), 4)


@njit
def begin_trial(state, level):
    """From where the agent is."""
    state.trial_steps = 0
    state.shortest = state.to_goal[pose(state, level)]
    state.trail[: level.size] = np.uint64(0)
    state.trail[state.y] = _ONE << np.uint64(state.x)


@njit
def pose(state, level):
    """Where the agent stands and looks, as ``to_goal`` counts it."""
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


# --- snapshots --------------------------------------------------------------------------------------------------------


@njit
def sound(params, state, level):
    return sound_level(params, level) and sound_state(state, level)


@njit
def sound_level(params, level):
    """Whether a maze is closed, its bits are those of its cells, and the goals lie in it."""
    size = np.int64(level.size)
    if not params.low <= size <= params.high or size % 2 == 0:
        return False
    if level.goals != params.goals or level.trials != params.trials or level.max_steps <= 0:
        return False
    rows, columns = np.empty(size, np.uint64), np.empty(size, np.uint64)
    survey(level.cells[:], size, size, rows, columns)
    closed = not (rows[0] | columns[0] | rows[size - 1] | columns[size - 1])
    if not (closed and np.array_equal(rows, level.rows[:size]) and np.array_equal(columns, level.columns[:size])):
        return False
    good = True
    for place in range(size * size):
        good &= lets_pass(level.cells[place]) == is_free(level, place % size, place // size)
    for goal in range(level.goals):
        good &= is_free(level, level.places[goal, 0], level.places[goal, 1])
    return good


@njit
def is_free(level, x, y):
    """Whether a cell lies in the maze and is free."""
    inside = (min(x, y) >= 0) & (max(x, y) < level.size)
    return inside and (level.rows[y] >> np.uint64(x)) & _ONE != 0


@njit
def sound_state(state, level):
    """Whether the agent stands in a sound maze, and the ways to the goal are as they should be."""
    if not is_free(level, state.x, state.y) or not 0 <= state.direction < 4:
        return False
    if not 0 <= state.wanted < level.goals or not 0 <= state.found <= 1:
        return False
    goal = level.places[state.wanted]
    to_goal, places = np.empty(state.to_goal.size, np.int16), np.empty(state.places.size, np.int16)
    far, free = search(level.rows[:], level.size, goal[0], goal[1], level.size // 2, to_goal, places)
    poses = 4 * level.size * level.size
    return (
        state.far == far < free == state.free
        and np.array_equal(goal, state.goal)
        and to_goal[pose(state, level)] != UNREACHED
        and np.array_equal(to_goal[:poses], state.to_goal[:poses])
        and np.array_equal(places[:free], state.places[:free])
    )


# --- parameters ------------------------------------------------------------------------------------------------------


def define(
    size: int | tuple[int, int] = 9,
    algorithm: str = "backtracker",
    loops: float = 0.1,
    goals: int = 1,
    trials: int | None = None,
    max_steps: int | None = None,
    *,
    colours: bool = True,
    agent_view_size: int = 7,
    fixed: int | None = None,
) -> Definition:
    """The definition of a task in mazes; the parameters are those of :class:`Maze`."""
    low, high = bounds("size", size, LEAST_SIDE, SIDES[-1])
    if low % 2 == 0 or high % 2 == 0:
        raise ValueError(f"size must be odd, or a pair (low, high) of odd numbers, not {size!r}")
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {list(ALGORITHMS)}, not {algorithm!r}")
    loops = number("loops", loops, 0, 1)
    goals = within("goals", goals, 1, MOST_GOALS)
    trials = None if trials is None else positive("trials", trials)
    max_steps = None if max_steps is None else positive("max_steps", max_steps)
    colours = flag("colours", colours)
    n = within("agent_view_size", agent_view_size, 3, MOST_VIEW)
    if n % 2 == 0:
        raise ValueError(f"agent_view_size must be odd, not {n}")
    fixed = None if fixed is None else within("fixed", fixed, 0, 2**63 - 1)
    side = next(side for side in SIDES if side >= high)
    told, values = ("found", 2) if goals == 1 else ("wanted", goals)
    params = (
        low,
        high,
        ALGORITHMS.index(algorithm),
        loops,
        goals,
        trials or 0,
        max_steps or 0,
        colours,
        fixed is not None,
    )
    return Definition(
        name=f"Maze(size={(low, high)}, algorithm={algorithm!r}, loops={loops}, goals={goals}, trials={trials}, "
        f"max_steps={max_steps}, colours={colours}, agent_view_size={n}, fixed={fixed})",
        params=np.array([(*params, fixed or 0)], PARAMS),
        level=level_dtype(side),
        state=state_dtype(side),
        out=np.dtype([("direction", np.int64), (told, np.int64), ("image", np.uint8, (n, n, 3))], align=True),
        observation_space=Dict(
            {"direction": Discrete(4), told: Discrete(values), "image": Box(0, 255, (n, n, 3), np.uint8)}
        ),
        action_space=Discrete(3),
        action_names=("left", "right", "forward"),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_hidden if goals == 1 else observe_several,
        oracle=oracle,
        decides=always_decides,
        legal=legal,
        metrics=("success", "goals", "first", "later"),
        measure=measure,
        digest=digest,
        distinct_levels=1
        if fixed is not None
        else sum(distinct(size, algorithm, loops, goals) for size in range(low, high + 1, 2)),
        sound=sound,
        draw=partial(draw, n),
        text=partial(text, n),
        frames_per_second=8,
        goals=Goals(MultiDiscrete([high, high], dtype=np.uint8), goals_of, goal_reward) if goals == 1 else None,
    )


def distinct(size: int, algorithm: str, loops: float, goals: int) -> float:
    """How many mazes of a size there are with their goals, counted only where all walls are taken away."""
    n = size // 2
    return math.perm(n * n + 2 * n * (n - 1), goals) if loops == 1 and algorithm != "rooms" else math.inf


# --- as a goal-conditioned task ---------------------------------------------------------------------------------------


def goals_of(state: np.void, level: np.void) -> tuple[np.ndarray, np.ndarray]:
    """The cell to which the last step led, before the agent was put elsewhere; the cell of the goal."""
    goal = state["goal"].astype(np.uint8)
    return goal if state["found"] else np.array([state["x"], state["y"]], np.uint8), goal


def goal_reward(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """1 where the goal was reached."""
    return np.all(achieved == desired, axis=-1) * 1.0


# --- pictures --------------------------------------------------------------------------------------------------------


def draw(n: int, state: np.void, level: np.void) -> np.ndarray:
    """The maze with the agent, what it sees, where it has been in this trial, and a ring round the wanted goal."""
    from memenvs.grid.draw import draw_grid

    return draw_grid(**plan_of(n, state, level))


def text(n: int, state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.grid.draw import ansi_grid

    return ansi_grid(**plan_of(n, state, level))


def plan_of(n: int, state: np.void, level: np.void) -> dict[str, Any]:
    """What a picture shows, as :func:`memenvs.grid.draw.draw_grid` takes it; ``n`` is the side of the view."""
    from memenvs.grid.draw import seen_cells

    size = int(level["size"])
    agent = int(state["x"]), int(state["y"]), int(state["direction"])
    image = np.zeros((n, n, 3), np.uint8)
    look(level["cells"], level["rows"], level["columns"], size, size, *agent, 0, False, image)
    goal = (int(state["goal"][0]), int(state["goal"][1]))
    reached, wanted = int(state["reached"]), COLOURS[state["wanted"]]
    asked = f", {wanted} is wanted" if level["goals"] > 1 else ""
    return {
        "cells": level["cells"][: size * size].reshape(size, size),
        "agent": agent,
        "seen": seen_cells(image, agent, size, size),
        "ring": goal,
        "path": trodden(state["trail"][:size]),
        "caption": f"step {state['steps']}, {reached} {'goal' if reached == 1 else 'goals'} reached{asked}",
    }


def trodden(trail: np.ndarray) -> list[tuple[int, int]]:
    """The cells of a trail, as a sequence in which any two that are neighbours follow each other once."""
    been = {(x, y) for y, row in enumerate(trail.tolist()) for x in range(row.bit_length()) if row >> x & 1}
    pairs = [((x, y), other) for x, y in sorted(been) for other in ((x + 1, y), (x, y + 1)) if other in been]
    return [place for pair in pairs for place in pair]


# --- the environments ------------------------------------------------------------------------------------------------


class Maze(SingleEnv):
    """``memenvs/Maze-v0``: find a goal once, and then know where it is.

    Every episode has a maze of its own, unless it is ``fixed``. With one goal (``goals=1``) it is **hidden**, as the
    platform in a water maze (Morris 1984): the agent finds it by stepping on it, is put somewhere else and has to come
    back, until its steps are spent. With several they are seen, each in a colour of its own, and are asked for in
    random order, the agent staying where it is, as in the Memory Maze (Pasukonis et al. 2022, arXiv:2210.13383).

    - Observation: ``Dict`` of ``image``, ``Box`` of bytes (n, n, 3), the square before the agent as MiniGrid shows it
      (type, colour and state of each cell; walls hide what is behind them); ``direction``, ``Discrete(4)``: right,
      down, left, up; with one goal ``found``, ``Discrete(2)``: 1 if the last step reached it, so that the agent is
      elsewhere now; with several ``wanted``, ``Discrete(goals)``: the colour asked for, in MiniGrid's order (red,
      green, blue, purple, yellow, grey).
    - Action: ``Discrete(3)``: turn left, turn right, go forward. Against a wall the agent stays.
    - Reward: 1 for each time that the wanted goal is reached.
    - End: terminated by the last of the ``trials``, truncated after ``max_steps``.
    - ``info``: ``goals``, how many were reached; ``success``, 1 if any was; ``first`` and ``later``, how good the ways
      were to goals that had not been reached before, and to those that had: the fewest steps possible over the steps
      made, summed over such trials, 0 if there was none. Of a trial that the end cuts off counts by how much nearer it
      came. An agent without memory has ``later`` no better than ``first``; for the oracle, which takes a shortest way
      in every trial, both are 1. With several goals it does not choose the way by which it arrives looking where the
      next trial will lead, which can save a turn.

    The first trial begins, and with one goal each other one, in a cell drawn uniformly from those at least half the
    side of the maze away, rounded down, in steps to the goal from the best direction.

    ``algorithm="backtracker"`` gives long winding corridors, ``"kruskal"`` many short dead ends, ``"rooms"`` rooms of
    up to a third of the side, by recursive division, with one open door in each wall. The split follows from the walls
    and the cells of the goals.

    :param size: the side of the square, walls included, as (low, high) or one number, odd, from 7 to 41
    :param algorithm: ``"backtracker"``, ``"kruskal"`` or ``"rooms"``
    :param loops: the probability with which each wall that is left between two neighbouring cells is taken away, or
        between rooms becomes a door; with 0 there is one way between any two cells, or rooms
    :param goals: 1 hidden one, or 2 to 6 that are seen
    :param trials: how often a goal can be reached; by default as often as there are steps for
    :param max_steps: of an episode; by default twice the square of the side
    :param colours: lay coloured floors in some cells, one of eight or more, and paint doors in colours, so that places
        can be told apart
    :param agent_view_size: the side of the view, odd, from 3 to 15
    :param fixed: a number from which one maze is drawn with its goals, the same in all episodes; only where the agent
        begins changes, and which goal is asked for
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMaze(BatchedEnv):
    """The batched :class:`Maze`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
