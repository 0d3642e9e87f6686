"""The task *explore*: learn a graph by travelling in it, from goal to goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import DESTINATION, FOLLOWING, LABEL, capacity, exit_labelled, mark_exits, sound_level
from memenvs.graph.phases import BLANK, write_code
from memenvs.graph.query import draw_goal, first_exit

if TYPE_CHECKING:
    from memenvs.graph.parameters import Task

METRICS = ("success", "goals", "goals_later", "detour_first", "detour_later")
HERE, TAKEN, GOAL, EXITS = 0, 3, 4, 7  # where things stand in an observation
FIRST, LATER = range(2)


def state_dtype(task: Task) -> np.dtype:
    """The layout of a state for the most stations and travel steps that there can be."""
    s = capacity(task.stations, 8)
    return np.dtype(
        [
            ("key", np.uint64),
            ("position", np.int16),
            ("goal", np.int16),
            ("last", np.int16),  # the label of the exit taken last, or -1
            ("taken", np.int16),  # travel steps
            ("begun", np.int16),  # those that were taken before the present goal was given
            ("known", np.int8),  # whether the goal had been visited when it was given: FIRST or LATER
            ("distance", np.int16),  # fewest travel steps to the goal from where it was given
            ("goals", np.int16, (2,)),  # how many were reached, FIRST and LATER
            ("steps", np.int32, (2,)),  # the steps they took
            ("shortest", np.int32, (2,)),  # the steps they could have taken
            ("visited", np.uint8, (s,)),
            # The station before each travel step, and the last one.
            ("route", np.int16, (capacity(task.steps + 1, 16),)),
        ]
    )


@njit
def reset(state, level):
    state.position = level.start
    state.goal = level.goal
    state.last = -1
    state.taken = 0
    state.begun = 0
    state.known = FIRST
    state.distance = level.distance
    for kind in range(2):
        state.goals[kind] = 0
        state.steps[kind] = 0
        state.shortest[kind] = 0
    for u in range(level.stations):
        state.visited[u] = False
    state.visited[level.start] = True
    state.route[0] = level.start


@njit
def step(state, level, action):
    edge = exit_labelled(level, state.position, action)
    if edge >= 0:
        state.position = level.links[edge, DESTINATION]
        state.visited[state.position] = True
    state.last = action
    state.taken += 1
    state.route[state.taken] = state.position
    arrived = state.position == state.goal
    if arrived:
        count_goal(state)
        next_goal(state, level)
    return (1.0 if arrived else 0.0) - level.step_cost, state.taken >= level.budget, False


@njit
def count_goal(state):
    """Record the length of the way to the goal and that of the shortest one."""
    state.goals[state.known] += 1
    state.steps[state.known] += state.taken - state.begun
    state.shortest[state.known] += state.distance


@njit
def next_goal(state, level):
    """Give another goal, uniformly among the other stations that can be reached from here."""
    entered, queue = np.empty(level.stations, np.int16), np.empty(level.stations, np.int16)
    state.key, state.goal, state.distance = draw_goal(level, state.key, state.position, entered, queue)
    state.known = LATER if state.visited[state.goal] else FIRST
    state.begun = state.taken


@njit
def observe(state, level, out):
    observation = out.observation
    write_code(observation, HERE, level.codes[state.position])
    observation[TAKEN] = state.last + 1
    write_code(observation, GOAL, level.codes[state.goal])
    for place in range(EXITS, observation.size):
        observation[place] = 0
    edge = level.first[state.position]
    while edge >= 0:
        observation[EXITS + level.links[edge, LABEL]] = 1
        edge = level.links[edge, FOLLOWING]


@njit
def oracle(state, level):
    """The first exit of a shortest way to the goal; any exit where no way leads there."""
    edge = first_exit(level, state.position, state.goal)
    return np.int64(level.links[edge if edge >= 0 else level.first[state.position], LABEL])


@njit
def legal(state, level, mask):
    mark_exits(level, state.position, mask)


@njit
def measure(state, level, out):
    out[0] = state.goals[FIRST] > 0
    out[1] = state.goals[FIRST] + state.goals[LATER]
    out[2] = state.goals[LATER]
    for kind in range(2):
        out[3 + kind] = state.steps[kind] / state.shortest[kind] if state.goals[kind] > 0 else np.inf


@njit
def sound(params, state, level):
    n = level.stations
    return (
        sound_level(params, level)
        and 0 <= state.position < n
        and 0 <= state.goal < n
        and BLANK <= state.last < params.labels
        and 0 <= state.begun <= state.taken <= level.budget < state.route.size
        and 0 <= state.known <= 1
    )
