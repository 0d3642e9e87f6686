"""A graph with codes and labels, a start and a goal: the record that generators fill and the dynamics read.

The directed edges stand in the rows of ``links``; those that leave a station form a linked list, ``first[station]`` and
then ``links[edge, FOLLOWING]`` until -1. Arrays are padded to a capacity, of which there are few, so that few layouts
exist to be compiled for.
"""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.random import bits, fold

CODES = 1000  # three digits
MOST_LABELS = 64  # used labels are kept in the bits of a uint64
MOST_STATIONS = 500
FAR = np.int16(32767)
NAVIGATE, TRAVERSAL, SHORTEST_PATH, EXPLORE = range(4)
SOURCE, LABEL, DESTINATION, FOLLOWING = range(4)

_ONE = np.uint64(1)


def level_dtype(stations: int, edges: int, path: int, search: bool) -> np.dtype:
    """The layout of a level.

    :param stations: most stations
    :param edges: most directed edges
    :param path: most labels of a path that is asked for
    :param search: whether levels are drawn by a search from all stations at once
    """
    s, e = stations, edges
    words = (s, (s + 63) // 64) if search else (1, 1)
    i2 = np.int16
    return np.dtype(
        [
            ("task", i2),
            ("stations", i2),
            ("edges", i2),
            ("start", i2),
            ("goal", i2),
            ("distance", i2),  # fewest travel steps from start to goal
            ("told", i2),  # steps of the description: the edges, or none
            ("asked", i2),  # steps of the query: one, or the labels of a path
            ("questions", i2),  # paths that are asked for, one after another
            ("stepwise", i2),  # whether the oracle thinks aloud before answers are due
            ("lengths", i2, (2,)),  # the range that those after the first are drawn from
            ("planning", i2),  # blank steps between query and answer
            ("budget", i2),  # travel steps, or answers, that the agent has
            ("step_cost", np.float64),
            ("map", np.uint64),  # a hash of a graph that stays from episode to episode, or 0
            ("codes", i2, (s,)),
            ("exits", i2, (s,)),  # number of edges that leave a station
            ("first", i2, (s,)),
            ("to_goal", i2, (s,)),  # fewest travel steps from each station to the goal, or FAR
            ("within", np.uint64, words),  # bits: the stations that a search from each has reached
            ("fresh", np.uint64, words),  # bits: those that its last step was the first to reach
            ("links", i2, (e, 4)),  # of each directed edge SOURCE, LABEL, DESTINATION and FOLLOWING
            ("ways", i2, (e,)),  # on a real map: the number of the edge's line and direction
            ("order", i2, (e,)),  # the edges in the order of their description
            ("path", i2, (path,)),  # the edges of the path that is asked for
            ("nodes", i2, (s,)),  # index in the real map, or -1
            ("x", np.float32, (s,)),  # where to draw the stations, and for random graphs what made the edges
            ("y", np.float32, (s,)),
        ]
    )


def capacity(needed: int, least: int) -> int:
    """The next of ``least``, 8 times it, 64 times it, ...: few steps, since each layout is compiled for."""
    while least < needed:
        least *= 8
    return least


@njit
def clear_edges(level):
    """A graph of the level's stations without edges."""
    level.edges = 0
    for u in range(level.stations):
        level.exits[u] = 0
        level.first[u] = -1


@njit
def add_edge(level, source, destination):
    """Add a directed edge, not yet labelled."""
    edge = level.edges
    level.links[edge, SOURCE] = source
    level.links[edge, DESTINATION] = destination
    level.links[edge, FOLLOWING] = level.first[source]
    level.first[source] = edge
    level.exits[source] += 1
    level.edges = edge + 1


@njit
def has_edge(level, source, destination):
    """Return whether there is an edge between the two, in this direction."""
    return exit_with(level, source, DESTINATION, destination) >= 0


@njit
def exit_labelled(level, station, label):
    """The edge with this label that leaves the station, or -1 if there is none."""
    return exit_with(level, station, LABEL, label)


@njit
def exit_with(level, station, column, value):
    """The first edge that leaves the station and has this value in a column of ``links``, or -1 if there is none."""
    edge = level.first[station]
    while edge >= 0:
        if level.links[edge, column] == value:
            return edge
        edge = level.links[edge, FOLLOWING]
    return np.int16(-1)


@njit
def best_edge(level, to_goal, station):
    """The edge to the station nearest to a goal, of equals the one that stands first in the list, or -1.

    None is best where the goal cannot be reached.

    :param to_goal: fewest travel steps from each station to the goal, or FAR
    """
    best, nearest = np.int16(-1), FAR
    edge = level.first[station]
    while edge >= 0:
        if to_goal[level.links[edge, DESTINATION]] < nearest:
            best, nearest = edge, to_goal[level.links[edge, DESTINATION]]
        edge = level.links[edge, FOLLOWING]
    return best


@njit
def best_exit(level, to_goal, station):
    """The label of :func:`best_edge`, or -1."""
    edge = best_edge(level, to_goal, station)
    return level.links[edge, LABEL] if edge >= 0 else np.int16(-1)


@njit
def mark_exits(level, station, mask):
    """Set true the labels that the exits of the station have."""
    edge = level.first[station]
    while edge >= 0:
        mask[level.links[edge, LABEL]] = True
        edge = level.links[edge, FOLLOWING]


@njit
def digest_of_graph(level):
    """Return a hash of the description, whatever its order, and of the query: start, goal, labels of a path."""
    total = np.uint64(0)
    for edge in range(level.edges):
        source, destination = level.codes[level.links[edge, SOURCE]], level.codes[level.links[edge, DESTINATION]]
        total += bits(
            (np.uint64(source) * np.uint64(CODES) + np.uint64(destination)) * np.uint64(MOST_LABELS)
            + np.uint64(level.links[edge, LABEL])
        )
    total = fold(total, level.codes[level.start] * CODES + level.codes[level.goal])
    if level.task == TRAVERSAL:
        for i in range(level.asked):
            total = fold(total, level.links[level.path[i], LABEL])
    return total


@njit
def digest_of_nodes(level):
    """A hash of which stations of the real map these are."""
    total = np.uint64(0)
    for u in range(level.stations):
        total += bits(np.uint64(level.nodes[u]))
    return bits(total)


@njit
def digest_of_query(level):
    """Return a hash of the query, where the graph is always the same: start and goal, or the edges of a path."""
    total = fold(np.uint64(0), np.int64(level.start) * MOST_STATIONS + level.goal)
    if level.task == TRAVERSAL:
        for i in range(level.asked):
            total = fold(total, level.path[i])
    return total


@njit
def hash_of_map(level, named):
    """A hash of the graph as such: its edges and lists of exits, and the names if they belong to it. Never 0."""
    total = np.uint64(level.stations)
    for u in range(level.stations):
        total = fold(fold(total, np.int64(level.first[u]) + 1), level.exits[u])
        if named:
            total = fold(total, level.codes[u])
    for edge in range(level.edges):
        ends = np.int64(level.links[edge, SOURCE]) * MOST_STATIONS + level.links[edge, DESTINATION]
        total = fold(fold(fold(total, ends), np.int64(level.links[edge, FOLLOWING]) + 1), level.ways[edge])
        if named:
            total = fold(total, level.links[edge, LABEL])
    return total | _ONE


@njit
def planning_of(params, level):
    """Return the blank steps between query and answer."""
    return level.edges if params.planning < 0 else params.planning


@njit
def sound_level(params, level):
    """Return whether every index in a level points into its arrays and no list of exits runs in a circle."""
    n, e = level.stations, level.edges
    labels = params.labels if params.labels > 0 else CODES
    if not (0 < n <= level.codes.size and 0 < e <= level.links.shape[0]):
        return False
    if level.task != params.task or level.map != params.map:
        return False
    if not (0 <= level.start < n and 0 <= level.goal < n and level.distance >= 0 and level.budget > 0):
        return False
    if not (1 <= level.asked <= level.path.size and level.planning == planning_of(params, level)):
        return False
    if level.questions != params.questions or level.stepwise != params.stepwise:
        return False
    if not 1 <= level.lengths[0] <= level.lengths[1]:
        return False
    if level.told != 0 and level.told != e:
        return False
    for i in range(level.asked):
        if not 0 <= level.path[i] < e:
            return False
    for u in range(n):
        if not (0 <= level.first[u] < e and 0 <= level.codes[u] < CODES and -1 <= level.nodes[u] < MOST_STATIONS):
            return False
    for edge in range(e):
        if not (0 <= level.links[edge, SOURCE] < n and 0 <= level.links[edge, DESTINATION] < n):
            return False
        if level.links[edge, SOURCE] == level.links[edge, DESTINATION]:
            return False
        # Edges are put before older ones, so that a list always goes down.
        if not (0 <= level.links[edge, LABEL] < labels and -1 <= level.links[edge, FOLLOWING] < edge):
            return False
    for i in range(level.told):
        if not 0 <= level.order[i] < e:
            return False
    return level.map == 0 or level.map == hash_of_map(level, not params.fresh_names)
