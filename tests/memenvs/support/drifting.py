"""An environment that only tests know, as a user would bring one: a dict of observations, dynamics that are random, a
truncation of its own, neither oracle nor ``legal``.

A walker on a line is blown about; it ends when it falls off to the right, and is cut short after ``patience`` steps.
"""

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.compilation import njit
from memenvs.random import advance, integer

PARAMS = np.dtype([("width", np.int64), ("patience", np.int64)])
LEVEL = np.dtype([("width", np.int64), ("patience", np.int64), ("scent", np.int64)])
STATE = np.dtype([("key", np.uint64), ("place", np.int64), ("age", np.int64)])
OUT = np.dtype([("place", np.int16, (1,)), ("scent", np.float32, (2, 2))])


@njit
def generate(params, key, level):
    level.width, level.patience = params.width, params.patience
    level.scent = integer(key, 1000)
    return level.width > 1


@njit
def reset(state, level):
    state.place = 0
    state.age = 0


@njit
def step(state, level, action):
    state.key = advance(state.key)
    state.place = max(state.place + action - integer(state.key, 2), 0)
    state.age += 1
    return 0.25 * action, state.place == level.width, state.age == level.patience


@njit
def observe(state, level, out):
    out.place[0] = state.place
    out.scent[:] = level.scent


@njit
def digest(level):
    return np.uint64(level.scent)


def define(width: int = 3, patience: int = 12) -> Definition:
    return Definition(
        name=f"Drifting(width={width}, patience={patience})",
        params=np.array([(width, patience)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=Dict(
            {"place": Box(0, 1000, (1,), np.int16), "scent": Box(0, 1000, (2, 2), np.float32)},
        ),
        action_space=Discrete(3),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        digest=digest,
        distinct_levels=1000,
    )


class Drifting(SingleEnv):
    define = staticmethod(define)


class BatchedDrifting(BatchedEnv):
    define = staticmethod(define)
