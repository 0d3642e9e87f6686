"""The memory experiments of bsuite (Osband et al. 2020, arXiv:1908.03568): bits seen once, one of them asked for later.

The rules are those of its program, in which ``memory_len`` and ``memory_size`` are the same environment.
"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.random import advance, bits, fold, integer

MOST_LENGTH = 1_000_000_000
MOST_BITS = 64  # of the number that holds a context

PARAMS = np.dtype([("length", np.int64), ("bits", np.int64)])
LEVEL = np.dtype([("context", np.uint64), ("length", np.int32), ("bits", np.int32), ("query", np.int32)])
STATE = np.dtype([("key", np.uint64), ("time", np.int32), ("answer", np.int32)])


def out_dtype(bits: int) -> np.dtype:
    """The dtype of an observation of a context of so many bits."""
    return np.dtype([("observation", np.float32, (2 + bits,))])


@njit
def generate(params, key, level):
    level.length, level.bits = params.length, params.bits
    level.context = bits(key) >> np.uint64(64 - params.bits)
    level.query = integer(advance(key), params.bits)
    return True


@njit
def bit(level, i):
    """Return a bit of the context, 0 or 1."""
    return np.int64((level.context >> np.uint64(i)) & np.uint64(1))


@njit
def reset(state, level):
    state.time = 0
    state.answer = -1


@njit
def step(state, level, action):
    last = state.time == level.length
    state.time += 1
    if not last:
        return 0.0, False, False
    state.answer = action
    return 1.0 if action == bit(level, level.query) else -1.0, True, False


@njit
def shown_time(state):
    """Return the time that an observation shows: that of the reset is shown once more after the first action."""
    return max(state.time - 1, 0)


@njit
def observe(state, level, out):
    time = shown_time(state)
    out.observation[0] = 1 - time / level.length
    out.observation[1] = level.query if time == level.length - 1 else 0
    for i in range(level.bits):
        out.observation[2 + i] = 2 * bit(level, i) - 1 if time == 0 else 0


@njit
def observe_all(state, level, out):
    out.observation[0] = 1 - shown_time(state) / level.length
    out.observation[1] = level.query
    for i in range(level.bits):
        out.observation[2 + i] = 2 * bit(level, i) - 1


@njit
def oracle(state, level):
    return bit(level, level.query) if state.time == level.length else np.int64(-1)


@njit
def measure(state, level, out):
    out[0] = state.answer == bit(level, level.query)


@njit
def digest(level):
    return fold(level.context, level.query)


@njit
def sound(params, state, level):
    return (
        level.length == params.length
        and level.bits == params.bits
        and 0 <= level.query < level.bits
        and level.context <= np.uint64(2**64 - 1) >> np.uint64(64 - level.bits)
        and 0 <= state.time <= level.length + 1
        and -1 <= state.answer <= 1
    )


def define(length: int = 10, bits: int = 1, observable: bool = False) -> Definition:
    """The definition of a task; the parameters are those of :class:`MemoryLength`."""
    length = within("length", length, 1, MOST_LENGTH)
    bits = within("bits", bits, 1, MOST_BITS)
    observable = flag("observable", observable)
    # With one bit the query is always 0, but Gymnasium warns of a Box in which low is high.
    high = np.array([1, max(bits - 1, 1), *[1] * bits], np.float32)
    low = np.array([0, 0, *[-1] * bits], np.float32)
    return Definition(
        name=f"MemoryLength(length={length}, bits={bits}{', observable=True' if observable else ''})",
        params=np.array([(length, bits)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=out_dtype(bits),
        observation_space=Box(low, high, dtype=np.float32),
        action_space=Discrete(2),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        metrics=("success",),
        measure=measure,
        digest=digest,
        distinct_levels=bits * 2**bits,
        sound=sound,
        draw=draw,
        text=text,
        action_names=("zero", "one"),
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The context, the bit that is asked for, the time and in the end the answer, (H, W, 3) uint8."""
    from memenvs.tasks.draw_memory import draw_memory

    return draw_memory(context(level), int(level["query"]), waited(state), int(level["length"]), answered(state))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    query, answer, known = int(level["query"]), answered(state), context(level)
    line = f"context {''.join(map(str, known))}, bit {query} asked for, step {waited(state)} of {level['length']}"
    return line if answer is None else f"{line}: {answer} ({'right' if answer == known[query] else 'wrong'})"


def context(level: np.void) -> list[int]:
    """Return the bits of the context."""
    return [int(level["context"]) >> i & 1 for i in range(int(level["bits"]))]


def waited(state: np.void) -> int:
    """Return the time of the present observation."""
    return max(int(state["time"]) - 1, 0)


def answered(state: np.void) -> int | None:
    """Return the answer, if it has been given."""
    return None if state["answer"] < 0 else int(state["answer"])


class MemoryLength(SingleEnv):
    """``memenvs/MemoryLength-v0``: see some bits, wait, and tell one of them.

    The memory experiments of bsuite (Osband et al. 2020, arXiv:1908.03568) by the rules of its program: ``memory_len``
    is ``bits=1`` with a ``length`` of 1 to 100, ``memory_size`` is ``length=2`` with 1 to 40 ``bits``. The context and
    which bit of it will be asked for are drawn evenly for every episode.

    Observations have a time t from 0 to ``length``. As in bsuite, the one after the first action is that of the reset
    once more: t is 0 at first, and k - 1 after action k. Action ``length + 1`` is the answer, and everything before is
    without effect.

    - Observation: ``Box`` of float32, (2 + ``bits``,): 1 - t / ``length``; the query, which is the number of the bit
      asked for (from 0) at t = ``length`` - 1, where the answer is due, and otherwise 0; then the bits of the context
      as 1 or -1 where t is 0, and otherwise 0.
    - Action: ``Discrete(2)``, the bit.
    - Reward: 1 for a right answer, -1 for a wrong one, 0 before.
    - End: terminated by the answer, after ``length + 1`` steps.
    - ``info``: ``success``, 1 for a right answer.

    The split of a level follows from its context and query; it needs 5 bits or more.

    :param length: steps from the context to the question, from 1 to 1,000,000,000; a step takes as long, and an
        environment as much memory, with any
    :param bits: of the context, from 1 to 64
    :param observable: show the context and the query at every step, so that nothing has to be remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMemoryLength(BatchedEnv):
    """The batched :class:`MemoryLength`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
