"""Neighbourhoods of junctions, as states that look in a direction and the states to which actions lead."""

from __future__ import annotations

import math

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.map import load_map
from memenvs.planning.junctions import load_junctions
from memenvs.random import advance, bits, integer, permute

FORWARD, LEFT, RIGHT = range(3)
IDS = 60
_TURN = 2 * math.pi


def params_dtype(stations: int, most: int) -> np.dtype:
    """The layout of the parameters for a map of so many stations with so many ways from one at most."""
    return np.dtype(
        [
            ("degree", np.int16, (stations,)),  # the fields of Junctions
            ("neighbours", np.int16, (stations, most)),
            ("slots", np.int16, (stations, most)),
            ("bearings", np.float64, (stations, most)),
            ("crossings", np.int16),  # how many stations of the map have three neighbours or more
            ("crossing", np.int16, (stations,)),  # which ones
            ("junctions", np.int64),
            ("steps", np.int64),
        ]
    )


LEVEL = np.dtype(
    [
        ("steps", np.int16),
        ("states", np.int16),
        ("start", np.int16),
        ("goal", np.int16),
        ("ids", np.uint8, (IDS,)),  # of the states
        ("at", np.int16, (IDS,)),  # the station of a state
        ("towards", np.int16, (IDS,)),  # the one that it looks to
        ("after", np.int16, (IDS, 3)),  # the states to which forward, left and right lead
    ]
)


def params_of(junctions: int, steps: int) -> np.ndarray:
    """Return the parameters, one record in an array of shape (1,)."""
    tube = load_junctions()
    params = np.zeros(1, params_dtype(*tube.neighbours.shape))
    for name in ("degree", "neighbours", "slots", "bearings"):
        params[name] = getattr(tube, name)
    crossing = np.flatnonzero(load_map().degree[tube.stations] > 2)
    params["crossings"], params["crossing"][0, : crossing.size] = crossing.size, crossing
    params["junctions"], params["steps"] = junctions, steps
    return params


@njit
def generate(params, key, level):
    """Draw a neighbourhood, the ids of its states, a start and a goal."""
    open_ways = np.zeros(params.neighbours.shape, np.uint8)
    key, states = grow(params, key, open_ways)
    if states > IDS:
        return False
    level.steps = params.steps
    list_states(params, open_ways, level)
    key = permute(key, level.ids, IDS)
    key, level.start, level.goal = draw_task(key, level)
    return True


@njit
def grow(params, key, open_ways):
    """Visit stations breadth first, opening all their ways, until enough of them have three open ways.

    :param open_ways: (stations, most), zeros; written: 1 for a way that belongs to the neighbourhood
    :return: the next key, and the number of open ways
    """
    stations = params.degree.size
    queue, exits = np.empty(stations, np.int16), np.zeros(stations, np.int16)
    order = np.empty(params.neighbours.shape[1], np.int16)
    key = advance(key)
    queue[0] = params.crossing[integer(key, params.crossings)]
    visited, waiting, ways, junctions = 0, 1, 0, 0
    while visited < waiting and junctions < params.junctions:
        u = queue[visited]
        visited += 1
        key = permute(key, order, params.degree[u])
        for place in range(params.degree[u]):
            way = order[place]
            if open_ways[u, way]:
                continue
            v = params.neighbours[u, way]
            if exits[v] == 0 and v != queue[0]:
                queue[waiting] = v
                waiting += 1
            open_ways[u, way] = open_ways[v, params.slots[u, way]] = 1
            exits[u] += 1
            exits[v] += 1
            ways += 2
            junctions += (exits[u] == 3) + (exits[v] == 3)
    return key, ways


@njit
def list_states(params, open_ways, level):
    """Number the open ways as states, and write what the actions do."""
    number = np.empty(open_ways.shape, np.int16)
    states = 0
    for u in range(open_ways.shape[0]):
        for way in range(params.degree[u]):
            if open_ways[u, way]:
                number[u, way] = states
                level.at[states], level.towards[states] = u, params.neighbours[u, way]
                states += 1
    level.states = states
    for u in range(open_ways.shape[0]):
        for way in range(params.degree[u]):
            if open_ways[u, way]:
                state, v = number[u, way], params.neighbours[u, way]
                level.after[state, FORWARD] = number[v, straight_on(params, open_ways, v, params.bearings[u, way])]
                level.after[state, LEFT] = number[u, next_way(params, open_ways, u, way, -1)]
                level.after[state, RIGHT] = number[u, next_way(params, open_ways, u, way, 1)]


@njit
def next_way(params, open_ways, station, way, turn):
    """Return the next open way clockwise, where ``turn`` is 1, or anticlockwise, where it is -1."""
    following = (way + turn) % params.degree[station]
    while not open_ways[station, following]:
        following = (following + turn) % params.degree[station]
    return following


@njit
def straight_on(params, open_ways, station, bearing):
    """Return the open way whose direction is nearest to a bearing."""
    best, least = -1, _TURN
    for way in range(params.degree[station]):
        apart = abs(params.bearings[station, way] - bearing)
        apart = min(apart, _TURN - apart)
        if open_ways[station, way] and apart < least:
            best, least = way, apart
    return best


@njit
def draw_task(key, level):
    """Draw a state to begin in and another one to go to.

    :return: the next key, the start, the goal
    """
    key = advance(key)
    start = integer(key, level.states)
    key = advance(key)
    goal = integer(key, level.states - 1)
    return key, start, goal + (goal >= start)


@njit
def way_to(level, start, goal):
    """Search for a shortest way, breadth first.

    :return: its first action, and its number of steps
    """
    first, steps = np.full(level.states, np.int16(-1)), np.zeros(level.states, np.int16)
    queue = np.empty(level.states, np.int16)
    queue[0] = start
    seen, reached = 0, 1
    while seen < reached:
        here = queue[seen]
        seen += 1
        if here == goal:
            break
        for action in range(3):
            there = level.after[here, action]
            if first[there] < 0 and there != start:
                first[there] = action if here == start else first[here]
                steps[there] = steps[here] + 1
                queue[reached] = there
                reached += 1
    return np.int64(first[goal]), np.int64(steps[goal])


@njit
def digest(level):
    """Return a hash of the ways of a neighbourhood."""
    total = np.uint64(0)
    for state in range(level.states):
        total += bits(np.int64(level.at[state]) * 1000 + level.towards[state])
    return bits(total)


@njit
def sound_level(params, level):
    """Return whether every index in a level points into its arrays, and there are ways from each state to each."""
    n, stations = level.states, params.degree.size
    if level.steps != params.steps or not 2 <= n <= IDS:
        return False
    if not (0 <= level.start < n and 0 <= level.goal < n):
        return False
    for state in range(IDS):
        if level.ids[state] >= IDS:
            return False
    for state in range(n):
        if not (0 <= level.at[state] < stations and 0 <= level.towards[state] < stations):
            return False
        for action in range(3):
            if not 0 <= level.after[state, action] < n:
                return False
    linked = 0
    for state in range(1, n):
        linked += way_to(level, 0, state)[0] >= 0 and way_to(level, state, 0)[0] >= 0
    return linked == n - 1
