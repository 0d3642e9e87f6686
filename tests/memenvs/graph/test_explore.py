"""Underground, explore: what the agent sees, goals and metrics against a plain account, the oracle against networkx."""

import networkx as nx
import numpy as np
import pytest

from tests.memenvs.support.undergrounds import edges_of, graph_of, level_of, levels_of, make, number, single

CASES = [{"budget": 40}, pytest.param({"map": "zone1", "budget": 80}, marks=pytest.mark.slow)]


class Account:
    """What an episode was, from the level and the actions alone."""

    def __init__(self, level):
        self.level = level
        self.leaving = {(u, label): v for u, label, v in edges_of(level)}
        self.graph = graph_of(level)
        self.position, self.last = int(level["start"]), None
        self.visited = {self.position}
        self.trips = []  # (steps, shortest, whether the goal was known)
        self.taken = 0
        self.aim(int(level["goal"]))

    def aim(self, goal):
        self.goal, self.known, self.begun = goal, goal in self.visited, self.taken
        assert goal != self.position
        self.shortest = nx.shortest_path_length(self.graph, self.position, goal)

    def act(self, label):
        self.position = self.leaving.get((self.position, label), self.position)
        self.visited.add(self.position)
        self.last, self.taken = label, self.taken + 1
        arrived = self.position == self.goal
        if arrived:
            self.trips.append((self.taken - self.begun, self.shortest, self.known))
        return arrived

    def check(self, observation):
        codes = self.level["codes"]
        assert number(observation[:3]) == codes[self.position]
        assert observation[3] == (0 if self.last is None else self.last + 1)
        assert number(observation[4:7]) == codes[self.goal]
        assert np.flatnonzero(observation[7:]).tolist() == sorted(a for u, a in self.leaving if u == self.position)

    def metrics(self):
        later = [trip for trip in self.trips if trip[2]]
        first = [trip for trip in self.trips if not trip[2]]
        detours = [sum(t[0] for t in trips) / sum(t[1] for t in trips) if trips else np.inf for trips in (first, later)]
        return [float(len(first) > 0), len(self.trips), len(later), *detours]


@pytest.mark.parametrize("parameters", CASES, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_goals_observations_and_metrics(parameters, share):
    env, rng = single(task="explore", **parameters), np.random.default_rng(0)
    goals = 0
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        account = Account(level_of(env).copy())
        account.check(observation)
        for t in range(parameters["budget"]):
            assert info["decision"]
            best = env.oracle()
            way = nx.shortest_path_length(account.graph, account.position, account.goal)
            after = account.leaving[account.position, best]
            assert nx.shortest_path_length(account.graph, after, account.goal) == way - 1
            action = best if rng.random() < share else int(rng.integers(env.action_space.n))
            observation, reward, end, cut, info = env.step(action)
            arrived = account.act(action)
            assert reward == pytest.approx(arrived - 0.01)
            assert (end, cut) == (t + 1 == parameters["budget"], False)
            if arrived:
                account.aim(int(env.batch.rows["state"]["goal"][0]))
            account.check(observation)
        names = ("success", "goals", "goals_later", "detour_first", "detour_later")
        assert [info[name] for name in names] == pytest.approx(account.metrics())
        goals += len(account.trips)
        if share == 1:
            assert all(steps == shortest for steps, shortest, _ in account.trips)
    assert goals > (0 if share == 0 else 20)


def test_the_start_the_first_goal_and_later_goals_are_drawn_uniformly():
    levels = levels_of({"task": "explore", "fixed": 1, "stations": 6, "exits": 5, "two_way": False}, 9000)
    pairs = np.bincount(levels["start"] * 6 + levels["goal"], minlength=36).reshape(6, 6)
    assert np.all(np.diag(pairs) == 0)
    assert np.all(np.abs(pairs[~np.eye(6, dtype=bool)] / 300 - 1) < 0.25)
    envs = make(3000, task="explore", fixed=1, stations=6, exits=5, two_way=False)
    envs.step(envs.oracle())  # every station is one step from every other
    state = envs.batch.rows["state"]
    assert np.all(state["goals"].sum(axis=1) == 1)
    pairs = np.bincount(state["position"] * 6 + state["goal"], minlength=36).reshape(6, 6)
    assert np.all(np.diag(pairs) == 0)
    assert np.all(np.abs(pairs[~np.eye(6, dtype=bool)] / 100 - 1) < 0.4)


def test_a_goal_can_be_reached_where_it_was_given():
    envs, rng = make(300, task="explore", two_way=False, exits=(1, 2), stations=6, budget=30), np.random.default_rng(0)
    stuck = 0
    for _ in range(29):
        envs.step(envs.random_walk(rng))
        for row in envs.batch.rows[:40]:
            graph, state = graph_of(row["level"]), row["state"]
            begun = state["route"][state["begun"]]
            assert nx.shortest_path_length(graph, begun, state["goal"]) == state["distance"]
            stuck += not nx.has_path(graph, state["position"], state["goal"])
    assert stuck > 0  # and yet the oracle has something to say
    assert np.all(envs.oracle() >= 0)


def test_a_walk_takes_exits_only():
    env, rng = single(task="explore"), np.random.default_rng(0)
    env.reset(seed=0)
    account = Account(level_of(env).copy())
    drawn = {env.random_walk(rng) for _ in range(60)}
    assert drawn == {label for u, label in account.leaving if u == account.position}


def test_pictures_follow_the_agent():
    env, words = (single(task="explore", render_mode=mode) for mode in ("rgb_array", "ansi"))
    env.reset(seed=0)
    words.restore(env.snapshot())
    before = env.render()
    assert "step 0 of 60, goals reached: 0" in words.render()
    for _ in range(4):
        env.step(env.oracle())
    words.restore(env.snapshot())
    assert not np.array_equal(before, env.render())
    assert "step 4 of 60, goals reached: " in words.render()


def test_damaged_snapshots_are_refused():
    env = single(task="explore")
    env.reset(seed=0)
    env.step(0)
    kept = env.snapshot()
    for field, value in (
        ("position", -1),
        ("goal", 6),
        ("last", 8),
        ("taken", -1),
        ("begun", 2),
        ("known", 2),
        ("taken", 60 * 8),
    ):
        row = env.batch.rows.copy()
        row["state"][field] = value
        with pytest.raises(ValueError, match="damaged"):
            env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    row = env.batch.rows.copy()
    row["level"]["links"][0, 0, 2] = row["level"]["links"][0, 0, 0]  # an edge that leads nowhere
    with pytest.raises(ValueError, match="damaged"):
        env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    env.restore(kept)
