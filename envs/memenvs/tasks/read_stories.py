"""StoryQA with the stories of files: an episode is one of them, drawn uniformly."""

from __future__ import annotations

import functools

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import Definition
from memenvs.compilation import njit
from memenvs.random import integer
from memenvs.tasks.story_files import Files, Stories, stories_of
from memenvs.tasks.story_rules import digest, measure, observe, oracle, reset, step, told


def size(n: int) -> int:
    """Return the next power of two: arrays have few sizes, since each is compiled for."""
    return max(16, 1 << (n - 1).bit_length())


def params_dtype(stories: Stories) -> np.dtype:
    """The parameters of ``generate``: all the stories, line after line."""
    lines, longest = stories.words.shape
    return np.dtype(
        [
            ("stories", np.int64),
            ("replies", np.int64),
            ("starts", np.int32, (size(stories.starts.size),)),
            ("answers", np.int16, (size(lines),)),
            ("words", stories.words.dtype, (size(lines), longest)),
        ]
    )


def level_dtype(stories: Stories) -> np.dtype:
    """The dtype of one story."""
    lines = size(int(np.diff(stories.starts).max()))
    return np.dtype(
        [
            ("story", np.int32),  # its number
            ("steps", np.int32),
            ("questions", np.int32),
            ("answers", np.int16, (lines,)),
            ("words", stories.words.dtype, (lines, stories.words.shape[1])),
        ]
    )


def state_dtype(lines: int) -> np.dtype:
    """The dtype of a state, for so many lines at most."""
    return np.dtype([("key", np.uint64), ("time", np.int32), ("right", np.int32), ("said", np.int16, (lines,))])


@njit
def generate(params, key, level):
    level.story = integer(key, params.stories)
    first = params.starts[level.story]
    level.steps = params.starts[level.story + 1] - first
    level.questions = 0
    for t in range(level.steps):
        level.words[t] = params.words[first + t]
        level.answers[t] = params.answers[first + t]
        level.questions += level.answers[t] >= 0
    return True


@njit
def sound(params, state, level):
    if not 0 <= level.story < params.stories:
        return False
    first = params.starts[level.story]
    if level.steps != params.starts[level.story + 1] - first or not 0 <= state.time <= level.steps:
        return False
    questions = 0
    for t in range(level.steps):
        for i in range(level.words.shape[1]):
            if level.words[t, i] != params.words[first + t, i]:
                return False
        if level.answers[t] != params.answers[first + t] or not -1 <= state.said[t] < params.replies:
            return False
        questions += level.answers[t] >= 0
    return level.questions == questions and 0 <= state.right <= questions


def define(path: Files, vocabulary: Files | None = None) -> Definition:
    """The definition of StoryQA with the stories of files; the parameters are those of :func:`stories_of`."""
    stories = stories_of(path, vocabulary)
    level = level_dtype(stories)
    entries = [len(stories.vocabulary) + 1] * stories.words.shape[1] + [2]
    return Definition(
        name=f"StoryQA({stories.name})",
        params=as_params(stories),
        level=level,
        state=state_dtype(level["answers"].shape[0]),
        out=np.dtype([("observation", stories.words.dtype, (len(entries),))]),
        observation_space=MultiDiscrete(entries, dtype=stories.words.dtype.type),
        action_space=Discrete(len(stories.replies)),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        metrics=("success", "accuracy"),
        measure=measure,
        digest=digest,
        distinct_levels=stories.distinct,
        sound=sound,
        draw=functools.partial(draw, stories),
        text=functools.partial(text, stories),
        frames_per_second=2,
        action_names=tuple(stories.replies),
    )


@functools.lru_cache(maxsize=4)
def as_params(stories: Stories) -> np.ndarray:
    """Return the parameters of ``generate``, shared between environments: nobody writes them."""
    params = np.zeros(1, params_dtype(stories))
    params["stories"], params["replies"] = stories.starts.size - 1, len(stories.replies)
    for name in ("starts", "answers", "words"):
        values = getattr(stories, name)
        params[name][0, : len(values)] = values
    return params


def draw(stories: Stories, state: np.void, level: np.void) -> np.ndarray:
    """The story, (H, W, 3) uint8."""
    from memenvs.tasks.draw_story import draw_story

    return draw_story(lines(stories, state, level))


def text(stories: Stories, state: np.void, level: np.void) -> str:
    """The story so far, with the answers."""
    return "\n".join(lines(stories, state, level))


def lines(stories: Stories, state: np.void, level: np.void) -> list[str]:
    """The sentences up to the present one, as they stand in the file, and the answers of the agent."""
    first = int(stories.starts[level["story"]])
    return told(state, level, lambda t: stories.texts[first + t], stories.replies)
