"""A journey on a graph, drawn as a tube map or written as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from memenvs.graph.layout import EXIT, KEY, LINE, NAME, PLAIN, STATION, Exit, Key, Layout, arrange, badge
from memenvs.render import (
    INK,
    PAPER,
    blank_canvas,
    draw_box,
    draw_head,
    draw_line,
    draw_text,
    laid_over,
    text_size,
    to_array,
    to_layer,
)

BEST = "#FFC62E"
ROUTE = "#7A2BF5"  # as far as can be from the colours of the eleven lines
START = "#188A42"
GOAL = "#D7263D"
AGENT = "#1769E0"

# What covers what.
GLOW, HALO, LINES, HEADS, TAKEN, EXITS, STATIONS, MARKS, NAMES = range(1, 10)


def draw_journey(
    points: ArrayLike,
    edges: Sequence[tuple[int, int, object]],
    names: Sequence[str],
    edge_colours: Sequence[Sequence[str]] | None,
    start: int | None,
    goal: int | None,
    position: int | None,
    route: Sequence[int],
    best: Sequence[int],
    size: tuple[int, int] = (960, 720),
    caption: str = "",
    described: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Draw a graph as a schematic map, and on it a journey.

    Everything but the journey depends on the graph and the size alone, so it stays where it is from frame to frame.

    :param points: (n, 2) true positions on a plane (of the Underground: ``Map.positions``); north is up
    :param edges: directed edges (u, v, label of the exit); one without its reverse gets an arrow head
    :param names: of the n stations
    :param edge_colours: for each edge the colours ("#RRGGBB") of the lines that run there, or None
    :param start: the first station of the journey, or None
    :param goal: the station where it should end, or None
    :param position: the station of the agent, or None
    :param route: stations visited so far, in order
    :param best: a shortest route, drawn as a glow
    :param size: width and height in pixels
    :param caption: a line above the map
    :param described: ends (u, v) of an edge to point out, or None
    :return: (height, width, 3) bytes
    :raises ValueError: for stations that do not exist, lists of unequal lengths, or a size that is none
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    if points.shape != (len(names), 2) or not len(names) or not np.isfinite(points).all():
        raise ValueError(f"points must be finite and (n, 2) with n >= 1, one for each name, not {points.shape}")
    if edge_colours is not None and len(edge_colours) != len(edges):
        raise ValueError(f"edge_colours must have one list of colours for each of the {len(edges)} edges")
    _check_journey(edges, len(names), start, goal, position, [*route, *(described or ())], best)
    canvas, axes = blank_canvas(size, "none")
    labelled = tuple((int(u), int(v), str(label)) for u, v, label in edges)
    colours = None if edge_colours is None else tuple(tuple(strands) for strands in edge_colours)
    graph = (points.tobytes(), labelled, tuple(names), colours, (int(size[0]), int(size[1])), bool(caption))
    lines, stations = _draw_map(graph, start, goal, position, tuple(route), tuple(best))
    layout = arrange(*graph)
    _draw_route(axes, layout, described or (), AGENT)
    draw_caption(axes, caption, size, layout.legend_unit)
    return laid_over(laid_over(lines, to_layer(canvas)), stations)


def ansi_journey(
    edges: Sequence[tuple[int, int, object]],
    names: Sequence[str],
    start: int | None,
    goal: int | None,
    position: int | None,
    route: Sequence[int],
    best: Sequence[int],
) -> str:
    """Write a journey as lines of text: the agent's station, the exits there, the goal, the routes.

    The arguments are those of :func:`draw_journey`.
    """
    _check_journey(edges, len(names), start, goal, position, route, best)
    lines = []
    if position is not None:
        lines.append(f"at    {names[position]}")
        lines += [f"      exit {label} → {names[v]}" for u, v, label in edges if u == position]
    for key, station in (("start", start), ("goal ", goal)):
        if station is not None:
            lines.append(f"{key} {names[station]}")
    for key, stations in (("route", route), ("best ", best)):
        if len(stations):
            lines.append(f"{key} {' → '.join(names[station] for station in stations)}")
    return "\n".join(lines)


def _check_journey(
    edges: Sequence[tuple[int, int, object]],
    n: int,
    start: int | None,
    goal: int | None,
    position: int | None,
    route: Sequence[int],
    best: Sequence[int],
) -> None:
    """Refuse arguments that name a station that does not exist."""
    places = {"start": start, "goal": goal, "position": position}
    many = {"edges": [end for u, v, _ in edges for end in (u, v)], "route": route, "best": best}
    for name, stations in ({key: [] if one is None else [one] for key, one in places.items()} | many).items():
        if any(not 0 <= station < n for station in stations):
            raise ValueError(f"{name} must name stations from 0 to {n - 1}, not {list(stations)}")
    if any(u == v for u, v, _ in edges):
        raise ValueError("edges must lead from one station to another")


@lru_cache(maxsize=4)
def _draw_map(
    graph: tuple[Any, ...],
    start: int | None,
    goal: int | None,
    position: int | None,
    route: tuple[int, ...],
    best: tuple[int, ...],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw what stays as it is while a graph is described edge by edge, which takes most frames of a film.

    :param graph: arguments of :func:`arrange`
    :return: the lines, (height, width, 3), and the layer of stations, exits and names, (height, width, 4)
    """
    layout, size = arrange(*graph), graph[4]
    canvas, axes = blank_canvas(size)
    _draw_best(axes, layout, best)
    _draw_lines(axes, layout)
    _draw_route(axes, layout, route, ROUTE)
    if position is not None:
        _draw_halo(axes, layout.places[position], layout.radii[position], layout.unit)
    lines = to_array(canvas)
    canvas, axes = blank_canvas(size, "none")
    _draw_exits(axes, layout, route)
    _draw_stations(axes, layout, start, goal, position)
    _draw_names(axes, layout, start, goal, position)
    _draw_legend(axes, layout, size[0])
    return lines, to_layer(canvas)


