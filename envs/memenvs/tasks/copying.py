"""The copy task of Graves et al. (2014, arXiv:1410.5401), section 4.1: a sequence of vectors, to be said again."""

from __future__ import annotations

import numpy as np

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, within
from memenvs.compilation import njit
from memenvs.random import advance, between
from memenvs.tasks.script import MOST_WIDTH, ask, begin, flag, scripted, sequences, show, vector

MOST_LENGTH = 256

PARAMS = np.dtype([("width", np.int64), ("length", np.int64, (2,))])


@njit
def generate(params, key, level):
    width = params.width
    begin(level, width + 2, width)
    show(level, flag(width))
    key = advance(key)
    for _ in range(between(key, params.length)):
        key = advance(key)
        drawn = vector(key, width)
        show(level, drawn)
        ask(level, drawn)
    level.told = level.shown
    show(level, flag(width + 1))
    return True


def define(width: int = 8, length: int | tuple[int, int] = (1, 20)) -> Definition:
    """The definition of a copy task; the parameters are those of :class:`Copy`."""
    width = within("width", width, 1, MOST_WIDTH)
    length = bounds("length", length, 1, MOST_LENGTH)
    return scripted(
        name=f"Copy(width={width}, length={length})",
        params=np.array([(width, length)], PARAMS),
        generate=generate,
        channels=width + 2,
        width=width,
        distinct_levels=sequences(width, length),
    )


class Copy(SingleEnv):
    """``memenvs/Copy-v0``: read a sequence of random bit vectors, then say it again.

    After a flag that says "begin" come the vectors, one a step, then a flag that says "end". For as many steps as there
    were vectors the agent then sees nothing and answers with them, in the same order.

    - Observation: ``MultiBinary(width + 2)``: the bits of the vector, then the flags "begin" and "end". The flags come
      alone, and while the agent answers all is 0.
    - Action: ``MultiBinary(width)``, the vector answered; without effect before the answers.
    - Reward: an answer without a wrong bit brings 1 / length, otherwise 0. The return is the share of vectors that were
      right.
    - End: terminated by the last answer, after ``2 * length + 2`` steps.
    - ``info``: ``success`` (1 if no bit was wrong), ``wrong_bits`` and ``bits``, how many were asked for.

    The split of a level follows from its vectors. An agent trained with the default length can be evaluated with
    longer ones, as in the paper.

    :param width: bits of a vector, from 1 to 16
    :param length: number of vectors, as (low, high) or one number, from 1 to 256
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedCopy(BatchedEnv):
    """The batched :class:`Copy`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
