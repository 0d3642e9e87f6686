"""MiniGrid's environments, batched and compiled (Chevalier-Boisvert et al. 2023, arXiv:2306.13831)."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import odd, positive, within
from memenvs.engine.defaults import always_decides
from memenvs.grid.dynamics import (
    ACTIONS,
    legal,
    measure,
    observe,
    observe_all,
    observe_all_with_mission,
    observe_beside_world,
    observe_beside_world_with_mission,
    observe_with_mission,
    reset,
    step,
)
from memenvs.grid.ids import NAMES
from memenvs.grid.missions import observation_space
from memenvs.grid.missions import text as mission_text
from memenvs.grid.oracle import oracle_of
from memenvs.grid.pools import MOST_LEVELS, Pool, digest, digests, generate, params_dtype, pool
from memenvs.grid.records import LEVEL, MOST_WORDS, STATE
from memenvs.grid.sound import sound
from memenvs.grid.view import MOST_VIEW, look


def define(
    level: str = "MiniGrid-MemoryS13-v0",
    agent_view_size: int = 7,
    max_steps: int | None = None,
    levels: int = 4096,
    observable: bool | Literal["beside"] = False,
) -> Definition:
    """The definition of one of MiniGrid's environments; the parameters are those of :class:`MiniGrid`."""
    if level not in NAMES:
        raise ValueError(f"level must be one of {NAMES}, not {level!r}")
    agent_view_size = odd("agent_view_size", agent_view_size, 3, MOST_VIEW)
    levels = within("levels", levels, 1, MOST_LEVELS)
    drawn, distinct = drawn_levels(level, levels)
    max_steps = int(drawn.records["max_steps"][0]) if max_steps is None else positive("max_steps", max_steps)
    if not isinstance(observable, (bool, np.bool_)) and observable != "beside":
        raise ValueError(f"observable must be True, False or 'beside', not {observable!r}")
    beside = observable == "beside"
    whole = (int(drawn.records["width"].max()), int(drawn.records["height"].max()), 3)
    image = whole if observable and not beside else (agent_view_size, agent_view_size, 3)
    # Before the image: Numba would warn of a record that begins with all of another one.
    mission = [("mission", np.uint8, (MOST_WORDS,))] if drawn.with_mission else []
    world = [("world", np.uint8, whole)] if beside else []
    return Definition(
        name=f"{level}(agent_view_size={agent_view_size}, max_steps={max_steps}, levels={levels}"
        f"{f', observable={observable}' if observable else ''})",
        params=as_params(level, levels, max_steps),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("direction", np.int64), *mission, *world, ("image", np.uint8, image)], align=True),
        observation_space=observation_space(
            Box(0, 255, image, np.uint8),
            Discrete(4),
            drawn.with_mission,
            Box(0, 255, whole, np.uint8) if beside else None,
        ),
        action_space=Discrete(drawn.actions),
        generate=generate,
        reset=reset,
        step=step,
        observe=OBSERVES[observable, drawn.with_mission],
        oracle=oracle_of(level),
        decides=always_decides,
        legal=legal,
        metrics=("success",),
        measure=measure,
        digest=digest,
        distinct_levels=distinct,
        sound=sound,
        draw=functools.partial(draw, agent_view_size),
        text=functools.partial(text, agent_view_size),
        frames_per_second=10,
        action_names=ACTIONS[: drawn.actions],
    )


OBSERVES = {  # by whether all of the grid is shown, or all of it beside the view; and the mission
    (False, False): observe,
    (False, True): observe_with_mission,
    (True, False): observe_all,
    (True, True): observe_all_with_mission,
    ("beside", False): observe_beside_world,
    ("beside", True): observe_beside_world_with_mission,
}


@functools.lru_cache(maxsize=8)
def drawn_levels(level: str, levels: int) -> tuple[Pool, int]:
    """A pool, and how many levels with different digests it holds."""
    drawn = pool(level, levels)
    return drawn, np.unique(digests(drawn.records)).size


@functools.lru_cache(maxsize=8)
def as_params(level: str, levels: int, max_steps: int) -> np.ndarray:
    """The parameters of ``generate``, shared between environments: nobody writes them."""
    drawn, _ = drawn_levels(level, levels)
    params = np.zeros(1, params_dtype(levels))
    params["max_steps"] = max_steps
    params["levels"] = levels
    params["which"][0, :levels] = drawn.which
    params["records"][0, : drawn.records.size] = drawn.records
    return params


