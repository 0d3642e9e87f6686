"""Mazes themselves, against networkx: what the algorithms promise, the goals and landmarks in them, the ways."""

from collections import Counter

import gymnasium as gym
import networkx as nx
import numpy as np
import pytest

from memenvs.grid.cells import DOOR, EMPTY, FLOOR, GOAL, GREY, OPEN, WALL, cell, colour_of, kind_of, state_of
from memenvs.maze.maze import distinct

WAYS = [(1, 0), (0, 1), (-1, 0), (0, -1)]  # right, down, left, up
CORRIDORS = ["backtracker", "kruskal"]
ALGORITHMS = [*CORRIDORS, "rooms"]


def make(n=32, seed=0, **parameters):
    envs = gym.make_vec("memenvs/Maze-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def levels_of(n=32, seed=0, **parameters):
    return make(n, seed, **parameters).batch.rows["level"].copy()


def cells_of(level):
    size = int(level["size"])
    return level["cells"][: size * size].reshape(size, size)


def graph_of(level):
    """The free cells (x, y) and which of them are neighbours."""
    ys, xs = np.nonzero(kind_of(cells_of(level)) != WALL)
    free = set(zip(xs.tolist(), ys.tolist(), strict=True))
    graph = nx.Graph([((x, y), (x + dx, y + dy)) for x, y in free for dx, dy in WAYS if (x + dx, y + dy) in free])
    graph.add_nodes_from(free)
    return graph


def goals_of(level):
    return [tuple(place) for place in level["places"][: level["goals"]].tolist()]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [7, 9, 15, 21, (23, 27), 41])
@pytest.mark.parametrize("loops", [0, 0.2, 1])
def test_every_maze_is_connected_and_closed(algorithm, size, loops):
    sizes = set()
    for level in levels_of(24, size=size, algorithm=algorithm, loops=loops):
        cells, graph, n = cells_of(level), graph_of(level), int(level["size"]) // 2
        sizes.add(2 * n + 1)
        assert nx.is_connected(graph)
        assert (kind_of(cells)[[0, -1]] == WALL).all()
        assert (kind_of(cells)[:, [0, -1]] == WALL).all()
        assert (kind_of(cells)[1::2, 1::2] != WALL).all()
        passages = int(np.sum(kind_of(cells)[1::2, 2:-1:2] != WALL) + np.sum(kind_of(cells)[2:-1:2, 1::2] != WALL))
        if algorithm != "rooms":
            assert (kind_of(cells)[::2, ::2] == WALL).all()
            assert passages >= n * n - 1
            assert nx.is_tree(graph) == (passages == n * n - 1)
            assert loops > 0 or nx.is_tree(graph)
        if loops == 1:
            assert passages == 2 * n * (n - 1)
        bits = level["rows"][: 2 * n + 1, None] >> np.arange(2 * n + 1, dtype=np.uint64) & np.uint64(1)
        assert np.array_equal(bits, kind_of(cells) != WALL)
        bits = level["columns"][: 2 * n + 1, None] >> np.arange(2 * n + 1, dtype=np.uint64) & np.uint64(1)
        assert np.array_equal(bits.T, kind_of(cells) != WALL)
        assert set(np.unique(cells[kind_of(cells) == WALL])) == {cell(WALL, GREY)}
    assert sizes == (set(range(size[0], size[1] + 1, 2)) if isinstance(size, tuple) else {size})


@pytest.mark.parametrize("algorithm", CORRIDORS)
def test_loops_are_a_share_of_the_walls_that_a_tree_leaves(algorithm):
    opened = []
    for level in levels_of(200, size=21, algorithm=algorithm, loops=0.3):
        graph = graph_of(level)
        opened.append(graph.number_of_edges() - graph.number_of_nodes() + 1)
    assert np.mean(opened) == pytest.approx(0.3 * (2 * 10 * 9 - 99), rel=0.03)


def test_the_algorithms_differ_as_they_are_known_to():
    """Dead ends: a tenth of the lattice for recursive backtracking, three in ten for Kruskal's algorithm."""
    share = {}
    for algorithm in CORRIDORS:
        levels = levels_of(60, size=41, algorithm=algorithm, loops=0)
        share[algorithm] = np.mean([sum(d == 1 for _, d in graph_of(level).degree()) / 400 for level in levels])
    assert share["backtracker"] == pytest.approx(0.10, abs=0.015)
    assert share["kruskal"] == pytest.approx(0.30, abs=0.015)


