"""The T-maze of Bakker (2001, NIPS), deterministic: a cue at the start decides the turn at the end of a corridor."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import MOST, bounds, flag, within
from memenvs.compilation import njit
from memenvs.random import advance, between, bits, fold, integer

UP, RIGHT, DOWN, LEFT = range(4)
NOISES = ("bits", "integer")
MOST_NOISE_BITS = 64  # of the number that one draw gives

PARAMS = np.dtype([("length", np.int64, (2,))])
LEVEL = np.dtype([("length", np.int32), ("cue", np.int32)])
STATE = np.dtype([("key", np.uint64), ("position", np.int32), ("turn", np.int32), ("steps", np.int32)])


def out_dtype(size: int) -> np.dtype:
    """The dtype of an observation of so many bytes."""
    return np.dtype([("observation", np.uint8, (size,))])


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


# The noise of a step has a stream of its own, so that the key stays and the dynamics are those without noise.


@njit
def add_bits(state, out):
    """Write random bits, as many as the observation has places left; zeros at the start."""
    drawn = bits(fold(state.key, state.steps)) if state.steps > 0 else np.uint64(0)
    for i in range(2, len(out.observation)):
        out.observation[i] = (drawn >> np.uint64(i - 2)) & np.uint64(1)


@njit
def add_integer(state, out):
    """Write a random integer, 0, 1 or 2."""
    out.observation[2] = integer(fold(state.key, state.steps), 3)


@njit
def observe_with_bits(state, level, out):
    observe(state, level, out)
    add_bits(state, out)


@njit
def observe_all_with_bits(state, level, out):
    observe_all(state, level, out)
    add_bits(state, out)


@njit
def observe_with_integer(state, level, out):
    observe(state, level, out)
    add_integer(state, out)


@njit
def observe_all_with_integer(state, level, out):
    observe_all(state, level, out)
    add_integer(state, out)


# By the noise: what shows the cue at the start, and what shows it always.
OBSERVERS = {
    None: (observe, observe_all),
    "bits": (observe_with_bits, observe_all_with_bits),
    "integer": (observe_with_integer, observe_all_with_integer),
}


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


def define(
    length: int | tuple[int, int] = 10, observable: bool = False, noise: str | None = None, noise_bits: int = 6
) -> Definition:
    """The definition of a T-maze; the parameters are those of :class:`TMaze`."""
    low, high = bounds("length", length, 1, MOST)
    observable = flag("observable", observable)
    if noise is not None and (not isinstance(noise, str) or noise not in NOISES):
        raise ValueError(f"noise must be one of {', '.join(NOISES)}, or None, not {noise!r}")
    noise_bits = within("noise_bits", noise_bits, 1, MOST_NOISE_BITS)
    entries = [3, 2, *({None: [], "bits": [2] * noise_bits, "integer": [3]}[noise])]
    shown = f"length={low if low == high else (low, high)}{', observable=True' if observable else ''}"
    if noise is not None:
        shown += f", noise={noise!r}{f', noise_bits={noise_bits}' if noise == 'bits' else ''}"
    return Definition(
        name=f"TMaze({shown})",
        params=np.array([((low, high),)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=out_dtype(len(entries)),
        observation_space=MultiDiscrete(entries, dtype=np.uint8),
        action_space=Discrete(4),
        generate=generate,
        reset=reset,
        step=step,
        observe=OBSERVERS[noise][observable],
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
      ``noise`` adds entries that say nothing.
    - Action: 0 up, 1 right (forward), 2 down, 3 left. Against a wall the agent stays.
    - Reward: 1 for the right turn, otherwise 0.
    - End: terminated by a turn at the junction, truncated after ``2 * (length + 1)`` steps.
    - ``info``: ``success``, 1 for the right turn.

    There are two levels of each length, so there is no split. Neither the time of a step nor the memory that an
    environment takes depends on the length; corridors of a million steps are as good as short ones.

    Noise is drawn anew for every step from the episode's own key: the same seed gives the same noise, and the same cues
    with any noise or none. Only the observations differ from those without it.

    :param length: steps from the start to the junction; as ``(least, most)`` it is drawn anew in every episode
    :param observable: show the cue at every step, so that nothing has to be remembered
    :param noise: ``"bits"`` for the distractors of AGaLiTe's T-maze (arXiv:2310.15719): ``noise_bits`` more entries,
        each 0 or 1 alike, and 0 at the start, where the cue is; ``"integer"`` for that of RATE's (arXiv:2306.09459):
        one more entry, 0, 1 or 2 alike for its -1, 0 and 1 (its flag is the entry for the junction here); or ``None``
    :param noise_bits: how many bits, from 1 to 64
    :param split: must be ``None``
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedTMaze(BatchedEnv):
    """The batched :class:`TMaze`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
