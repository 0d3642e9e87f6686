"""One-shot navigation on the Underground against its rules in plain Python, written from the map once more."""

import random
from collections import Counter
from functools import cache

import gymnasium as gym
import networkx as nx
import numpy as np
import pytest

from memenvs.graph.map import load_map
from memenvs.planning.junctions import load_junctions
from memenvs.testing import check_environment
from tests.memenvs.planning.remembering import Remembering
from tests.memenvs.support.scripts import refuses

FORWARD, LEFT, RIGHT = range(3)
NAME = "memenvs/OneShotUnderground-v0"


@cache
def underground():
    return nx.Graph(list(load_map().lines))


def next_junction(u, v):
    while underground().degree(v) == 2:
        u, v = v, next(w for w in underground()[v] if w != u)
    return v


def grow(junctions, rng):
    """A neighbourhood as the authors' program grows one, but for the order of stations of equal distance."""
    queue = [rng.choice([u for u in underground() if underground().degree(u) > 2])]
    visited, grown = [], nx.Graph()
    while queue:
        u = queue.pop(0)
        visited.append(u)
        around = [next_junction(u, v) for v in underground()[u]]
        grown.add_edges_from((u, v) for v in around)
        if sum(degree > 2 for _, degree in grown.degree()) >= junctions:
            break
        rng.shuffle(around)
        queue += [v for i, v in enumerate(around) if v not in visited + queue + around[:i]]
    return grown


@cache
def bearing(u, v):
    """Degrees clockwise from north, of the part of v's direction in space that lies in the plane of the ground at u."""
    east, north = np.radians(load_map().coordinates[[u, v]]).T
    points = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1)
    to_east = np.array([-np.sin(east[0]), np.cos(east[0]), 0.0])
    to_north = np.cross(points[0], to_east)
    return np.degrees(np.arctan2(points[1] @ to_east, points[1] @ to_north)) % 360


class Slowly:
    """The rules in plain Python, on stations of the map; states are pairs of stations."""

    def __init__(self, ways, steps, state, goal):
        self.ways, self.left, self.state, self.goal = ways, steps, state, goal
        self.graph = nx.DiGraph((one, self.moved(one, action)) for one in ways for action in range(3))
        self.goals = self.wanted = 0
        self.fewest = nx.shortest_path_length(self.graph, state, goal)

    def moved(self, state, action):
        u, v = state
        here, came = (v, bearing(u, v)) if action == FORWARD else (u, bearing(u, v))
        turns = {w: (bearing(here, w) - came) % 360 for x, w in self.ways if x == here}
        if action == FORWARD:
            return here, min(turns, key=lambda w: min(turns[w], 360 - turns[w]))
        others = [w for w in turns if w != v]
        if not others:
            return state
        return here, (min if action == RIGHT else max)(others, key=turns.get)

    def step(self, action, begin, goal):
        self.left -= 1
        self.state = self.moved(self.state, action)
        if self.state != self.goal:
            return 0.0, self.left == 0
        assert begin != goal
        self.goals, self.wanted = self.goals + 1, self.wanted + self.fewest
        self.state, self.goal = begin, goal
        self.fewest = nx.shortest_path_length(self.graph, begin, goal)
        return 1.0, self.left == 0


def ways_of(level):
    """The states of a level as pairs of stations of the map, in the level's order."""
    stations, n = load_junctions().stations.tolist(), level["states"]
    return [(stations[u], stations[v]) for u, v in zip(level["at"][:n], level["towards"][:n], strict=True)]


