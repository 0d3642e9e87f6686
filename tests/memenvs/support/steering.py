"""An environment that only tests know, whose actions are real numbers: a ``Box`` of any shape, float32 or float64.

A boat on a line is moved by the mean of all numbers of an action, which it does not clip, and by the current.
"""

import numpy as np
from gymnasium.spaces import Box

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.compilation import njit
from memenvs.random import uniform

PARAMS = np.dtype([("patience", np.int64)])
LEVEL = np.dtype([("patience", np.int64), ("current", np.float64)])
STATE = np.dtype([("key", np.uint64), ("place", np.float64), ("last", np.float64), ("age", np.int64)])
OUT = np.dtype([("observation", np.float64, (2,))])


@njit
def generate(params, key, level):
    level.patience = params.patience
    level.current = uniform(key) - 0.5
    return True


@njit
def reset(state, level):
    state.place = state.last = 0.0
    state.age = 0


@njit
def step(state, level, action):
    total = 0.0
    for value in action.flat:
        total += np.float64(value)
    state.last = total / action.size
    state.place += state.last + level.current
    state.age += 1
    return state.last, abs(state.place) > 12, state.age >= level.patience


@njit
def observe(state, level, out):
    out.observation[0] = state.place
    out.observation[1] = state.last


@njit
def digest(level):
    return np.uint64(1000 * (level.current + 0.5))


def define(shape: tuple[int, ...] = (2,), dtype: str = "float32", patience: int = 12) -> Definition:
    return Definition(
        name=f"Steering(shape={shape}, dtype={dtype!r}, patience={patience})",
        params=np.array([(patience,)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=Box(-1000.0, 1000.0, (2,), np.float64),
        action_space=Box(-1.0, 2.0, shape, np.dtype(dtype).type),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        digest=digest,
        distinct_levels=1000,
    )


class Steering(SingleEnv):
    define = staticmethod(define)


class BatchedSteering(BatchedEnv):
    define = staticmethod(define)
