"""Underground, navigate: its graphs against networkx, its episodes as an agent sees them, its rewards."""

from collections import Counter
from itertools import product

import gymnasium as gym
import networkx as nx
import numpy as np
import pytest
from gymnasium.spaces import Discrete

from memenvs.graph.map import load_map
from memenvs.graph.underground import BatchedUnderground
from tests.memenvs.support.undergrounds import (
    DESCRIPTION,
    PLANNING,
    QUERY,
    TRAVEL,
    Notes,
    digits,
    edges_of,
    graph_of,
    levels_of,
    make,
    read,
    single,
)

RANDOM = [
    {},
    {"stations": 5, "exits": 2, "distance": (1, 3)},
    {"stations": (2, 3), "exits": 1, "distance": 1, "labels": 1},
    {"stations": (5, 8), "exits": (1, 2), "two_way": True, "distance": (2, 4)},
    {"stations": 8, "exits": 7, "distance": 1, "labels": 7},
    pytest.param({"stations": (260, 280), "exits": (1, 7), "distance": (3, 9)}, marks=pytest.mark.slow),
]
REAL = [
    {"map": "underground"},
    {"map": "underground", "stations": (2, 8), "exits": (1, 7), "distance": (1, 7)},
    {"map": "underground", "stations": 270, "exits": (1, 7), "distance": (1, 39)},
]


def pair(value):
    return (value, value) if isinstance(value, int) else value


# --- levels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", RANDOM + REAL, ids=str)
def test_every_level_keeps_the_rules(parameters):
    low, high = pair(parameters.get("stations", (4, 6)))
    near, far = pair(parameters.get("distance", (1, 2)))
    sizes = set()
    for level in levels_of(parameters):
        n, e = int(level["stations"]), int(level["edges"])
        edges, graph, labels = [(u, v) for u, _, v in edges_of(level)], graph_of(level), level["links"][:e, 1]
        sizes.add(n)
        assert len(set(edges)) == e
        assert all(u != v for u, v in edges)
        assert len(set(zip(level["links"][:e, 0], labels, strict=True))) == e
        assert labels.min() >= 0
        assert labels.max() < parameters.get("labels", 8)
        codes = level["codes"][:n]
        assert len(set(codes.tolist())) == n
        assert codes.min() >= 0
        assert codes.max() < 1000
        assert sorted(level["order"][:e].tolist()) == list(range(e))
        assert level["exits"][:n].tolist() == [graph.out_degree(u) for u in range(n)]
        to_goal = nx.single_source_shortest_path_length(graph.reverse(), int(level["goal"]))
        assert level["to_goal"][:n].tolist() == [to_goal.get(u, 32767) for u in range(n)]
        assert level["distance"] == to_goal[int(level["start"])]
        assert near <= level["distance"] <= far
        assert level["budget"] == level["distance"] + 1
    assert low <= min(sizes) <= max(sizes) <= high
    assert high - low > 10 or sizes == set(range(low, high + 1))


@pytest.mark.parametrize("parameters", RANDOM, ids=str)
def test_exits_lead_to_the_nearest_stations(parameters):
    low, high = pair(parameters.get("exits", (1, 3)))
    wanted = Counter()
    for level in levels_of(parameters):
        n, graph = int(level["stations"]), graph_of(level)
        points = np.stack([level["x"], level["y"]], axis=1)[:n].astype(np.float64)
        assert points.min() >= 0
        assert points.max() < 1
        for u in range(n):
            order = np.argsort(((points - points[u]) ** 2).sum(axis=1))[1:].tolist()
            leaving = set(graph.successors(u))
            if parameters.get("two_way"):
                assert leaving == set(graph.predecessors(u))
                assert len(leaving) >= low
                assert set(order[:low]) <= leaving
            else:
                assert leaving == set(order[: len(leaving)])
                assert min(low, n - 1) <= len(leaving) <= high
                wanted[len(leaving)] += n > high
    if len(wanted) == 3:  # the default: K uniform from 1 to 3
        counts = np.array([wanted[1], wanted[2], wanted[3]])
        assert np.all(np.abs(counts / counts.sum() - 1 / 3) < 0.08)