@pytest.mark.parametrize("junctions", [3, 5, 10])
def test_every_step_is_that_of_the_rules(junctions):
    env = gym.make(NAME, junctions=junctions, steps=80).unwrapped
    drawn, economies = np.random.default_rng(0), []
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        level, state = (env.batch.rows[name][0] for name in ("level", "state"))
        ways, ids = ways_of(level), level["ids"].tolist()
        assert sorted(ids) == list(range(60))
        rules = Slowly(ways, 80, ways[level["start"]], ways[level["goal"]])
        assert rules.state != rules.goal
        careless, ended = seed % 5 * 0.25, False
        while not ended:
            assert observation.tolist() == [ids[ways.index(rules.state)], ids[ways.index(rules.goal)]]
            walked = {int(env.random_walk(drawn)) for _ in range(30)}
            assert walked == {action for action in range(3) if rules.moved(rules.state, action) != rules.state}
            action = env.oracle()
            if drawn.random() < careless:
                action = int(drawn.integers(3))
            observation, reward, ended, cut, info = env.step(action)
            assert (reward, ended) == rules.step(action, ways[state["begun"]], ways[state["goal"]])
            assert not cut
        economies.append(info["economy"])
        assert info["goals"] == rules.goals
        assert info["economy"] == rules.wanted / 80
        assert info["success"] == (info["economy"] >= 0.5)
    assert min(economies) < 0.3
    assert max(economies) > 0.8


@pytest.mark.parametrize("junctions", [3, 5])
def test_neighbourhoods_are_those_that_grow_from_any_junction(junctions):
    """The same ones, as often."""
    rng, envs = random.Random(0), gym.make_vec(NAME, num_envs=3000, junctions=junctions)
    envs.reset(seed=0)
    wanted = Counter(frozenset(nx.DiGraph(grow(junctions, rng)).edges) for _ in range(6000))
    seen = Counter(frozenset(ways_of(level)) for level in envs.unwrapped.batch.rows["level"])
    for ways in {*wanted, *seen}:
        shares = wanted[ways] / 6000, seen[ways] / 3000
        assert abs(shares[0] - shares[1]) < 5 * (max(shares) / 2000) ** 0.5
    for ways in seen:
        assert {v for _, v in ways} == {u for u, _ in ways}
        assert sum(sum(u == station for u, _ in ways) > 2 for station in {u for u, _ in ways}) >= junctions


@pytest.mark.parametrize("junctions", [3, 5, 10])
def test_the_oracle_takes_as_few_steps_as_there_are(junctions):
    env = gym.make(NAME, junctions=junctions).unwrapped
    for seed in range(30):
        env.reset(seed=seed)
        state, ways, ended = env.batch.rows["state"][0], ways_of(env.batch.rows["level"][0]), False
        rules = Slowly(ways, 200, ways[state["position"]], ways[state["goal"]])
        while not ended:
            needed = nx.shortest_path_length(rules.graph, ways[state["position"]], ways[state["goal"]])
            for left in reversed(range(needed)):
                _, reward, ended, _, info = env.step(env.oracle())
                assert reward == (left == 0)
                if ended:
                    break
        assert info["success"]


def test_the_oracle_comes_up_to_the_bound():
    """Over the neighbourhoods, the mean of 200 steps over the mean shortest way from state to state."""
    envs = gym.make_vec(NAME, num_envs=1500)
    envs.reset(seed=0)
    bounds, means, known = [], [], {}
    for level in envs.unwrapped.batch.rows["level"]:
        ways = ways_of(level)
        if frozenset(ways) not in known:
            graph = Slowly(ways, 200, ways[0], ways[1]).graph
            known[frozenset(ways)] = renewals(graph, 200)
        bound, mean = known[frozenset(ways)]
        bounds.append(bound)
        means.append(mean)
    for _ in range(200):
        *_, infos = envs.step(envs.oracle())
    apart = infos["goals"] - np.array(bounds)
    assert abs(apart.mean()) < 3 * apart.std() / len(apart) ** 0.5
    assert np.mean(bounds) == pytest.approx(52, abs=0.5)  # as the docstring says
    assert np.mean(means) == pytest.approx(3.85, abs=0.05)
    assert infos["success"].all()


def test_who_remembers_what_was_seen_comes_far():
    env, goals = gym.make(NAME).unwrapped, []
    for seed in range(100):
        agent, ended = Remembering(3), False
        (here, goal), _ = env.reset(seed=seed)
        while not ended:
            action = agent.act(here, goal)
            (there, following), reward, ended, _, info = env.step(action)
            agent.see(here, action, goal if reward else there)
            here, goal = there, following
        goals.append(info["goals"])
    assert np.mean(goals) == pytest.approx(28, abs=1)  # as the docstring says


