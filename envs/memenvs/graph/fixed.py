"""Graphs that stay the same from episode to episode, and the tables that go with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from memenvs.engine.loops import ATTEMPTS
from memenvs.graph.codes import draw_names
from memenvs.graph.generate import fixed_params
from memenvs.graph.level import DESTINATION, FAR, FOLLOWING, SOURCE, hash_of_map, level_dtype
from memenvs.graph.map import load_map
from memenvs.graph.tracks import Tracks
from memenvs.random import fold

UNREACHED = int(FAR)


def graph_of_tracks(tracks: Tracks, path: int) -> np.ndarray:
    """A map as a level without names, in an array of shape (1,).

    :param path: the most labels of a path that will be asked for
    """
    n, e = len(tracks.nodes), len(tracks.edges)
    graph = np.zeros(1, level_dtype(n, e, path, search=False))
    level = graph[0]
    level["stations"], level["edges"] = n, e
    level["nodes"][:n] = tracks.nodes
    level["x"][:n], level["y"][:n] = load_map().positions[tracks.nodes].T
    level["first"] = -1
    for edge, (u, v, way) in enumerate(tracks.edges):
        level["links"][edge, SOURCE], level["links"][edge, DESTINATION], level["ways"][edge] = u, v, way
        level["links"][edge, FOLLOWING] = level["first"][u]
        level["first"][u] = edge
        level["exits"][u] += 1
    return graph


def graph_once_drawn(generate: Callable[..., bool], params: np.ndarray, level: np.dtype, number: int) -> np.ndarray:
    """The graph, with its names, of the first level that a generator draws from a number.

    :param level: the layout that the generator needs; the graph has a layout without what a search needs
    :raises ValueError: if no level can be drawn
    """
    drawn = np.zeros(1, level)
    key = first_key(number)
    if not any(generate(params[0], np.uint64(fold(key, attempt)), drawn[0]) for attempt in range(ATTEMPTS)):
        raise ValueError(
            f"no level of Underground can be drawn with fixed={number}: its parameters contradict each other"
        )
    stations, edges, path = (drawn[name].shape[1] for name in ("codes", "links", "path"))
    graph = np.zeros(1, level_dtype(stations, edges, path, search=False))
    for name in graph.dtype.names or ():
        if name not in ("within", "fresh"):
            graph[name] = drawn[name]
    return graph


def name_once(graph: np.ndarray, params: np.ndarray, number: int) -> None:
    """Draw the names of a graph from a number."""
    draw_names(params[0], first_key(number), graph[0])


def first_key(number: int) -> np.uint64:
    """The key of all that is drawn from a number; compiled functions take no Python integer beyond 63 bits for it."""
    return np.uint64(fold(np.uint64(0), number))


def params_of_graph(graph: np.ndarray, common: np.ndarray) -> np.ndarray:
    """The parameters with which a graph is the one of every episode.

    :param graph: a level in an array of shape (1,)
    :param common: all other parameters, likewise
    """
    params = np.zeros(1, fixed_params(graph.dtype))
    for name in common.dtype.names or ():
        params[name] = common[name]
    n, e = int(graph["stations"][0]), int(graph["edges"][0])
    steps = distances(n, graph["links"][0, :e, SOURCE], graph["links"][0, :e, DESTINATION])
    params["map"] = graph["map"] = hash_of_map(graph[0], not common["fresh_names"][0])
    params["graph"] = graph
    params["between"][0, :n, :n] = steps.T
    order = np.argsort(steps, axis=None, kind="stable")  # the pairs of a station and itself come first
    apart = steps.reshape(-1)[order]
    order = order[(apart > 0) & (apart < UNREACHED)]
    params["pairs"][0, : order.size] = order
    counts = np.bincount(steps.reshape(-1)[order], minlength=params["upto"].shape[1])
    params["upto"][0] = np.cumsum(counts)
    params["farthest"] = steps[steps < UNREACHED].max()
    return params


def distances(n: int, sources: NDArray[np.int16], destinations: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return (n, n) the fewest travel steps from each station (row) to each, ``UNREACHED`` where there is no way."""
    adjacent = np.zeros((n, n), np.float32)
    adjacent[sources, destinations] = 1
    steps = np.full((n, n), UNREACHED, np.int64)
    fresh, taken = np.eye(n, dtype=bool), 0
    while fresh.any():
        steps[fresh] = taken
        taken += 1
        fresh = (fresh.astype(np.float32) @ adjacent > 0) & (steps == UNREACHED)
    return steps


def queries(params: np.ndarray, task: str) -> float:
    """Return the number of different queries on the graph."""
    record = params[0]
    if task == "traversal":
        return paths(params["graph"], *record["path"].tolist())
    if task == "explore":
        return int(record["upto"][-1])
    low, high = record["distance"].tolist()
    high = min(high, int(record["farthest"]))
    return int(record["upto"][high] - record["upto"][low - 1]) if low <= high else 0


def paths(graph: np.ndarray, low: int, high: int) -> float:
    """Return the number of paths of so many edges."""
    n, e = int(graph["stations"][0]), int(graph["edges"][0])
    edges = np.zeros((n, n))
    np.add.at(edges, (graph["links"][0, :e, SOURCE], graph["links"][0, :e, DESTINATION]), 1)
    walks, total = np.ones(n), 0.0
    for length in range(1, high + 1):
        walks = edges @ walks
        total += walks.sum() if length >= low else 0
    return total
