"""The whole map of the Underground, drawn from its data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from memenvs.graph.draw import AGENT, BEST, GOAL, ROUTE, START, draw_caption
from memenvs.graph.layout import KEY, legend_rows, line_keys
from memenvs.graph.map import Map, load_map
from memenvs.graph.name_placement import line_breaks, place_names
from memenvs.render import INK, PAPER, blank_canvas, draw_line, draw_text, laid_over, text_size, to_array, to_layer

Floats = NDArray[np.float64]

CENTRE = "Holborn"
BEND = 1.6  # kilometres: distances well beyond it are drawn by their logarithm, so that the centre has room
SMOOTHING = 2  # passes that straighten the lines between junctions and even out their stations

# Measures in units; a unit is a pixel on a picture of 1200 × 900.
LINE, STATION, NAME = 4.6, 4.6, 11.0
GLOW, LINES, ROUTES, STATIONS, MARKS, NAMES = range(1, 7)


class Journey(NamedTuple):
    """Stations of a journey, as :func:`memenvs.graph.draw.draw_journey` takes them."""

    start: int | None
    goal: int | None
    position: int | None
    route: tuple[int, ...]
    best: tuple[int, ...]


def draw_network(
    size: tuple[int, int] = (1200, 900),
    stations: Collection[int] = (),
    journey: Mapping[str, Any] | None = None,
    caption: str = "",
) -> NDArray[np.uint8]:
    """Draw the Underground in the colours of its lines, the centre enlarged.

    :param size: width and height in pixels
    :param stations: a neighbourhood to point out: it is named and set on a glow, the rest grows pale; without one, the
        termini and the great interchanges are named
    :param journey: ``start``, ``goal`` and ``position``, stations or None, which are named, and ``route`` and ``best``,
        lists of stations, drawn as by :func:`memenvs.graph.draw.draw_journey`
    :param caption: a line above the map
    :return: (height, width, 3) bytes
    :raises ValueError: for stations that do not exist, or a size that is none
    """
    tube = load_map()
    if any(not 0 <= station < len(tube.names) for station in stations):
        raise ValueError(f"stations must be from 0 to {len(tube.names) - 1}, not {list(stations)}")
    canvas, axes = blank_canvas(size, "none")
    shown = None
    if journey is not None:
        marks = journey["start"], journey["goal"], journey["position"]
        shown = Journey(*marks, tuple(journey["route"]), tuple(journey["best"]))
    picture = _draw_map((int(size[0]), int(size[1])), frozenset(stations), shown)
    draw_caption(axes, caption, size, _legend_unit(size))
    return laid_over(picture, to_layer(canvas))


def _unit(size: tuple[int, int]) -> float:
    return min(size[0] / 1200, size[1] / 900)


def _legend_unit(size: tuple[int, int]) -> float:
    return max(1.2 * _unit(size), 0.62)


@lru_cache(maxsize=4)
def _draw_map(size: tuple[int, int], chosen: frozenset[int], journey: Journey | None) -> NDArray[np.uint8]:
    """Draw all but the caption, which alone changes while the network is described edge by edge."""
    tube = load_map()
    canvas, axes = blank_canvas(size)
    unit, legend_unit = _unit(size), _legend_unit(size)
    legend = legend_rows([line_keys(tube.line_colours)], size[0], legend_unit)
    places = _fit(_spread(), size, max(key.y for key in legend) + 20 * legend_unit, unit)
    _draw_lines(axes, tube, places, chosen, unit)
    _draw_stations(axes, tube, places, chosen, unit)
    named = chosen or _landmarks(tube)
    if journey is not None:
        _draw_journey(axes, places, journey, unit)
        named = {station for station in (journey.start, journey.goal, journey.position) if station is not None}
    _draw_names(axes, tube, places, named, size, unit)
    for key in legend:
        bar = np.array([[key.x, key.y], [key.x + 26 * legend_unit, key.y]])
        draw_line(axes, bar, str(key.colour), 7 * legend_unit, LINES)
        draw_text(axes, key.x + 32 * legend_unit, key.y, key.text, KEY * legend_unit, INK, NAMES, ha="left")
    return to_array(canvas)


@cache
def _spread() -> Floats:
    """Return places (n, 2) that give the crowded centre more room and draw the lines as calm curves."""
    tube = load_map()
    places = tube.positions - tube.positions[tube.names.index(CENTRE)]
    distance = np.linalg.norm(places, axis=1, keepdims=True)
    places = places * np.log1p(distance / BEND) / np.maximum(distance, 1e-9)
    between = tube.degree == 2
    for _ in range(SMOOTHING):
        middle = places[tube.neighbours[between, :2]].mean(axis=1)
        places[between] = 0.5 * places[between] + 0.5 * middle
    return places


def _fit(places: Floats, size: tuple[int, int], bottom: float, unit: float) -> Floats:
    """The places in pixels, above the legend, with a margin for names."""
    low = np.array([70 * unit, bottom + 20 * unit])
    high = np.array([size[0] - 70 * unit, size[1] - 30 * unit])
    scale = np.min((high - low) / np.ptp(places, axis=0))
    return (low + high) / 2 + (places - (places.min(axis=0) + places.max(axis=0)) / 2) * scale


def _landmarks(tube: Map) -> set[int]:
    """The termini, and the stations of four lines or more."""
    lines: list[set[int]] = [set() for _ in tube.names]
    for (u, _), ids in tube.lines.items():
        lines[u].update(ids)
    return {u for u in range(len(tube.names)) if tube.degree[u] == 1 or len(lines[u]) >= 4}


def _draw_lines(axes: Axes, tube: Map, places: Floats, chosen: frozenset[int], unit: float) -> None:
    for (u, v), ids in tube.lines.items():
        if tuple(places[u]) > tuple(places[v]):
            continue  # each pair once, from west to east, so that its lines keep their order
        inside = not chosen or {u, v} <= chosen
        along = (places[v] - places[u]) / max(float(np.linalg.norm(places[v] - places[u])), 1e-9)
        for i, line in enumerate(ids):
            shift = ((len(ids) - 1) / 2 - i) * LINE * unit * np.array([-along[1], along[0]])
            colour = tube.line_colours[line] if inside else _pale(tube.line_colours[line])
            order = LINES + 0.5 * inside
            draw_line(axes, places[[u, v]] + shift, colour, LINE * unit, order, solid_capstyle="round")
        if chosen and inside:
            for width, alpha in ((30, 0.2), (24, 0.35), (18, 0.6)):
                style = {"alpha": alpha, "solid_capstyle": "round"}
                draw_line(axes, places[[u, v]], BEST, width * unit, LINES + 0.2, **style)


def _draw_journey(axes: Axes, places: Floats, journey: Journey, unit: float) -> None:
    for width, alpha in ((20, 0.2), (15, 0.35), (11, 0.6)):  # softer towards its edge
        style = {"alpha": alpha, "solid_capstyle": "round"}
        draw_line(axes, places[list(journey.best)], BEST, width * unit, GLOW, **style)
    for u, v in dict.fromkeys(pairwise(journey.route)):
        if u != v:
            draw_line(axes, places[[u, v]], PAPER, 9 * unit, ROUTES, solid_capstyle="round")
            draw_line(axes, places[[u, v]], ROUTE, 6 * unit, ROUTES, solid_capstyle="round")
    marks = ((journey.start, START, 2.1), (journey.goal, GOAL, 2.1), (journey.position, AGENT, 1.3))
    for station, colour, radius in marks:
        if station is not None:
            style = {"facecolor": colour, "edgecolor": PAPER, "linewidth": 1.5 * unit, "zorder": MARKS}
            axes.add_artist(Circle(tuple(places[station]), radius * STATION * unit, **style))


def _draw_stations(axes: Axes, tube: Map, places: Floats, chosen: frozenset[int], unit: float) -> None:
    for u, place in enumerate(places):
        junction = tube.degree[u] > 2
        rim = INK if not chosen or u in chosen else _pale(INK)
        radius = (STATION if junction or u in chosen else 0.55 * STATION) * unit
        width = (1.5 if junction or u in chosen else 0.8) * unit
        order = STATIONS + 0.5 * (u in chosen)
        axes.add_artist(Circle(tuple(place), radius, facecolor="white", edgecolor=rim, linewidth=width, zorder=order))


def _draw_names(
    axes: Axes, tube: Map, places: Floats, named: Collection[int], size: tuple[int, int], unit: float
) -> None:
    font_size = max(NAME * unit, 7.0)
    order = sorted(named)
    ways = [line_breaks(tube.names[u]) for u in order]
    segments = np.array([places[list(pair)] for pair in tube.lines if pair[0] < pair[1]])
    placed = place_names(
        stations=places[order],
        radii=np.full(len(order), STATION * unit),
        sizes=[[text_size(way, font_size, True) for way in each] for each in ways],
        segments=segments,
        widths=np.full(len(segments), 2 * LINE * unit),
        boxes=np.zeros((0, 4)),
        bounds=(4.0, 4.0, size[0] - 4.0, size[1] - 4.0),
        gap=6 * unit,
    )
    outline = [withStroke(linewidth=3 * unit, foreground=PAPER)]
    for each, (way, x, y) in zip(ways, placed, strict=True):
        draw_text(axes, x, y, each[way], font_size, INK, NAMES, weight="bold", path_effects=outline)


def _pale(colour: str) -> str:
    """A colour mixed with three times as much of the paper's."""
    red, green, blue = 0.25 * np.array(to_rgb(colour)) + 0.75 * np.array(to_rgb(PAPER))
    return to_hex((red, green, blue))
