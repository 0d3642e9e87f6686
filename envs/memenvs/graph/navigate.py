"""The task *navigate*: travel from a start to a goal and be told at every step where one is."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import DESTINATION, best_exit, capacity, exit_labelled, mark_exits, sound_level
from memenvs.graph.phases import (
    BLANK,
    PLANNING,
    QUERY,
    TRAVEL,
    acting,
    observe_description,
    preparing,
    write_triple,
)

METRICS = ("success", "spl")


def state_dtype(steps: int) -> np.dtype:
    """The layout of a state for up to so many travel steps."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("position", np.int16),
            ("taken", np.int16),  # travel steps
            ("route", np.int16, (capacity(steps + 1, 16),)),  # the station before each travel step, and the last one
        ]
    )


@njit
def reset(state, level):
    state.time = 0
    state.position = level.start
    state.taken = 0
    state.route[0] = level.start


@njit
def step(state, level, action):
    if not acting(state, level):
        state.time += 1
        return 0.0, False, False
    edge = exit_labelled(level, state.position, action)
    if edge >= 0:
        state.position = level.links[edge, DESTINATION]
    state.taken += 1
    state.route[state.taken] = state.position
    arrived = state.position == level.goal
    reward = (1.0 if arrived else 0.0) - level.step_cost
    return reward, arrived or state.taken >= level.budget, False


@njit
def observe(state, level, out):
    if state.time < level.told:
        observe_description(state, level, out.observation)
    elif state.time > level.told and not acting(state, level):
        write_triple(out.observation, BLANK, BLANK, BLANK, PLANNING)
    else:
        phase = QUERY if state.time == level.told else TRAVEL
        write_triple(out.observation, level.codes[state.position], BLANK, level.codes[level.goal], phase)


@njit
def oracle(state, level):
    return best_exit(level, state.position) if acting(state, level) else -1


@njit
def legal(state, level, mask):
    if acting(state, level):
        mark_exits(level, state.position, mask)
    else:
        mask[:] = True


@njit
def measure(state, level, out):
    success = state.position == level.goal
    out[0] = success
    out[1] = success * level.distance / max(state.taken, level.distance)


@njit
def sound(params, state, level):
    return (
        sound_level(params, level)
        and level.distance > 0
        and 0 <= state.time <= preparing(level)
        and 0 <= state.position < level.stations
        and 0 <= state.taken <= level.budget < state.route.size
    )
