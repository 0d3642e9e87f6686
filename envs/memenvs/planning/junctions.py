"""The junctions and termini of the London Underground, and the ways between them without the stations on the way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from memenvs.graph.map import Map, load_map


@dataclass(frozen=True)
class Junctions:
    """A graph of n stations with ways in both directions. Arrays are read-only and padded with -1.

    :param stations: (n,) numbers in :class:`memenvs.graph.map.Map` of the stations that have not two neighbours there
    :param degree: (n,) number of ways
    :param neighbours: (n, most) where the ways lead, clockwise by their bearings, from south over west, north and east
    :param bearings: (n, most) the directions of these stations in radians, clockwise from north, from -π to π
    :param slots: (n, most) the place of the station itself among those of the neighbour
    :param colours: for every ordered pair of such neighbours, as numbers in the map, the colours of lines that run all
        the way
    """

    stations: NDArray[np.int16]
    degree: NDArray[np.int16]
    neighbours: NDArray[np.int16]
    bearings: NDArray[np.float64]
    slots: NDArray[np.int16]
    colours: dict[tuple[int, int], list[str]]


@cache
def load_junctions() -> Junctions:
    """Contract the map. Of several ways between the same two stations one is left, with the lines of all."""
    tube = load_map()
    stations = np.flatnonzero(tube.degree != 2).astype(np.int16)
    number = {station: i for i, station in enumerate(stations.tolist())}
    lines: dict[tuple[int, int], set[int]] = {}
    for u in number:
        for first in tube.neighbours[u, : tube.degree[u]].tolist():
            v, through = follow(tube, u, first)
            lines.setdefault((u, v), set()).update(through)
    most = max(sum(u == v for v, _ in lines) for u in number)
    shape = (len(stations), most)
    neighbours, slots = np.full(shape, -1, np.int16), np.full(shape, -1, np.int16)
    bearings = np.full(shape, -1.0)
    for u, i in number.items():
        ends = sorted((bearing(tube.coordinates[u], tube.coordinates[v]), number[v]) for w, v in lines if w == u)
        neighbours[i, : len(ends)] = [end for _, end in ends]
        bearings[i, : len(ends)] = [angle for angle, _ in ends]
    degree = (neighbours >= 0).sum(axis=1).astype(np.int16)
    for i, j in np.argwhere(neighbours >= 0):
        slots[i, j] = np.flatnonzero(neighbours[neighbours[i, j]] == i)[0]
    for array in (stations, degree, neighbours, bearings, slots):
        array.setflags(write=False)
    colours = {pair: [tube.line_colours[line] for line in sorted(run)] for pair, run in lines.items()}
    return Junctions(stations, degree, neighbours, bearings, slots, colours)


def follow(tube: Map, station: int, following: int) -> tuple[int, set[int]]:
    """Go on along a line to the next station that has not two neighbours.

    :param station: where the way begins
    :param following: the first station on it
    :return: its end, and the lines that run all the way (where none does, those of the first stretch)
    """
    through = first = set(tube.lines[station, following])
    while tube.degree[following] == 2:
        ahead = next(v for v in tube.neighbours[following, :2].tolist() if v != station)
        station, following = following, ahead
        through = through & set(tube.lines[station, following])
    return following, through or first


def bearing(here: NDArray[np.float64], there: NDArray[np.float64]) -> float:
    """Return the direction in which a great circle leaves for another place, in radians clockwise from north.

    :param here: longitude and latitude in degrees
    :param there: likewise
    """
    (east, north), (far_east, far_north) = np.radians(here), np.radians(there)
    across = np.sin(far_east - east) * np.cos(far_north)
    along = np.cos(north) * np.sin(far_north) - np.sin(north) * np.cos(far_north) * np.cos(far_east - east)
    return float(np.arctan2(across, along))
