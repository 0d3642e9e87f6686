"""The Underground's real maps, labels by line, and graphs that stay the same, against the data and networkx."""

from collections import Counter, defaultdict

import networkx as nx
import numpy as np
import pytest

from memenvs.graph.map import load_map
from memenvs.graph.tracks import network, zone_1
from tests.memenvs.support.undergrounds import edges_of, graph_of, level_of, levels_of, make, single


def lines_of(tracks):
    """(station, station, line, direction, spare) of all edges."""
    return [(tracks.nodes[u], tracks.nodes[v], *tracks.ways[way]) for u, v, way in tracks.edges]


def test_the_whole_network_has_270_stations_and_752_edges():
    tube, tracks = load_map(), network()
    assert (len(tracks.nodes), len(tracks.edges)) == (270, 752)
    assert {(u, v, line) for u, v, line, _, _ in lines_of(tracks)} == {
        (u, v, line) for (u, v), lines in tube.lines.items() for line in lines
    }


def test_zone_1_has_43_interchanges_and_212_edges():
    """Against a plain contraction of the lines by networkx, which knows nothing of tracks."""
    tube, tracks = load_map(), zone_1()
    assert (len(tracks.nodes), len(tracks.edges)) == (43, 212)
    inside = [(u, v, line) for (u, v), lines in tube.lines.items() for line in lines if max(tube.zones[[u, v]]) < 2]
    lines_at = defaultdict(set)
    for u, _, line in inside:
        lines_at[u].add(line)
    interchanges = {u for u, lines in lines_at.items() if len(lines) > 1}
    assert set(tracks.nodes) == interchanges
    expected = Counter()
    for line in range(11):
        graph = nx.Graph((u, v) for u, v, other in inside if other == line)
        plain = graph.subgraph(set(graph) - interchanges)
        for piece in [*nx.connected_components(plain)]:
            ends = {v for u in piece for v in graph[u]} & interchanges
            expected.update((u, v, line) for u in ends for v in ends if u != v)
        expected.update((u, v, line) for a, b in graph.edges for u, v in ((a, b), (b, a)) if {u, v} <= interchanges)
    assert Counter((u, v, line) for u, v, line, _, _ in lines_of(tracks)) == expected
    pairs = Counter((u, line) for u, _, line, _, _ in lines_of(tracks))
    assert (len(pairs), sum(count == 2 for count in pairs.values()), max(pairs.values())) == (116, 96, 2)


@pytest.mark.parametrize("tracks", [network(), zone_1()], ids=["network", "zone1"])
def test_ways_are_lines_and_directions(tracks):
    edges = lines_of(tracks)
    assert len({(u, *way) for u, _, *way in edges}) == len(edges)  # unique at every station
    assert nx.is_strongly_connected(nx.DiGraph((u, v) for u, v, *_ in edges))
    ways = defaultdict(set)
    for u, v, line, direction, _ in edges:
        ways[u, v, line].add(direction)
    assert all(len(directions) == 1 for directions in ways.values())
    turned = sum(ways[u, v, line] == ways[v, u, line] for u, v, line in ways)
    assert turned <= 4  # there and back are opposite, but for the Circle's two ways round between two interchanges
    # Where a line runs straight through, it goes on as the same way; a spare is needed at its branchings only.
    degree = Counter((u, line) for u, _, line, _, _ in edges)
    spares = [(u, line) for u, _, line, _, spare in edges if spare]
    assert 0 < len(spares) < 0.05 * len(edges)
    if len(tracks.nodes) == 270:
        assert all(degree[u, line] > 2 for u, line in spares)
        assert all(
            degree[u, line] > 2 or directions(edges, u, line) == {1, -1} for u, line in degree if degree[u, line] > 1
        )


def directions(edges, station, line):
    return {direction for u, _, other, direction, _ in edges if (u, other) == (station, line)}


def test_directions_by_name():
    tube = load_map()
    way = {(u, v, line): direction for u, v, line, direction, _ in lines_of(network())}

    def direction(line, u, v):
        return way[tube.names.index(u), tube.names.index(v), tube.line_names.index(line)]

    assert (
        direction("Victoria", "Victoria", "Green Park") == direction("Victoria", "Brixton", "Stockwell") == 1
    )  # north
    assert direction("Victoria", "Green Park", "Victoria") == -1
    assert direction("Central", "Bank", "Liverpool Street") == direction("Central", "North Acton", "East Acton") == 1
    assert direction("Northern", "Waterloo", "Embankment") == direction("Northern", "Bank", "Moorgate") == 1
    assert (
        direction("Northern", "Camden Town", "Chalk Farm") == direction("Northern", "Camden Town", "Kentish Town") == 1
    )


# --- as levels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [None, 40, "codes"])
def test_labels_by_line_are_consistent_and_fresh(labels):
    tracks = zone_1()
    drawn = []
    for level in levels_of({"map": "zone1", "distance": (1, 9), "labels": labels}, 20):
        assert [(u, v) for u, _, v in edges_of(level)] == [(u, v) for u, v, _ in tracks.edges]
        label_of = {way: label for (_, _, way), (_, label, _) in zip(tracks.edges, edges_of(level), strict=True)}
        assert all(label_of[w] == label for (_, _, w), (_, label, _) in zip(tracks.edges, edges_of(level), strict=True))
        assert len(set(label_of.values())) == len(tracks.ways)
        drawn.append(tuple(label_of.values()))
        assert level["nodes"][:43].tolist() == tracks.nodes
        assert len(set(level["codes"][:43].tolist())) == 43
    assert len(set(drawn)) == 20
    assert np.min(drawn) >= 0
    assert {None: 24, 40: 39, "codes": 999}[labels] >= np.max(drawn) > {None: 23, 40: 36, "codes": 900}[labels]
    assert len({tuple(level["codes"]) for level in levels_of({"map": "zone1", "distance": (1, 9)}, 20)}) == 20


