"""The labyrinths of POPGym: find the way out of a maze, or see all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import MOST, flag, odd, within
from memenvs.engine.defaults import always_decides
from memenvs.popgym.labyrinth_rules import (
    NONE,
    PARAMS,
    digest,
    generate,
    legal,
    level_dtype,
    measure_escape,
    measure_explore,
    observe,
    observe_all_escape,
    observe_all_explore,
    oracle_escape,
    oracle_explore,
    reset,
    sound,
    state_dtype,
    step_escape,
    step_explore,
)

CODES = 5
SIDES = (19, 41)  # for which there are layouts
LEAST_SIZE = 7
OUT = np.dtype([("observation", np.int64, (10,))])


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
        "both_ends": True,
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

    POPGym's LabyrinthEscape (Morad et al. 2023, arXiv:2303.01859), bit for bit. The agent begins in an opening of an
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

    POPGym's LabyrinthExplore (Morad et al. 2023, arXiv:2303.01859), bit for bit. The mazes are those of
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
    :param observable: show the whole maze, ``MultiDiscrete`` of bytes, row by row, with 3 for what has been visited and
        4 where the agent is
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_explore)


class BatchedLabyrinthExplore(BatchedEnv):
    """The batched :class:`LabyrinthExplore`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_explore)
