"""The Memory&Planning Game against its rules in plain Python, its oracle against networkx and against the bound."""

from collections import deque

import gymnasium as gym
import networkx as nx
import numpy as np
import pytest

from memenvs.testing import check_environment
from tests.memenvs.support.scripts import refuses

UP, DOWN, LEFT, RIGHT, COLLECT = range(5)
NAME = "memenvs/MemoryPlanning-v0"


class Slowly:
    """The rules in plain Python; where the next goal is comes from outside."""

    def __init__(self, size, steps, agent, goal):
        self.size, self.left, self.agent, self.goal = size, steps, agent, goal
        self.goals = self.wanted = 0
        self.fewest = self.away()

    def away(self):
        """The fewest steps to the goal, by breadth-first search, with the one that collects it."""
        seen, queue = {self.agent: 0}, deque([self.agent])
        while self.goal not in seen:
            here = queue.popleft()
            for action in (UP, DOWN, LEFT, RIGHT):
                there = self.moved(here, action)
                if there not in seen:
                    seen[there] = seen[here] + 1
                    queue.append(there)
        return seen[self.goal] + 1

    def moved(self, place, action):
        x, y = {UP: (0, 1), DOWN: (0, -1), LEFT: (-1, 0), RIGHT: (1, 0), COLLECT: (0, 0)}[action]
        return (place[0] + x) % self.size, (place[1] + y) % self.size

    def step(self, action, following):
        self.left -= 1
        self.agent = self.moved(self.agent, action)
        if action != COLLECT or self.agent != self.goal:
            return 0.0, self.left == 0
        assert following != self.agent
        self.goals, self.wanted = self.goals + 1, self.wanted + self.fewest
        self.goal = following
        self.fewest = self.away()
        return 1.0, self.left == 0


def place(number, size):
    return int(number) % size, int(number) // size


@pytest.mark.parametrize(("size", "steps"), [(4, 100), (2, 30), (3, 40), (7, 60)])
def test_every_step_is_that_of_the_rules(size, steps):
    env = gym.make(NAME, size=size, steps=steps).unwrapped
    twin = gym.make(NAME, size=size, steps=steps, observable=True).unwrapped
    drawn, economies = np.random.default_rng(0), []
    for seed in range(40):
        observation, _ = env.reset(seed=seed)
        places, _ = twin.reset(seed=seed)
        row = env.batch.rows[0]
        symbols = row["level"]["symbols"][: size * size].tolist()
        assert sorted(symbols) == list(range(size * size))
        rules = Slowly(size, steps, place(row["level"]["start"], size), place(row["level"]["goal"], size))
        assert rules.agent != rules.goal
        careless, ended = seed % 5 * 0.25, False
        while not ended:
            seen = [x + size * y for x, y in (rules.agent, rules.goal)]
            assert observation.tolist() == [symbols[number] for number in seen]
            assert places.tolist() == seen
            action = env.oracle()
            if drawn.random() < careless:
                action = int(drawn.integers(5))
            observation, reward, ended, cut, info = env.step(action)
            places, *same, _ = twin.step(action)
            assert (reward, ended) == rules.step(action, place(env.batch.rows["state"]["goal"][0], size))
            assert not cut
            assert same == [reward, ended, cut]
        economies.append(info["economy"])
        assert info["goals"] == rules.goals
        assert info["economy"] == rules.wanted / steps
        assert info["success"] == (info["economy"] >= 0.5)
    assert min(economies) < 0.2
    assert max(economies) > 0.8


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
def test_the_oracle_takes_as_few_steps_as_there_are(size):
    torus = nx.grid_2d_graph(size, size, periodic=True)
    env = gym.make(NAME, size=size, steps=400).unwrapped
    for seed in range(10):
        env.reset(seed=seed)
        ended = False
        while not ended:
            state = env.batch.rows["state"][0]
            agent, goal = place(state["position"], size), place(state["goal"], size)
            for _ in range(nx.shortest_path_length(torus, agent, goal)):
                assert env.oracle() != COLLECT
                _, reward, ended, *_ = env.step(env.oracle())
                assert reward == 0
                if ended:
                    break
            if not ended:
                assert env.oracle() == COLLECT
                _, reward, ended, *_ = env.step(COLLECT)
                assert reward == 1


def expected_goals(size, steps):
    """Goals in so many steps, all of them sought on shortest ways; and steps a goal."""
    needed = [min(x, size - x) + min(y, size - y) + 1 for x in range(size) for y in range(size) if x or y]
    goals = [0.0]
    for left in range(1, steps + 1):
        goals.append(np.mean([1 + goals[left - k] if k <= left else 0.0 for k in needed]))
    return goals[-1], np.mean(needed)


@pytest.mark.parametrize(("size", "steps"), [(4, 100), (3, 100), (6, 50)])
def test_the_oracle_comes_up_to_the_bound(size, steps):
    envs = gym.make_vec(NAME, num_envs=2000, size=size, steps=steps)
    envs.reset(seed=0)
    for _ in range(steps):
        *_, infos = envs.step(envs.oracle())
    goals = infos["goals"]
    bound, needed = expected_goals(size, steps)
    assert abs(goals.mean() - bound) < 3 * goals.std() / len(goals) ** 0.5
    assert infos["success"].all()
    way = size / 2 if size % 2 else size**3 / 2 / (size**2 - 1)  # as the docstring says
    assert needed == pytest.approx(way + 1)
    if (size, steps) == (4, 100):
        assert needed == pytest.approx(47 / 15)
        assert bound == pytest.approx(31.6, abs=0.05)


