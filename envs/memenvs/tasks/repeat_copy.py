"""The repeat-copy task of Graves et al. (2014, arXiv:1410.5401), section 4.2: a copy as often as it is asked for."""

from __future__ import annotations

import numpy as np

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, within
from memenvs.compilation import njit
from memenvs.random import advance, between
from memenvs.tasks.script import MOST_ANSWERS, MOST_WIDTH, ask, begin, flag, scripted, sequences, show, vector

MOST_LENGTH = 256
MOST_REPEATS = 256

# Not in an order that begins as another task's: Numba would take the record for a kind of that one, and warn.
PARAMS = np.dtype(
    [
        ("repeats", np.int64, (2,)),
        ("mean", np.float64),
        ("deviation", np.float64),
        ("width", np.int64),
        ("length", np.int64, (2,)),
    ]
)


@njit
def generate(params, key, level):
    width = params.width
    begin(level, width + 2, width + 1)
    show(level, flag(width))
    key = advance(key)
    length = between(key, params.length)
    for _ in range(length):
        key = advance(key)
        drawn = vector(key, width)
        show(level, drawn)
        ask(level, drawn)
    level.told = level.shown
    key = advance(key)
    repeats = between(key, params.repeats)
    show(level, flag(width + 1), (repeats - params.mean) / params.deviation)
    for i in range(length, length * repeats):
        ask(level, level.targets[i - length])
    ask(level, flag(width))
    return True


def define(
    width: int = 8,
    length: int | tuple[int, int] = (1, 10),
    repeats: int | tuple[int, int] = (1, 10),
    *,
    training_repeats: int | tuple[int, int] = (1, 10),
) -> Definition:
    """The definition of a repeat-copy task; the parameters are those of :class:`RepeatCopy`."""
    width = within("width", width, 1, MOST_WIDTH)
    length = bounds("length", length, 1, MOST_LENGTH)
    repeats = bounds("repeats", repeats, 1, MOST_REPEATS)
    training_repeats = bounds("training_repeats", training_repeats, 1, MOST_REPEATS)
    if length[1] * repeats[1] >= MOST_ANSWERS:
        raise ValueError(
            f"length times repeats must be at most {MOST_ANSWERS - 1}, not {length[1]} * {repeats[1]}: that many "
            "answers cannot be held"
        )
    mean, deviation = standard(training_repeats)
    return scripted(
        name=f"RepeatCopy(width={width}, length={length}, repeats={repeats}, training_repeats={training_repeats})",
        params=np.array([(repeats, mean, deviation, width, length)], PARAMS),
        generate=generate,
        channels=width + 2,
        width=width + 1,
        distinct_levels=sequences(width, length),
        scalars=((1 - mean) / deviation, (MOST_REPEATS - mean) / deviation),
    )


def standard(pair: tuple[int, int]) -> tuple[float, float]:
    """Return mean and standard deviation of a uniform integer from ``low`` to ``high``; 1 for the latter if it is 0."""
    count = pair[1] - pair[0] + 1
    return sum(pair) / 2, ((count**2 - 1) / 12) ** 0.5 or 1.0


class RepeatCopy(SingleEnv):
    """``memenvs/RepeatCopy-v0``: read a sequence of random bit vectors, then say it as often as asked.

    After a flag that says "begin" come the vectors, one a step, then a flag that says "end" together with the number of
    repeats. The agent then sees nothing; it answers with the sequence so many times and, in one more step, with an end
    marker.

    - Observation: ``Box`` of ``width + 3`` float32: the bits of the vector, the flags "begin" and "end", and beside the
      latter the number of repeats, less its mean and divided by its standard deviation in training. The flags come
      without a vector, and while the agent answers all is 0.
    - Action: ``MultiBinary(width + 1)``, the vector answered and the end marker; without effect before the answers. The
      marker comes with all other bits 0, and no vector with the marker.
    - Reward: an answer without a wrong bit, the marker among them, brings 1 / (length * repeats + 1), otherwise 0. The
      return is the share of answers that were right.
    - End: terminated by the last answer, after ``length + length * repeats + 3`` steps.
    - ``info``: ``success`` (1 if no bit was wrong), ``wrong_bits`` and ``bits``, how many were asked for.

    The split of a level follows from its vectors alone: a test sequence is never seen in training, whatever the number
    of repeats.

    :param width: bits of a vector, from 1 to 16
    :param length: number of vectors, as (low, high) or one number, from 1 to 256
    :param repeats: how often they are asked for, likewise; length times repeats is at most 511
    :param training_repeats: the range whose mean and standard deviation are meant; evaluating on other repeats than
        those of training leaves it as it was
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedRepeatCopy(BatchedEnv):
    """The batched :class:`RepeatCopy`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
