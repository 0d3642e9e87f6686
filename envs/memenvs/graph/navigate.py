"""The task *navigate*: travel from a start to a goal, with the current station in every observation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import MultiDiscrete

from memenvs.compilation import njit
from memenvs.engine.definition import Goals
from memenvs.graph.level import DESTINATION, best_exit, capacity, exit_labelled, sound_level
from memenvs.graph.phases import (
    BLANK,
    PLANNING,
    QUERY,
    TRAVEL,
    acting,
    legal_exits,
    observe_description,
    preparing,
    write_code,
    write_triple,
)

if TYPE_CHECKING:
    from memenvs.graph.parameters import Task

METRICS = ("success", "spl")


def state_dtype(task: Task) -> np.dtype:
    """The layout of a state for the most travel steps that there can be."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("position", np.int16),
            ("taken", np.int16),  # travel steps
            # The station before each travel step, and the last one.
            ("route", np.int16, (capacity(task.steps + 1, 16),)),
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


legal = legal_exits


@njit
def oracle(state, level):
    """Return the first exit of a shortest way to the goal."""
    return best_exit(level, level.to_goal, state.position) if acting(state, level) else -1


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


# --- as a goal-conditioned task ---------------------------------------------------------------------------------------


def goals(step_cost: float) -> Goals:
    """The goals of the task, for hindsight experience replay."""
    return Goals(MultiDiscrete([11] * 3, dtype=np.uint8), goals_of, partial(goal_reward, step_cost), hide_goal)


def goals_of(state: np.void, level: np.void) -> tuple[np.ndarray, np.ndarray]:
    """The code of the station to which the last travel step led, all 0 before the first; that of the goal."""
    achieved, desired = np.zeros((2, 3), np.uint8)
    if state["taken"] > 0:
        write_code(achieved, 0, level["codes"][state["position"]])
    write_code(desired, 0, level["codes"][level["goal"]])
    return achieved, desired


def goal_reward(step_cost: float, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """Return the reward of the step after which a code was achieved; 0 where that step was no travel."""
    travelled = np.any(achieved != 0, axis=-1)
    arrived = travelled & np.all(achieved == desired, axis=-1)
    return arrived * 1.0 - travelled * step_cost


def hide_goal(observation: np.ndarray) -> np.ndarray:
    """An observation without the code of the goal."""
    hidden = observation.copy()
    if hidden[-1] in (QUERY, TRAVEL):
        hidden[-4:-1] = 0
    return hidden