@pytest.mark.parametrize("parameters", REAL, ids=str)
def test_neighbourhoods_are_connected_pieces_of_the_map(parameters):
    network = load_map()
    for level in levels_of(parameters):
        n = int(level["stations"])
        nodes = level["nodes"][:n].tolist()
        assert len(set(nodes)) == n
        inside = {(nodes[u], nodes[v]) for u, _, v in edges_of(level)}
        assert inside == {(u, v) for u, v in network.lines if u in nodes and v in nodes}
        assert nx.is_strongly_connected(graph_of(level))
        assert np.allclose(np.stack([level["x"], level["y"]], axis=1)[:n], network.positions[nodes], atol=1e-4)


def test_a_neighbourhood_with_too_many_exits_is_drawn_again():
    levels = levels_of({"map": "underground", "stations": 8, "exits": (1, 2)})
    assert levels["exits"].max() == 2


def test_a_two_way_graph_with_too_many_exits_is_drawn_again():
    levels = levels_of({"stations": 8, "exits": 3, "two_way": True, "labels": 4})
    assert levels["exits"].max() == 4


def test_neighbourhoods_grow_as_they_should():
    """Two stations: a uniform first one and a uniform neighbour of it, which gives every connection its probability."""
    network = load_map()
    levels = levels_of({"map": "underground", "stations": 2, "distance": 1}, n=60_000)
    drawn = Counter(tuple(sorted(nodes)) for nodes in levels["nodes"][:, :2].tolist())
    pairs = [(u, v) for u, v in network.lines if u < v]
    expected = np.array([(1 / network.degree[u] + 1 / network.degree[v]) / 270 for u, v in pairs]) * 60_000
    assert expected.sum() == pytest.approx(60_000)
    chi = ((np.array([drawn[edge] for edge in pairs]) - expected) ** 2 / expected).sum()
    assert chi < len(pairs) + 5 * np.sqrt(2 * len(pairs))


def test_start_and_goal_are_drawn_by_distance_first():
    levels = levels_of({"stations": 6, "exits": 1, "distance": (1, 3), "two_way": True}, n=20_000)
    possible = []
    for level in levels[:300]:
        lengths = dict(nx.all_pairs_shortest_path_length(graph_of(level)))
        possible.append({d for u in lengths for d in lengths[u].values() if 1 <= d <= 3})
    expected = np.mean([[(d in ds) / len(ds) for d in (1, 2, 3)] for ds in possible], axis=0)
    drawn = np.bincount(levels["distance"], minlength=4)[1:] / levels.size
    assert np.all(np.abs(drawn - expected) < 0.05)
    complete = levels_of({"stations": 4, "exits": 3, "distance": 1}, n=24_000)
    pairs = np.bincount(complete["start"] * 4 + complete["goal"], minlength=16).reshape(4, 4)
    assert np.all(np.diag(pairs) == 0)
    assert np.all(np.abs(pairs[~np.eye(4, dtype=bool)] / 2000 - 1) < 0.12)


def test_names_are_fresh_in_every_episode():
    envs = make(8, map="underground", stations=270, exits=(1, 7), distance=(1, 5))
    first = envs.batch.rows["level"].copy()
    envs.reset()
    second = envs.batch.rows["level"]

    def by_station(levels):
        return [
            dict(zip(level["nodes"][:270].tolist(), level["codes"][:270].tolist(), strict=True)) for level in levels
        ]

    repeated = [
        sum(a[node] == b[node] for node in a) for a, b in zip(by_station(first), by_station(second), strict=True)
    ]
    assert max(repeated) < 6  # 270 codes of 1000: 0.27 by chance
    labels = np.bincount(levels_of({}, n=3000)["links"][:, 0, 1], minlength=8)
    assert np.all(np.abs(labels / 375 - 1) < 0.25)
    places = np.bincount(levels_of({"stations": 4, "exits": 2, "distance": 1}, n=4000)["order"][:, 0], minlength=8)
    assert np.all(np.abs(places[:8] / 500 - 1) < 0.25)


# --- episodes, from nothing but observations --------------------------------------------------------------------------


class Traveller:
    """What an agent with a perfect memory does: writes the description down, then looks the way up."""

    def __init__(self):
        self.exits = nx.DiGraph()

    def act(self, observation):
        assert observation.dtype == np.uint8
        source, label, destination = tuple(observation[:3]), int(observation[3]) - 1, tuple(observation[4:7])
        phase = observation[7]
        assert (label >= 0) == (phase == DESCRIPTION)
        assert np.all(observation[[0, 1, 2, 4, 5, 6]] == 0) == (phase == PLANNING)
        if phase == DESCRIPTION:
            self.exits.add_edge(source, destination, label=label)
        if phase != TRAVEL:
            return 0
        way = nx.shortest_path(self.exits, source, destination)
        return self.exits.edges[way[0], way[1]]["label"]


