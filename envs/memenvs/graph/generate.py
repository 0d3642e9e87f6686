"""Generators of levels: random graphs in the plane, neighbourhoods of a map, and graphs that stay the same."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.codes import draw_names
from memenvs.graph.level import (
    DESTINATION,
    EXPLORE,
    SOURCE,
    TRAVERSAL,
    add_edge,
    clear_edges,
    has_edge,
    planning_of,
)
from memenvs.graph.query import draw_goal, draw_journey, draw_path
from memenvs.random import advance, between, bits, integer, permute

# Points lie on a grid so fine that it does not matter, and so coarse that squared distances are exact.
_CELLS = np.float32(2.0**20)
_INDICES = 512
_FARTHEST = np.int64(2**62)
_GRID = 1 / _CELLS
_GRID_SHIFT, _GRID_MASK = np.uint64(44), np.uint64(2**20 - 1)

_COMMON = [
    ("task", np.int64),
    ("stations", np.int64, (2,)),
    ("exits", np.int64, (2,)),
    ("distance", np.int64, (2,)),
    ("path", np.int64, (2,)),
    ("questions", np.int64),
    ("stepwise", np.bool_),
    ("two_way", np.bool_),
    ("by_line", np.bool_),  # whether labels name lines and directions
    ("ways", np.int64),  # how many lines and directions there are
    ("labels", np.int64),  # the size of the alphabet, or 0 for codes
    ("label_codes", np.int64, (2,)),  # how many codes label exits; 0 for as many as there are stations
    ("description", np.bool_),
    ("planning", np.int64),  # or -1 for as many as there are edges
    ("slack", np.int64),
    ("budget", np.int64),
    ("step_cost", np.float64),
    ("fresh_names", np.bool_),  # whether stations and exits are named anew in every episode
    ("map", np.uint64),  # a hash of a graph that stays from episode to episode, or 0
]
RANDOM_PARAMS = np.dtype(_COMMON)


def neighbourhood_params(stations: int, exits: int) -> np.dtype:
    """The parameters for a map of so many stations with so many exits at most."""
    return np.dtype(
        [
            # First, or Numba would take the record for an extension of the other and warn.
            ("degree", np.int16, (stations,)),
            ("neighbours", np.int16, (stations, exits)),
            ("neighbour_ways", np.int16, (stations, exits)),
            ("positions", np.float32, (stations, 2)),
            *_COMMON,
        ]
    )


def fixed_params(level: np.dtype) -> np.dtype:
    """The parameters for a graph that stays from episode to episode, itself a level."""
    stations = level["codes"].shape[0]
    return np.dtype(
        [
            ("graph", level),
            ("between", np.int16, (stations, stations)),  # fewest travel steps to a station (row) from one (column)
            ("pairs", np.int32, (stations * stations,)),  # start · n + goal, the near ones first
            ("upto", np.int32, (stations + 1,)),  # how many pairs are at most so far apart
            ("farthest", np.int64),
            *_COMMON,
        ]
    )


@njit
def generate_random(params, key, level):
    """Draw points uniform in the unit square, each with edges to its K nearest, K uniform (Graves et al. 2016)."""
    key = advance(key)
    level.stations = between(key, params.stations)
    for u in range(level.stations):
        level.nodes[u] = -1
        key = advance(key)
        level.x[u] = np.float32(bits(key) >> _GRID_SHIFT) * _GRID
        level.y[u] = np.float32(bits(key) & _GRID_MASK) * _GRID
    clear_edges(level)
    ranks = np.empty(level.stations, np.int64)
    for u in range(level.stations):
        key = advance(key)
        wanted = between(key, params.exits)
        add_nearest(level, u, min(wanted, level.stations - 1), ranks)
    if params.two_way:
        for edge in range(level.edges):
            source, destination = level.links[edge, SOURCE], level.links[edge, DESTINATION]
            if not has_edge(level, destination, source):
                if level.exits[destination] == params.labels:
                    return False
                add_edge(level, destination, source)
    return finish(params, key, level)


@njit
def add_nearest(level, u, wanted, ranks):
    """Add edges from a station to the ``wanted`` stations nearest to it."""
    # A rank holds the squared distance and, below it, the index; on the grid both are exact, so that ranks of stations
    # are never equal and the next nearest is simply the least rank above the last.
    for v in range(ranks.size):
        dx, dy = np.int64((level.x[v] - level.x[u]) * _CELLS), np.int64((level.y[v] - level.y[u]) * _CELLS)
        ranks[v] = (dx * dx + dy * dy) * _INDICES + v
    last = np.int64(u)  # the rank of the station itself, which is the least
    for _ in range(wanted):
        nearest = _FARTHEST
        for rank in ranks:
            nearest = min(nearest, rank if rank > last else _FARTHEST)
        last = nearest
        add_edge(level, u, last % _INDICES)


@njit
def generate_neighbourhood(params, key, level):
    """A connected piece of the map, grown from a random station by random adjacent ones, with all edges inside it."""
    n = params.degree.size
    key = advance(key)
    wanted = between(key, params.stations)
    place = np.full(n, -1, np.int16)  # of a station of the map: its index in the level, or -2 if it is adjacent
    adjacent = np.empty(n, np.int16)
    key = advance(key)
    adjacent[0] = integer(key, n)
    waiting = 1
    level.stations = 0
    while level.stations < wanted:
        key = advance(key)
        chosen = integer(key, waiting)
        node = adjacent[chosen]
        waiting -= 1
        adjacent[chosen] = adjacent[waiting]
        place[node] = level.stations
        level.nodes[level.stations] = node
        level.x[level.stations], level.y[level.stations] = params.positions[node, 0], params.positions[node, 1]
        level.stations += 1
        for j in range(params.degree[node]):
            neighbour = params.neighbours[node, j]
            if place[neighbour] == -1:
                place[neighbour] = -2
                adjacent[waiting] = neighbour
                waiting += 1
    clear_edges(level)
    for u in range(level.stations):
        node = level.nodes[u]
        for j in range(params.degree[node]):
            v = place[params.neighbours[node, j]]
            if v >= 0:
                if level.exits[u] == params.exits[1]:
                    return False
                add_edge(level, u, v)
                level.ways[level.edges - 1] = params.neighbour_ways[node, j]
    return finish(params, key, level)


@njit
def finish(params, key, level):
    """Draw everything beyond the graph itself: the query, the names, and the rules of the episode."""
    level.map = params.map
    if params.task == TRAVERSAL:
        key = draw_path(level, key, params.path[0], params.path[1])
        level.distance = 0
    elif params.task == EXPLORE:
        key = draw_first_goal(level, key)
    else:
        key, possible = draw_journey(level, key, params.distance[0], params.distance[1])
        if not possible:
            return False
    key = draw_names(params, key, level)
    set_rules(params, key, level)
    return True


@njit
def draw_first_goal(level, key):
    """Choose a start, and of the other stations that can be reached from it a goal.

    :return: the next key
    """
    key = advance(key)
    level.start = integer(key, level.stations)
    # There is no description, and no goal that stays, so that two arrays of the level are free for the search.
    key, level.goal, level.distance = draw_goal(level, key, level.start, level.to_goal, level.order)
    return key


@njit
def set_rules(params, key, level):
    """Draw the length of each phase and the order in which the edges are described."""
    level.task = params.task
    level.step_cost = params.step_cost
    level.planning = planning_of(params, level)
    level.questions, level.stepwise = params.questions, params.stepwise
    lengths = params.path if params.task == TRAVERSAL else params.distance
    level.lengths[0], level.lengths[1] = max(lengths[0], 1), max(lengths[1], 1)
    if params.task != TRAVERSAL:
        level.asked = 1
        level.path[0] = 0
    level.told = 0
    if params.description:
        level.told = level.edges
        permute(key, level.order, level.edges)
    level.budget = level.asked
    if params.task == EXPLORE:
        level.budget = params.budget
    elif params.task != TRAVERSAL:
        level.budget = level.distance + params.slack


@njit
def generate_fixed(params, key, level):
    """Take the graph that is always the same; draw the query, and the names if they are to be fresh."""
    if level.map != params.map:  # else the record has held this graph before
        copy_graph(params.graph, level)
    if params.task == TRAVERSAL:
        key = draw_path(level, key, params.path[0], params.path[1])
        level.distance = 0
    elif params.task == EXPLORE:
        key = draw_first_goal(level, key)
    else:
        key, possible = take_journey(params, key, level)
        if not possible:
            return False
    if params.fresh_names:
        key = draw_names(params, key, level)
    set_rules(params, key, level)
    return True


@njit
def take_journey(params, key, level):
    """Choose start and goal as :func:`memenvs.graph.query.draw_journey` does, from tables of the distances.

    :return: the next key, and whether there is such a pair
    """
    nearest, farthest = params.distance[0], min(params.distance[1], params.farthest)
    if nearest > farthest:
        return key, False
    key = advance(key)
    level.distance = nearest + integer(key, farthest - nearest + 1)
    first, last = params.upto[level.distance - 1], params.upto[level.distance]
    key = advance(key)
    pair = params.pairs[first + integer(key, last - first)]
    level.start, level.goal = pair // level.stations, pair % level.stations
    for u in range(level.stations):
        level.to_goal[u] = params.between[level.goal, u]
    return key, True


@njit
def copy_graph(graph, level):
    """Make a level of the same layout the same graph with the same names."""
    level.map = graph.map
    level.stations, level.edges = graph.stations, graph.edges
    for u in range(graph.stations):
        level.codes[u], level.exits[u], level.first[u] = graph.codes[u], graph.exits[u], graph.first[u]
        level.nodes[u], level.x[u], level.y[u] = graph.nodes[u], graph.x[u], graph.y[u]
    for edge in range(graph.edges):
        level.ways[edge] = graph.ways[edge]
        for i in range(4):
            level.links[edge, i] = graph.links[edge, i]
