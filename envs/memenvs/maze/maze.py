"""Mazes with a goal that is found again and again: hidden as in a water maze, or one of several that are asked for."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, flag, number, odd, positive, within
from memenvs.engine.defaults import always_decides
from memenvs.engine.definition import Goals
from memenvs.grid.cells import COLOURS
from memenvs.grid.view import MOST_VIEW, look
from memenvs.maze.dynamics import (
    digest,
    legal,
    measure,
    observe_all_hidden,
    observe_all_several,
    observe_hidden,
    observe_several,
    oracle,
    reset,
    state_dtype,
    step,
)
from memenvs.maze.generators import ALGORITHMS, MOST_GOALS, PARAMS, generate, level_dtype
from memenvs.maze.sound import sound

SIDES = (25, 41)  # for which there are layouts
LEAST_SIDE = 7


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
    observable: bool = False,
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
    n = odd("agent_view_size", agent_view_size, 3, MOST_VIEW)
    fixed = None if fixed is None else within("fixed", fixed, 0, 2**63 - 1)
    observable = flag("observable", observable)
    image = (high, high, 3) if observable else (n, n, 3)
    side = next(side for side in SIDES if side >= high)
    reported, values = ("found", 2) if goals == 1 else ("wanted", goals)
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
        f"max_steps={max_steps}, colours={colours}, agent_view_size={n}, fixed={fixed}"
        f"{', observable=True' if observable else ''})",
        params=np.array([(*params, fixed or 0)], PARAMS),
        level=level_dtype(side),
        state=state_dtype(side),
        out=np.dtype([("direction", np.int64), (reported, np.int64), ("image", np.uint8, image)], align=True),
        observation_space=Dict(
            {"direction": Discrete(4), reported: Discrete(values), "image": Box(0, 255, image, np.uint8)}
        ),
        action_space=Discrete(3),
        action_names=("left", "right", "forward"),
        generate=generate,
        reset=reset,
        step=step,
        observe=OBSERVES[observable, goals > 1],
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


OBSERVES = {  # by whether the whole maze is shown, and whether there are several goals
    (False, False): observe_hidden,
    (False, True): observe_several,
    (True, False): observe_all_hidden,
    (True, True): observe_all_several,
}


def distinct(size: int, algorithm: str, loops: float, goals: int) -> float:
    """Return the number of mazes of a size with their goals, counted only where all walls are taken away."""
    n = size // 2
    return math.perm(n * n + 2 * n * (n - 1), goals) if loops == 1 and algorithm != "rooms" else math.inf


# --- as a goal-conditioned task ---------------------------------------------------------------------------------------


def goals_of(state: np.void, level: np.void) -> tuple[np.ndarray, np.ndarray]:
    """The cell to which the last step led, before the agent was put elsewhere; the cell of the goal."""
    goal = state["goal"].astype(np.uint8)
    return goal if state["found"] else np.array([state["x"], state["y"]], np.uint8), goal


def goal_reward(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """Return 1 where the goal was reached."""
    return np.all(achieved == desired, axis=-1) * 1.0


# --- pictures --------------------------------------------------------------------------------------------------------


def draw(n: int, state: np.void, level: np.void) -> np.ndarray:
    """Draw the maze with the agent, its view, its path in this trial, and a ring round the wanted goal."""
    from memenvs.grid.draw import draw_grid

    return draw_grid(**plan_of(n, state, level))


def text(n: int, state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.grid.draw import ansi_grid

    return ansi_grid(**plan_of(n, state, level))


def plan_of(n: int, state: np.void, level: np.void) -> dict[str, Any]:
    """Return a picture's contents, as :func:`memenvs.grid.draw.draw_grid` takes it; ``n`` is the side of the view."""
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
    :param trials: number of trials, in each of which the goal can be reached once; by default as many as the
        steps allow
    :param max_steps: of an episode; by default twice the square of the side
    :param colours: lay coloured floors in some cells, one of eight or more, and paint doors in colours, so that places
        can be distinguished
    :param agent_view_size: the side of the view, odd, from 3 to 15
    :param fixed: a number from which one maze is drawn with its goals, the same in all episodes; only where the agent
        begins changes, and which goal is asked for
    :param observable: show the whole maze instead of the view: ``image`` is (high, high, 3), the column first, in it
        the goals, type 8, also a hidden one, and the agent, type 10, its state the direction; what is beyond a smaller
        maze is (0, 0, 0)
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMaze(BatchedEnv):
    """The batched :class:`Maze`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