@pytest.mark.parametrize("parameters", [{}, {"planning": 3}, REAL[1], REAL[2] | {"slack": 0}], ids=str)
def test_a_perfect_memory_is_enough(parameters):
    env = gym.make("memenvs/Underground-v0", **parameters).unwrapped
    for seed in range(3 if parameters.get("stations") == 270 else 15):
        observation, info = env.reset(seed=seed)
        traveller, phases, total, end = Traveller(), [], 0.0, False
        while not end:
            phases.append(int(observation[7]))
            assert info["decision"] == (observation[7] == TRAVEL) == (env.oracle() >= 0)
            observation, reward, end, cut, info = env.step(traveller.act(observation))
            assert not cut
            total += reward
        level = env.batch.rows["level"][0]
        planning, distance = parameters.get("planning", 0), int(level["distance"])
        script = [DESCRIPTION] * int(level["edges"]) + [QUERY] + [PLANNING] * planning + [TRAVEL] * distance
        assert phases == script
        assert traveller.exits.number_of_edges() == level["edges"]
        assert (info["success"], info["spl"]) == (1.0, 1.0)
        assert total == pytest.approx(1 - 0.01 * distance)


def test_labels_of_three_digits():
    env = single(labels="codes")
    for seed in range(5):
        (observation, _), notes, end = env.reset(seed=seed), Notes(), False
        while not end:
            source, label, destination, phase = read(observation)
            if phase == DESCRIPTION:
                notes.write(source, label, destination)
            chosen = notes.way(source, destination)[0] if phase == TRAVEL else 0
            observation, _, end, _, info = env.step(digits(chosen))
        assert info["spl"] == 1
        assert max(label for _, label in notes.exits) > 64


def to_travel(env, seed):
    observation, _ = env.reset(seed=seed)
    while observation[7] != TRAVEL:
        observation, reward, end, _, _ = env.step(1)
        assert reward == 0
        assert not end
    return observation


@pytest.mark.parametrize("graph", [{"stations": (12, 40)}, {"map": "zone1", "labels_by": "random"}], ids=str)
def test_few_codes_label_many_exits(graph):
    """As many as drawn, uniformly, and each station's exits with different ones, all of them alike."""
    low, high = (10, 17) if "map" in graph else (4, 9)
    task = {"task": "traversal", "labels": "codes", "exits": (2, 4)} | graph
    levels = levels_of(task | {"label_codes": (low, high)}, 400)
    sizes, shares = Counter(), []
    for level in levels:
        labels = Counter(label for _, label, _ in edges_of(level))
        assert len({(u, label) for u, label, _ in edges_of(level)}) == level["edges"]
        sizes[len(labels)] += 1
        shares += [count * len(labels) / level["edges"] for count in labels.values()]
    assert set(sizes) == set(range(low, high + 1))
    assert all(abs(count - 400 / len(sizes)) < 4 * np.sqrt(400 / len(sizes)) for count in sizes.values())
    assert np.std(shares) < 0.5
    assert all(len({label for _, label, _ in edges_of(level)}) > high for level in levels_of(task, 20))
    assert np.array_equal(levels_of(task, 20), levels_of(task | {"label_codes": None}, 20))


def test_lines_are_labels_of_their_own_number():
    task = {"task": "traversal", "map": "zone1", "labels": "codes"}
    assert np.array_equal(levels_of(task, 3), levels_of(task | {"label_codes": (6, 30)}, 3))


def test_a_wrong_label_costs_a_step_and_the_budget_ends_the_episode():
    env = gym.make("memenvs/Underground-v0", distance=2, slack=2, step_cost=0.125).unwrapped
    observation = to_travel(env, 0)
    level = env.batch.rows["level"][0]
    e, start = int(level["edges"]), int(level["start"])
    wrong = next(a for a in range(8) if a not in level["links"][:e, 1][level["links"][:e, 0] == start])
    for step in range(4):
        after, reward, end, cut, info = env.step(wrong)
        assert np.array_equal(after, observation)
        assert (reward, end, cut) == (-0.125, step == 3, False)
    assert (info["success"], info["spl"]) == (0.0, 0.0)


