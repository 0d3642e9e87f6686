"""Episodes that are written before they begin: frames of bits are shown, then answers of bits are asked for.

A task writes the script, its level, with :func:`begin`, :func:`show` and :func:`ask`; what follows from a script is the
same for all tasks and stands here. Vectors of bits are packed into integers, the first bit the lowest, and every script
has the same layout, whatever its task and parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Box, MultiBinary, Space

from memenvs.batched import Definition
from memenvs.bitwise import ones
from memenvs.compilation import njit
from memenvs.random import fold, integer

MOST_FRAMES = 320
MOST_ANSWERS = 512
MOST_WIDTH = 16  # of a vector, so that flags have place beside it

LEVEL = np.dtype(
    [
        ("shown", np.int32),  # frames
        ("asked", np.int32),  # answers
        ("told", np.int32),  # how many of the first frames decide on the split of the level
        ("channels", np.int32),  # bits of a frame
        ("width", np.int32),  # bits of an answer
        ("frames", np.uint32, (MOST_FRAMES,)),
        ("scalars", np.float32, (MOST_FRAMES,)),  # a number beside each frame, for tasks that show it
        ("targets", np.uint32, (MOST_ANSWERS + 1,)),  # one more: a state at the end points behind the last answer
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("right", np.int32),  # answers without a wrong bit
        ("wrong_bits", np.int32),
        ("answers", np.uint32, (MOST_ANSWERS + 1,)),
    ]
)

METRICS = ("success", "wrong_bits", "bits")


# --- writing a script -------------------------------------------------------------------------------------------------


@njit
def begin(level, channels, width):
    """An empty script, with frames of ``channels`` bits and answers of ``width`` bits."""
    level.channels = channels
    level.width = width
    level.shown = level.asked = level.told = 0


@njit
def show(level, frame, scalar=0.0):
    """Add a frame."""
    level.frames[level.shown] = frame
    level.scalars[level.shown] = scalar
    level.shown += 1


@njit
def ask(level, target):
    """Add an answer."""
    level.targets[level.asked] = target
    level.asked += 1


@njit
def flag(place):
    """A frame in which only the channel number ``place`` is on."""
    return np.int64(1) << place


@njit
def vector(key, width):
    """A random vector of so many bits."""
    return integer(key, np.int64(1) << width)


# --- going through it -------------------------------------------------------------------------------------------------


@njit
def reset(state, level):
    state.time = 0
    state.right = 0
    state.wrong_bits = 0


@njit
def step(state, level, action):
    place = state.time - level.shown
    state.time += 1
    if place < 0:
        return 0.0, False, False
    state.answers[place] = action
    wrong = ones(np.uint64(action ^ np.int64(level.targets[place])))
    state.wrong_bits += wrong
    state.right += wrong == 0
    return (wrong == 0) / level.asked, place + 1 >= level.asked, False


@njit
def observe_bits(state, level, out):
    frame = level.frames[state.time] if state.time < level.shown else np.uint32(0)
    for i in range(out.observation.size):
        out.observation[i] = frame & np.uint32(1)
        frame >>= np.uint32(1)


@njit
def observe_bits_and_scalar(state, level, out):
    shown = state.time < level.shown
    frame = level.frames[state.time] if shown else np.uint32(0)
    last = out.observation.size - 1
    for i in range(last):
        out.observation[i] = frame & np.uint32(1)
        frame >>= np.uint32(1)
    out.observation[last] = level.scalars[state.time] if shown else np.float32(0)


@njit
def oracle(state, level):
    place = state.time - level.shown
    return np.int64(level.targets[place]) if 0 <= place < level.asked else np.int64(-1)


@njit
def measure(state, level, out):
    out[0] = state.right == level.asked
    out[1] = state.wrong_bits
    out[2] = level.asked * level.width


@njit
def digest(level):
    """A hash of the first ``told`` frames; of their bits, not of the numbers beside them."""
    total = np.uint64(level.told)
    for i in range(level.told):
        total = fold(total, level.frames[i])
    return total


@njit
def sound(params, state, level):
    return (
        0 <= level.shown <= MOST_FRAMES
        and 0 <= level.told <= level.shown
        and 0 < level.asked <= MOST_ANSWERS
        and 0 <= state.time <= level.shown + level.asked
        and 0 < level.channels <= 32
        and 0 < level.width <= 32
    )


# --- the definition of a task -----------------------------------------------------------------------------------------


def scripted(
    name: str,
    params: np.ndarray,
    generate: Callable[..., bool],
    channels: int,
    width: int,
    distinct_levels: float,
    scalars: tuple[float, float] | None = None,
) -> Definition:
    """The definition of a task that writes scripts.

    :param name: its name in messages
    :param params: of ``generate``, an array of one record
    :param generate: writes a script
    :param channels: bits of a frame
    :param width: bits of an answer
    :param distinct_levels: number of scripts with different digests
    :param scalars: the least and the greatest number that stands beside a frame: then observations have it as a last
        channel and are floats; otherwise they are bits
    """
    space: Space[Any] = MultiBinary(channels)
    if scalars is not None:
        low, high = np.zeros(channels + 1, np.float32), np.ones(channels + 1, np.float32)
        low[-1], high[-1] = min(scalars[0], 0), max(scalars[1], 0)
        space = Box(low, high)
    return Definition(
        name=name,
        params=params,
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", space.dtype, space.shape)]),
        observation_space=space,
        action_space=MultiBinary(width),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_bits if scalars is None else observe_bits_and_scalar,
        oracle=oracle,
        metrics=METRICS,
        measure=measure,
        digest=digest,
        distinct_levels=distinct_levels,
        sound=sound,
        draw=partial(draw, scalars=scalars is not None),
        text=partial(text, scalars=scalars is not None),
    )


def sequences(width: int, length: tuple[int, int]) -> int:
    """Return the number of sequences of vectors."""
    return sum(2 ** (width * n) for n in range(length[0], length[1] + 1))


# --- pictures ---------------------------------------------------------------------------------------------------------


def draw(state: np.void, level: np.void, scalars: bool) -> np.ndarray:
    """Draw the inputs, the targets and the answers, (H, W, 3) uint8."""
    from memenvs.tasks.draw import draw_rows

    return draw_rows(rows(state, level, scalars), int(state["time"]))


def text(state: np.void, level: np.void, scalars: bool) -> str:
    """Write the inputs, the targets and the answers as text."""
    from memenvs.tasks.draw import ansi_rows

    return ansi_rows(rows(state, level, scalars), int(state["time"]))


def rows(state: np.void, level: np.void, scalars: bool) -> dict[str, np.ndarray]:
    """Return inputs, targets and outputs as (channels, time), not a number where there is nothing."""
    shown, asked, answered = int(level["shown"]), int(level["asked"]), int(state["time"]) - int(level["shown"])
    steps, width = shown + asked, int(level["width"])
    inputs = np.zeros((int(level["channels"]), steps))
    inputs[:, :shown] = unpacked(level["frames"][:shown], len(inputs))
    if scalars:
        numbers = np.full((1, steps), np.nan)
        numbers[0, :shown] = level["scalars"][:shown]
        numbers[numbers == 0] = np.nan  # which stands beside the other frames
        inputs = np.concatenate([inputs, numbers])
    targets, outputs = np.full((2, width, steps), np.nan)
    targets[:, shown:] = unpacked(level["targets"][:asked], width)
    if answered > 0:
        outputs[:, shown : shown + answered] = unpacked(state["answers"][:answered], width)
    return {"inputs": inputs, "targets": targets, "outputs": outputs}


def unpacked(words: np.ndarray, width: int) -> np.ndarray:
    """Return packed vectors (n,) as bits (width, n)."""
    return (words[None].astype(np.int64) >> np.arange(width)[:, None]) & 1