def draw(n: int, state: np.void, level: np.void) -> np.ndarray:
    """Draw the grid, brighter in the agent's view, and the mission, (H, W, 3) uint8.

    :param n: the side of the square that the agent sees
    """
    from memenvs.grid.draw import draw_grid

    return draw_grid(**scene(n, state, level))


def text(n: int, state: np.void, level: np.void) -> str:
    """The grid and the mission for a terminal."""
    from memenvs.grid.draw import ansi_grid

    return ansi_grid(**scene(n, state, level))


def scene(n: int, state: np.void, level: np.void) -> dict[str, Any]:
    """Return the contents of a picture."""
    from memenvs.grid.draw import seen_cells

    width, height, carried = int(level["width"]), int(level["height"]), int(state["carried"])
    agent = (int(state["x"]), int(state["y"]), int(state["direction"]))
    image = np.zeros((n, n, 3), np.uint8)
    grid = (state["cells"], state["rows"], state["columns"], width, height)
    look(*grid, *agent, carried, bool(level["through_walls"]), image)
    return {
        "cells": state["cells"][: width * height].reshape(height, width),
        "agent": agent,
        "seen": seen_cells(image, agent, height, width),
        "carried": carried,
        "caption": mission_text(level["words"]) or None,
    }


class MiniGrid(SingleEnv):
    """``memenvs/MiniGrid-MemoryS13-v0`` and the like: the environments of MiniGrid, exactly, and much faster.

    An agent in a grid of rooms sees a square before it, moves, and picks up, drops and opens things. Each environment
    asks for something else: to get to a goal, to open a door, to fetch an object, or in the ones named ``Memory`` to go
    at the end of a corridor to the object that was shown at its start. For a level and a row of actions, observations,
    rewards and ends are those of MiniGrid (Chevalier-Boisvert et al. 2023, arXiv:2306.13831). MiniGrid's
    ``MiniGrid-WFC-...`` ids, whose levels come from the wave function collapse algorithm, and those of BabyAI are not
    among them.

    Levels are drawn by MiniGrid itself: number k is its level for ``reset(seed=k)``. The first ``levels`` of them
    are kept on disk, and an episode takes place in one of these, drawn uniformly.

    - Observation: ``Dict`` of ``image``, bytes (n, n, 3): type, colour and state of the cells that are seen, as
      MiniGrid gives them; ``direction``, ``Discrete(4)``: right, down, left, up; and, only where missions differ
      between levels, ``mission``, ``MultiDiscrete`` of 17 bytes: the words' numbers of :mod:`memenvs.grid.missions`.
      With the wrapper ``MissionWords`` of that module MiniGrid's own environments have the same observations.
    - Action: ``Discrete(7)``: turn left, turn right, go forward, pick up, drop, toggle (open, close), done. In the
      environments with moving obstacles ``Discrete(3)``, the first three.
    - Reward: ``1 - 0.9 * steps / max_steps`` for success, otherwise 0; -1 for a collision with a moving obstacle.
    - End: terminated by success or failure, as in MiniGrid, truncated after ``max_steps``. An episode is terminated or
      truncated, never both: where its last allowed step also ends the task, MiniGrid reports both, and here the
      episode is terminated.
    - ``info``: ``success``, 1 if the reward was positive.

    The oracle, where there is one, takes the fewest steps to success; ``memenvs.grid.oracle`` names the
    environments that have one.

    The split of a level follows from its grid, the agent's place and the mission. Where there are few different levels
    there is none: one in ``Empty-8x8``, 16 in ``MemoryS7``.

    :param level: the name that MiniGrid gives the environment
    :param agent_view_size: the side n of the square that the agent sees, odd, from 3 to 15
    :param max_steps: after how many steps an episode is truncated; by default as many as MiniGrid allows
    :param levels: number of levels, up to 65536. Drawing 4096 of them takes MiniGrid a few seconds, once
    :param observable: show the whole grid instead of the view, as MiniGrid's ``FullyObsWrapper``: ``image`` is
        (width, height, 3), and the agent in it an object of type 10 whose state is its direction. ``"beside"`` shows
        it beside the view, as the entry ``world``, to whatever may know more than the policy: a bonus that counts
        states
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMiniGrid(BatchedEnv):
    """The batched :class:`MiniGrid`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
