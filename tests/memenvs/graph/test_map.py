"""The data of the Underground against what is known of the network."""

import csv
import dataclasses
from importlib import resources

import networkx as nx
import numpy as np
import pytest

from memenvs.graph.map import load_map


@pytest.fixture(scope="module")
def graph():
    tube = load_map()
    graph = nx.MultiGraph()
    graph.add_nodes_from(range(len(tube.names)))
    graph.add_edges_from((u, v, line) for (u, v), lines in tube.lines.items() if u < v for line in lines)
    return graph


def test_counts_of_the_network(graph):
    tube = load_map()
    assert len(tube.names) == len(set(tube.names)) == 270
    assert len(tube.line_names) == len(set(tube.line_colours)) == 11
    assert graph.number_of_edges() == 376
    assert nx.Graph(graph).number_of_edges() == 311
    assert len(tube.lines) == 622


def test_connected_with_diameter_39(graph):
    assert nx.is_connected(graph)
    assert nx.diameter(nx.Graph(graph)) == 39


def test_the_busiest_stations():
    tube = load_map()
    assert tube.degree.max() == 7 == tube.neighbours.shape[1]
    assert [tube.names[i] for i in np.flatnonzero(tube.degree == 7)] == ["Baker Street", "King's Cross St. Pancras"]


def test_neighbours_degree_and_lines_say_the_same(graph):
    tube = load_map()
    for station in range(270):
        row = tube.neighbours[station]
        assert list(row[: tube.degree[station]]) == sorted(set(graph[station]))
        assert (row[tube.degree[station] :] == -1).all()
        for neighbour in graph[station]:
            lines = sorted(graph[station][neighbour])
            assert lines == tube.lines[station, neighbour] == tube.lines[neighbour, station]


def test_every_line_is_one_piece(graph):
    for line in range(11):
        stations = nx.Graph((u, v) for u, v, key in graph.edges(keys=True) if key == line)
        assert nx.is_connected(stations)


def test_some_facts_by_name():
    tube = load_map()
    bank, waterloo = tube.names.index("Bank"), tube.names.index("Waterloo")
    assert [tube.line_names[line] for line in tube.lines[bank, waterloo]] == ["Waterloo & City"]
    baker, edgware = tube.names.index("Baker Street"), tube.names.index("Edgware Road (Circle)")
    assert tube.colours(baker, edgware) == ["#FFD300", "#F3A9BB"]
    assert tube.zones[bank] == 1
    assert all(colour[0] == "#" and int(colour[1:], 16) >= 0 and len(colour) == 7 for colour in tube.line_colours)


def test_positions_are_kilometres():
    tube = load_map()
    longitude, latitude = np.radians(tube.coordinates).T
    rng = np.random.default_rng(0)
    for a, b in rng.integers(0, 270, size=(50, 2)):
        haversine = np.sin((latitude[a] - latitude[b]) / 2) ** 2
        haversine += np.cos(latitude[a]) * np.cos(latitude[b]) * np.sin((longitude[a] - longitude[b]) / 2) ** 2
        great_circle = 2 * 6371 * np.arcsin(np.sqrt(haversine))
        assert np.linalg.norm(tube.positions[a] - tube.positions[b]) == pytest.approx(great_circle, rel=0.01)
    place = dict(zip(tube.names, tube.positions, strict=True))
    assert place["Heathrow Terminal 5"][0] < place["Epping"][0]
    assert place["Morden"][1] < place["High Barnet"][1]


def test_ids_of_the_tables_are_the_row_numbers():
    for name in ("stations.csv", "lines.csv"):
        with resources.files("memenvs.graph").joinpath("data", name).open(encoding="utf-8") as file:
            assert [int(row["id"]) for row in csv.DictReader(file)] == list(range(270 if name[0] == "s" else 11))


def test_read_once_and_read_only():
    tube = load_map()
    assert load_map() is tube
    assert tube.coordinates.dtype == np.float64
    assert tube.neighbours.dtype == tube.degree.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        tube.coordinates[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        tube.names = []
