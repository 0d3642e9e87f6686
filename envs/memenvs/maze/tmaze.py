"""The T-maze of Bakker (2001, NIPS), deterministic: a cue at the start decides the turn at the end of a corridor."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import MOST, bounds, flag
from memenvs.compilation import njit
from memenvs.random import advance, between, integer

UP, RIGHT, DOWN, LEFT = range(4)

PARAMS = np.dtype([("length", np.int64, (2,))])
LEVEL = np.dtype([("length", np.int32), ("cue", np.int32)])
STATE = np.dtype([("key", np.uint64), ("position", np.int32), ("turn", np.int32), ("steps", np.int32)])
OUT = np.dtype([("observation", np.uint8, (2,))])


@njit
def generate(params, key, level):
    level.cue = DOWN if integer(key, 2) else UP
    level.length = between(advance(key), params.length)
    return True


@njit
def reset(state, level):
    state.position = 0
    state.turn = -1
    state.steps = 0


@njit
def step(state, level, action):
    # Without branches on the action: what cannot be predicted costs more than the whole rest of a step.
    turned = (state.position == level.length) & ((action == UP) | (action == DOWN))
    state.position = min(max(state.position + (action == RIGHT) - (action == LEFT), 0), level.length)
    if turned:
        state.turn = action
    state.steps += 1
    return 1.0 * (turned & (action == level.cue)), turned, state.steps >= time_limit(level.length)


@njit
def time_limit(length):
    """Return twice the steps of the best way."""
    return 2 * (length + 1)


@njit
def observe(state, level, out):
    out.observation[0] = (1 if level.cue == UP else 2) if state.steps == 0 else 0
    out.observation[1] = state.position == level.length


@njit
def observe_all(state, level, out):
    observe(state, level, out)
    out.observation[0] = 1 if level.cue == UP else 2


@njit
def oracle(state, level):
    return level.cue if state.position == level.length else RIGHT


@njit
def legal(state, level, mask):
    junction = state.position == level.length
    mask[UP] = mask[DOWN] = junction
    mask[RIGHT] = not junction
    mask[LEFT] = state.position > 0


@njit
def measure(state, level, out):
    out[0] = state.turn == level.cue


@njit
def sound(params, state, level):
    return params.length[0] <= level.length <= params.length[1] and 0 <= state.position <= level.length


def define(length: int | tuple[int, int] = 10, observable: bool = False) -> Definition:
    """The definition of a T-maze with a corridor of ``length`` steps, or of so many at least and at most."""
    low, high = bounds("length", length, 1, MOST)
    observable = flag("observable", observable)
    return Definition(
        name=f"TMaze(length={low if low == high else (low, high)}{', observable=True' if observable else ''})",
        params=np.array([((low, high),)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=MultiDiscrete([3, 2], dtype=np.uint8),
        action_space=Discrete(4),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        legal=legal,
        metrics=("success",),
        measure=measure,
        distinct_levels=2 * (high - low + 1),
        sound=sound,
        draw=draw,
        text=text,
        action_names=("up", "right", "down", "left"),
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The maze with the cue and the agent, (H, W, 3) uint8."""
    from memenvs.maze.draw import draw_tmaze

    return draw_tmaze(int(level["length"]), cue_name(level), agent(state, level))


def text(state: np.void, level: np.void) -> str:
    """The maze for a terminal."""
    from memenvs.maze.draw import ansi_tmaze

    return ansi_tmaze(int(level["length"]), cue_name(level), agent(state, level))


def cue_name(level: np.void) -> str:
    """Return the direction of the cue."""
    return "up" if level["cue"] == UP else "down"


def agent(state: np.void, level: np.void) -> tuple[int, int]:
    """Return the place of the agent: x along the corridor, y 1 in the upper arm, -1 in the lower."""
    return int(state["position"]), {UP: 1, DOWN: -1}.get(int(state["turn"]), 0)


class TMaze(SingleEnv):
    """``memenvs/TMaze-v0``: remember a cue along a corridor.

    The agent starts at one end of a corridor of ``length`` steps and sees, at that step only, a cue. At the other end
    is a junction, where it must turn the way the cue pointed.

    - Observation: ``MultiDiscrete([3, 2])`` of bytes: the cue (0 none, 1 up, 2 down) and whether this is the junction.
    - Action: 0 up, 1 right (forward), 2 down, 3 left. Against a wall the agent stays.
    - Reward: 1 for the right turn, otherwise 0.
    - End: terminated by a turn at the junction, truncated after ``2 * (length + 1)`` steps.
    - ``info``: ``success``, 1 for the right turn.

    There are two levels of each length, so there is no split.

    :param length: steps from the start to the junction; as ``(least, most)`` it is drawn anew in every episode
    :param observable: show the cue at every step, so that nothing has to be remembered
    :param split: must be ``None``
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedTMaze(BatchedEnv):
    """The batched :class:`TMaze`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
