"""The map of the London Underground: stations, the lines between them, their colours."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

KM_PER_DEGREE = 111.2  # of latitude; a degree of longitude is shorter by the cosine of the latitude
CENTRE = (-0.1276, 51.5072)  # longitude and latitude of Charing Cross, from which London's distances are measured


@dataclass(frozen=True)
class Map:
    """The network. Stations are numbered from 0 to n - 1 in alphabetical order, lines likewise. Arrays are read-only.

    :param names: the n stations' names
    :param coordinates: (n, 2) longitude and latitude in degrees, rounded to 0.001
    :param zones: (n,) fare zones; 2.5 is the border of zones 2 and 3
    :param neighbours: (n, max_degree) adjacent stations in increasing order, padded with -1
    :param degree: (n,) number of adjacent stations
    :param lines: for every ordered pair of adjacent stations, the lines that run between them, in increasing order
    :param line_names: names of the lines
    :param line_colours: their colours, as "#RRGGBB"
    """

    names: list[str]
    coordinates: NDArray[np.float64]
    zones: NDArray[np.float64]
    neighbours: NDArray[np.int32]
    degree: NDArray[np.int32]
    lines: dict[tuple[int, int], list[int]]
    line_names: list[str]
    line_colours: list[str]

    @property
    def positions(self) -> NDArray[np.float64]:
        """The positions (n, 2) in kilometres east and north of Charing Cross, on a plane, for drawing and distances."""
        scale = KM_PER_DEGREE * np.array([np.cos(np.radians(CENTRE[1])), 1.0])
        return (self.coordinates - np.array(CENTRE)) * scale

    def colours(self, u: int, v: int) -> list[str]:
        """The colours of the lines between two adjacent stations.

        :raises KeyError: if no line runs between them
        """
        return [self.line_colours[line] for line in self.lines[u, v]]


@cache
def load_map() -> Map:
    """The map of the London Underground, read once from the package's own tables."""
    stations, lines = _read_table("stations.csv"), _read_table("lines.csv")
    between: dict[tuple[int, int], list[int]] = {}
    for row in _read_table("connections.csv"):
        u, v, line = int(row["station1"]), int(row["station2"]), int(row["line"])
        between.setdefault((u, v), []).append(line)
        between.setdefault((v, u), []).append(line)
    adjacent = [sorted(v for w, v in between if w == u) for u in range(len(stations))]
    degree = np.array([len(ends) for ends in adjacent], dtype=np.int32)
    neighbours = np.full((len(stations), degree.max()), -1, dtype=np.int32)
    for u, ends in enumerate(adjacent):
        neighbours[u, : len(ends)] = ends
    coordinates = np.array([[float(s["longitude"]), float(s["latitude"])] for s in stations])
    zones = np.array([float(s["zone"]) for s in stations])
    for array in (coordinates, zones, neighbours, degree):
        array.setflags(write=False)
    return Map(
        names=[s["name"] for s in stations],
        coordinates=coordinates,
        zones=zones,
        neighbours=neighbours,
        degree=degree,
        lines={pair: sorted(ids) for pair, ids in between.items()},
        line_names=[line["name"] for line in lines],
        line_colours=["#" + line["colour"] for line in lines],
    )


def _read_table(name: str) -> list[dict[str, str]]:
    """The rows of one of the package's tables, in the order of their ids."""
    with resources.files("memenvs.graph").joinpath("data", name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
