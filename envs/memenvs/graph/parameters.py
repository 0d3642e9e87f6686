"""The parameters of the Underground: checked, and turned into those of its generators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from memenvs.checks import bounds, flag, is_integer, within
from memenvs.graph.fixed import graph_of_tracks, graph_once_drawn, name_once, params_of_graph
from memenvs.graph.generate import (
    RANDOM_PARAMS,
    generate_fixed,
    generate_neighbourhood,
    generate_random,
    neighbourhood_params,
)
from memenvs.graph.lessons import lesson_of
from memenvs.graph.level import CODES as MOST_CODES
from memenvs.graph.level import MOST_LABELS, MOST_STATIONS, capacity, level_dtype
from memenvs.graph.map import load_map
from memenvs.graph.tracks import Tracks, network, zone_1

TASKS = ["navigate", "traversal", "shortest_path", "explore"]
TRACKS = {"underground": network, "zone1": zone_1, "network": network}
MAPS = ["random", *TRACKS]
WHOLE = ["zone1", "network"]  # maps that are not drawn from, but are the graph
CODES = "codes"
EDGES = "edges"  # as many steps of planning as there are edges
ANSWERS = ["labels", "edges"]
MOST_EDGES = 32767
MOST_STEPS = 10_000
LABELS = 8  # by default, or as many as a station has exits

# What a task has a use for beside the graph, and its defaults. All else is an error where it is given.
DEFAULTS: dict[str, dict[str, Any]] = {
    "navigate": {"distance": (1, 2), "description": True, "planning": 0, "slack": 1, "step_cost": 0.01},
    "traversal": {
        "path": (1, 3),
        "description": True,
        "planning": 0,
        "lesson": None,
        "questions": 1,
        "stepwise": False,
    },
    "shortest_path": {
        "distance": (2, 3),
        "description": True,
        "planning": 10,
        "lesson": None,
        "questions": 1,
        "answers": "labels",
        "stepwise": False,
    },
    "explore": {"budget": 60, "step_cost": 0.01},
}


class Task(NamedTuple):
    """A task with its graph, from which :func:`memenvs.graph.underground.define` makes a definition."""

    params: np.ndarray  # (1,)
    level: np.dtype
    generate: Callable[..., bool]
    labels: int  # the size of the alphabet, or 0 for codes
    steps: int  # the most travel steps or answers of an episode
    stations: int  # the most there can be
    fixed_graph: bool  # whether every episode has the same graph, by whatever names
    parameters: dict[str, Any]  # all parameters as they count in the end


class Graphs(NamedTuple):
    """The graphs that episodes take place in."""

    map: str
    tracks: Tracks | None  # of a real map
    stations: tuple[int, int]
    exits: tuple[int, int]  # as asked for
    two_way: bool
    labels_by: str
    fixed: int | None
    most_exits: int  # that a station can have, before edges are doubled by ``two_way``
    edges: int  # the most there can be
    label_codes: tuple[int, int] | None = None  # how many codes label exits, where not as many as stations or ways

    @property
    def whole(self) -> bool:
        """Return whether a map is the graph."""
        return self.map in WHOLE

    @property
    def by_line(self) -> bool:
        """Return whether labels name lines and directions."""
        return self.labels_by == "line"

    @property
    def ways(self) -> int:
        """The number of lines and directions to be named, 0 where labels name none."""
        return len(self.tracks.ways) if self.tracks is not None and self.by_line else 0


def resolve(
    task: str,
    map: str,
    stations: Any,
    exits: Any,
    two_way: Any,
    labels: Any,
    labels_by: Any,
    label_codes: Any,
    fixed: Any,
    **given: Any,
) -> Task:
    """Check all parameters of :class:`memenvs.graph.underground.Underground`, and fill in those left open.

    :param given: the options of some tasks only, None where left out
    """
    if map not in MAPS:
        raise ValueError(f"map must be one of {MAPS}, not {map!r}")
    options = options_of(task, given)
    if options.get("lesson") is not None:
        lesson = lesson_of(task, options["lesson"])
        stations = lesson.stations if stations is None else stations
        exits = lesson.exits if exits is None else exits
        labels = CODES if labels is None else labels
        length = "path" if task == "traversal" else "distance"
        options[length] = lesson.length if given[length] is None else options[length]
    graphs = checked_graphs(map, stations, exits, task == "explore" if two_way is None else two_way, labels_by, fixed)
    labels = checked_labels(task, labels, graphs)
    graphs = graphs._replace(label_codes=checked_label_codes(label_codes, labels, graphs))
    options = checked_options(options, graphs.stations[1])
    params, level, generate = generator(task, graphs, labels, options)
    return Task(
        params=params,
        level=level,
        generate=generate,
        labels=0 if labels == CODES else labels,
        steps=most_steps(task, options),
        stations=graphs.stations[1],
        fixed_graph=graphs.whole or graphs.fixed is not None,
        parameters=parameters_of(task, graphs, labels, options),
    )


# --- what is asked for ------------------------------------------------------------------------------------------------


def options_of(task: str, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a task with its defaults filled in; one that the task has no use for is refused."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {TASKS}, not {task!r}")
    for name, value in given.items():
        if value is not None and name not in DEFAULTS[task]:
            users = [other for other in TASKS if name in DEFAULTS[other]]
            raise ValueError(f"{name} must be left out of task {task!r}: it belongs to {users}")
    return {name: default if given[name] is None else given[name] for name, default in DEFAULTS[task].items()}


def checked_graphs(map: str, stations: Any, exits: Any, two_way: Any, labels_by: Any, fixed: Any) -> Graphs:
    """Check the parameters of the graphs and fill in those left open."""
    two_way = flag("two_way", two_way)
    if labels_by is None:
        labels_by = "line" if map in WHOLE else "random"
    if labels_by not in ("random", "line") or (labels_by == "line" and map == "random"):
        raise ValueError(f"labels_by must be 'random', or 'line' on a real map, not {labels_by!r} on map {map!r}")
    fixed = None if fixed is None else within("fixed", fixed, 0, 2**63 - 1)
    exits = bounds("exits", (1, 3) if exits is None else exits, 1, MOST_STATIONS)
    tracks = TRACKS[map]() if map in TRACKS else None
    if tracks is not None and map in WHOLE:
        stations = (len(tracks.nodes), len(tracks.nodes))
        most_exits, edges = tracks.most_exits, len(tracks.edges)
    else:
        most = MOST_STATIONS if tracks is None else min(MOST_STATIONS, len(tracks.nodes))
        stations = bounds("stations", (4, 6) if stations is None else stations, 2, most)
        most_exits, edges = most_of_drawn(stations[1], exits[1], two_way, labels_by == "line", tracks)
    if edges > MOST_EDGES:
        raise ValueError(f"exits must be fewer, so that a graph has at most {MOST_EDGES} edges, not {exits!r}")
    return Graphs(map, tracks, stations, exits, two_way, labels_by, fixed, most_exits, edges)


def most_of_drawn(stations: int, exits: int, two_way: bool, by_line: bool, tracks: Tracks | None) -> tuple[int, int]:
    """The most exits of a station and the most edges of a graph that is drawn, from the most stations and exits."""
    if tracks is not None and by_line:  # parallel lines are edges of their own
        most_exits = min(exits, tracks.most_exits)
        return most_exits, stations * most_exits
    most_exits = min(exits, stations - 1)
    if tracks is not None:
        most_exits = min(most_exits, int(load_map().degree.max()))
    doubled = two_way and tracks is None
    return most_exits, min(stations * most_exits * (2 if doubled else 1), stations * (stations - 1))


def checked_labels(task: str, labels: Any, graphs: Graphs) -> Any:
    """The alphabet of the labels: its size, or "codes"."""
    needed = graphs.ways or graphs.most_exits
    if needed > MOST_LABELS and labels != CODES:
        raise ValueError(f"exits must be at most {MOST_LABELS}, or labels be 'codes', not {graphs.exits}")
    if labels is None:
        return graphs.ways or max(LABELS, needed)
    if isinstance(labels, str):
        if labels != CODES:
            raise ValueError(f"labels must be an integer from {needed} to {MOST_LABELS} or 'codes', not {labels!r}")
        if task == "explore":
            raise ValueError("labels must be an integer in task 'explore', which shows the exits as bits, not 'codes'")
        return CODES
    labels = within("labels", labels, 1, MOST_LABELS)
    if labels < needed:
        what = "the lines and directions of the map" if graphs.ways else "the most exits a station can have"
        raise ValueError(f"labels must be at least {needed}, {what}, not {labels}")
    return labels


def checked_label_codes(label_codes: Any, labels: Any, graphs: Graphs) -> tuple[int, int] | None:
    """How many codes label the exits of a graph, (low, high): enough for a station with the most exits.

    None for as many as there are stations, or lines and directions of a whole map.
    """
    if label_codes is None or (graphs.whole and graphs.by_line):
        return None
    if labels != CODES or graphs.by_line:
        raise ValueError(
            f"label_codes needs labels='codes' and labels_by='random', and must else be None, not {label_codes}"
        )
    needed = graphs.stations[1] - 1 if graphs.two_way and graphs.tracks is None else graphs.most_exits
    return bounds("label_codes", label_codes, needed, MOST_CODES)


def checked_options(options: dict[str, Any], stations: int) -> dict[str, Any]:
    """Check the parameters of single tasks and bring them into their full form."""
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name == "distance":
            checked[name] = bounds(name, value, 1, stations - 1)
        elif name == "path":
            checked[name] = bounds(name, value, 1, MOST_STEPS)
        elif name in ("description", "stepwise"):
            checked[name] = flag(name, value)
        elif name == "step_cost":
            checked[name] = checked_cost(value)
        elif name == "lesson":  # which has been looked up
            checked[name] = None if value is None else int(value)
        elif name == "answers":
            if value not in ANSWERS:
                raise ValueError(f"answers must be one of {ANSWERS}, not {value!r}")
            checked[name] = value
        elif name == "planning":
            if value != EDGES and not (is_integer(value) and 0 <= value <= MOST_STEPS):
                raise ValueError(f"planning must be an integer from 0 to {MOST_STEPS} or {EDGES!r}, not {value!r}")
            checked[name] = value if value == EDGES else int(value)
        else:
            checked[name] = within(name, value, 1 if name in ("budget", "questions") else 0, MOST_STEPS)
    if checked.get("stepwise") and checked.get("answers") == "labels":
        raise ValueError("answers must be 'edges' with stepwise, not 'labels'")
    return checked


def checked_cost(value: Any) -> int | float:
    """Return the cost of a travel step."""
    known = is_integer(value) or isinstance(value, (float, np.floating))
    if not known or not 0 <= value < 1:
        raise ValueError(f"step_cost must be a number from 0 to below 1, not {value!r}")
    return value.item() if isinstance(value, np.generic) else value


def most_steps(task: str, options: dict[str, Any]) -> int:
    """The most travel steps or answers of an episode."""
    if task == "explore":
        return options["budget"]
    return options["path" if task == "traversal" else "distance"][1] + options.get("slack", 0)


def parameters_of(task: str, graphs: Graphs, labels: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the resolved parameters by name."""
    drawn = {} if graphs.whole else {"stations": graphs.stations, "exits": graphs.exits, "two_way": graphs.two_way}
    named = {"labels": labels, "labels_by": graphs.labels_by, "fixed": graphs.fixed}
    some = {} if graphs.label_codes is None else {"label_codes": graphs.label_codes}
    return {"task": task, "map": graphs.map} | drawn | options | named | some


