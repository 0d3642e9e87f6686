"""The task *traversal*: follow a path that is given by the labels of its exits, and name the stations it passes."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import CODES, DESTINATION, LABEL, capacity, sound_level
from memenvs.graph.phases import (
    BLANK,
    PLANNING,
    QUERY,
    TRAVEL,
    acting,
    observe_description,
    preparing,
    write_triple,
)

METRICS = ("success", "accuracy")


def state_dtype(steps: int) -> np.dtype:
    """The layout of a state for up to so many answers."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("right", np.int16),  # answers that were right
            ("said", np.int16, (capacity(steps, 32),)),  # the answers
        ]
    )


@njit
def reset(state, level):
    state.time = 0
    state.right = 0


@njit
def step(state, level, action):
    if not acting(state, level):
        state.time += 1
        return 0.0, False, False
    answered = state.time - preparing(level)
    if answered >= level.asked:
        return 0.0, True, False
    right = action == expected(level, answered)
    state.said[answered] = action
    state.right += right
    state.time += 1
    return right / level.asked, answered + 1 == level.asked, False


@njit
def expected(level, answered):
    """The code of the station that a number of the path's edges lead to, and one more."""
    return np.int64(level.codes[level.links[level.path[answered], DESTINATION]])


@njit
def observe(state, level, out):
    asked = state.time - level.told
    if asked < 0:
        observe_description(state, level, out.observation)
    elif asked < level.asked:
        source = level.codes[level.start] if asked == 0 else BLANK
        write_triple(out.observation, source, level.links[level.path[asked], LABEL], BLANK, QUERY)
    else:
        phase = TRAVEL if acting(state, level) else PLANNING
        write_triple(out.observation, BLANK, BLANK, BLANK, phase)


@njit
def oracle(state, level):
    answered = state.time - preparing(level)
    return expected(level, answered) if 0 <= answered < level.asked else np.int64(-1)


@njit
def measure(state, level, out):
    out[0] = state.right == level.asked
    out[1] = state.right / level.asked


@njit
def sound(params, state, level):
    answered = state.time - preparing(level)
    if not (sound_level(params, level) and state.time >= 0 and answered <= level.asked <= state.said.size):
        return False
    for i in range(answered):
        if not 0 <= state.said[i] < CODES:
            return False
    return 0 <= state.right <= max(answered, 0)