def test_all_trees_of_a_small_lattice_are_drawn():
    """Kruskal's algorithm draws all; backtracking those of depth-first search."""
    lattice = nx.grid_2d_graph(3, 3)
    trees = [nx.Graph(edges) for edges in map(list, (tree.edges for tree in nx.SpanningTreeIterator(lattice)))]
    searched = {frozenset(map(frozenset, tree.edges)) for tree in trees if any(is_searched(tree, r) for r in lattice)}
    everything = {frozenset(map(frozenset, tree.edges)) for tree in trees}
    assert (len(everything), len(searched)) == (192, 88)
    for algorithm, expected in (("kruskal", everything), ("backtracker", searched)):
        drawn = Counter()
        for level in levels_of(6000, size=7, algorithm=algorithm, loops=0):
            free = kind_of(cells_of(level)) != WALL
            edges = [(u, v) for u, v in lattice.edges if free[u[1] + v[1] + 1, u[0] + v[0] + 1]]
            drawn[frozenset(map(frozenset, edges))] += 1
        assert set(drawn) == expected
        assert min(drawn.values()) > 0.2 * 6000 / len(expected)


def is_searched(tree, root):
    """Whether a spanning tree of the lattice is one of depth-first search from a root: its walls join no branches."""
    below = nx.bfs_tree(tree, root)
    walls = nx.difference(nx.grid_2d_graph(3, 3), tree).edges
    return all(nx.has_path(below, u, v) or nx.has_path(below, v, u) for u, v in walls)


def test_rooms_have_one_door_in_each_wall():
    for size, most in ((7, 2), (21, 3), (41, 6)):
        sides = set()
        for level in levels_of(40, size=size, algorithm="rooms", loops=0):
            cells, graph = cells_of(level), graph_of(level)
            doors = {place for place in graph if kind_of(cells[place[1], place[0]]) == DOOR}
            assert all(state_of(cells[y, x]) == OPEN for x, y in doors)
            rooms = list(nx.connected_components(graph.subgraph(set(graph) - doors)))
            for room in rooms:
                xs, ys = {x for x, _ in room}, {y for _, y in room}
                assert len(room) == len(xs) * len(ys)  # a full rectangle
                sides |= {len(xs), len(ys)}
            # Rooms and the doors between them are a tree.
            of = {place: number for number, room in enumerate(rooms) for place in room}
            joined = nx.MultiGraph([[of[p] for p in graph.neighbors(door)] for door in doors])
            assert nx.is_tree(joined)
            assert joined.number_of_nodes() == len(rooms) > 1
        assert max(sides) == 2 * most - 1
        assert min(sides) == 1


def test_doors_stand_in_walls_whatever_the_loops():
    for level in levels_of(20, size=21, algorithm="rooms", loops=0.5):
        kinds = kind_of(cells_of(level))
        for y, x in np.argwhere(kinds == DOOR):
            beside = kinds[[y - 1, y + 1], x] if x % 2 == 0 else kinds[y, [x - 1, x + 1]]
            assert (beside == WALL).all()


def test_goals_lie_in_empty_cells_anywhere():
    levels = levels_of(20_000, size=7, algorithm="backtracker", loops=1, colours=False)
    places = levels["places"][:, 0]
    counts = np.bincount(places[:, 1] * 7 + places[:, 0], minlength=49)
    free = kind_of(levels["cells"][0][:49]) == EMPTY  # the same 21 in all of them
    assert free.sum() == 21
    assert not counts[~free].any()
    assert np.all(np.abs(counts[free] * 21 / 20_000 - 1) < 0.15)
    for level in levels_of(200, size=(7, 15), algorithm="rooms", loops=0.5):
        assert all(kind_of(cells_of(level)[y, x]) == EMPTY for x, y in goals_of(level))


