"""The task *shortest path*: name the exits of a shortest way from a start to a goal, one a step."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import DESTINATION, LABEL, SOURCE, capacity, exit_labelled, sound_level
from memenvs.graph.phases import (
    BLANK,
    PLANNING,
    QUERY,
    TRAVEL,
    acting,
    legal_exits,
    observe_description,
    preparing,
    way_to_goal,
    write_triple,
)

METRICS = ("success", "accuracy")


def state_dtype(steps: int) -> np.dtype:
    """The layout of a state for up to so many answers."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("position", np.int16),
            ("taken", np.int16),  # answers
            ("right", np.int16),  # those that led nearer to the goal
            ("last", np.int16),  # the edge that the last answer took, or -1
            ("route", np.int16, (capacity(steps + 1, 16),)),  # the station before each answer, and the last one
        ]
    )


@njit
def reset(state, level):
    state.time = 0
    state.position = level.start
    state.taken = 0
    state.right = 0
    state.last = -1
    state.route[0] = level.start


@njit
def step(state, level, action):
    if not acting(state, level):
        state.time += 1
        return 0.0, False, False
    edge = exit_labelled(level, state.position, action)
    if edge < 0:
        return 0.0, True, False
    destination = level.links[edge, DESTINATION]
    state.right += level.to_goal[destination] < level.to_goal[state.position]
    state.position = destination
    state.last = edge
    state.taken += 1
    state.route[state.taken] = destination
    arrived = destination == level.goal
    return 1.0 if arrived else 0.0, arrived or state.taken >= level.budget, False


@njit
def observe(state, level, out):
    if state.time < level.told:
        observe_description(state, level, out.observation)
    elif state.time == level.told:
        write_triple(out.observation, level.codes[level.start], BLANK, level.codes[level.goal], QUERY)
    elif not acting(state, level):
        write_triple(out.observation, BLANK, BLANK, BLANK, PLANNING)
    elif state.last < 0:
        write_triple(out.observation, BLANK, BLANK, BLANK, TRAVEL)
    else:
        edge = state.last
        source, destination = level.codes[level.links[edge, SOURCE]], level.codes[level.links[edge, DESTINATION]]
        write_triple(out.observation, source, level.links[edge, LABEL], destination, TRAVEL)


oracle, legal = way_to_goal, legal_exits


@njit
def measure(state, level, out):
    out[0] = state.position == level.goal
    out[1] = state.right / level.distance


@njit
def sound(params, state, level):
    return (
        sound_level(params, level)
        and level.distance > 0
        and 0 <= state.time <= preparing(level)
        and 0 <= state.position < level.stations
        and 0 <= state.right <= state.taken <= level.budget < state.route.size
        and -1 <= state.last < level.edges
    )
