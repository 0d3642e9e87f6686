"""The compiled loops: from functions that act on one environment to functions that act on a batch of them.

Each loop works on rows ``start`` to ``stop``, so that threads can share a batch, and row i only ever touches what has
index i, so that neither the size of the batch nor the number of threads changes what happens in a row.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from memenvs.compilation import njit
from memenvs.random import advance, fold, integer

if TYPE_CHECKING:
    from memenvs.engine.definition import Definition

BOOK = np.dtype([("key", np.uint64), ("episode_return", np.float64), ("length", np.int64)])
"""What the engine keeps for a row: the key of its levels, and the running statistics of its episode."""

TERMINATED, TRUNCATED, DONE, DECISION = range(4)  # rows of flags
REWARD, RETURN, LENGTH = range(3)  # rows of values; metrics follow
ALL, TRAIN, TEST = range(3)
SPLITS = {None: ALL, "train": TRAIN, "test": TEST}
TEST_SHARE = 8  # one level of so many is in the test split


class Loops(NamedTuple):
    """The compiled loops of one definition."""

    reset: Any
    step: Any
    observe: Any
    oracle: Any
    walk: Any


def loops(definition: Definition) -> Loops:
    """The loops of a definition, compiled at first use and shared by all environments with the same functions."""
    d = definition
    return _loops(d.generate, d.reset, d.step, d.observe, d.oracle, d.legal, d.measure, d.digest)


@functools.cache
def _loops(generate, reset, step, observe, oracle, legal, measure, digest) -> Loops:
    @njit
    def begin(params, level, state, book, split):
        key = book.key
        while True:
            key = advance(key)
            if not generate(params, fold(key, 0), level):
                continue
            if split == ALL or (digest(level) % np.uint64(TEST_SHARE) == np.uint64(0)) == (split == TEST):
                break
        book.key = key
        book.episode_return = 0.0
        book.length = 0
        state.key = fold(key, 1)
        reset(state, level)

    @njit
    def reset_rows(params, levels, states, books, outs, flags, split, start, stop):
        for i in range(start, stop):
            begin(params[0], levels[i], states[i], books[i], split)
            observe(states[i], levels[i], outs[i])
            flags[DECISION, i] = oracle(states[i], levels[i]) >= 0

    @njit
    def step_rows(
        params, levels, states, books, outs, finals, actions, values, flags, limit, split, autoreset, start, stop
    ):
        ended = 0
        for i in range(start, stop):
            level, state, book = levels[i], states[i], books[i]
            reward, terminated, truncated = step(state, level, actions[i])
            book.episode_return += reward
            book.length += 1
            truncated = (truncated or (limit > 0 and book.length >= limit)) and not terminated
            done = terminated or truncated
            values[REWARD, i] = reward
            flags[TERMINATED, i] = terminated
            flags[TRUNCATED, i] = truncated
            flags[DONE, i] = done
            if done:
                ended += 1
                values[RETURN, i] = book.episode_return
                values[LENGTH, i] = book.length
                measure(state, level, values[LENGTH + 1 :, i])
                if autoreset:
                    observe(state, level, finals[i])
                    begin(params[0], level, state, book, split)
            else:
                values[RETURN:, i] = 0.0
            observe(state, level, outs[i])
            flags[DECISION, i] = oracle(state, level) >= 0
        return ended

    @njit
    def observe_rows(levels, states, outs, flags, start, stop):
        for i in range(start, stop):
            observe(states[i], levels[i], outs[i])
            flags[DECISION, i] = oracle(states[i], levels[i]) >= 0

    @njit
    def oracle_rows(levels, states, actions, start, stop):
        for i in range(start, stop):
            actions[i] = oracle(states[i], levels[i])

    @njit
    def walk_rows(levels, states, keys, mask, actions, start, stop):
        for i in range(start, stop):
            mask[:] = False
            legal(states[i], levels[i], mask)
            chosen = integer(keys[i], mask.sum())
            for action in range(mask.size):
                if mask[action]:
                    if chosen == 0:
                        actions[i] = action
                        break
                    chosen -= 1

    return Loops(reset_rows, step_rows, observe_rows, oracle_rows, walk_rows)


@njit
def seed_rows(books, key):
    """Give every row its own stream of levels, a function of the key and the row's index alone."""
    for i in range(books.size):
        books[i].key = fold(key, i)


@njit
def all_within(actions, n):
    """Whether every action is one of 0 to n - 1."""
    within = True
    for i in range(actions.size):
        within &= (actions[i] >= 0) & (actions[i] < n)
    return within