def test_labels_at_random_on_a_real_map():
    level = levels_of({"map": "zone1", "labels_by": "random", "distance": 3}, 1)[0]
    labels = defaultdict(list)
    for u, label, _ in edges_of(level):
        labels[u].append(label)
    assert all(len(set(at)) == len(at) for at in labels.values())
    assert max(map(max, labels.values())) == 9  # as many as the busiest station has exits


def test_neighbourhoods_with_parallel_lines():
    tracks = network()
    edges = Counter((u, v) for u, v, _ in tracks.edges)
    seen = set()
    for level in levels_of({"map": "underground", "labels_by": "line", "exits": (1, 12), "stations": (4, 8)}):
        nodes = level["nodes"][: level["stations"]].tolist()
        inside = Counter((nodes[u], nodes[v]) for u, _, v in edges_of(level))
        assert inside == {pair: count for pair, count in edges.items() if set(pair) <= set(nodes)}
        assert len({(u, label) for u, label, _ in edges_of(level)}) == level["edges"]
        seen |= set(inside.values())
    assert max(seen) > 1


def test_journeys_on_a_map_that_stays_the_same():
    levels = levels_of({"map": "zone1", "distance": (1, 30)}, 4000)
    graph = graph_of(levels[0])
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    farthest = max(max(of.values()) for of in lengths.values())
    counts = np.bincount(levels["distance"], minlength=farthest + 1)[1:]
    assert counts.size == farthest
    assert np.all(np.abs(counts * farthest / 4000 - 1) < 0.25)
    for level in levels[:200]:
        assert lengths[int(level["start"])][int(level["goal"])] == level["distance"]
        assert level["to_goal"][:43].tolist() == [lengths[u][int(level["goal"])] for u in range(43)]
    envs = make(1, map="zone1", distance=(2, 3))
    assert envs.definition.distinct_levels == sum(2 <= d <= 3 for of in lengths.values() for d in of.values())


def test_the_split_of_a_map_holds_journeys_out():
    queries = {}
    for split in ("train", "test"):
        levels = levels_of({"map": "zone1", "distance": (1, 9), "split": split}, 6000)
        queries[split] = set(zip(levels["start"].tolist(), levels["goal"].tolist(), strict=True))
    assert not queries["train"] & queries["test"]
    assert len(queries["train"] | queries["test"]) > 1700  # of 43 × 42


@pytest.mark.parametrize("map", ["random", "zone1"])
def test_a_fixed_graph_is_the_same_in_all_episodes(map):
    parameters = {"map": map, "fixed": 3, "description": False, "stations": 6, "exits": 3, "distance": (1, 2)}
    envs = make(16, **parameters)
    first, queries = envs.batch.rows["level"][0].copy(), set()
    for _ in range(30):
        for level in envs.batch.rows["level"]:
            for field in ("stations", "edges", "first", "nodes", "codes"):
                assert np.array_equal(level[field], first[field])
            assert edges_of(level) == edges_of(first)
            queries.add((int(level["start"]), int(level["goal"])))
        _, _, _, _, infos = envs.step(np.maximum(envs.oracle(), 0))
        assert infos["decision"].mean() > 0.2
    assert len(queries) > 15
    other = level_of(single(**parameters))
    env = single(**parameters | {"fixed": 4})
    env.reset(seed=0)
    assert not np.array_equal(level_of(env)["codes"], first["codes"])
    assert other.dtype == first.dtype


def test_without_a_description_an_episode_begins_with_the_query():
    env = single(map="zone1", fixed=1, description=False, distance=2)
    observation, info = env.reset(seed=0)
    assert (observation[7], info["decision"]) == (1, False)
    observation, _, _, _, info = env.step(0)
    assert (observation[7], info["decision"]) == (3, True)
    for _ in range(2):
        _, _, end, _, info = env.step(env.oracle())
    assert (end, info["spl"]) == (True, 1.0)


def test_a_damaged_map_is_refused():
    env = single(map="zone1", fixed=1, description=False)
    env.reset(seed=0)
    kept = env.snapshot()
    for field, place, value in (("codes", (0, 5), 5), ("links", (0, 7, 1), 3), ("ways", (0, 7), 90), ("map", 0, 0)):
        row = env.batch.rows.copy()
        row["level"][field][place] = value if row["level"][field][place] != value else value + 1
        with pytest.raises(ValueError, match="damaged"):
            env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    env.restore(kept)


def test_pictures_of_real_maps():
    for parameters in ({"map": "zone1", "distance": 3}, {"map": "network", "distance": 5}):
        env = single(**parameters, description=False, render_mode="rgb_array")
        env.reset(seed=0)
        before = env.render()
        env.step(0)
        env.step(env.oracle())
        assert not np.array_equal(before, env.render())