# --- the parts of the picture ---------------------------------------------------------------------------------------


def _draw_best(axes: Axes, layout: Layout, best: Sequence[int]) -> None:
    line = layout.places[list(best)]
    for width, alpha in ((42, 0.15), (36, 0.25), (30, 0.6)):  # softer towards its edge
        draw_line(axes, line, BEST, width * layout.unit, GLOW, alpha=alpha, solid_capstyle="round")


def _draw_lines(axes: Axes, layout: Layout) -> None:
    width = LINE * layout.unit
    for (u, v), strands in layout.lines.items():
        for i, colour in enumerate(strands):
            draw_line(axes, _beside(layout, u, v, ((len(strands) - 1) / 2 - i) * width), colour, width, LINES)
        for a, b in ((u, v), (v, u)):
            if (a, b) in layout.exits and (b, a) not in layout.exits:
                along = _direction(layout.places[[a, b]])
                tip = layout.places[b] - (layout.radii[b] + 2.5 * layout.unit) * along
                draw_head(axes, tip, along, 10 * layout.unit, strands[0], HEADS)


def _draw_route(axes: Axes, layout: Layout, route: Sequence[int], colour: str) -> None:
    """Draw arrows on the left of the lines, clear of the exits, so that a way back shows beside the way there."""
    unit = layout.unit
    for u, v in dict.fromkeys(pairwise(route)):
        if u == v:  # the agent stayed
            continue
        strands = layout.lines.get((u, v), layout.lines.get((v, u), ()))
        ends = _beside(layout, u, v, max(LINE / 2 * len(strands) + 4, 10.5) * unit)
        along = _direction(ends)
        for width, half, ink in ((8.5, 10.5, PAPER), (5.0, 8.0, colour)):
            draw_line(axes, ends, ink, width * unit, TAKEN)
            draw_head(axes, ends.mean(axis=0) + half * unit * along, along, half * unit, ink, TAKEN)


def _draw_exits(axes: Axes, layout: Layout, route: Sequence[int]) -> None:
    taken = set(pairwise(route))
    for pair, exit in layout.exits.items():
        _draw_exit(axes, exit, layout.unit, pair in taken)


def _draw_exit(axes: Axes, exit: Exit, unit: float, taken: bool) -> None:
    face, rim, ink = (ROUTE, PAPER, "white") if taken else ("white", PLAIN, INK)
    draw_box(axes, badge(exit, unit), 8 * unit, face, EXITS, edgecolor=rim, linewidth=1.3 * unit)
    draw_text(axes, exit.x, exit.y, exit.text, EXIT * unit, ink, EXITS, weight="bold")


def _draw_stations(axes: Axes, layout: Layout, start: int | None, goal: int | None, position: int | None) -> None:
    for i, (place, radius) in enumerate(zip(layout.places, layout.radii, strict=True)):
        rim = START if i == start else GOAL if i == goal else INK
        _draw_station(axes, place, radius, rim, layout.unit, i == position)


