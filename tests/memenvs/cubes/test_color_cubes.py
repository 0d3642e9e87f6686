"""Color-Cubes against its rules in plain Python, and what a perfect memory makes of its views."""

import gymnasium as gym
import numpy as np
import pytest

from memenvs.testing import check_environment
from tests.memenvs.support.scripts import refuses

UP, DOWN, LEFT, RIGHT = range(4)
WAYS = {UP: (0, 1), DOWN: (0, -1), LEFT: (-1, 0), RIGHT: (1, 0)}
NAME = "memenvs/ColorCubes-v0"


def walk(place, action, size):
    there = [place[i] + WAYS[action][i] for i in (0, 1)]
    return tuple(min(max(number, 0), size - 1) for number in there)


def seen(agent, target, cubes, size, colours=True):
    """An observation, from places (column, row)."""
    grid = np.zeros((size, size), int)
    for number, (x, y) in enumerate(cubes):
        grid[y, x] = number + 1 if colours else len(cubes) + 1
    return [agent[0] + size * agent[1], target, *grid.ravel().tolist()]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"updates": "positions", "teleport": 0.4},
        {"size": 2, "cubes": 2, "phases": 5, "teleport": 1.0},
        {"cubes": 1, "phases": 1},
        {"size": 7, "cubes": 8, "teleport": 0.0, "max_steps": 30},
    ],
)
def test_every_step_is_that_of_the_rules(parameters):
    env, twin = (gym.make(NAME, observable=all, **parameters).unwrapped for all in (False, True))
    size, phases = parameters.get("size", 5), parameters.get("phases", 3)
    n, hidden_colours = parameters.get("cubes", 3), parameters.get("updates") == "positions"
    limit = parameters.get("max_steps", 4 * size * phases)
    drawn, ends, moves, chances = np.random.default_rng(0), set(), 0, 0
    places = lambda numbers: [(int(number) % size, int(number) // size) for number in numbers]  # noqa: E731
    for seed in range(100):
        (observation, _), (shown, _) = env.reset(seed=seed), twin.reset(seed=seed)
        state = env.batch.rows["state"][0]
        agent, cubes, target = places([state["agent"]])[0], places(state["cubes"]), int(state["target"])
        assert len({agent, *cubes}) == n + 1
        assert observation.tolist() == seen(agent, target + 1, cubes, size)
        steps = found = 0
        ended = cut = False
        careless = seed % 4 * 0.33
        while not (ended or cut):
            assert shown.tolist() == seen(agent, target + 1, cubes, size)
            action = env.oracle()
            if drawn.random() < careless:
                action = int(drawn.integers(4))
            observation, reward, ended, cut, info = env.step(action)
            shown, *same, _ = twin.step(action)
            assert same == [reward, ended, cut]
            agent, steps = walk(agent, action, size), steps + 1
            before, cubes = cubes, places(env.batch.rows["state"]["cubes"][0])
            moved = [number for number in range(n) if before[number] != cubes[number]]
            hit = agent == before[target]
            found += hit
            assert (reward, ended, cut) == (float(hit), found == phases, found < phases and steps >= limit)
            if hit:
                assert moved == [target]
                target = int(env.batch.rows["state"]["target"][0])
            else:
                assert len(moved) <= 1
                assert target not in moved
                assert target == env.batch.rows["state"]["target"][0]
                moves, chances = moves + len(moved), chances + (n > 1)
            if moved:
                assert len({*cubes}) == n
                assert cubes[moved[0]] not in {*before, agent}
                told = target + 1 if hit else 0
                assert observation.tolist() == seen(agent, told, cubes, size, not hidden_colours)
            else:
                assert observation.tolist() == seen(agent, 0, [], size)
        assert (info["success"], info["found"]) == (found == phases, found)
        ends.add((ended, cut))
    assert (True, False) in ends
    assert (False, True) in ends or size == 2
    probability = parameters.get("teleport", 0.1)
    assert abs(moves - chances * probability) <= 4 * (chances * probability * (1 - probability)) ** 0.5


@pytest.mark.parametrize("updates", ["full", "positions"])
def test_who_remembers_all_finds_all(updates):
    """Without ever looking at colours after the first view: the place that is empty now tells which cube it was."""
    size = 6
    env = gym.make(NAME, size=size, cubes=5, phases=6, teleport=0.3, updates=updates).unwrapped
    for seed in range(50):
        observation, _ = env.reset(seed=seed)
        grid = observation[2:]
        where = {int(grid[place]): int(place) for place in grid.nonzero()[0]}
        target, ended, cut = int(observation[1]), False, False
        while not (ended or cut):
            assert list(where.values()) == env.batch.rows["state"]["cubes"][0][np.array(list(where)) - 1].tolist()
            here, there = int(observation[0]), where[target]
            across, up = there % size - here % size, there // size - here // size
            action = (RIGHT if across > 0 else LEFT) if across else UP if up > 0 else DOWN
            assert action == env.oracle()
            observation, _, ended, cut, info = env.step(action)
            places = set(observation[2:].nonzero()[0].tolist())
            if places:
                (gone,) = [colour for colour, place in where.items() if place not in places]
                (new,) = places - set(where.values())
                where[gone] = new
            target = int(observation[1]) or target
        assert info["success"] == 1


def test_places_and_targets_are_drawn_evenly():
    envs = gym.make_vec(NAME, num_envs=20_000, size=3, cubes=2)
    envs.reset(seed=0)
    level = envs.unwrapped.batch.rows["level"]
    triples = np.zeros((9, 9, 9, 2), int)
    np.add.at(triples, (level["start"], level["cubes"][:, 0], level["cubes"][:, 1], level["target"]), 1)
    counts = triples[triples > 0]
    assert len(counts) == 9 * 8 * 7 * 2
    expected = 20_000 / len(counts)
    assert ((counts - expected) ** 2 / expected).sum() < 1007 + 4 * (2 * 1007) ** 0.5  # chi-squared


@pytest.mark.parametrize(("record", "field"), [("state", "agent"), ("state", "cubes"), ("level", "target")])
def test_a_damaged_snapshot_is_refused(record, field):
    for value in (-1, 25):
        assert refuses(NAME, record, field, value)


def test_pictures():
    env = gym.make(NAME, size=3, cubes=2, teleport=0.0, render_mode="ansi").unwrapped
    env.reset(seed=0)
    for record in ("level", "state"):
        env.batch.rows[record]["cubes"][0] = [2, 6]
    env.batch.rows["state"]["agent"], env.batch.rows["state"]["target"] = 0, 1
    assert env.render().splitlines() == ["G··", "···", "@·R", "target green; step 0 of 36, found 0 of 3"]
    env.step(RIGHT)
    assert env.render().splitlines()[:3] == ["g··", "···", "·@r"]
    env = gym.make(NAME, render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    before = env.render()
    env.step(env.oracle())
    assert (before != env.render()).any()


def test_it_keeps_what_environments_promise():
    check_environment(NAME, size=3, cubes=2, teleport=0.5, max_steps=15)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 1},
        {"size": 16},
        {"cubes": 0},
        {"cubes": 9},
        {"size": 2, "cubes": 3},
        {"phases": 0},
        {"teleport": -0.1},
        {"updates": "none"},
        {"max_steps": 0},
        {"observable": "yes"},
    ],
)
def test_a_wrong_parameter_is_named(wrong):
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        gym.make(NAME, **wrong)
