"""A graph with codes and labels, a start and a goal: the record that generators fill and the dynamics read.

The directed edges stand in the arrays ``sources``, ``labels`` and ``destinations``; those that leave a station form a
linked list, ``first[station]`` and then ``following[edge]`` until -1. Every array is padded to a capacity, of which there
are few, so that few layouts exist to be compiled for.
"""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.random import advance, bits, fold, integer

CODES = 1000  # three digits
MOST_LABELS = 64  # used labels are kept in the bits of a uint64
FAR = np.int16(32767)

_ONE = np.uint64(1)


def level_dtype(stations: int, edges: int) -> np.dtype:
    """The layout of a level for up to so many stations and directed edges, both rounded up."""
    s, e = capacity(stations, 8), capacity(edges, 32)
    i2 = np.int16
    return np.dtype(
        [
            ("stations", i2),
            ("edges", i2),
            ("start", i2),
            ("goal", i2),
            ("distance", i2),  # fewest travel steps from start to goal
            ("budget", i2),  # travel steps that the agent has
            ("planning", i2),  # blank steps between query and travel
            ("step_cost", np.float32),
            ("codes", i2, (s,)),
            ("exits", i2, (s,)),  # number of edges that leave a station
            ("first", i2, (s,)),
            ("to_goal", i2, (s,)),  # fewest travel steps from each station to the goal, or FAR
            ("queue", i2, (s,)),  # room for searches
            ("sources", i2, (e,)),
            ("labels", i2, (e,)),
            ("destinations", i2, (e,)),
            ("following", i2, (e,)),
            ("order", i2, (e,)),  # the edges in the order of their description
            ("nodes", i2, (s,)),  # index in the real map, or -1
            ("points", np.float32, (s, 2)),  # where to draw the stations, and for random graphs what made the edges
        ]
    )


def capacity(needed: int, least: int) -> int:
    """The next power of two."""
    return max(least, 1 << (needed - 1).bit_length())


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
    level.sources[edge] = source
    level.destinations[edge] = destination
    level.following[edge] = level.first[source]
    level.first[source] = edge
    level.exits[source] += 1
    level.edges = edge + 1


@njit
def has_edge(level, source, destination):
    """Whether there is an edge between the two, in this direction."""
    edge = level.first[source]
    while edge >= 0:
        if level.destinations[edge] == destination:
            return True
        edge = level.following[edge]
    return False


@njit
def distances_from(level, source, limit):
    """Breadth-first search into ``to_goal`` as far as ``limit``; the stations reached stand in ``queue``.

    :return: how many stations were reached, the source among them
    """
    for u in range(level.stations):
        level.to_goal[u] = FAR
    level.to_goal[source] = 0
    level.queue[0] = source
    head, tail = 0, 1
    while head < tail:
        u = level.queue[head]
        head += 1
        further = level.to_goal[u] + 1
        if further > limit:
            break
        edge = level.first[u]
        while edge >= 0:
            v = level.destinations[edge]
            if level.to_goal[v] == FAR:
                level.to_goal[v] = further
                level.queue[tail] = v
                tail += 1
            edge = level.following[edge]
    return tail


@njit
def distances_to_goal(level):
    """The fewest travel steps from every station to the goal, into ``to_goal``."""
    for u in range(level.stations):
        level.to_goal[u] = FAR
    level.to_goal[level.goal] = 0
    changed = True
    while changed:
        changed = False
        for edge in range(level.edges):
            nearer = level.to_goal[level.destinations[edge]]
            if nearer != FAR and nearer + 1 < level.to_goal[level.sources[edge]]:
                level.to_goal[level.sources[edge]] = nearer + 1
                changed = True


@njit
def draw_journey(level, key, low, high):
    """Choose start and goal: a distance from ``low`` to ``high``, uniformly among those that occur, then a pair.

    :return: the next key, and whether there is such a pair
    """
    # One pass over all pairs in random order would need them all at once; so each distance keeps one pair, replaced by
    # the n-th that is found with probability 1/n, which leaves every pair equally likely.
    found = np.zeros(high - low + 1, np.int64)
    pairs = np.zeros((high - low + 1, 2), np.int16)
    for source in range(level.stations):
        reached = distances_from(level, source, high)
        for place in range(1, reached):
            goal = level.queue[place]
            row = level.to_goal[goal] - low
            if row >= 0:
                found[row] += 1
                key = advance(key)
                if integer(key, found[row]) == 0:
                    pairs[row, 0] = source
                    pairs[row, 1] = goal
    distances = 0
    for row in range(found.size):
        distances += found[row] > 0
    if distances == 0:
        return key, False
    key = advance(key)
    chosen = integer(key, distances)
    for row in range(found.size):
        if found[row] > 0:
            if chosen == 0:
                level.start, level.goal = pairs[row, 0], pairs[row, 1]
                level.distance = low + row
                break
            chosen -= 1
    distances_to_goal(level)
    return key, True


@njit
def draw_names(level, key, labels):
    """Give every station a code, every edge a label unique at its source, and the description an order.

    :return: the next key
    """
    for u in range(level.stations):
        fresh = False
        while not fresh:
            key = advance(key)
            code = integer(key, CODES)
            fresh = True
            for other in range(u):
                fresh &= level.codes[other] != code
        level.codes[u] = code
        used = np.uint64(0)
        edge = level.first[u]
        while edge >= 0:
            key = advance(key)
            label = integer(key, labels)
            bit = _ONE << np.uint64(label)
            if used & bit == 0:
                used |= bit
                level.labels[edge] = label
                edge = level.following[edge]
    for place in range(level.edges):
        key = advance(key)
        other = integer(key, place + 1)
        level.order[place] = level.order[other]
        level.order[other] = place
    return key


@njit
def exit_labelled(level, station, label):
    """Where the exit with this label leads, or -1 if the station has none."""
    edge = level.first[station]
    while edge >= 0:
        if level.labels[edge] == label:
            return level.destinations[edge]
        edge = level.following[edge]
    return np.int16(-1)


@njit
def digest_of_graph(level):
    """A hash of what the agent is told, whatever the order: the named edges, start and goal."""
    total = np.uint64(0)
    for edge in range(level.edges):
        source, destination = level.codes[level.sources[edge]], level.codes[level.destinations[edge]]
        total += bits(
            (np.uint64(source) * CODES + np.uint64(destination)) * np.uint64(MOST_LABELS)
            + np.uint64(level.labels[edge])
        )
    return fold(total, level.codes[level.start] * CODES + level.codes[level.goal])


@njit
def digest_of_nodes(level):
    """A hash of which stations of the real map these are."""
    total = np.uint64(0)
    for u in range(level.stations):
        total += bits(np.uint64(level.nodes[u]))
    return bits(total)
