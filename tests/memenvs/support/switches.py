"""An environment that only tests know, whose actions are bits or dials: it shows the number it was given.

The number that it asks for is shown beside; every third step asks for nothing. An episode is ``steps`` long.
"""

import numpy as np
from gymnasium.spaces import Box, MultiBinary, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.compilation import njit
from memenvs.random import advance, integer

PARAMS = LEVEL = np.dtype([("numbers", np.int64), ("steps", np.int64)])
STATE = np.dtype([("key", np.uint64), ("time", np.int64), ("seen", np.int64)])
OUT = np.dtype([("numbers", np.int64, (2,))])


@njit
def generate(params, key, level):
    level.numbers, level.steps = params.numbers, params.steps
    return True


@njit
def reset(state, level):
    state.time = 0
    state.seen = 0


@njit
def step(state, level, action):
    reward = 1.0 * (action == oracle(state, level))
    state.seen = action
    state.key = advance(state.key)
    state.time += 1
    return reward, state.time == level.steps, False


@njit
def observe(state, level, out):
    out.numbers[0] = state.seen
    out.numbers[1] = oracle(state, level)


@njit
def oracle(state, level):
    return -1 if state.time % 3 == 2 else integer(state.key, level.numbers)


def define(n: int = 5, steps: int = 7, dials: tuple[int, ...] = ()) -> Definition:
    """n switches, or dials with so many positions."""
    return Definition(
        name=f"Switches(n={n}, dials={dials})",
        params=np.array([(np.prod(dials) if dials else 2**n, steps)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=Box(-1, 2**32 - 1, (2,), np.int64),
        action_space=MultiDiscrete(dials) if dials else MultiBinary(n),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
    )


class Switches(SingleEnv):
    define = staticmethod(define)


class BatchedSwitches(BatchedEnv):
    define = staticmethod(define)
