"""The layout of a graph's picture, in pixels: everything that stays the same from frame to frame of an episode."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memenvs.graph.map import load_map
from memenvs.graph.name_placement import line_breaks, place_names
from memenvs.graph.schematic import schematic
from memenvs.render import text_size

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]  # left, bottom, right, top

# Measures in units; a unit is a pixel on a picture of 640 × 480.
LINE = 7.0  # width of one line
STATION = 11.0  # radius of a circle
NAME = 13.0  # size of a name's letters
EXIT = 10.0  # and of an exit's label
KEY = 11.0  # and of the legend
LONGEST, SHORTEST = 175.0, 60.0  # how a typical edge may grow to fill the picture; what the shortest edge needs
SMALLEST_UNIT, READABLE_UNIT = 0.62, 0.8  # on a small picture (letters of 8 pixels), on a crowded one

PLAIN = "#8B93A3"  # the colour of edges without lines
JOURNEY_KEYS = ("start", "goal", "agent", "exit", "best route", "route taken")


class Exit(NamedTuple):
    """The badge with an exit's label: its centre and its text."""

    x: float
    y: float
    text: str


class Name(NamedTuple):
    """A station's name: the centre of the text and the text, perhaps on two lines."""

    x: float
    y: float
    text: str


class Key(NamedTuple):
    """An entry of the legend: left end and height of its symbol, its text and, of a line, its colour."""

    x: float
    y: float
    text: str
    colour: str | None


class Layout(NamedTuple):
    """The places of everything on a picture. Pairs in ``lines`` run from west to east, or from south to north."""

    unit: float
    legend_unit: float  # the unit of a picture that is not crowded
    places: Floats  # (n, 2) centres of the stations
    radii: Floats  # (n,) of their circles
    lines: dict[tuple[int, int], tuple[str, ...]]  # the colours of the lines side by side, by pair of stations
    exits: dict[tuple[int, int], Exit]  # by directed edge
    names: list[Name]
    legend: list[Key]


@lru_cache(maxsize=64)
def arrange(
    points: bytes,
    edges: tuple[tuple[int, int, str], ...],
    names: tuple[str, ...],
    colours: tuple[tuple[str, ...], ...] | None,
    size: tuple[int, int],
    headed: bool = False,
) -> Layout:
    """Lay out a graph; arguments are hashable, so that an episode's frames compute it once.

    :param points: the bytes of (n, 2) true positions, float64
    :param edges: directed edges (u, v, label)
    :param names: of the n stations
    :param colours: for each edge those of its lines, or None
    :param size: width and height in pixels
    :param headed: leave room for a line of text at the top
    """
    lines: dict[tuple[int, int], tuple[str, ...]] = {}
    for i, (u, v, _) in enumerate(edges):
        pair = (min(u, v), max(u, v))
        lines[pair] = tuple(dict.fromkeys(lines.get(pair, ()) + ((PLAIN,) if colours is None else colours[i])))
    cells = schematic(np.frombuffer(points).reshape(-1, 2), list(lines))
    lines = {(u, v) if tuple(cells[u]) <= tuple(cells[v]) else (v, u): strands for (u, v), strands in lines.items()}
    bundle = np.zeros(len(cells))  # the most lines side by side at a station
    for pair, strands in lines.items():
        bundle[list(pair)] = np.maximum(bundle[list(pair)], len(strands))

    unit = float(np.clip(min(size[0] / 640, size[1] / 480), SMALLEST_UNIT, 4.0))
    used = {colour for strands in lines.values() for colour in strands}
    legend = legend_rows([[(key, None) for key in JOURNEY_KEYS], line_keys(used)], size[0], unit)
    low = max(key.y for key in legend) + 22 * unit
    area = (14 * unit, low, size[0] - 14 * unit, size[1] - (30 if headed else 14) * unit)
    legend_unit, margins = unit, np.array([80.0, 30.0, 80.0, 30.0]) * unit
    for _ in range(3):  # names need room that is known only once they are placed
        places = _fit(cells, area, margins, LONGEST * legend_unit)
        unit = min(unit, max(READABLE_UNIT, _shortest(places, lines) / SHORTEST))
        radii = np.maximum(STATION, LINE / 2 * bundle + 5) * unit
        exits = _place_exits(places, radii, edges, unit)
        placed = _place_names(places, radii, names, lines, exits, area, unit)
        margins = _room_for_names(places, placed, unit)
    return Layout(unit, legend_unit, places, radii, lines, exits, placed, legend)


def badge(exit: Exit, unit: float) -> Box:
    """The box around an exit's label."""
    half = max(text_size(exit.text, EXIT * unit, True)[0] / 2 + 4 * unit, 8 * unit)
    return exit.x - half, exit.y - 8 * unit, exit.x + half, exit.y + 8 * unit


