"""Placement of the stations' names, so that they cover neither the lines nor one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The direction of the name and what it costs: straight to the side is best, then above and below, then the corners.
DIRECTIONS = np.array(
    [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1), (0.5, 1), (-0.5, 1), (0.5, -1), (-0.5, -1)]
)
DIRECTION_COST = np.array([0.0, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5, 0.5, 0.5])
DISTANCES = (1.0, 1.8)  # times the gap between the station and its name
TWO_LINES_FROM = 13  # letters


def line_breaks(name: str) -> list[str]:
    """The ways to write a name: on one line and, if it is long, on two of about equal length."""
    spaces = [i for i, letter in enumerate(name) if letter == " "]
    if len(name) < TWO_LINES_FROM or not spaces:
        return [name]
    middle = min(spaces, key=lambda i: abs(2 * i + 1 - len(name)))
    return [name, name[:middle] + "\n" + name[middle + 1 :]]


def place_names(
    stations: Floats,
    radii: Floats,
    sizes: Sequence[Sequence[tuple[float, float]]],
    segments: Floats,
    widths: Floats,
    boxes: Floats,
    bounds: tuple[float, float, float, float],
    gap: float,
) -> list[tuple[int, float, float]]:
    """Choose a place for each of n names; the choices are improved in turn until none gets better.

    :param stations: (n, 2) centres, in pixels
    :param radii: (n,) of the circles drawn there
    :param sizes: for each name, (width, height) of every way to write it
    :param segments: (m, 2, 2) the lines of the map
    :param widths: (m,) of the lines
    :param boxes: (b, 4) other things not to cover, as left, bottom, right, top
    :param bounds: left, bottom, right and top of the picture
    :param gap: between a station and its name
    :return: for each name, which way to write it, and the centre of the text
    """
    options = [_options(*station, gap) for station in zip(stations, radii, sizes, strict=True)]
    circles = np.concatenate([stations - radii[:, None] - gap / 2, stations + radii[:, None] + gap / 2], axis=1)
    fixed = []
    for i, (_, rectangles, cost) in enumerate(options):
        cost = cost + 6.0 * _overlap(rectangles, np.delete(circles, i, axis=0)).sum(axis=1)
        cost += 6.0 * _overlap(rectangles, boxes).sum(axis=1)
        cost += 3.0 * _covered(rectangles, segments, widths / 2).sum(axis=1) / gap
        reach = _reach(rectangles, stations)  # (k, n)
        cost += 2.0 * (np.delete(reach, i, axis=1) < reach[:, i : i + 1] + gap).sum(axis=1)  # whose name is it?
        outside = np.clip(np.array(bounds[:2]) - rectangles[:, :2], 0, None).sum(axis=1)
        outside += np.clip(rectangles[:, 2:] - np.array(bounds[2:]), 0, None).sum(axis=1)
        fixed.append(cost + outside)
    chosen = [int(np.argmin(cost)) for cost in fixed]
    for _ in range(10):
        before = list(chosen)
        for i, (_, rectangles, _) in enumerate(options):
            others = np.array([options[j][1][chosen[j]] for j in range(len(options)) if j != i]).reshape(-1, 4)
            chosen[i] = int(np.argmin(fixed[i] + 20.0 * _overlap(rectangles, others).sum(axis=1)))
        if chosen == before:
            break
    places = []
    for (ways, rectangles, _), choice in zip(options, chosen, strict=True):
        left, bottom, right, top = rectangles[choice]
        places.append((int(ways[choice]), float(left + right) / 2, float(bottom + top) / 2))
    return places


def _options(
    station: Floats, radius: float, sizes: Sequence[tuple[float, float]], gap: float
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Return all places of one name: the way of writing (k,), the rectangle (k, 4), the cost of the place (k,)."""
    ways, rectangles, costs = [], [], []
    for way, size in enumerate(sizes):
        for distance in DISTANCES:
            half = np.array(size) / 2
            nearer = np.where((np.abs(DIRECTIONS) == 1).all(axis=1), 0.75, 1.0)  # or corners would be farther away
            centre = station + DIRECTIONS * (nearer[:, None] * (radius + gap * distance) + half)
            rectangles.append(np.concatenate([centre - half, centre + half], axis=1))
            costs.append(DIRECTION_COST + 0.25 * way + 0.8 * (distance - 1))
            ways.append(np.full(len(DIRECTIONS), way))
    return np.concatenate(ways), np.concatenate(rectangles), np.concatenate(costs)


def _overlap(rectangles: Floats, others: Floats) -> Floats:
    """Return (k, b) for rectangles and others: 0 apart, else from 1 where they touch to 2 where one covers one."""
    low = np.maximum(rectangles[:, None, :2], others[None, :, :2])
    high = np.minimum(rectangles[:, None, 2:], others[None, :, 2:])
    area = np.clip(high - low, 0, None).prod(axis=2)
    smaller = np.minimum(_area(rectangles)[:, None], _area(others)[None])
    return np.where(area > 0, 1 + area / smaller, 0.0)


def _reach(rectangles: Floats, points: Floats) -> Floats:
    """Return (k, n) the distance from each point to each rectangle."""
    away = np.maximum(rectangles[:, None, :2] - points, points - rectangles[:, None, 2:])
    return np.linalg.norm(np.clip(away, 0, None), axis=2)


def _area(rectangles: Floats) -> Floats:
    return (rectangles[:, 2:] - rectangles[:, :2]).prod(axis=1)


def _covered(rectangles: Floats, segments: Floats, margins: Floats) -> Floats:
    """Return (k, m) the length of each segment in each rectangle, grown by the segment's margin (Liang, Barsky)."""
    start, along = segments[:, 0], segments[:, 1] - segments[:, 0]
    step = np.where(np.abs(along) < 1e-9, 1e-9, along)
    low = (rectangles[:, None, :2] - margins[None, :, None] - start) / step  # (k, m, 2)
    high = (rectangles[:, None, 2:] + margins[None, :, None] - start) / step
    enter = np.clip(np.minimum(low, high).max(axis=2), 0, 1)
    leave = np.clip(np.maximum(low, high).min(axis=2), 0, 1)
    return np.clip(leave - enter, 0, None) * np.linalg.norm(along, axis=1)
