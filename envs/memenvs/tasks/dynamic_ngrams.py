"""The dynamic n-grams task of Graves et al. (2014, arXiv:1410.5401), section 4.4: a new source of bits to learn."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, within
from memenvs.compilation import njit
from memenvs.random import advance, between, bits, integer, uniform

MOST_N = 8
MOST_STEPS = 1000
CONTEXTS = 2 ** (MOST_N - 1)

PARAMS = np.dtype([("n", np.int64), ("steps", np.int64, (2,))])
LEVEL = np.dtype(
    [
        ("source", np.uint64),  # the key that the probabilities come from
        ("n", np.int32),
        ("steps", np.int32),
        ("probabilities", np.float64, (CONTEXTS,)),  # of a 1 after each context, its last bit the lowest
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("context", np.int32),  # the last n - 1 bits
        ("right", np.int32),  # predictions of the agent
        ("optimal", np.int32),  # right predictions of the best estimator
        ("zeros", np.int16, (CONTEXTS,)),  # how often a 0 has followed each context: N0
        ("ones", np.int16, (CONTEXTS,)),  # N1
        # Of each step its bit, the agent's prediction (second bit) and the best estimator's (third bit); one more,
        # since a state at the end points behind the last step.
        ("history", np.uint8, (MOST_STEPS + 1,)),
    ]
)
OUT = np.dtype([("observation", np.uint8, (1,))])


@njit
def generate(params, key, level):
    level.source = key
    level.n = params.n
    key = advance(key)
    level.steps = between(key, params.steps)
    for context in range(contexts(level)):
        key = advance(key)
        level.probabilities[context] = np.sin(0.5 * np.pi * uniform(key)) ** 2  # Beta(1/2, 1/2)
    return True


@njit
def contexts(level):
    """Return the number of contexts."""
    return np.int64(1) << (level.n - 1)


@njit
def reset(state, level):
    state.time = state.context = state.right = state.optimal = 0
    for context in range(contexts(level)):
        state.zeros[context] = state.ones[context] = 0


@njit
def step(state, level, action):
    state.key = advance(state.key)
    context, predicts = state.context, state.time >= level.n - 1
    best = estimate(state)
    if predicts:
        bit = np.int64(uniform(state.key) < level.probabilities[context])
        state.ones[context] += bit
        state.zeros[context] += 1 - bit
        state.right += action == bit
        state.optimal += best == bit
    else:
        bit = integer(state.key, 2)
    state.history[state.time] = bit | action << 1 | best << 2
    state.context = (context << 1 | bit) & (contexts(level) - 1)
    state.time += 1
    reward = (predicts and action == bit) / (level.steps - level.n + 1)
    return reward, state.time >= level.steps, False


@njit
def estimate(state):
    """Return the more likely next bit: 1 where (N1 + 1/2) / (N0 + N1 + 1) is above one half."""
    return np.int64(state.ones[state.context] > state.zeros[state.context])


@njit
def observe(state, level, out):
    out.observation[0] = 0 if state.time == 0 else 1 + (state.history[state.time - 1] & 1)


@njit
def oracle(state, level):
    return estimate(state) if level.n - 1 <= state.time < level.steps else np.int64(-1)


@njit
def measure(state, level, out):
    out[0] = state.right / max(state.time - level.n + 1, 1)
    out[1] = state.right >= state.optimal


@njit
def digest(level):
    return bits(level.source)


@njit
def sound(params, state, level):
    return (
        level.n == params.n
        and level.n <= level.steps <= MOST_STEPS
        and 0 <= state.time <= level.steps
        and 0 <= state.context < contexts(level)
    )


def define(n: int = 6, steps: int | tuple[int, int] = 200) -> Definition:
    """The definition of a dynamic n-grams task; the parameters are those of :class:`DynamicNGrams`."""
    n = within("n", n, 1, MOST_N)
    steps = bounds("steps", steps, n, MOST_STEPS)
    return Definition(
        name=f"DynamicNGrams(n={n}, steps={steps})",
        params=np.array([(n, steps)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=MultiDiscrete([3], dtype=np.uint8),
        action_space=Discrete(2),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        metrics=("accuracy", "success"),
        measure=measure,
        digest=digest,
        distinct_levels=math.inf,
        sound=sound,
        draw=draw,
        text=text,
        frames_per_second=8,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The bits and the predictions so far, (H, W, 3) uint8."""
    from memenvs.tasks.draw import draw_rows

    return draw_rows(rows(state, level), int(state["time"]))


def text(state: np.void, level: np.void) -> str:
    """The bits and the predictions so far, for a terminal."""
    from memenvs.tasks.draw import ansi_rows

    return ansi_rows(rows(state, level), int(state["time"]))


def rows(state: np.void, level: np.void) -> dict[str, np.ndarray]:
    """Return the inputs, the best predictions, the targets and the agent's predictions, each (1, time)."""
    time, steps, first = int(state["time"]), int(level["steps"]), int(level["n"]) - 1
    history = state["history"][:time]
    inputs, optimal, targets, outputs = np.full((4, 1, steps), np.nan)
    inputs[0, 1 : time + 1] = (history & 1)[: steps - 1]
    targets[0, first:time] = (history & 1)[first:]
    outputs[0, first:time] = (history >> 1 & 1)[first:]
    optimal[0, first:time] = (history >> 2 & 1)[first:]
    return {"inputs": inputs, "optimal": optimal, "targets": targets, "outputs": outputs}


class DynamicNGrams(SingleEnv):
    """``memenvs/DynamicNGrams-v0``: predict the bits of a source that is new in every episode.

    Each bit depends on the n - 1 bits before it. The probabilities of a 1 after each of these 2^(n - 1) contexts are
    drawn from Beta(1/2, 1/2) for every episode; the first n - 1 bits are 0 or 1 alike. The agent sees one bit after the
    other and predicts the next one: it must count what followed which context.

    - Observation: ``MultiDiscrete([3])`` of bytes: 0 before the first bit, then 1 for a bit 0 and 2 for a bit 1.
    - Action: ``Discrete(2)``, the next bit; without effect in the first n - 1 steps.
    - Reward: a right prediction brings 1 / (steps - n + 1), otherwise 0. The return is the share of right predictions.
    - End: terminated after ``steps`` steps, the last of which has predicted the last bit.
    - ``info``: ``accuracy``, the share of right predictions, and ``success``, 1 if the agent predicted at least as many
      bits right as the best estimator did.

    The oracle is that best estimator: it takes 1 where (N1 + 1/2) / (N0 + N1 + 1) is above one half, N0 and N1 being
    how often 0 and 1 have followed the context so far. It knows the past and not the probabilities, so it is often
    wrong; no agent does better on average, though one may in an episode.

    The split of a level follows from its source.

    :param n: bits of an n-gram, context and next bit, from 1 to 8
    :param steps: bits of an episode, as (low, high) or one number, from n to 1000
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedDynamicNGrams(BatchedEnv):
    """The batched :class:`DynamicNGrams`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
