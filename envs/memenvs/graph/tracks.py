"""The Underground as a graph whose edges are lines: the whole network, and the interchanges of Zone 1.

Two stations between which several lines run are joined by an edge for each line and direction. The *way* of an edge is
its line and direction, by which exits can be labelled. Every line is cut into tracks. A line that extends more from
south to north than from west to east has tracks to the north, another to the east: they begin at the southern or
western ends, and where the line branches they keep most to their heading. The direction of an edge is along its track
or against it. No two exits of a station have the same way: where a line branches and two exits have the same line and
direction, all but that of the first track have a spare way of that line and direction, which the other branchings of
the line share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memenvs.graph.map import Map, load_map

ZONE_1 = 2.0  # its stations are in a zone below this: those on its border with Zone 2 belong to both


@dataclass(frozen=True)
class Tracks:
    """A graph of stations of the map, joined by lines.

    :param nodes: (n,) the stations, as numbered in the map
    :param edges: (source, destination, way) of every directed edge, stations numbered as in ``nodes``, sorted
    :param ways: (line, direction, spare) of every way: the line's number, 1 along its tracks or -1 against them, and 0
        or the number of the spare
    """

    nodes: list[int]
    edges: list[tuple[int, int, int]]
    ways: list[tuple[int, int, int]]

    @property
    def most_exits(self) -> int:
        """The most edges that leave a station."""
        return int(np.bincount([u for u, _, _ in self.edges]).max())

    def lines(self, u: int, v: int) -> list[int]:
        """The lines from a station to another, both as numbered in the map."""
        return sorted(self.ways[way][0] for a, b, way in self.edges if (self.nodes[a], self.nodes[b]) == (u, v))


@cache
def network() -> Tracks:
    """Return all 270 stations, with an edge for every line and direction between adjacent ones: 752 edges."""
    edges = [(u, v, way) for u, leaving in enumerate(_exits()) for (v, _), way in leaving.items()]
    return _numbered(list(range(len(load_map().names))), edges)


@cache
def zone_1() -> Tracks:
    """The 43 stations of Zone 1 on two lines or more, with an edge for every line and direction: 212 edges.

    An edge follows its line, within Zone 1, past all stations of one line to the next interchange.
    """
    tube = load_map()
    exits = [
        {(v, line): way for (v, line), way in leaving.items() if tube.zones[u] < ZONE_1 and tube.zones[v] < ZONE_1}
        for u, leaving in enumerate(_exits())
    ]
    nodes = [u for u, leaving in enumerate(exits) if len({line for _, line in leaving}) >= 2]
    edges = []
    for u in nodes:
        for (v, line), way in exits[u].items():
            before, here = u, v
            while here not in nodes:
                onward = [w for w, other in exits[here] if other == line and w != before]
                if len(onward) != 1:  # the line ends before it comes to an interchange
                    break
                before, here = here, onward[0]
            else:
                edges.append((nodes.index(u), nodes.index(here), way))
    return _numbered(nodes, edges)


def _numbered(nodes: list[int], edges: list[tuple[int, int, tuple[int, int, int]]]) -> Tracks:
    """The graph with its ways numbered in their order."""
    ways = sorted({way for _, _, way in edges})
    return Tracks(nodes, sorted((u, v, ways.index(way)) for u, v, way in edges), ways)


@cache
def _exits() -> list[dict[tuple[int, int], tuple[int, int, int]]]:
    """Return for every station the way of each exit, by (next station, line)."""
    tube = load_map()
    found: list[dict[tuple[int, int], tuple[int, int, int]]] = [{} for _ in tube.names]
    for line in range(len(tube.line_names)):
        for track in _tracks(tube, line):
            for u, v in pairwise(track):
                for a, b, direction in ((u, v, 1), (v, u, -1)):
                    spare = sum(way[:2] == (line, direction) for way in found[a].values())
                    found[a][b, line] = (line, direction, spare)
    return found


def _tracks(tube: Map, line: int) -> list[list[int]]:
    """A line cut into tracks, each a list of stations; every connection belongs to one of them."""
    left: dict[int, set[int]] = {}
    for (u, v), lines in tube.lines.items():
        if line in lines:
            left.setdefault(u, set()).add(v)
    axis = int(np.argmax(np.ptp(tube.positions[sorted(left)], axis=0)))  # 0: eastwards, 1: northwards
    height = tube.positions[:, axis]
    ends = sorted((u for u in left if len(left[u]) == 1), key=lambda u: height[u])
    tracks = []
    while any(left.values()):
        start = next((u for u in ends if left[u]), None)
        if start is None:
            start = min((u for u in left if left[u]), key=lambda u: height[u])
        track = [start]
        while left[track[-1]]:
            here = track[-1]
            onward = max(sorted(left[here]), key=lambda v: _rise(tube.positions[v] - tube.positions[here], axis))
            left[here].remove(onward)
            left[onward].remove(here)
            track.append(onward)
        tracks.append(track if height[track[0]] <= height[track[-1]] else track[::-1])
    return tracks


def _rise(along: NDArray[np.float64], axis: int) -> float:
    """Return how far a step leads along an axis, from -1 straight back to 1 straight on."""
    return float(along[axis] / np.linalg.norm(along))
