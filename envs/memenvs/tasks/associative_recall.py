"""The associative recall task of Graves et al. (2014, arXiv:1410.5401), section 4.3: which item came after this one?"""

from __future__ import annotations

import math

import numpy as np

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, within
from memenvs.compilation import njit
from memenvs.random import advance, between, integer
from memenvs.tasks.script import MOST_FRAMES, MOST_WIDTH, ask, begin, flag, scripted, show, vector

MOST_ITEM_LENGTH = 16

PARAMS = np.dtype([("width", np.int64), ("item_length", np.int64), ("items", np.int64, (2,))])


@njit
def generate(params, key, level):
    width, length = params.width, params.item_length
    begin(level, width + 2, width)
    key = advance(key)
    items = between(key, params.items)
    for item in range(items):
        show(level, flag(width))
        for _ in range(length):
            show(level, 0)
        fresh = False
        while not fresh:
            for i in range(length):
                key = advance(key)
                level.frames[place(item, length) + i] = vector(key, width)
            fresh = is_new(level, item, length)
    level.told = level.shown
    key = advance(key)
    asked = place(integer(key, items - 1), length)
    show(level, flag(width + 1))
    for i in range(length):
        show(level, level.frames[asked + i])
        ask(level, level.frames[asked + length + 1 + i])
    show(level, flag(width + 1))
    return True


@njit
def place(item, length):
    """The frame with the first vector of an item: each has a delimiter before it."""
    return item * (length + 1) + 1


@njit
def is_new(level, item, length):
    """Return whether an item differs from all that came before it."""
    for other in range(item):
        same = True
        for i in range(length):
            same &= level.frames[place(other, length) + i] == level.frames[place(item, length) + i]
        if same:
            return False
    return True


def define(width: int = 6, item_length: int = 3, items: int | tuple[int, int] = (2, 6)) -> Definition:
    """The definition of an associative recall task; the parameters are those of :class:`AssociativeRecall`."""
    width = within("width", width, 1, MOST_WIDTH)
    item_length = within("item_length", item_length, 1, MOST_ITEM_LENGTH)
    kinds = 2 ** (width * item_length)
    items = bounds("items", items, 2, min(kinds, (MOST_FRAMES - item_length - 2) // (item_length + 1)))
    return scripted(
        name=f"AssociativeRecall(width={width}, item_length={item_length}, items={items})",
        params=np.array([(width, item_length, items)], PARAMS),
        generate=generate,
        channels=width + 2,
        width=width,
        distinct_levels=sum(math.perm(kinds, n) for n in range(items[0], items[1] + 1)),
    )


class AssociativeRecall(SingleEnv):
    """``memenvs/AssociativeRecall-v0``: read a list of items; asked about one, say the item that came after it.

    An item is ``item_length`` random bit vectors; all items of an episode differ. Each is shown after a delimiter, one
    vector a step. Then comes a query: one of the items but the last, between two delimiters of another kind. The agent
    then sees nothing and answers with the vectors of the item that had followed.

    - Observation: ``MultiBinary(width + 2)``: the bits of the vector, then the delimiters of items and of the query.
      The delimiters come alone, and while the agent answers all is 0.
    - Action: ``MultiBinary(width)``, the vector answered; without effect before the answers.
    - Reward: an answer without a wrong bit brings 1 / item_length, otherwise 0. The return is the share of vectors that
      were right.
    - End: terminated by the last answer, after ``(item_length + 1) * items + 2 * item_length + 2`` steps.
    - ``info``: ``success`` (1 if no bit was wrong), ``wrong_bits`` and ``bits``, how many were asked for.

    The split of a level follows from its list of items, whatever the query. An agent trained with the default number of
    items can be evaluated with more, as in the paper.

    :param width: bits of a vector, from 1 to 16
    :param item_length: vectors of an item, from 1 to 16
    :param items: number of items, as (low, high) or one number, from 2 to as many as differ and fit into 320 steps with
        the query (78 of 3 vectors)
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedAssociativeRecall(BatchedEnv):
    """The batched :class:`AssociativeRecall`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