def test_a_detour_halves_the_spl():
    env = gym.make("memenvs/Underground-v0", distance=1, slack=1).unwrapped
    to_travel(env, 0)
    level = env.batch.rows["level"][0]
    e, start = int(level["edges"]), int(level["start"])
    env.step(next(a for a in range(8) if a not in level["links"][:e, 1][level["links"][:e, 0] == start]))
    _, reward, end, _, info = env.step(env.oracle())
    assert (reward, end, info["success"], info["spl"]) == (0.99, True, 1.0, 0.5)


def test_no_way_beats_the_oracle():
    env = gym.make("memenvs/Underground-v0", labels=3, stations=5, distance=(1, 3), slack=1).unwrapped
    for seed in range(12):
        to_travel(env, seed)
        snapshot = env.snapshot()
        budget = int(env.batch.rows["level"][0]["budget"])

        def play(choose, length, snapshot=snapshot):
            env.restore(snapshot)
            total, end, steps = 0.0, False, 0
            while not end and steps < length:
                _, reward, end, _, _ = env.step(choose(steps))
                total, steps = total + reward, steps + 1
            return total

        best = max(play(lambda t, way=way: way[t], budget) for way in product(range(3), repeat=budget))
        assert play(lambda t: env.oracle(), budget) == pytest.approx(best)


@pytest.mark.parametrize("parameters", [{}, {"map": "underground"}], ids=str)
def test_the_oracle_arrives_and_a_random_walk_seldom(parameters):
    scores = {}
    for name in ("oracle", "walk", "anything"):
        envs, rng, success, spl = make(256, **parameters), np.random.default_rng(0), [], []
        for _ in range(60):
            if name == "oracle":
                actions = np.maximum(envs.oracle(), 0)
            else:
                actions = envs.random_walk(rng) if name == "walk" else rng.integers(0, 8, 256)
            _, _, terminated, _, infos = envs.step(actions)
            if terminated.any():
                success += infos["success"][infos["_success"]].tolist()
                spl += infos["spl"][infos["_spl"]].tolist()
        scores[name] = np.mean(success)
        assert np.mean(spl) <= np.mean(success)
        if name == "oracle":
            assert np.mean(spl) == 1.0
    assert scores["oracle"] == 1.0
    assert scores["anything"] + 0.1 < scores["walk"] < 0.8


def test_a_random_walk_only_takes_exits():
    envs, rng = make(64, map="underground"), np.random.default_rng(0)
    for _ in range(40):
        rows, actions = envs.batch.rows.copy(), envs.random_walk(rng)
        envs.step(actions)
        for row, action in zip(rows, actions, strict=True):
            level, e = row["level"], int(row["level"]["edges"])
            if row["state"]["time"] > e:
                assert action in level["links"][:e, 1][level["links"][:e, 0] == row["state"]["position"]]


