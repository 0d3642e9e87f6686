"""Queries on a graph: a start and a goal some way apart, a path to follow, a goal that can be reached."""

from __future__ import annotations

import numpy as np

from memenvs.bitwise import ones, place_of_one
from memenvs.compilation import njit
from memenvs.graph.level import DESTINATION, FAR, FOLLOWING, SOURCE
from memenvs.random import advance, integer

_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit
def distances_to(level, goal, to_goal):
    """The fewest travel steps from every station to a goal, written into ``to_goal``, or FAR."""
    for u in range(level.stations):
        to_goal[u] = FAR
    to_goal[goal] = 0
    changed = True
    while changed:
        changed = False
        for edge in range(level.edges):
            nearer = to_goal[level.links[edge, DESTINATION]]
            if nearer != FAR and nearer + 1 < to_goal[level.links[edge, SOURCE]]:
                to_goal[level.links[edge, SOURCE]] = nearer + 1
                changed = True


@njit
def draw_journey(level, key, low, high):
    """Choose start and goal: a distance from ``low`` to ``high``, uniformly among those that occur, then a pair.

    :return: the next key, and whether there is such a pair
    """
    clear_reach(level)
    occurring = 0
    for distance in range(1, high + 1):
        pairs = extend_reach(level)
        if pairs == 0:
            break
        if distance >= low:
            # Replaced by the n-th with probability 1/n, each distance is equally likely to stay.
            occurring += 1
            key = advance(key)
            if integer(key, occurring) == 0:
                level.distance = distance
                key = advance(key)
                take_pair(level, integer(key, pairs))
    if occurring > 0:
        distances_to(level, level.goal, level.to_goal)
    return key, occurring > 0


@njit
def clear_reach(level):
    """Let every station reach itself alone."""
    for u in range(level.stations):
        for w in range(level.fresh.shape[1]):
            level.within[u, w] = _ZERO
            level.fresh[u, w] = _ZERO
        level.fresh[u, u // 64] = _ONE << np.uint64(u % 64)


@njit
def extend_reach(level):
    """Go one travel step further: the stations first reached now, from each station, stand in ``fresh``.

    :return: their number, over all stations
    """
    words = level.fresh.shape[1]
    for u in range(level.stations):
        for w in range(words):
            level.within[u, w] |= level.fresh[u, w]
            level.fresh[u, w] = _ZERO
    for edge in range(level.edges):
        u, v = level.links[edge, SOURCE], level.links[edge, DESTINATION]
        for w in range(words):
            level.fresh[u, w] |= level.within[v, w]
    pairs = 0
    for u in range(level.stations):
        for w in range(words):
            level.fresh[u, w] &= ~level.within[u, w]
            pairs += ones(level.fresh[u, w])
    return pairs


@njit
def take_pair(level, chosen):
    """Make the pair number ``chosen`` of those in ``fresh`` the start and goal."""
    for u in range(level.stations):
        for w in range(level.fresh.shape[1]):
            here = ones(level.fresh[u, w])
            if chosen < here:
                level.start = u
                level.goal = 64 * w + place_of_one(level.fresh[u, w], chosen)
                return
            chosen -= here


@njit
def draw_path(level, key, low, high):
    """Choose a path to follow: its length from ``low`` to ``high``, a start, and at every station one of the exits.

    :return: the next key
    """
    key, level.asked, level.start, level.goal = draw_walk(level, key, low, high, level.path)
    return key


@njit
def draw_walk(level, key, low, high, path):
    """Write into ``path`` a walk of ``low`` to ``high`` edges.

    :return: the next key, how many edges, the first station and the last one
    """
    key = advance(key)
    length = low + integer(key, high - low + 1)
    key = advance(key)
    start = integer(key, level.stations)
    station = start
    for i in range(length):
        key = advance(key)
        edge = np.int64(level.first[station])
        for _ in range(integer(key, level.exits[station])):
            edge = np.int64(level.links[edge, FOLLOWING])
        path[i] = edge
        station = np.int64(level.links[edge, DESTINATION])
    return key, length, start, station


@njit
def search(level, station, goal, entered, queue):
    """Reach stations from one of them, breadth first.

    :param goal: the station at which the search stops, or -1 to reach all that can be
    :param entered: written: of every station the edge by which it was first reached, or -1
    :param queue: written: the stations that were reached, in that order, the first being the station itself
    :return: their number
    """
    for u in range(level.stations):
        entered[u] = -1
    queue[0] = station
    reached, seen = 1, 0
    while seen < reached:
        edge = level.first[queue[seen]]
        seen += 1
        while edge >= 0:
            v = level.links[edge, DESTINATION]
            if entered[v] < 0 and v != station:
                entered[v] = edge
                queue[reached] = v
                reached += 1
                if v == goal:
                    return reached
            edge = level.links[edge, FOLLOWING]
    return reached


@njit
def way_to(level, station, goal, entered):
    """A shortest way that a search from a station has found.

    :return: its first edge, or -1 where the goal was not reached or is the station itself, and how many edges it has
    """
    edge, steps = np.int16(-1), 0
    while goal != station and entered[goal] >= 0:
        edge = entered[goal]
        goal = level.links[edge, SOURCE]
        steps += 1
    return edge, steps


@njit
def draw_goal(level, key, station, entered, queue):
    """Choose a goal uniformly among the other stations that can be reached from one.

    :param entered: room for the search, as ``queue``
    :return: the next key, the goal, and the fewest travel steps to it
    """
    reached = search(level, station, -1, entered, queue)
    key = advance(key)
    goal = queue[1 + integer(key, reached - 1)]
    return key, goal, way_to(level, station, goal, entered)[1]


@njit
def draw_pair(level, key, low, high):
    """Choose start and goal as :func:`draw_journey` does, from a graph that there is, and leave the level as it is.

    :return: the next key, start, goal, and the fewest travel steps between them
    """
    entered, queue = np.empty(level.stations, np.int16), np.empty(level.stations, np.int16)
    pairs = np.zeros(high + 1, np.int64)  # so far apart
    for start in range(level.stations):
        for i in range(1, search(level, start, -1, entered, queue)):
            _, steps = way_to(level, start, queue[i], entered)
            if steps <= high:
                pairs[steps] += 1
    key = advance(key)
    left = integer(key, (pairs[low:] > 0).sum())
    distance = low
    while pairs[distance] == 0 or left > 0:
        left -= pairs[distance] > 0
        distance += 1
    key = advance(key)
    left = integer(key, pairs[distance])
    for start in range(level.stations):
        for i in range(1, search(level, start, -1, entered, queue)):
            _, steps = way_to(level, start, queue[i], entered)
            if steps == distance:
                if left == 0:
                    return key, np.int64(start), np.int64(queue[i]), distance
                left -= 1
    return key, np.int64(level.start), np.int64(level.goal), np.int64(level.distance)  # not reached


@njit
def first_exit(level, station, goal):
    """The first edge of a shortest way from a station to another, or -1 where there is none."""
    entered, queue = np.empty(level.stations, np.int16), np.empty(level.stations, np.int16)
    search(level, station, goal, entered, queue)
    return way_to(level, station, goal, entered)[0]
