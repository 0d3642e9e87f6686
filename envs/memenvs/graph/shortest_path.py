"""The task *shortest path*: name the exits, or the edges, of a shortest way from a start to a goal, one a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import (
    CODES,
    DESTINATION,
    FOLLOWING,
    LABEL,
    SOURCE,
    best_edge,
    best_exit,
    capacity,
    exit_labelled,
    sound_level,
)
from memenvs.graph.phases import (
    BLANK,
    PLANNING,
    QUERY,
    TRAVEL,
    acting,
    legal_exits,
    observe_description,
    preparing,
    write_triple,
)
from memenvs.graph.query import distances_to, draw_pair
from memenvs.random import advance, fold, integer

if TYPE_CHECKING:
    from memenvs.graph.parameters import Task

METRICS = ("success", "accuracy")


def state_dtype(task: Task) -> np.dtype:
    """The layout of a state for the most stations and answers to a question that there can be."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),  # of the description, and of the present question from its beginning
            ("edges", np.int32),  # of the shortest ways of the questions before it
            ("edges_right", np.int32),
            ("question", np.int16),  # the questions before it
            ("questions_right", np.int16),  # those of them whose goal was reached
            ("start", np.int16),
            ("goal", np.int16),
            ("distance", np.int16),  # fewest travel steps from start to goal, which are as many as may be answered
            ("position", np.int16),
            ("taken", np.int16),  # answers
            ("right", np.int16),  # those that led nearer to the goal
            ("last", np.int16),  # the edge that the last answer took, or -1
            ("to_goal", np.int16, (capacity(task.stations, 8),)),  # fewest travel steps from each station, or FAR
            ("route", np.int16, (capacity(task.steps + 1, 16),)),  # the station before each answer, and the last one
        ]
    )


@njit
def reset(state, level):
    state.time = 0
    state.question = state.questions_right = 0
    state.edges = state.edges_right = 0
    state.start, state.goal, state.distance = level.start, level.goal, level.distance
    for u in range(level.stations):
        state.to_goal[u] = level.to_goal[u]
    begin(state)


@njit
def begin(state):
    """Stand at the start of the question, with no answer given."""
    state.position = state.start
    state.taken = state.right = 0
    state.last = -1
    state.route[0] = state.start


@njit
def step(state, level, action):
    if not acting(state, level):
        state.time += 1
        return 0.0, False, False
    edge = exit_labelled(level, state.position, action)
    if edge < 0:
        return 0.0, ended(state, level), False
    return take(state, level, edge)


@njit
def step_by_edge(state, level, action):
    """Take an answer that names an edge; it is understood as the exit that agrees most with it."""
    if not acting(state, level):
        state.time += 1
        return 0.0, False, False
    return take(state, level, nearest_exit(level, state.position, action // CODES, action % CODES))


@njit
def nearest_exit(level, station, label, code):
    """The edge that leaves the station and agrees most: in its label, and in each digit of its destination's code."""
    nearest, most = np.int16(-1), -1
    edge = level.first[station]
    while edge >= 0:
        other = level.codes[level.links[edge, DESTINATION]]
        agreeing = int(level.links[edge, LABEL] == label)
        for place in (1, 10, 100):
            agreeing += other // place % 10 == code // place % 10
        if agreeing > most:
            nearest, most = edge, agreeing
        edge = level.links[edge, FOLLOWING]
    return nearest


@njit
def take(state, level, edge):
    """Follow an edge from the position."""
    destination = level.links[edge, DESTINATION]
    state.right += state.to_goal[destination] < state.to_goal[state.position]
    state.position = destination
    state.last = edge
    state.taken += 1
    state.route[state.taken] = destination
    arrived = destination == state.goal
    over = arrived or state.taken >= state.distance
    return 1.0 if arrived else 0.0, over and ended(state, level), False


@njit
def ended(state, level):
    """Count a question that is over, and ask the next; return whether there is none."""
    state.question += 1
    state.questions_right += state.position == state.goal
    state.edges += state.distance
    state.edges_right += state.right
    if state.question == level.questions:
        return True
    low, high = np.int64(level.lengths[0]), np.int64(level.lengths[1])
    state.key, state.start, state.goal, state.distance = draw_pair(level, state.key, low, high)
    distances_to(level, state.goal, state.to_goal)
    state.time = level.told
    begin(state)
    return False


@njit
def observe(state, level, out):
    if state.time < level.told:
        observe_description(state, level, out.observation)
    elif state.time == level.told:
        write_triple(out.observation, level.codes[state.start], BLANK, level.codes[state.goal], QUERY)
    elif not acting(state, level):
        write_triple(out.observation, BLANK, BLANK, BLANK, PLANNING)
    elif state.last < 0:
        write_triple(out.observation, BLANK, BLANK, BLANK, TRAVEL)
    else:
        edge = state.last
        source, destination = level.codes[level.links[edge, SOURCE]], level.codes[level.links[edge, DESTINATION]]
        write_triple(out.observation, source, level.links[edge, LABEL], destination, TRAVEL)


legal = legal_exits


@njit
def oracle(state, level):
    """Return the first exit of a shortest way to the goal."""
    return best_exit(level, state.to_goal, state.position) if acting(state, level) else -1


@njit
def oracle_by_edge(state, level):
    """Return the first edge of a shortest way to the goal as an answer that names it, or what to think of now."""
    if not acting(state, level):
        return thought(state, level) if level.stepwise else np.int64(-1)
    edge = best_edge(level, state.to_goal, state.position)
    return named(level, edge, DESTINATION) if edge >= 0 else np.int64(-1)


@njit
def named(level, edge, end):
    """Return the action that names an edge by its label and one of its ends, ``SOURCE`` or ``DESTINATION``."""
    return np.int64(level.links[edge, LABEL]) * CODES + level.codes[level.links[edge, end]]


@njit
def thought(state, level):
    """Return, in the n-th step of planning, an edge by which shortest ways go on from n steps before the goal, or -1.

    It is drawn from all such edges, and named by where it comes from, which is what is to be found out.
    """
    away = state.time - level.told
    if not 1 <= away <= state.distance:
        return np.int64(-1)
    key, chosen, nearer = fold(state.key, away), np.int64(-1), 0
    for edge in range(level.edges):
        if (
            state.to_goal[level.links[edge, SOURCE]] != away
            or state.to_goal[level.links[edge, DESTINATION]] != away - 1
        ):
            continue
        nearer += 1  # the n-th takes the place with probability 1/n: each is equally likely to stay
        key = advance(key)
        if integer(key, nearer) == 0:
            chosen = np.int64(edge)
    return named(level, chosen, SOURCE) if chosen >= 0 else np.int64(-1)


@njit
def decides(state, level):
    """Return whether an answer is due, and not one of the oracle's thoughts."""
    return acting(state, level) and best_exit(level, state.to_goal, state.position) >= 0


@njit
def measure(state, level, out):
    out[0] = state.questions_right / level.questions
    out[1] = state.edges_right / max(state.edges, 1)


@njit
def sound(params, state, level):
    n = level.stations
    return (
        sound_level(params, level)
        and level.distance > 0
        and 0 <= state.question <= level.questions
        and 0 <= state.time <= preparing(level)
        and 0 <= state.start < n
        and 0 <= state.goal < n
        and 0 <= state.position < n
        and 0 <= state.right <= state.taken <= state.distance < state.route.size
        and -1 <= state.last < level.edges
    )
