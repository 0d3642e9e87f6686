"""The task *traversal*: follow a path that is given by the labels of its exits, and name the stations it passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import CODES, DESTINATION, LABEL, capacity, sound_level
from memenvs.graph.phases import BLANK, PLANNING, QUERY, TRAVEL, observe_description, write_triple
from memenvs.graph.query import draw_walk

if TYPE_CHECKING:
    from memenvs.graph.parameters import Task

METRICS = ("success", "accuracy")
FAR_AHEAD = 2**31 - 2**16  # so that no sum of times is too large for its bits


def state_dtype(task: Task) -> np.dtype:
    """The layout of a state for the most answers that a question can have."""
    room = (capacity(task.steps, 32),)
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("answers", np.int32),  # to questions before the present one
            ("answers_right", np.int32),
            ("question", np.int16),  # the questions before it
            ("questions_right", np.int16),  # those of them with nothing but right answers
            ("began", np.int32),  # when it began
            ("start", np.int16),
            ("asked", np.int16),  # labels of its path
            ("right", np.int16),  # right answers to it
            ("path", np.int16, room),  # its edges
            ("said", np.int16, room),  # the answers to it
        ]
    )


@njit
def reset(state, level):
    state.time = 0
    state.question = state.questions_right = 0
    state.answers = state.answers_right = 0
    state.began, state.right = level.told, 0
    state.start, state.asked = level.start, level.asked
    for i in range(level.asked):
        state.path[i] = level.path[i]


@njit
def answered(state, level):
    """Return how many answers the present question has; negative before the first is wanted."""
    return state.time - state.began - state.asked - level.planning


@njit
def step(state, level, action):
    given = answered(state, level)
    if given < 0:
        state.time += 1
        return 0.0, False, False
    if given >= state.asked:
        return 0.0, True, False
    right = action == expected(state, level, given)
    state.said[given] = action
    state.right += right
    state.time += 1
    reward = right / state.asked
    if given + 1 < state.asked:
        return reward, False, False
    state.question += 1
    state.questions_right += state.right == state.asked
    state.answers += state.asked
    state.answers_right += state.right
    if state.question == level.questions:
        return reward, True, False
    low, high = np.int64(level.lengths[0]), np.int64(level.lengths[1])
    state.key, state.asked, state.start, _ = draw_walk(level, state.key, low, high, state.path)
    state.began, state.right = state.time, 0
    return reward, False, False


@njit
def expected(state, level, given):
    """The code of the station that a number of the path's edges lead to, and one more."""
    return np.int64(level.codes[level.links[state.path[given], DESTINATION]])


@njit
def observe(state, level, out):
    asked = state.time - state.began
    if asked < 0:
        observe_description(state, level, out.observation)
    elif asked < state.asked:
        source = level.codes[state.start] if asked == 0 else BLANK
        write_triple(out.observation, source, level.links[state.path[asked], LABEL], BLANK, QUERY)
    else:
        phase = TRAVEL if answered(state, level) >= 0 else PLANNING
        write_triple(out.observation, BLANK, BLANK, BLANK, phase)


@njit
def oracle(state, level):
    asked, given = state.time - state.began, answered(state, level)
    if level.stepwise and 0 <= asked < state.asked:
        return expected(state, level, asked)
    return expected(state, level, given) if 0 <= given < state.asked else np.int64(-1)


@njit
def measure(state, level, out):
    out[0] = state.questions_right / level.questions
    out[1] = state.answers_right / state.answers


@njit
def sound(params, state, level):
    if not (sound_level(params, level) and 0 <= state.question <= level.questions):
        return False
    if not (
        1 <= state.asked <= state.path.size
        and level.lengths[1] <= state.path.size
        and 0 <= state.start < level.stations
    ):
        return False
    for i in range(state.asked):
        if not 0 <= state.path[i] < level.edges:
            return False
    before = level.told if state.question == 0 else 0
    if not (before <= state.began <= FAR_AHEAD and state.time >= 0):
        return False
    given = answered(state, level)
    if given > state.asked or (state.question > 0 and state.time < state.began):
        return False
    for i in range(given):
        if not 0 <= state.said[i] < CODES:
            return False
    return 0 <= state.right <= max(given, 0)