# --- parameters and pictures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "sail"}, "task must be one of"),
        ({"task": "traversal", "distance": 2}, r"distance must be left out of task 'traversal': .*'shortest_path'"),
        ({"task": "explore", "description": True}, "description must be left out of task 'explore'"),
        ({"path": 2}, "path must be left out of task 'navigate'"),
        ({"task": "traversal", "path": 0}, "path"),
        ({"task": "explore", "budget": 0}, "budget"),
        ({"task": "explore", "labels": "codes"}, "labels must be an integer in task 'explore'"),
        ({"labels": "words"}, "labels must be an integer from 3 to 64 or 'codes'"),
        ({"labels_by": "line"}, "labels_by must be 'random'"),
        ({"map": "zone1", "labels": 12}, "labels must be at least 25, the lines and directions"),
        ({"map": "zone1", "labels_by": "random", "labels": 9}, "labels must be at least 10, the most exits"),
        ({"fixed": -1}, "fixed"),
        ({"description": 1}, "description must be True or False"),
        ({"stations": 500, "exits": 400, "labels": "codes"}, "exits must be fewer"),
        ({"fixed": 1, "stations": 4, "exits": 3, "distance": 2}, "no level of Underground"),
        ({"map": "paris"}, r"map must be one of \['random', 'underground', 'zone1', 'network'\], not 'paris'"),
        ({"map": ["zone1"]}, "map must be one of"),
        ({"stations": 1}, "stations"),
        ({"stations": (6, 4)}, "stations"),
        ({"stations": (4, 5, 6)}, "stations"),
        ({"stations": "many"}, "stations"),
        ({"stations": 271, "map": "underground"}, "stations must be within 2 to 270"),
        ({"exits": 0}, "exits"),
        ({"exits": 2.0}, "exits"),
        ({"exits": True}, "exits"),
        ({"distance": 0}, "distance"),
        ({"distance": 6}, "distance must be within 1 to 5"),
        ({"two_way": 3}, "two_way"),
        ({"labels": 2}, "labels must be at least 3"),
        ({"labels": 65}, "labels"),
        ({"stations": 80, "exits": (1, 65)}, r"exits must be at most 64, or labels be 'codes', not \(1, 65\)"),
        ({"stations": 80, "exits": 65, "labels": 64}, "exits must be at most 64, or labels be 'codes'"),
        ({"slack": -1}, "slack"),
        ({"planning": 1.5}, "planning"),
        ({"planning": "stations"}, "planning must be an integer from 0 to 10000 or 'edges', not 'stations'"),
        ({"planning": -1}, "planning must be an integer from 0 to 10000 or 'edges', not -1"),
        ({"planning": 1.0}, "planning must be an integer from 0 to 10000 or 'edges', not 1.0"),
        ({"task": "shortest_path", "answers": "codes"}, r"answers must be one of \['labels', 'edges'\], not 'codes'"),
        ({"answers": "edges"}, r"answers must be left out of task 'navigate': it belongs to \['shortest_path'\]"),
        ({"task": "shortest_path", "stepwise": True}, "answers must be 'edges' with stepwise, not 'labels'"),
        ({"task": "traversal", "stepwise": 1}, "stepwise must be True or False"),
        ({"stepwise": True}, "stepwise must be left out of task 'navigate'"),
        ({"label_codes": 9}, "label_codes needs labels='codes' and labels_by='random', and must else be None, not 9"),
        ({"labels": "codes", "map": "underground", "labels_by": "line", "label_codes": 9}, "label_codes needs"),
        ({"labels": "codes", "stations": 9, "exits": 4, "label_codes": 3}, "label_codes must be within 4 to 1000"),
        ({"labels": "codes", "stations": 9, "two_way": True, "label_codes": 7}, "label_codes must be within 8 to"),
        ({"labels": "codes", "label_codes": (5, 1001)}, "label_codes must be within 3 to 1000"),
        ({"step_cost": 2}, "step_cost"),
        ({"step_cost": "free"}, "step_cost"),
        ({"stations": 4, "exits": 3, "distance": 2}, "no level of Underground"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/Underground-v0", **wrong)


def test_there_are_labels_enough_for_the_exits():
    """By default; with fewer, labels would be drawn for ever."""
    for stations, exits, n in ((6, 9, 8), (20, (1, 9), 9), (65, 64, 64)):
        definition = BatchedUnderground.define(stations=stations, exits=exits)
        assert definition.action_space == Discrete(n)
        assert definition.params["labels"] == n


def test_numbers_of_numpy_give_the_same_environment():
    """By its name, by which snapshots are known."""
    plain, others = (
        [
            BatchedUnderground.define(**parameters).name
            for parameters in (
                {"planning": number(2), "slack": number(3), "step_cost": cost(0.125), "description": boolean(1)},
                {"task": "traversal", "lesson": number(2), "labels": number(9)},
                {"task": "explore", "budget": number(20), "step_cost": number(0), "two_way": boolean(0)},
            )
        ]
        for number, cost, boolean in ((int, float, bool), (np.int64, np.float32, np.bool_))
    )
    assert plain == others


def test_the_test_split_holds_stations_out():
    train, test = (
        {frozenset(nodes[:n]) for nodes, n in zip(levels["nodes"].tolist(), levels["stations"].tolist(), strict=True)}
        for levels in (levels_of({"map": "underground", "split": split}, n=3000) for split in ("train", "test"))
    )
    assert not train & test
    assert len(test) > 100


@pytest.mark.parametrize("name", ["memenvs/TMaze-v0", "memenvs/Underground-v0"])
def test_pictures(name):
    for parameters in [{}] if "Maze" in name else [{}, {"map": "underground"}]:
        env = gym.make(name, render_mode="rgb_array", **parameters)
        env.reset(seed=0)
        image = env.render()
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.std() > 5
        text = gym.make(name, render_mode="ansi", **parameters)
        text.reset(seed=0)
        assert len(text.render()) > 20
        pictures = gym.make_vec(name, num_envs=2, render_mode="rgb_array", **parameters)
        pictures.reset(seed=0)
        assert len(pictures.render()) == 2
        assert np.array_equal(pictures.render()[0], image)
