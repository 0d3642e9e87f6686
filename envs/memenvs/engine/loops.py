"""The compiled loops: from functions that act on one environment to functions that act on a batch of them.

Each loop works on rows ``start`` to ``stop``, so that threads can share a batch, and row i only ever touches what has
index i, so that neither the size of the batch nor the number of threads changes what happens in a row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from memenvs.compilation import njit
from memenvs.engine.defaults import DEFAULTS
from memenvs.random import advance, fold, integer

if TYPE_CHECKING:
    from memenvs.engine.definition import Definition


def row_dtype(level: np.dtype, state: np.dtype) -> np.dtype:
    """Return the dtype of an environment between two steps: key of its levels, statistics, records."""
    return np.dtype(
        [("key", np.uint64), ("episode_return", np.float64), ("length", np.int64), ("state", state), ("level", level)]
    )


TERMINATED, TRUNCATED, DONE, DECISION = range(4)  # rows of flags
REWARD, RETURN, METRICS = range(3)  # rows of values; the metrics are METRICS and those that follow
ALL, TRAIN, TEST = range(3)
SPLITS = {None: ALL, "train": TRAIN, "test": TEST}
TEST_SHARE = 8  # one level of so many is in the test split
FEWEST_LEVELS = 100  # that are divided into splits
ATTEMPTS = 20_000  # of drawing a first level, before parameters count as impossible


class Loops(NamedTuple):
    """The compiled loops of one definition."""

    reset: Callable[..., None]
    step: Callable[..., int]
    observe: Callable[..., None]
    oracle: Callable[..., None]
    walk: Callable[..., None]
    sound: Callable[..., bool]
    possible: Callable[..., bool]
    seed: Callable[..., None]


def loops(definition: Definition) -> Loops:
    """Return the loops of a definition, compiled at first use and shared by environments with the same functions."""
    d = definition
    rules = (d.generate, d.reset, d.step, d.observe, d.oracle, d.decides, d.legal, d.measure, d.digest, d.sound)
    return _loops(*rules, bool(d.both_ends))


def _own(function: Callable) -> Any:
    """Return a copy of a default, and anything else as it is.

    Numba remembers the records that a function was called with, and takes a longer record that begins with the same
    fields for one of these, with a warning. Definitions share the defaults, and nothing but them.
    """
    return njit(getattr(function, "py_func", function)) if function in DEFAULTS else function


def _decides(oracle: Callable[..., int]) -> Callable[..., bool]:
    @njit
    def decides(state, level):
        return oracle(state, level) >= 0

    return decides


@functools.cache
def _loops(
    generate: Callable[..., bool],
    reset: Callable[..., None],
    step: Callable[..., tuple[float, bool, bool]],
    observe: Callable[..., None],
    oracle: Callable[..., int],
    decides: Callable[..., bool] | None,
    legal: Callable[..., None],
    measure: Callable[..., None],
    digest: Callable[..., int],
    sound: Callable[..., bool],
    both_ends: bool,
) -> Loops:
    oracle, legal, measure, digest, sound = map(_own, (oracle, legal, measure, digest, sound))
    decides = _decides(oracle) if decides is None else _own(decides)

    @njit
    def begin(params, row, split):
        key = row.key
        while True:
            key = advance(key)
            if not generate(params, fold(key, 0), row.level):
                continue
            if split == ALL:
                break
            held_out = np.uint64(digest(row.level)) % np.uint64(TEST_SHARE) == np.uint64(0)
            if held_out == (split == TEST):
                break
        row.key = key
        row.episode_return = 0.0
        row.length = 0
        row.state.key = fold(key, 1)
        reset(row.state, row.level)

    @njit
    def reset_rows(params, rows, outs, flags, split, start, stop):
        for i in range(start, stop):
            begin(params[0], rows[i], split)
            observe(rows[i].state, rows[i].level, outs[i])
            flags[DECISION, i] = decides(rows[i].state, rows[i].level)

    @njit
    def step_rows(params, rows, outs, finals, actions, values, lengths, flags, limit, split, autoreset, start, stop):
        ended = 0
        for index in range(start, stop):
            i = np.uintp(index)  # an index that may be negative costs a comparison at each use
            row = rows[i]
            if flags[DONE, i]:  # what the last step said of an end; stores are what a step costs, so only then
                flags[: DONE + 1, i] = False
                values[RETURN:, i] = 0.0
                lengths[i] = 0
            reward, terminated, truncated = step(row.state, row.level, actions[i])
            row.episode_return += reward
            row.length += 1
            truncated = (truncated and (both_ends or not terminated)) or (row.length >= limit and not terminated)
            values[REWARD, i] = reward
            if terminated or truncated:
                ended += 1
                flags[TERMINATED, i] = terminated
                flags[TRUNCATED, i] = truncated
                flags[DONE, i] = True
                values[RETURN, i] = row.episode_return
                lengths[i] = row.length
                measure(row.state, row.level, values[METRICS:, i])
                if autoreset:
                    observe(row.state, row.level, finals[i])
                    begin(params[0], row, split)
            observe(row.state, row.level, outs[i])
            flags[DECISION, i] = decides(row.state, row.level)
        return ended

    @njit
    def observe_rows(rows, outs, flags, start, stop):
        for i in range(start, stop):
            observe(rows[i].state, rows[i].level, outs[i])
            flags[DECISION, i] = decides(rows[i].state, rows[i].level)

    @njit
    def oracle_rows(rows, actions, start, stop):
        for i in range(start, stop):
            actions[i] = oracle(rows[i].state, rows[i].level)

    @njit
    def walk_rows(rows, keys, mask, actions, start, stop):
        for i in range(start, stop):
            mask[:] = False
            legal(rows[i].state, rows[i].level, mask)
            chosen = integer(keys[i], mask.sum())
            for action in range(mask.size):
                if mask[action]:
                    if chosen == 0:
                        actions[i] = action
                        break
                    chosen -= 1

    @njit
    def sound_rows(params, rows):
        all_sound = True
        for row in rows:
            all_sound &= sound(params[0], row.state, row.level)
        return all_sound

    @njit
    def possible(params, row):
        attempt = 0
        while attempt < ATTEMPTS and not generate(params[0], fold(np.uint64(0), attempt), row.level):
            attempt += 1
        return attempt < ATTEMPTS

    return Loops(reset_rows, step_rows, observe_rows, oracle_rows, walk_rows, sound_rows, possible, seed_rows)


@njit
def seed_rows(rows, key):
    """Give every row its own stream of levels, a function of the key and the row's index alone."""
    for i in range(rows.size):
        rows[i].key = fold(key, i)