@pytest.mark.parametrize(("size", "expected"), [(4, 29), (3, 38), (7, 14)])
def test_an_oracle_that_is_not_informed_does_what_follows_from_what_was_seen(size, expected):
    """Knowing that it is on a torus, the agent counts its steps, and looks for a goal in the nearest new place."""
    env, goals = gym.make(NAME, size=size, informed=False).unwrapped, []
    for seed in range(100):
        (here, goal), _ = env.reset(seed=seed)
        agent, ended = (0, 0), False
        where = {here: agent}
        while not ended:
            around = [((agent[0] + x) % size, (agent[1] + y) % size) for y in range(size) for x in range(size)]
            new = [place for place in around if place not in where.values()]
            walks = [Slowly(size, 1, agent, place) for place in ([where[goal]] if goal in where else new)]
            nearest = min(walks, key=lambda walk: walk.fewest)
            ways = [Slowly(size, 1, nearest.moved(agent, move), nearest.goal).fewest for move in range(4)]
            action = env.oracle()
            assert action == COLLECT if here == goal else ways[action] == min(ways)
            (here, goal), _, ended, _, info = env.step(action)
            agent = nearest.moved(agent, action)
            assert where.setdefault(here, agent) == agent
        goals.append(info["goals"])
    assert np.mean(goals) == pytest.approx(expected, abs=0.5)  # 29 of four by four, as the docstring says


def test_an_oracle_that_is_not_informed_goes_the_same_way_wherever_places_are_counted_from():
    env = gym.make(NAME, size=5, informed=False).unwrapped
    for seed in range(10):
        env.reset(seed=seed)
        snapshot, ways = env.snapshot(), []
        for shift in range(5):
            env.restore(snapshot)
            rolled(env.batch.rows, 5, shift)
            way = []
            while COLLECT not in way:
                way.append(int(env.oracle()))
                env.step(way[-1])
            ways.append(way)
        assert ways == [ways[0]] * 5


def rolled(rows, size, shift):
    """Move every place of a level and its state ``shift`` columns rightwards."""
    level, state = rows["level"], rows["state"]
    for record, name in ((level, "symbols"), (state, "seen")):
        grid = record[name][:, : size * size].reshape(-1, size, size)
        record[name][:, : size * size] = np.roll(grid, shift, 2).reshape(-1, size * size)
    for record, name in ((level, "start"), (level, "goal"), (state, "position"), (state, "goal")):
        places = record[name]
        record[name] = (places % size + shift) % size + places // size * size


def test_places_and_goals_are_drawn_evenly():
    envs = gym.make_vec(NAME, num_envs=16_000)
    envs.reset(seed=0)
    level = envs.unwrapped.batch.rows["level"]
    pairs = np.zeros((16, 16), int)
    np.add.at(pairs, (level["start"], level["goal"]), 1)
    assert (pairs.diagonal() == 0).all()
    expected = 16_000 / (16 * 15)
    assert ((pairs[~np.eye(16, dtype=bool)] - expected) ** 2 / expected).sum() < 310  # chi-squared, 239 ± 22
    counts = np.array([np.bincount(level["symbols"][:, i], minlength=16) for i in range(16)])
    assert ((counts - 1000) ** 2 / 1000).sum() < 310  # 225 ± 21


def test_an_order_counted_from_elsewhere_is_of_the_same_split():
    env = gym.make(NAME, size=5).unwrapped
    env.reset(seed=0)
    level = env.batch.rows["level"][:1].copy()
    digest, symbols = env.definition.digest, level["symbols"][0, :25].reshape(5, 5).copy()
    wanted = digest(level[0])
    for x in range(5):
        for y in range(5):
            level["symbols"][0, :25] = np.roll(symbols, (y, x), (0, 1)).reshape(-1)
            assert digest(level[0]) == wanted
    for other in (symbols.T, symbols[::-1], 24 - symbols):
        level["symbols"][0, :25] = other.reshape(-1)
        assert digest(level[0]) != wanted


def test_a_random_walk_collects_nothing_but_goals():
    env, rng = gym.make(NAME).unwrapped, np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(60):
        state = env.batch.rows["state"][0]
        drawn = {int(env.random_walk(rng)) for _ in range(60)}
        assert drawn == {UP, DOWN, LEFT, RIGHT} | ({COLLECT} if state["position"] == state["goal"] else set())
        env.step(env.oracle())


@pytest.mark.parametrize("number", ["position", "goal"])
def test_a_damaged_snapshot_is_refused(number):
    for record, field, value in (
        ("state", number, 16),
        ("state", number, -1),
        ("state", "seen", 0),
        ("level", "symbols", 16),
    ):
        assert refuses(NAME, record, field, value)


def test_pictures():
    env = gym.make(NAME, render_mode="ansi").unwrapped
    env.reset(seed=3)
    agent, goal = (chr(ord("A") + number) for number in env.step(UP)[0])
    shown = env.render()
    assert f"[{agent}]" in shown
    assert f"*{goal}*" in shown
    assert shown.endswith(f"step 1 of 100, goals collected: 0; goal: {goal}")
    env = gym.make(NAME, render_mode="rgb_array", size=6).unwrapped
    env.reset(seed=3)
    before = env.render()
    env.step(RIGHT)
    assert (before != env.render()).any()


def test_it_keeps_what_environments_promise():
    check_environment(NAME, size=3, steps=20)


@pytest.mark.parametrize(
    "wrong",
    [{"size": 1}, {"size": 16}, {"size": 4.0}, {"steps": 0}, {"steps": 10_001}, {"observable": 1}, {"informed": "no"}],
)
def test_a_wrong_parameter_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make(NAME, **wrong)


def test_too_few_orders_are_not_split():
    with pytest.raises(ValueError, match="split"):
        gym.make(NAME, size=2, split="test")
