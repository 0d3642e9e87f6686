"""How a story is read and asked about, sentence by sentence: the rules of StoryQA, whoever has written the stories.

A level has ``steps`` sentences and questions, ``questions`` of them questions, their ``words`` and their ``answers``,
-1 for a sentence that asks nothing. A state has the ``time``, how many answers were ``right``, and those ``said``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from memenvs.compilation import njit
from memenvs.random import fold


@njit
def reset(state, level):
    state.time = 0
    state.right = 0
    state.said[:] = -1


@njit
def step(state, level, action):
    if state.time >= level.steps:
        return 0.0, True, False
    right = action == level.answers[state.time]
    if level.answers[state.time] >= 0:
        state.said[state.time] = action
    state.right += right
    state.time += 1
    return right / level.questions, state.time == level.steps, False


@njit
def observe(state, level, out):
    if state.time == level.steps:
        out.observation[:] = 0
        return
    words = len(out.observation) - 1
    for i in range(words):
        out.observation[i] = level.words[state.time, i]
    out.observation[words] = level.answers[state.time] >= 0


@njit
def oracle(state, level):
    return np.int64(level.answers[state.time]) if state.time < level.steps else np.int64(-1)


@njit
def measure(state, level, out):
    asked = 0
    for t in range(state.time):
        asked += level.answers[t] >= 0
    out[0] = state.right == level.questions
    out[1] = state.right / max(asked, 1)


@njit
def digest(level):
    total = np.uint64(0)
    for t in range(level.steps):
        for word in level.words[t]:
            total = fold(total, word)
    return total


def told(state: np.void, level: np.void, sentence: Callable[[int], str], answers: Sequence[str]) -> list[str]:
    """Return the lines up to the present one, with the answers of the agent.

    :param sentence: gives the text of a line by its number
    :param answers: the text of every answer
    """
    lines = []
    for t in range(min(int(state["time"]) + 1, int(level["steps"]))):
        line = sentence(t)
        right, said = int(level["answers"][t]), int(state["said"][t])
        if said >= 0:
            verdict = "right" if said == right else f"wrong: {answers[right]}"
            line += f" {answers[said]} ({verdict})"
        lines.append(line)
    return lines