# --- what generators need ---------------------------------------------------------------------------------------------


def generator(
    task: str, graphs: Graphs, labels: Any, options: dict[str, Any]
) -> tuple[np.ndarray, np.dtype, Callable[..., bool]]:
    """The parameters (1,) of a generator, the layout of its levels, and the generator."""
    common = common_params(task, graphs, labels, options)
    path = capacity(options["path"][1] if task == "traversal" else 1, 32)
    if graphs.whole:
        assert graphs.tracks is not None
        graph = graph_of_tracks(graphs.tracks, path)
        if graphs.fixed is not None:
            name_once(graph, common, graphs.fixed)
    else:
        room = capacity(graphs.stations[1], 8)
        search = task in ("navigate", "shortest_path")
        layout = level_dtype(room, capacity(graphs.edges, 8 * room), path, search)
        generate, params = generate_random, common
        if graphs.map == "underground":
            generate, params = generate_neighbourhood, params_of_neighbourhoods(common, graphs.by_line)
        if graphs.fixed is None:
            return params, layout, generate
        graph = graph_once_drawn(generate, params, layout, graphs.fixed)
    params = params_of_graph(graph, common)
    return params, params.dtype["graph"], generate_fixed


def common_params(task: str, graphs: Graphs, labels: Any, options: dict[str, Any]) -> np.ndarray:
    """The parameters that all generators have, (1,)."""
    common = np.zeros(1, RANDOM_PARAMS)
    common["task"] = TASKS.index(task)
    common["stations"], common["exits"] = graphs.stations, graphs.exits
    common["two_way"], common["by_line"] = graphs.two_way, graphs.by_line
    common["ways"], common["labels"] = graphs.ways, 0 if labels == CODES else labels
    common["label_codes"] = graphs.label_codes or 0
    common["fresh_names"] = graphs.fixed is None
    for name, value in options.items():
        if name not in ("lesson", "answers"):
            common[name] = -1 if value == EDGES else value
    return common


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