@pytest.mark.parametrize("goals", [2, 3, 6])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_several_goals_are_seen_each_in_its_colour(goals, algorithm):
    for level in levels_of(50, goals=goals, algorithm=algorithm):
        cells, places = cells_of(level), goals_of(level)
        assert len(set(places)) == goals == np.sum(kind_of(cells) == GOAL)
        assert [int(cells[y, x]) for x, y in places] == [cell(GOAL, colour) for colour in range(goals)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_colours_are_landmarks_and_can_be_left_out(algorithm):
    parameters = {"size": 21, "algorithm": algorithm, "loops": 0.2}
    for level in levels_of(20, colours=False, **parameters):
        codes = {cell(WALL, GREY), EMPTY} | ({cell(DOOR, GREY, OPEN)} if algorithm == "rooms" else set())
        assert set(np.unique(cells_of(level))) == codes
    floors = []
    for level in levels_of(100, colours=True, **parameters):
        cells = cells_of(level)
        floors.append(np.bincount(colour_of(cells[kind_of(cells) == FLOOR]), minlength=6))
        if algorithm == "rooms":
            assert len(np.unique(colour_of(cells[kind_of(cells) == DOOR]))) > 3
    assert {sum(counts) for counts in floors} == {2 * 10 * 10 // 8}
    assert np.all(np.abs(np.sum(floors, axis=0) * 6 / 2500 - 1) < 0.2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [7, (17, 25), 41])
def test_ways_are_the_shortest_for_one_who_turns(algorithm, size):
    rows = make(6, size=size, algorithm=algorithm, loops=0.15).batch.rows
    for level, state in zip(rows["level"], rows["state"], strict=True):
        side, graph = int(level["size"]), graph_of(level)
        poses = nx.DiGraph()
        for x, y in graph:
            for d, (dx, dy) in enumerate(WAYS):
                poses.add_edges_from([((x, y, d), (x, y, (d + 1) % 4)), ((x, y, d), (x, y, (d - 1) % 4))])
                if (x + dx, y + dy) in graph:
                    poses.add_edge((x, y, d), (x + dx, y + dy, d))
        (goal,) = goals_of(level)
        poses.add_edges_from([((*goal, d), "goal") for d in range(4)])
        steps = nx.single_source_shortest_path_length(poses.reverse(), "goal")
        table = state["to_goal"][: 4 * side * side].reshape(side, side, 4)
        assert all(table[y, x, d] == steps[x, y, d] - 1 for x, y in graph for d in range(4))
        nearest = {place: min(steps[(*place, d)] - 1 for d in range(4)) for place in graph if place != goal}
        places = [(place % side, place // side) for place in state["places"][: state["free"]].tolist()]
        assert sorted(places) == sorted(nearest)
        assert [nearest[place] for place in places] == sorted(nearest.values())
        assert state["far"] == sum(steps < side // 2 for steps in nearest.values()) < state["free"]


def test_levels_are_held_out_where_there_are_enough():
    assert distinct(7, "kruskal", 1, 1) == 21
    assert distinct(7, "kruskal", 1, 2) == 21 * 20
    with pytest.raises(ValueError, match="61 distinct level"):
        gym.make("memenvs/Maze-v0", size=(7, 9), loops=1, split="train")
    seen = {}
    for split in ("train", "test"):
        levels = levels_of(4000, size=7, loops=0, split=split)
        seen[split] = {(*level["rows"][:7].tolist(), *goals_of(level)[0]) for level in levels}
    assert not seen["train"] & seen["test"]
    assert len(seen["train"] | seen["test"]) > 0.7 * 88 * 17
    assert len(seen["test"]) > 0.08 * 88 * 17


def test_a_fixed_maze_is_the_same_in_all_episodes_and_others_are_others():
    parts = ("rows", "columns", "cells", "places")
    first, again, other = (levels_of(8, seed, size=(7, 11), fixed=fixed) for seed, fixed in ((0, 5), (1, 5), (0, 6)))
    for part in parts:
        assert (first[part] == first[part][:1]).all()
        np.testing.assert_array_equal(first[part], again[part])
    assert any((first[part] != other[part]).any() for part in parts)
    envs = make(64, size=7, fixed=5)
    assert len(np.unique(envs.batch.rows["state"][["x", "y"]])) > 1  # where the agent begins is drawn anew
    with pytest.raises(ValueError, match="fixed must be"):
        make(fixed=-1)
    with pytest.raises(ValueError, match="split must be None"):
        make(fixed=0, split="test")
