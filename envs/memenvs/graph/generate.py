"""Generators of levels: random graphs in the plane, and neighbourhoods of a map."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.level import add_edge, clear_edges, draw_journey, draw_names, has_edge
from memenvs.random import advance, bits, integer

# Points lie on a grid so fine that it does not matter, and so coarse that squared distances are exact.
_CELLS = 2.0**20
_INDICES = 512
_GRID = np.float32(1 / _CELLS)
_GRID_SHIFT, _GRID_MASK = np.uint64(44), np.uint64(2**20 - 1)

_COMMON = [
    ("stations", np.int64, (2,)),
    ("exits", np.int64, (2,)),
    ("distance", np.int64, (2,)),
    ("two_way", np.bool_),
    ("labels", np.int64),
    ("slack", np.int64),
    ("planning", np.int64),
    ("step_cost", np.float64),
]
RANDOM_PARAMS = np.dtype(_COMMON)


def map_params(stations: int, neighbours: int) -> np.dtype:
    """The parameters for a map of so many stations with so many neighbours at most."""
    return np.dtype(
        [
            # First, or Numba would take the record for an extension of the other and warn.
            ("degree", np.int16, (stations,)),
            ("neighbours", np.int16, (stations, neighbours)),
            ("positions", np.float32, (stations, 2)),
            *_COMMON,
        ]
    )


@njit
def generate_random(params, key, level):
    """Points uniform in the unit square, each with edges to its K nearest, K uniform for each (Graves et al. 2016)."""
    key = advance(key)
    level.stations = params.stations[0] + integer(key, params.stations[1] - params.stations[0] + 1)
    for u in range(level.stations):
        level.nodes[u] = -1
        key = advance(key)
        level.x[u] = np.float32(bits(key) >> _GRID_SHIFT) * _GRID
        level.y[u] = np.float32(bits(key) & _GRID_MASK) * _GRID
    clear_edges(level)
    for u in range(level.stations):
        key = advance(key)
        wanted = params.exits[0] + integer(key, params.exits[1] - params.exits[0] + 1)
        add_nearest(level, u, min(wanted, level.stations - 1))
    if params.two_way:
        for edge in range(level.edges):
            source, destination = level.sources[edge], level.destinations[edge]
            if not has_edge(level, destination, source):
                if level.exits[destination] == params.labels:
                    return False
                add_edge(level, destination, source)
    return finish(params, key, level)


@njit
def add_nearest(level, u, wanted):
    """Add edges from a station to the ``wanted`` stations nearest to it."""
    last = -1.0
    for _ in range(wanted):
        # The rank holds the squared distance and, below it, the index; on the grid both are exact, so that ranks of
        # stations are never equal and the next nearest is simply the least rank above the last.
        nearest = np.inf
        for v in range(level.stations):
            dx, dy = np.float64(level.x[v] - level.x[u]) * _CELLS, np.float64(level.y[v] - level.y[u]) * _CELLS
            rank = (dx * dx + dy * dy) * _INDICES + v
            nearest = rank if last < rank < nearest and v != u else nearest
        last = nearest
        add_edge(level, u, np.int64(nearest) % _INDICES)


@njit
def generate_neighbourhood(params, key, level):
    """A connected piece of the map, grown from a random station by random adjacent ones, with all edges inside it."""
    n = params.degree.size
    key = advance(key)
    wanted = params.stations[0] + integer(key, params.stations[1] - params.stations[0] + 1)
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
    return finish(params, key, level)


@njit
def finish(params, key, level):
    """What follows the graph itself: the journey, the names, and the rules of the episode."""
    key, possible = draw_journey(level, key, params.distance[0], params.distance[1])
    if not possible:
        return False
    draw_names(level, key, params.labels)
    level.budget = level.distance + params.slack
    level.planning = params.planning
    level.step_cost = params.step_cost
    return True