def line_keys(colours: Collection[str]) -> list[tuple[str, str]]:
    """Return name and colour of those lines of the real map whose colours are given."""
    tube = load_map()
    return [pair for pair in zip(tube.line_names, tube.line_colours, strict=True) if pair[1] in colours]


def legend_rows(groups: Sequence[Sequence[tuple[str, str | None]]], width: float, unit: float) -> list[Key]:
    """Return the entries of a legend, in rows along the bottom; every group of (text, colour) begins a row."""
    rows: list[list[tuple[float, str, str | None]]] = []
    for group in groups:
        x = np.inf
        for text, colour in group:
            room = text_size(text, KEY * unit)[0] + 50 * unit
            if x + room > width:
                rows.append([])
                x = 16 * unit
            rows[-1].append((x, text, colour))
            x += room
    heights = [(20 * i - 4) * unit for i in range(len(rows), 0, -1)]
    return [Key(x, y, text, colour) for row, y in zip(rows, heights, strict=True) for x, text, colour in row]


def _shortest(places: Floats, lines: Mapping[tuple[int, int], Sequence[str]]) -> float:
    """The length of the shortest edge, in pixels."""
    return min((float(np.linalg.norm(places[u] - places[v])) for u, v in lines), default=np.inf)


def _fit(cells: Floats, area: Box, margins: Floats, longest: float) -> Floats:
    """Scale the grid to the area less its margins, by the same factor in both directions."""
    low, high = np.array(area[:2]) + margins[:2], np.array(area[2:]) - margins[2:]
    scale = np.min((high - low) / np.maximum(np.ptp(cells, axis=0), 1e-9))
    middle = (cells.min(axis=0) + cells.max(axis=0)) / 2
    return (low + high) / 2 + (cells - middle) * np.clip(scale, 1.0, longest / 4)


def _place_exits(
    places: Floats, radii: Floats, edges: Sequence[tuple[int, int, str]], unit: float
) -> dict[tuple[int, int], Exit]:
    """Place each badge on its edge near the station, further out where it would cover another."""
    texts: dict[tuple[int, int], str] = {}
    for u, v, label in edges:
        texts[u, v] = f"{texts[u, v]} {label}" if (u, v) in texts else label
    exits: dict[tuple[int, int], Exit] = {}
    for (u, v), text in texts.items():
        length = max(float(np.linalg.norm(places[v] - places[u])), 1e-9)
        first = min(radii[u] + 13 * unit, 0.36 * length)
        last = max(first, min(first + 30 * unit, 0.42 * length))
        spots = places[u] + (places[v] - places[u]) * (np.linspace(first, last, 5) / length)[:, None]
        taken = np.array([[exit.x, exit.y] for exit in exits.values()]).reshape(-1, 2)
        gaps = np.linalg.norm(spots[:, None] - taken, axis=2).min(axis=1, initial=np.inf)
        free = np.flatnonzero(gaps > 19 * unit)
        x, y = spots[free[0] if len(free) else int(np.argmax(gaps))]
        exits[u, v] = Exit(float(x), float(y), text)
    return exits


def _place_names(
    places: Floats,
    radii: Floats,
    names: Sequence[str],
    lines: Mapping[tuple[int, int], Sequence[str]],
    exits: Mapping[tuple[int, int], Exit],
    area: Box,
    unit: float,
) -> list[Name]:
    """Choose for every name a place that covers no line (with the route beside it), exit, station or other name."""
    ways = [line_breaks(name) for name in names]
    sizes = []
    for each in ways:
        measured = [text_size(way, NAME * unit, True) for way in each]
        sizes.append([(width + 6 * unit, height + 2 * unit) for width, height in measured])
    segments = np.array([[places[u], places[v]] for u, v in lines]).reshape(-1, 2, 2)
    widths = np.array([LINE * len(strands) + 14 for strands in lines.values()]) * unit
    boxes = np.array([badge(exit, unit) for exit in exits.values()]).reshape(-1, 4)
    placed = place_names(places, radii, sizes, segments, widths, boxes, area, 6 * unit)
    return [Name(x, y, each[way]) for each, (way, x, y) in zip(ways, placed, strict=True)]


def _room_for_names(places: Floats, names: Sequence[Name], unit: float) -> Floats:
    """Return how far the names, as placed, reach beyond the stations: left, below, right, above."""
    low, high = [places.min(axis=0) - 24 * unit], [places.max(axis=0) + 24 * unit]
    for x, y, text in names:
        half = np.array(text_size(text, NAME * unit, True)) / 2 + 3 * unit
        low.append(np.array([x, y]) - half)
        high.append(np.array([x, y]) + half)
    return np.concatenate([places.min(axis=0) - np.min(low, axis=0), np.max(high, axis=0) - places.max(axis=0)])
