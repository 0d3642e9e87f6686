"""From what a user asks of the Underground to what its generators need; whatever cannot be is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from memenvs.checks import bounds, flag, within
from memenvs.graph.fixed import graph_of_tracks, graph_once_drawn, name_once, params_of_graph
from memenvs.graph.generate import (
    RANDOM_PARAMS,
    generate_fixed,
    generate_neighbourhood,
    generate_random,
    neighbourhood_params,
)
from memenvs.graph.lessons import lesson_of
from memenvs.graph.level import MOST_LABELS, MOST_STATIONS, MOST_STEPS, capacity, level_dtype
from memenvs.graph.map import load_map
from memenvs.graph.tracks import Tracks, network, zone_1

TASKS = ["navigate", "traversal", "shortest_path", "explore"]
MAPS: dict[str, Callable[[], Tracks] | None] = {
    "random": None,
    "underground": network,
    "zone1": zone_1,
    "network": network,
}
CODES = "codes"
MOST_EDGES = 32767
LABELS = 8  # by default, or as many as a station has exits

# What a task has a use for beside the graph, and its defaults. All else is an error where it is given.
DEFAULTS: dict[str, dict[str, Any]] = {
    "navigate": {"distance": (1, 2), "description": True, "planning": 0, "slack": 1, "step_cost": 0.01},
    "traversal": {"path": (1, 3), "description": True, "planning": 0, "lesson": None},
    "shortest_path": {"distance": (2, 3), "description": True, "planning": 10, "lesson": None},
    "explore": {"budget": 60, "step_cost": 0.01},
}


class Task(NamedTuple):
    """A task with its graph: what :func:`memenvs.graph.underground.define` makes a definition of."""

    params: np.ndarray  # (1,)
    level: np.dtype
    generate: Callable[..., bool]
    labels: int  # the size of the alphabet, or 0 for codes
    steps: int  # the most travel steps or answers of an episode
    stations: int  # the most there can be
    fixed_graph: bool  # whether every episode has the same graph, by whatever names
    parameters: dict[str, Any]  # all parameters as they count in the end


def options_of(task: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a task with its defaults filled in; one that the task has no use for is refused."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {TASKS}, not {task!r}")
    for name, value in given.items():
        if value is not None and name not in DEFAULTS[task]:
            users = [other for other in TASKS if name in DEFAULTS[other]]
            raise ValueError(f"{name} must be left out of task {task!r}: it belongs to {users}")
    return {name: default if given[name] is None else given[name] for name, default in DEFAULTS[task].items()}


def resolve(
    task: str,
    map: str,
    stations: Any,
    exits: Any,
    two_way: Any,
    labels: Any,
    labels_by: Any,
    fixed: Any,
    **given: Any,
) -> Task:
    """All parameters checked and filled in; they are those of :class:`memenvs.graph.underground.Underground`.

    :param given: the options of some tasks only, None where left out
    """
    if map not in MAPS:
        raise ValueError(f"map must be 'random' or 'underground', 'zone1' or 'network', not {map!r}")
    options = options_of(task, given)
    length = "path" if task == "traversal" else "distance"
    if options.get("lesson") is not None:
        lesson = lesson_of(task, options["lesson"])
        stations = lesson.stations if stations is None else stations
        exits = lesson.exits if exits is None else exits
        labels = CODES if labels is None else labels
        options[length] = lesson.length if given[length] is None else options[length]
    two_way = task == "explore" if two_way is None else flag("two_way", two_way)
    whole = map in ("zone1", "network")
    if labels_by is None:
        labels_by = "line" if whole else "random"
    if labels_by not in ("random", "line") or (labels_by == "line" and map == "random"):
        raise ValueError(f"labels_by must be 'random', or 'line' on a real map, not {labels_by!r} on map {map!r}")
    by_line = labels_by == "line"
    if fixed is not None:
        fixed = within("fixed", fixed, 0, 2**63 - 1)

    exits = bounds("exits", (1, 3) if exits is None else exits, 1, MOST_STATIONS)
    tracks = None if map == "random" else MAPS[map]()  # type: ignore[misc]
    if whole:
        assert tracks is not None
        low = high = len(tracks.nodes)
        most_exits, edges = tracks.most_exits, len(tracks.edges)
    else:
        most = MOST_STATIONS if tracks is None else min(MOST_STATIONS, len(tracks.nodes))
        low, high = bounds("stations", (4, 6) if stations is None else stations, 2, most)
        if tracks is None:
            most_exits = min(exits[1], high - 1)
        elif by_line:
            most_exits = min(exits[1], tracks.most_exits)
        else:
            most_exits = min(exits[1], high - 1, int(load_map().degree.max()))
        edges = high * most_exits * (2 if two_way and tracks is None else 1)
        edges = edges if by_line else min(edges, high * (high - 1))
    if edges > MOST_EDGES:
        raise ValueError(f"exits must be fewer, so that a graph has at most {MOST_EDGES} edges, not {exits!r}")

    ways = len(tracks.ways) if tracks is not None and by_line else 0
    needed = ways or most_exits
    labels = checked_labels(task, labels, needed, ways, max(LABELS, most_exits) if whole else LABELS)
    check_options(options, high)

    common = np.zeros(1, RANDOM_PARAMS)
    common["task"] = TASKS.index(task)
    common["stations"], common["exits"] = (low, high), exits
    common["two_way"], common["by_line"] = two_way, by_line
    common["ways"], common["labels"] = ways, 0 if labels == CODES else labels
    common["fresh_names"] = fixed is None or whole  # a graph that is drawn once is drawn with its names
    for name, value in options.items():
        if name != "lesson":
            common[name] = value
    steps = {
        "navigate": lambda: options["distance"][1] + options["slack"],
        "traversal": lambda: options["path"][1],
        "shortest_path": lambda: options["distance"][1],
        "explore": lambda: options["budget"],
    }[task]()
    path = capacity(options["path"][1] if task == "traversal" else 1, 32)

    room = capacity(high, 8)
    layout = level_dtype(room, capacity(edges, 8 * room), path, search=task in ("navigate", "shortest_path"))
    generate = generate_random
    params = common
    if map == "underground":
        generate = generate_neighbourhood
        params = params_of_neighbourhoods(common, by_line)
    if whole:
        assert tracks is not None
        graph = graph_of_tracks(tracks, path)
        if fixed is not None:
            name_once(graph, common, fixed)
            common["fresh_names"] = False
        params = params_of_graph(graph, common)
    elif fixed is not None:
        graph = graph_once_drawn(generate, params, layout, fixed)
        common["fresh_names"] = False
        params = params_of_graph(graph, common)
    if whole or fixed is not None:
        generate = generate_fixed
        layout = params.dtype["graph"]

    parameters: dict[str, Any] = {"task": task, "map": map}
    if not whole:
        parameters |= {"stations": (low, high), "exits": exits, "two_way": two_way}
    parameters |= options | {"labels": labels, "labels_by": labels_by, "fixed": fixed}
    numbers = 0 if labels == CODES else int(labels)
    return Task(params, layout, generate, numbers, int(steps), high, whole or fixed is not None, parameters)


def checked_labels(task: str, labels: Any, needed: int, ways: int, default: int) -> int | str:
    """The alphabet of the labels: its size, or "codes"."""
    if labels is None:
        return ways or default
    if isinstance(labels, str):
        if labels != CODES:
            raise ValueError(f"labels must be an integer from {needed} to {MOST_LABELS} or 'codes', not {labels!r}")
        if task == "explore":
            raise ValueError("labels must be an integer in task 'explore', which shows the exits as bits, not 'codes'")
        return CODES
    within("labels", labels, 1, MOST_LABELS)
    if labels < needed:
        what = "the lines and directions of the map" if ways else "the most exits a station can have"
        raise ValueError(f"labels must be at least {needed}, {what}, not {labels}")
    return int(labels)


def check_options(options: dict[str, Any], stations: int) -> None:
    """Check what belongs to single tasks, and put ranges into their full form."""
    if "distance" in options:
        options["distance"] = bounds("distance", options["distance"], 1, stations - 1)
    if "path" in options:
        options["path"] = bounds("path", options["path"], 1, MOST_STEPS)
    for name, least in (("slack", 0), ("planning", 0), ("budget", 1)):
        if name in options:
            within(name, options[name], least, MOST_STEPS)
    if "description" in options:
        flag("description", options["description"])
    step_cost = options.get("step_cost", 0.0)
    if isinstance(step_cost, bool) or not isinstance(step_cost, (int, float)) or not 0 <= step_cost < 1:
        raise ValueError(f"step_cost must be a number from 0 to below 1, not {step_cost!r}")


def params_of_neighbourhoods(common: np.ndarray, by_line: bool) -> np.ndarray:
    """The parameters with which neighbourhoods of the map are drawn, parallel lines as edges of their own or as one."""
    tube, tracks = load_map(), network()
    exits = np.bincount([u for u, _, _ in tracks.edges])
    params = np.zeros(1, neighbourhood_params(len(tube.names), capacity(int(exits.max()), 8)))
    for name in RANDOM_PARAMS.names or ():
        params[name] = common[name]
    params["positions"] = tube.positions
    record = params[0]
    if by_line:
        for u, v, way in tracks.edges:
            j = record["degree"][u]
            record["neighbours"][u, j], record["neighbour_ways"][u, j] = v, way
            record["degree"][u] += 1
    else:
        record["degree"] = tube.degree
        record["neighbours"][:, : tube.neighbours.shape[1]] = tube.neighbours
    return params
