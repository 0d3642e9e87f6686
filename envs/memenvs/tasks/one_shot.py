"""New characters with new names: the one-shot classification of Santoro et al. (2016, ICML), with drawn characters."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import number, within
from memenvs.compilation import njit
from memenvs.engine.loops import TEST_SHARE
from memenvs.random import advance, fold, integer, permute
from memenvs.tasks.glyphs import draw_glyph

MOST_CLASSES = 20
MOST_PRESENTATIONS = 20
MOST_GLYPHS = 1_000_000
SHOTS = (1, 2, 5, 10)  # the presentations of a class at which Santoro et al. give the accuracy

RULES = [
    ("classes", np.int16),
    ("presentations", np.int16),
    ("size", np.int16),
    ("shift", np.int16),
    ("rotation", np.float32),
    ("jitter", np.float32),
    ("noise", np.float32),
]
PARAMS = np.dtype([*RULES, ("glyphs", np.int32)])
LEVEL = np.dtype(
    [
        *RULES,
        ("chosen", np.int32, (MOST_CLASSES,)),  # glyphs, one a class
        ("labels", np.int8, (MOST_CLASSES,)),  # one a class
        ("order", np.int16, (MOST_CLASSES * MOST_PRESENTATIONS,)),  # the class of each presentation
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("answer", np.int32),  # the last one, or -1
        ("seen", np.int8, (MOST_CLASSES,)),  # presentations of each class that have been answered
        ("right", np.int8, (MOST_PRESENTATIONS,)),  # in how many classes the first, second, ... was answered right
    ]
)


@njit
def generate(params, key, level):
    copy_rules(params, level)
    key = advance(key)
    test = integer(key, TEST_SHARE) == 0
    for i in range(level.classes):
        fresh = False
        while not fresh:
            key = advance(key)
            level.chosen[i] = draw_number(key, params.glyphs, test)
            fresh = True
            for j in range(i):
                fresh &= level.chosen[j] != level.chosen[i]
    key = permute(key, level.labels, level.classes)
    permute(key, level.order, level.classes * level.presentations)
    for t in range(level.classes * level.presentations):
        level.order[t] %= level.classes
    return True


@njit
def copy_rules(params, level):
    """Copy into a level the fields that follow from the parameters."""
    level.classes, level.presentations = params.classes, params.presentations
    level.size, level.shift = params.size, params.shift
    level.rotation, level.jitter, level.noise = params.rotation, params.jitter, params.noise


@njit
def same_rules(params, level):
    """Return whether a level has the fields that :func:`copy_rules` writes."""
    return (
        (level.classes == params.classes)
        & (level.presentations == params.presentations)
        & (level.size == params.size)
        & (level.shift == params.shift)
        & (level.rotation == params.rotation)
        & (level.jitter == params.jitter)
        & (level.noise == params.noise)
    )


@njit
def draw_number(key, glyphs, test):
    """The number of a glyph of one split: the multiples of ``TEST_SHARE`` are for tests."""
    for_tests = (glyphs + TEST_SHARE - 1) // TEST_SHARE
    if test:
        return TEST_SHARE * integer(key, for_tests)
    number = integer(key, glyphs - for_tests)
    return number + number // (TEST_SHARE - 1) + 1


@njit
def reset(state, level):
    state.time = 0
    state.answer = -1
    state.seen[:] = 0
    state.right[:] = 0


@njit
def step(state, level, action):
    steps = level.classes * level.presentations
    if state.time >= steps:
        return 0.0, True, False
    shown = level.order[state.time]
    right = action == level.labels[shown]
    state.right[state.seen[shown]] += right
    state.seen[shown] += 1
    state.answer = action
    state.time += 1
    return right / steps, state.time == steps, False


@njit
def observe(state, level, out):
    pixels = level.size * level.size
    draw_presented(state, level, out.observation[:pixels])  # a part has the same type for all sizes: compiled once
    for label in range(level.classes):
        out.observation[pixels + label] = 0
    if state.time > 0:
        out.observation[pixels + level.labels[level.order[state.time - 1]]] = 1


@njit
def draw_presented(state, level, pixels):
    """Draw the glyph of this presentation, or none after the last."""
    if state.time == level.classes * level.presentations:
        pixels[:] = 0
        return
    draw_glyph(
        level.chosen[level.order[state.time]],
        level.size,
        level.shift,
        level.rotation,
        level.jitter,
        level.noise,
        fold(state.key, state.time),
        pixels,
    )


@njit
def oracle(state, level):
    if state.time == level.classes * level.presentations:
        return np.int64(-1)
    return np.int64(level.labels[level.order[state.time]])


@njit
def measure(state, level, out):
    right = state.right.sum()
    again, right_again = 0, right - state.right[0]
    for i in range(level.classes):
        again += max(state.seen[i] - 1, 0)
    out[0] = again > 0 and right_again >= 0.9 * again
    out[1] = right / max(state.time, 1)
    for i in range(out.size - 2):
        classes = (state.seen >= SHOTS[i]).sum()
        out[2 + i] = state.right[SHOTS[i] - 1] / max(classes, 1)


@njit
def digest(level):
    """Return a hash of a level; its remainder, by which the engine splits, says whether the glyphs are for tests."""
    total = np.uint64(0)
    for i in range(level.classes):
        total = fold(fold(total, level.chosen[i]), level.labels[i])
    for t in range(level.classes * level.presentations):
        total = fold(total, level.order[t])
    return total - total % np.uint64(TEST_SHARE) + np.uint64(level.chosen[0] % TEST_SHARE != 0)


@njit
def sound(params, state, level):
    steps = params.classes * params.presentations
    if not same_rules(params, level) or not 0 <= state.time <= steps:
        return False
    counts = np.zeros(MOST_CLASSES, np.int64)
    for t in range(steps):
        if t == state.time:
            for i in range(MOST_CLASSES):
                if state.seen[i] != counts[i]:
                    return False
        if not 0 <= level.order[t] < params.classes:
            return False
        counts[level.order[t]] += 1
    if state.time == steps:
        for i in range(params.classes):
            if state.seen[i] != params.presentations:
                return False
    for i in range(params.classes):
        if counts[i] != params.presentations:
            return False
        if not (0 <= level.labels[i] < params.classes and 0 <= level.chosen[i] < params.glyphs):
            return False
    return state.right.min() >= 0 and state.right.max() <= params.classes and -1 <= state.answer < params.classes


def define(
    classes: int = 5,
    presentations: int = 10,
    glyphs: int = 1000,
    size: int = 10,
    *,
    shift: int = 0,
    rotation: float = 6.0,
    jitter: float = 0.3,
    noise: float = 0.01,
) -> Definition:
    """The definition of a task; the parameters are those of :class:`OneShot`."""
    classes = within("classes", classes, 2, MOST_CLASSES)
    presentations = within("presentations", presentations, 1, MOST_PRESENTATIONS)
    glyphs = within("glyphs", glyphs, TEST_SHARE * classes, MOST_GLYPHS)
    size = within("size", size, 8, 20)
    shift = within("shift", shift, 0, size // 2)
    rotation = number("rotation", rotation, 0, 180)
    jitter = number("jitter", jitter, 0, size)
    noise = number("noise", noise, 0, 1)
    pixels = size * size + classes
    return Definition(
        name=f"OneShot(classes={classes}, presentations={presentations}, glyphs={glyphs}, size={size}, shift={shift}, "
        f"rotation={rotation}, jitter={jitter}, noise={noise})",
        params=np.array([(classes, presentations, size, shift, math.radians(rotation), jitter, noise, glyphs)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", np.uint8, (pixels,))]),
        observation_space=Box(0, 1, (pixels,), np.uint8),
        action_space=Discrete(classes),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        metrics=("success", "accuracy", *(f"accuracy_{shot}" for shot in SHOTS if shot <= presentations)),
        measure=measure,
        digest=digest,
        sound=sound,
        draw=draw,
        text=text,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the glyph with its words, (H, W, 3) uint8."""
    from memenvs.tasks.draw_glyphs import draw_card

    return draw_card(presented(state, level), told(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.tasks.draw_glyphs import ansi_card

    return ansi_card(presented(state, level), told(state, level))


def presented(state: np.void, level: np.void) -> np.ndarray:
    """The glyph that the agent sees, (size, size) of 0 and 1."""
    pixels = np.zeros((int(level["size"]), int(level["size"])), np.uint8)
    draw_presented(state, level, pixels.reshape(-1))
    return pixels


def told(state: np.void, level: np.void) -> list[str]:
    """Return the words on a picture."""
    time, steps = int(state["time"]), int(level["classes"]) * int(level["presentations"])
    order, labels = level["order"][:steps].tolist(), level["labels"].tolist()
    lines = []
    if time < steps:
        shown = order[time]
        lines += [f"glyph {time + 1} of {steps}", f"label {labels[shown]}, seen {state['seen'][shown]} times before"]
    if time > 0:
        lines.append(f"last label {labels[order[time - 1]]}, answered {state['answer']}")
    return [*lines, f"right {state['right'].sum()} of {time}"]


class OneShot(SingleEnv):
    """``memenvs/OneShot-v0``: name new characters that were named once before.

    The task of Santoro et al. (2016, arXiv:1605.06065), with generated characters in place of Omniglot's. In each
    episode ``classes`` glyphs, never the same ones, get random labels. Each is presented ``presentations`` times, in
    random order and always distorted anew; the agent says the label. The right label is seen one step later, with the
    next glyph, so that only an agent that has stored the last glyph can bind the two. A glyph is three curved strokes
    between points of a lattice, made from nothing but its number.

    - Observation: ``Box`` of bytes 0 and 1 (size · size + classes): the pixels, row by row, then the label of the
      previous presentation, one-hot; no label at the first step, no glyph after the last.
    - Action: ``Discrete(classes)``, a label; every step is a decision.
    - Reward: 1 / steps for the right label, where steps is classes · presentations.
    - End: terminated after the last presentation.
    - ``info``: ``accuracy``, the share of right labels; ``accuracy_1``, ``_2``, ``_5`` and ``_10``, the shares among
      the first, second, fifth and tenth presentations of a class, as far as there are so many; ``success``, 1 if at
      least 0.9 of all later than first presentations were right.

    The first presentation can only be guessed, the labels named so far left out: the best expected ``accuracy_1`` is
    (1 + 1/2 + … + 1/classes) / classes, 0.457 for five, while the oracle, which knows the labels, has 1. Afterwards the
    ideal is 1, but for glyphs that distortions make alike.

    A split separates glyphs: those whose number is a multiple of 8 are for tests. All glyphs of an episode are of one
    split; without ``split``, each eighth episode is one of test glyphs.

    :param classes: different glyphs in an episode, from 2 to 20
    :param presentations: of each, from 1 to 20
    :param glyphs: number of glyphs, from 8 · ``classes`` to 1,000,000; one eighth are for tests
    :param size: pixels of a side of the image, from 8 to 20
    :param shift: a glyph is moved by up to so many whole pixels, uniform in both directions, 0 to size / 2. Alike
        glyphs then no longer have alike pixels, which asks for much more learning
    :param rotation: and turned by up to so many degrees, uniform
    :param jitter: each of the points that define its strokes is moved by up to so many pixels, uniform
    :param noise: the probability that a pixel is turned over
    :param split: ``"train"`` or ``"test"`` for glyphs that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedOneShot(BatchedEnv):
    """The batched :class:`OneShot`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
