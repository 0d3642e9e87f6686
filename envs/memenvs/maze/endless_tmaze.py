"""Endless T-maze (Memory rewriting, arXiv:2601.15086): corridor after corridor, each with a cue that replaces the last.

Rules and rewards are those of the authors' environment, where the paper's text says otherwise too.
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.random import advance, between, fold, integer

FORWARD, LEFT, RIGHT = range(3)
KINDS = ("fixed", "uniform")
MOST_CORRIDORS, MOST_LENGTH = 1000, 10_000
COST = 0.01

PARAMS = np.dtype([("corridors", np.int64), ("length", np.int64, (2,))])
STATE = np.dtype([("key", np.uint64), ("corridor", np.int32), ("position", np.int32), ("steps", np.int32)])
OUT = np.dtype([("observation", np.float32, (3,))])


def level_dtype(corridors: int) -> np.dtype:
    """The dtype of a level of so many corridors."""
    return np.dtype([("longest", np.int32), ("length", np.int32, (corridors,)), ("cue", np.int8, (corridors,))])


@njit
def generate(params, key, level):
    level.longest = params.length[1]
    for i in range(params.corridors):
        key = advance(key)
        level.cue[i] = LEFT + integer(key, 2)
        key = advance(key)
        level.length[i] = between(key, params.length)
    return True


@njit
def reset(state, level):
    state.corridor = 0
    state.position = 0
    state.steps = 0


@njit
def step(state, level, action):
    corridor = state.corridor
    junction = state.position == level.length[corridor]
    right = junction & (action == level.cue[corridor])
    state.steps += 1
    if right:
        state.corridor += 1
        state.position = 0
    elif not junction and action == FORWARD:
        state.position += 1
    over = (junction & ~right) | (state.corridor == len(level.length))
    reward = 1.0 if right else 0.0 if not junction and action == FORWARD else -COST
    return reward, over, state.steps >= time_limit(level)


@njit
def present(state, level):
    """Return the number of the present corridor; after the last turn that of the last one."""
    return min(state.corridor, len(level.length) - 1)


@njit
def time_limit(level):
    """Return six times the steps of the best way through corridors that all have the greatest length."""
    return 6 * (level.longest + 1) * len(level.length)


@njit
def show_cue(state, level, out):
    """Write the cue of the present corridor; after the last there is none."""
    cue = level.cue[state.corridor] if state.corridor < len(level.length) else FORWARD
    out.observation[1] = cue == LEFT
    out.observation[2] = cue == RIGHT


@njit
def observe(state, level, out):
    out.observation[0] = state.position / level.longest
    out.observation[1:] = 0
    if state.position == 0:
        show_cue(state, level, out)


@njit
def observe_all(state, level, out):
    corridor = present(state, level)
    out.observation[0] = state.position / level.length[corridor]
    show_cue(state, level, out)


@njit
def oracle(state, level):
    corridor = present(state, level)
    return level.cue[corridor] if state.position == level.length[corridor] else FORWARD


@njit
def legal(state, level, mask):
    corridor = present(state, level)
    junction = state.position == level.length[corridor]
    mask[FORWARD] = not junction
    mask[LEFT] = mask[RIGHT] = junction


@njit
def measure(state, level, out):
    out[0] = state.corridor == len(level.length)
    out[1] = state.corridor


@njit
def digest(level):
    result = np.uint64(0)
    for i in range(len(level.length)):
        result = fold(result, np.int64(2 * level.length[i] + level.cue[i] - LEFT))
    return result


@njit
def sound(params, state, level):
    if level.longest != params.length[1] or not 0 <= state.corridor <= len(level.length) or state.position < 0:
        return False
    for i in range(len(level.length)):
        if not params.length[0] <= level.length[i] <= params.length[1] or not LEFT <= level.cue[i] <= RIGHT:
            return False
    return state.position <= level.length[present(state, level)]


def define(corridors: int = 10, length: int = 10, kind: str = "fixed", observable: bool = False) -> Definition:
    """The definition of an endless T-maze; the parameters are those of :class:`EndlessTMaze`."""
    corridors = within("corridors", corridors, 1, MOST_CORRIDORS)
    length = within("length", length, 1, MOST_LENGTH)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    shortest = length if kind == "fixed" else 1
    observable = flag("observable", observable)
    shown = f"corridors={corridors}, length={length}, kind={kind!r}{', observable=True' if observable else ''}"
    return Definition(
        name=f"EndlessTMaze({shown})",
        params=np.array([(corridors, (shortest, length))], PARAMS),
        level=level_dtype(corridors),
        state=STATE,
        out=OUT,
        observation_space=Box(0, 1, (3,), np.float32),
        action_space=Discrete(3),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        legal=legal,
        metrics=("success", "turns"),
        measure=measure,
        digest=digest,
        distinct_levels=(2 * (length - shortest + 1)) ** corridors,
        sound=sound,
        draw=draw,
        text=text,
        action_names=("forward", "left", "right"),
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The present corridor with its cue and the agent, (H, W, 3) uint8."""
    from memenvs.maze.draw import draw_tmaze

    return draw_tmaze(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The present corridor for a terminal, and its number."""
    from memenvs.maze.draw import ansi_tmaze

    corridor = min(int(state["corridor"]) + 1, len(level["length"]))
    return f"{ansi_tmaze(*_scene(state, level))}\ncorridor {corridor} of {len(level['length'])}"


def _scene(state: np.void, level: np.void) -> tuple[int, str, tuple[int, int]]:
    """Return length and cue of the present corridor (left is up, as one walks to the right), and where the agent is.

    After the last turn it stands in the arm that it turned into.
    """
    corridor = int(state["corridor"])
    done = corridor == len(level["length"])
    here = corridor - done
    length, cue = int(level["length"][here]), "up" if level["cue"][here] == LEFT else "down"
    place = (length, 1 if cue == "up" else -1) if done else (int(state["position"]), 0)
    return length, cue, place


class EndlessTMaze(SingleEnv):
    """``memenvs/EndlessTMaze-v0``: corridor after corridor, remember the newest cue and forget the one before.

    A cue, left or right, shows at the beginning of each of ``corridors`` corridors. At the end of it the agent must
    turn that way, and is at the beginning of the next then. A memory that keeps its first cue fails at the second: old
    content has to be written over (arXiv:2601.15086).

    - Observation: ``Box(0, 1, (3,))``: how far along the corridor, as a share of ``length``; whether the cue is left;
      whether it is right. The cue shows at the beginning of the corridor only.
    - Action: 0 forward, 1 left, 2 right.
    - Reward: 1 for a right turn, 0 for a step forward in the corridor, -0.01 for any other action.
    - End: terminated by the last turn, or by anything but the right turn at a junction; truncated after
      ``6 * (length + 1) * corridors`` steps.
    - ``info``: ``success``, 1 if all turns were right, and ``turns``, how many were.

    With ``kind="uniform"`` each corridor has a length of its own, from 1 to ``length``, and nothing shows its end: who
    does not want to guess tries the turn in every place, where it costs 0.01, and walks on if there was no junction.

    The split of a level follows from the lengths and cues of its corridors.

    :param corridors: from 1 to 1,000
    :param length: steps of a corridor from its beginning to its junction, from 1 to 10,000
    :param kind: ``"fixed"``, or ``"uniform"`` for lengths from 1 to ``length``
    :param observable: show the cue at every step, and how far along this very corridor the agent is, so that nothing
        has to be remembered or tried
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedEndlessTMaze(BatchedEnv):
    """The batched :class:`EndlessTMaze`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
