"""A schematic map from true positions: even spacing and lines at multiples of 45°, as on a tube map.

Stations sit on a grid and move one at a time to the best cell nearby, as in Stott, Rodgers, Martínez-Ovando and Walker,
"Automatic metro map layout using multicriteria optimization" (IEEE TVCG 17(1), 2011); the criteria are fewer here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LENGTH = 4.0  # cells between two adjacent stations, if nothing else matters
CLEARANCE = 2.0  # cells to keep between a station and another, and between a station and a line that passes it by
SWEEP_RADII = (4, 4, 3, 3, 2, 2, 1, 1, 1, 1)  # how far a station may move, from sweep to sweep


def schematic(points: ArrayLike, edges: Sequence[tuple[int, int]]) -> Floats:
    """Return positions of the stations on a schematic map that keeps the orientation of the true one.

    :param points: (n, 2) true positions on a plane; only their proportions matter
    :param edges: pairs of adjacent stations; direction and repetition do not matter
    :return: (n, 2) whole numbers; adjacent stations are about ``LENGTH`` apart, no two are at the same place
    """
    true = np.asarray(points, dtype=np.float64)
    pairs = np.array(sorted({(min(u, v), max(u, v)) for u, v in edges}), dtype=np.intp).reshape(-1, 2)
    if len(true) < 2:
        return np.zeros_like(true)
    true = true * (LENGTH / _typical_length(true, pairs))
    places = np.round(_separate(true))
    for radius in SWEEP_RADII:
        moved = False
        for node in range(len(places)):
            candidates = places[node] + _square(radius)
            costs = _costs(node, candidates, places, true, pairs)
            best = candidates[np.argmin(costs)]  # the first of the square is the present place, which wins ties
            moved |= bool((best != places[node]).any())
            places[node] = best
        if not moved and radius == 1:
            break
    return places


def _typical_length(points: Floats, pairs: NDArray[np.intp]) -> float:
    """The median length of an edge; of the distance to the nearest other station where there are no edges."""
    if len(pairs):
        lengths = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    else:
        lengths = (np.linalg.norm(points[:, None] - points, axis=2) + np.diag([np.inf] * len(points))).min(axis=0)
    return float(np.median(lengths)) or float(np.ptp(points)) or 1.0


def _separate(points: Floats) -> Floats:
    """Push stations apart that are closer than the clearance, a little at a time; equal points part along a circle."""
    angles = np.arange(len(points)) * 2.4  # the golden angle: no two stations are pushed the same way
    points = points + 0.01 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for _ in range(50):
        between = points[:, None] - points  # (n, n, 2)
        distance = np.linalg.norm(between, axis=2) + np.eye(len(points))
        push = np.clip(CLEARANCE - distance, 0, None) * (1 - np.eye(len(points)))
        if push.max() < 0.01:
            break
        points = points + 0.3 * (between * (push / distance)[..., None]).sum(axis=1)
    return points


def _square(radius: int) -> Floats:
    """The offsets of a square of cells, nearest first."""
    steps = np.arange(-radius, radius + 1, dtype=np.float64)
    offsets = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    return offsets[np.argsort(np.hypot(*offsets.T), kind="stable")]


def _costs(node: int, candidates: Floats, places: Floats, true: Floats, pairs: NDArray[np.intp]) -> Floats:
    """The cost (C,) of each of C candidate places (C, 2) of one station, all others staying where they are."""
    touching = (pairs == node).any(axis=1)
    ends = pairs[touching].sum(axis=1) - node  # the neighbours, d of them
    others = np.delete(np.arange(len(places)), node)
    rays = places[ends] - candidates[:, None]  # (C, d, 2)
    lengths = np.linalg.norm(rays, axis=2)
    angles = np.arctan2(rays[..., 1], rays[..., 0])
    turned = _turn(angles - np.arctan2(*(true[ends] - true[node]).T[::-1]))

    cost = 4.0 * np.abs(np.sin(4 * angles)).sum(axis=1)  # off the eight directions
    cost += 3.0 * ((lengths / LENGTH - 1) ** 2).sum(axis=1)
    cost += 2.0 * (turned**2).sum(axis=1)

    away = places[others] - candidates[:, None]  # (C, n - 1, 2)
    cost += 8.0 * _closeness(np.linalg.norm(away, axis=2), 1.5 * CLEARANCE).sum(axis=1)
    wrong_way = _turn(np.arctan2(away[..., 1], away[..., 0]) - np.arctan2(*(true[others] - true[node]).T[::-1]))
    cost += 0.3 * (wrong_way**2).mean(axis=1)

    starts, stops = places[pairs[~touching]].transpose(1, 0, 2)  # the m edges elsewhere
    cost += 6.0 * _closeness(_distance(candidates[:, None], starts, stops), CLEARANCE).sum(axis=1)
    for end, ray in zip(ends, rays.transpose(1, 0, 2), strict=True):
        passed = others[others != end]
        near = _distance(places[passed], candidates[:, None], (candidates + ray)[:, None])
        cost += 6.0 * _closeness(near, CLEARANCE).sum(axis=1)
        apart = ~(pairs[~touching] == end).any(axis=1)
        cost += 10.0 * _cross(candidates[:, None], places[end], starts[apart], stops[apart]).sum(axis=1)
    return cost


def _turn(angles: Floats) -> Floats:
    """Return angles brought into -π … π."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


def _closeness(distances: Floats, clearance: float) -> Floats:
    """Return 0 at the clearance and beyond, rising steeply to 5 where things touch."""
    near = np.clip(1 - distances / clearance, 0, None)
    return near + 4 * near**4


def _distance(points: Floats, starts: Floats, stops: Floats) -> Floats:
    """Return the distances from points (…, 2) to segments, broadcast."""
    along = stops - starts
    share = ((points - starts) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
    return np.linalg.norm(points - starts - np.clip(share, 0, 1)[..., None] * along, axis=-1)


def _cross(a: Floats, b: Floats, c: Floats, d: Floats) -> NDArray[np.bool_]:
    """Return whether segments a-b and c-d cross, broadcast."""

    def side(p: Floats, q: Floats, r: Floats) -> Floats:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
