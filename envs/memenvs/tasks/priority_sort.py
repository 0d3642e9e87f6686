"""The priority sort task of Graves et al. (2014, arXiv:1410.5401), section 4.5: vectors, in order of their priority."""

from __future__ import annotations

import numpy as np

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, within
from memenvs.compilation import njit
from memenvs.random import advance, between, integer
from memenvs.tasks.script import MOST_WIDTH, ask, begin, flag, scripted, sequences, show, vector

MOST_INPUTS = 128
GRID = 2**23  # priorities are multiples of 1 / GRID, all of which a float32 can tell apart

PARAMS = np.dtype([("width", np.int64), ("inputs", np.int64, (2,)), ("outputs", np.int64, (2,))])


@njit
def generate(params, key, level):
    width = params.width
    begin(level, width + 2, width)
    show(level, flag(width))
    key = advance(key)
    inputs = between(key, params.inputs)
    for _ in range(inputs):
        key = advance(key)
        drawn = vector(key, width)
        key, priority = fresh_priority(key, level)
        show(level, drawn, priority)
    level.told = level.shown
    show(level, flag(width + 1))
    key = advance(key)
    last = np.inf
    for _ in range(between(key, params.outputs)):
        best = 0
        for i in range(1, inputs + 1):
            if level.scalars[i] < last and (best == 0 or level.scalars[i] > level.scalars[best]):
                best = i
        last = level.scalars[best]
        ask(level, level.frames[best])
    return True


@njit
def fresh_priority(key, level):
    """The next key, and a priority that no vector before it has."""
    while True:
        key = advance(key)
        priority = np.float32((integer(key, 2 * GRID + 1) - GRID) / GRID)
        fresh = True
        for i in range(1, level.shown):
            fresh &= level.scalars[i] != priority
        if fresh:
            return key, priority


def define(width: int = 8, inputs: int | tuple[int, int] = 20, outputs: int | tuple[int, int] = 16) -> Definition:
    """The definition of a priority sort task; the parameters are those of :class:`PrioritySort`."""
    width = within("width", width, 1, MOST_WIDTH)
    inputs = bounds("inputs", inputs, 1, MOST_INPUTS)
    outputs = bounds("outputs", outputs, 1, inputs[0])
    return scripted(
        name=f"PrioritySort(width={width}, inputs={inputs}, outputs={outputs})",
        params=np.array([(width, inputs, outputs)], PARAMS),
        generate=generate,
        channels=width + 2,
        width=width,
        distinct_levels=sequences(width, inputs),
        scalars=(-1.0, 1.0),
    )


class PrioritySort(SingleEnv):
    """``memenvs/PrioritySort-v0``: read vectors with priorities, then say those of highest priority, in order.

    After a flag that says "begin" come random bit vectors, one a step, each with a priority uniform in [-1, 1]; no two
    are alike. Then comes a flag that says "end". The agent then sees nothing and answers with the ``outputs`` vectors
    of highest priority, the highest first.

    - Observation: ``Box`` of ``width + 3`` float32: the bits of the vector, the flags "begin" and "end", the priority.
      The flags come alone, and while the agent answers all is 0.
    - Action: ``MultiBinary(width)``, the vector answered; without effect before the answers.
    - Reward: an answer without a wrong bit brings 1 / outputs, otherwise 0. The return is the share of vectors that
      were right.
    - End: terminated by the last answer, after ``inputs + outputs + 2`` steps.
    - ``info``: ``success`` (1 if no bit was wrong), ``wrong_bits`` and ``bits``, how many were asked for.

    The split of a level follows from its vectors, in the order shown, whatever their priorities.

    :param width: bits of a vector, from 1 to 16
    :param inputs: number of vectors, as (low, high) or one number, from 1 to 128
    :param outputs: number of outputs asked for, likewise, up to the least number of inputs
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedPrioritySort(BatchedEnv):
    """The batched :class:`PrioritySort`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