def _draw_station(axes: Axes, place: ArrayLike, radius: float, rim: str, unit: float, agent: bool) -> None:
    ring = (3.2 if rim == INK else 5.5) * unit
    xy = tuple(np.asarray(place))
    axes.add_artist(Circle(xy, radius, facecolor="white", edgecolor=rim, linewidth=ring, zorder=STATIONS))
    if agent:
        axes.add_artist(Circle(xy, radius - 3.5 * unit, color=AGENT, linewidth=0, zorder=MARKS))


def _draw_halo(axes: Axes, place: ArrayLike, radius: float, unit: float) -> None:
    xy = tuple(np.asarray(place))
    axes.add_artist(Circle(xy, radius + 9 * unit, color=AGENT, alpha=0.25, linewidth=0, zorder=HALO))


def _draw_names(axes: Axes, layout: Layout, start: int | None, goal: int | None, position: int | None) -> None:
    unit = layout.unit
    for i, (x, y, text) in enumerate(layout.names):
        marked = START if i == start else GOAL if i == goal else None
        bold = marked is not None or i == position
        width, height = np.array(text_size(text, NAME * unit, bold)) + np.array([8, 2]) * unit
        if marked is not None:
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            draw_box(axes, box, 4 * unit, marked, NAMES)
        ink, rim = (INK, PAPER) if marked is None else ("white", marked)
        outline = [withStroke(linewidth=3 * unit, foreground=rim)]
        weight = "bold" if bold else "normal"
        draw_text(axes, x, y, text, NAME * unit, ink, NAMES, weight=weight, path_effects=outline)


def draw_caption(axes: Axes, caption: str, size: tuple[int, int], unit: float) -> None:
    """A line of text in the upper left corner, cut where it does not fit."""
    font_size, room = 1.2 * KEY * unit, size[0] - 32 * unit
    if text_size(caption, font_size, bold=True)[0] > room:
        while caption and text_size(caption + " …", font_size, bold=True)[0] > room:
            caption = caption[:-1]
        caption += " …"
    draw_text(axes, 16 * unit, size[1] - 16 * unit, caption, font_size, INK, NAMES, ha="left", weight="bold")


def _draw_legend(axes: Axes, layout: Layout, width: float) -> None:
    unit = layout.legend_unit
    top = max(key.y for key in layout.legend) + 16 * unit
    draw_line(axes, np.array([[16 * unit, top], [width - 16 * unit, top]]), "#DDDAD2", unit, LINES)
    for key in layout.legend:
        _draw_symbol(axes, key, unit)
        draw_text(axes, key.x + 32 * unit, key.y, key.text, KEY * unit, INK, NAMES, ha="left")


def _draw_symbol(axes: Axes, key: Key, unit: float) -> None:
    """The sign of a legend's entry, 26 units wide."""
    middle = (key.x + 13 * unit, key.y)
    bar = np.array([[key.x, key.y], [key.x + 26 * unit, key.y]])
    if key.colour is not None:
        draw_line(axes, bar, key.colour, LINE * unit, LINES)
    elif key.text in ("start", "goal", "agent"):
        rim = {"start": START, "goal": GOAL, "agent": INK}[key.text]
        radius = 0.6 * STATION * unit
        if key.text == "agent":
            _draw_halo(axes, middle, radius, 0.6 * unit)
        _draw_station(axes, middle, radius, rim, 0.6 * unit, key.text == "agent")
    elif key.text == "exit":
        _draw_exit(axes, Exit(*middle, "7"), 0.85 * unit, False)
    elif key.text == "best route":
        draw_line(axes, bar, BEST, 14 * unit, GLOW, alpha=0.7)
    else:
        draw_line(axes, bar - np.array([[0, 0], [8 * unit, 0]]), ROUTE, 4 * unit, TAKEN)
        draw_head(axes, bar[1], np.array([1.0, 0.0]), 6 * unit, ROUTE, TAKEN)


def _beside(layout: Layout, u: int, v: int, shift: float) -> NDArray[np.float64]:
    """The ends of the line from u to v, shifted to the left of that direction."""
    ends = layout.places[[u, v]]
    x, y = _direction(ends)
    return ends + shift * np.array([-y, x])


def _direction(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    along = ends[1] - ends[0]
    return along / max(float(np.linalg.norm(along)), 1e-9)