def renewals(graph, steps):
    """Goals in so many steps, all of them sought on shortest ways; and steps a goal."""
    lengths = [n for _, ends in nx.all_pairs_shortest_path_length(graph) for n in ends.values() if n]
    share = np.bincount(lengths) / len(lengths)
    goals = [0.0]
    for left in range(1, steps + 1):
        goals.append(sum(share[n] * (1 + goals[left - n]) for n in range(1, min(left, len(share) - 1) + 1)))
    return goals[-1], np.mean(lengths)


def test_junctions_are_those_of_the_map():
    junctions = load_junctions()
    wanted = {(u, next_junction(u, v)) for u in underground() if underground().degree(u) != 2 for v in underground()[u]}
    stations = junctions.stations.tolist()
    ways = {
        (stations[u], stations[v]): (u, slot)
        for u, around in enumerate(junctions.neighbours.tolist())
        for slot, v in enumerate(around[: junctions.degree[u]])
    }
    assert ways.keys() == wanted == junctions.colours.keys()
    for (u, v), (i, slot) in ways.items():
        apart = np.degrees(junctions.bearings[i, slot]) - bearing(u, v)
        assert abs((apart + 180) % 360 - 180) < 1e-6
        assert ways[v, u] == (junctions.neighbours[i, slot], junctions.slots[i, slot])
    for around, degree in zip(junctions.bearings, junctions.degree, strict=True):
        assert (np.diff(around[:degree]) > 0).all()


def test_the_twin_shows_the_map():
    env, twin = (gym.make(NAME, observable=observable).unwrapped for observable in (False, True))
    for seed in range(5):
        hidden, _ = env.reset(seed=seed)
        shown, _ = twin.reset(seed=seed)
        after = shown[2:].reshape(60, 3)
        assert (after < 60).all(axis=1).sum() == twin.batch.rows["level"]["states"][0]
        ended, rng = False, np.random.default_rng(0)
        while not ended:
            assert shown[:2].tolist() == hidden.tolist()
            assert (shown[2:].reshape(60, 3) == after).all()
            action = int(rng.integers(3))
            hidden, reward, *_ = env.step(action)
            expected = after[shown[0], action]
            assert (expected == shown[1]) == (reward == 1)
            shown, _, ended, *_ = twin.step(action)
            assert reward or shown[0] == expected


def test_splits_share_no_neighbourhood():
    found = []
    for split in ("train", "test"):
        envs = gym.make_vec(NAME, num_envs=500, split=split)
        envs.reset(seed=0)
        found.append({frozenset(ways_of(level)) for level in envs.unwrapped.batch.rows["level"]})
    assert min(map(len, found)) > 10
    assert not found[0] & found[1]


def test_a_damaged_snapshot_is_refused():
    wrong = [("state", "position", 60), ("state", "goal", -1), ("level", "states", 61), ("level", "ids", 60)]
    wrong += [("level", "at", 74), ("level", "towards", -1), ("level", "after", 60), ("level", "after", 0)]
    for record, field, value in wrong:
        assert refuses(NAME, record, field, value)


def test_pictures():
    env = gym.make(NAME, render_mode="ansi").unwrapped
    observation, _ = env.reset(seed=3)
    assert env.render().splitlines()[0] == "step 0 of 200, goals: 0; state {}, goal {}".format(*observation)
    assert "best  South Kensington → Green Park → Piccadilly Circus" in env.render()
    env = gym.make(NAME, render_mode="rgb_array").unwrapped
    env.reset(seed=3)
    before = env.render()
    env.step(RIGHT)
    assert (before != env.render()).any()


def test_it_keeps_what_environments_promise():
    check_environment(NAME, junctions=3, steps=20)


@pytest.mark.parametrize(
    "wrong", [{"junctions": 2}, {"junctions": 11}, {"junctions": "5"}, {"steps": 0}, {"observable": None}]
)
def test_a_wrong_parameter_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make(NAME, **wrong)
