"""The labyrinths beside POPGym's own."""

import warnings
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from memenvs.popgym.carving import FREE, GOAL, WALL
from memenvs.popgym.labyrinth_rules import AGENT, VISITED
from tests.memenvs.popgym.beside import both, ids_of, level_of, play

pytest.importorskip("popgym")

pytestmark = pytest.mark.filterwarnings("ignore:Maze environments:DeprecationWarning")  # POPGym's own
IDS = ids_of("LabyrinthEscape", "LabyrinthExplore")
each = pytest.mark.parametrize("name", IDS)
WAYS = ((0, -1), (0, 1), (-1, 0), (1, 0))  # left, right, up, down


@each
def test_spaces_are_those_of_popgym(name):
    ours, (theirs,) = both(name, 1)
    for kind in ("observation_space", "action_space"):
        own, other = getattr(ours, f"single_{kind}"), getattr(theirs, kind)
        assert (own, type(own), own.dtype) == (other, type(other), other.dtype)


def beyond(level, row, column, action):
    """Where an action leads, by the rules written once more."""
    down, across = WAYS[action]
    to = row + down, column + across
    inside = min(to) >= 0 and max(to) < level["size"]
    return to if inside and level["grid"][to] != WALL else (row, column)


def last_step(row, action):
    """Whether an action ends the episode of a row."""
    state, level = row["state"], row["level"]
    to = beyond(level, int(state["row"]), int(state["column"]), action)
    if (level["grid"] == GOAL).any():
        return level["grid"][to] == GOAL
    return not state["visited"][to] and state["left"] == 1


@each
def test_every_step_is_that_of_popgym(name):
    """Some rows take the last step only when time is up."""

    def act(envs, decision, rng):
        actions, rows = envs.oracle(), envs.unwrapped.batch.rows
        for place, row in enumerate(rows):
            if place % 4 == 0 or (place % 4 == 1 and rng.random() < 0.5):
                actions[place] = rng.integers(4)
            elif place % 4 == 2 and last_step(row, actions[place]) and row["state"]["steps"] < 1022:
                here = int(row["state"]["row"]), int(row["state"]["column"])
                still = [action for action in range(4) if beyond(row["level"], *here, action) == here]
                actions[place] = rng.choice(still or [action for action in range(4) if action != actions[place]])
        return actions

    ends, _ = play(name, act, 8, 2500)
    ended = sum(ends, Counter())
    assert ended[True, False] > 10
    assert ended[False, True] > 2
    assert ended[True, True] > 0


@each
def test_mazes_are_those_of_seeds(name):
    ours, (theirs,) = both(name, 1)
    definition = ours.unwrapped.definition
    for seed in [0, 1, 2**31, 2**32 - 1, *np.random.default_rng(0).integers(0, 2**32, 40).tolist()]:
        theirs.reset(seed=seed)
        level = level_of(definition, seed + 5 * 2**32)  # of a key the lower half is the seed
        size = level["size"]
        assert level["seed"] == seed
        assert np.array_equal(level["grid"][:size, :size], theirs.maze.grid)
        assert (tuple(level["start"]), tuple(level["end"])) == (theirs.maze.start, theirs.maze.end)
        assert np.all(level["grid"][size:] == WALL)
        assert np.all(level["grid"][:, size:] == WALL)


@pytest.mark.parametrize("size", [7, 13, 31])
def test_mazes_of_other_sizes_too(size):
    from popgym.envs.labyrinth_escape import LabyrinthEscape

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = LabyrinthEscape(maze_dims=(size - 1, size - 1))
    definition = gym.make("memenvs/popgym-LabyrinthEscapeEasy-v0", size=size).unwrapped.definition
    for seed in range(3):
        theirs.reset(seed=seed)
        assert np.array_equal(level_of(definition, seed)["grid"][:size, :size], theirs.maze.grid)


def distances(level, start):
    """Steps from a square to all others."""
    found, edge = {start: 0}, [start]
    while edge:
        here = edge.pop(0)
        for action in range(4):
            to = beyond(level, *here, action)
            if to not in found:
                found[to] = found[here] + 1
                edge.append(to)
    return found


@pytest.mark.parametrize("name", IDS)
def test_the_oracle_takes_the_shortest_walk(name):
    envs = gym.make_vec(f"memenvs/{name}", num_envs=16)
    envs.reset(seed=0)
    levels = envs.unwrapped.batch.rows["level"].copy()
    ways = [distances(level, tuple(level["start"].tolist())) for level in levels]
    if "Escape" in name:
        shortest = [way[tuple(level["end"].tolist())] for way, level in zip(ways, levels, strict=True)]
    else:
        shortest = [2 * int(level["squares"]) - max(way.values()) for way, level in zip(ways, levels, strict=True)]
    lengths = np.zeros(16, int)
    for _ in range(max(shortest)):
        *_, infos = envs.step(envs.oracle())
        if "episode" in infos:
            first = infos["_episode"] & (lengths == 0)
            lengths[first] = infos["episode"]["l"][first]
            assert np.all(infos["success"][first] == 1)
            assert np.all(infos["spl" if "Escape" in name else "explored"][first] == 1)
    assert lengths.tolist() == shortest


def test_legal_actions_are_those_that_move():
    envs = gym.make_vec("memenvs/popgym-LabyrinthExploreEasy-v0", num_envs=16)
    envs.reset(seed=0)
    rng, rows = np.random.default_rng(0), envs.unwrapped.batch.rows
    for _ in range(50):
        before = rows["state"].copy()
        envs.step(envs.random_walk(rng))
        moved = abs(rows["state"]["row"] - before["row"]) + abs(rows["state"]["column"] - before["column"])
        assert np.all(moved == 1)


@pytest.mark.parametrize("family", ["Escape", "Explore"])
def test_the_whole_maze_shows_what_there_is(family):
    env = gym.make(f"memenvs/popgym-Labyrinth{family}Easy-v0", observable=True, size=9).unwrapped
    observation, _ = env.reset(seed=2)
    for _ in range(12):
        row = env.batch.rows[0]
        shown, grid = observation.reshape(9, 9), row["level"]["grid"][:9, :9].copy()
        assert shown[row["state"]["row"], row["state"]["column"]] == AGENT
        if family == "Explore":
            grid[(row["state"]["visited"][:9, :9] == 1) & (grid == FREE)] = VISITED
        grid[row["state"]["row"], row["state"]["column"]] = AGENT
        assert np.array_equal(shown, grid)
        assert env.observation_space.contains(observation)
        observation, _, over, _, _ = env.step(env.oracle())
        if over:
            break


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [
        ({"size": 10}, "size must be an odd integer from 7 to 41"),
        ({"size": 5}, "size must be"),
        ({"size": 43}, "size must be"),
        ({"max_steps": 1}, "max_steps must be"),
        ({"observable": "yes"}, "observable must be"),
    ],
)
def test_wrong_parameters_are_named(parameters, wrong):
    for family in ("Escape", "Explore"):
        with pytest.raises(ValueError, match=wrong):
            gym.make(f"memenvs/popgym-Labyrinth{family}Easy-v0", **parameters)


@pytest.mark.parametrize("family", ["Escape", "Explore"])
def test_damaged_records_are_refused(family):
    envs = gym.make_vec(f"memenvs/popgym-Labyrinth{family}Easy-v0", num_envs=2)
    envs.reset(seed=0)
    kept, rows = envs.snapshot(), envs.unwrapped.batch.rows
    damages = [("state", "row", 11), ("state", "column", -1), ("state", "last", 5), ("state", "steps", 1024)]
    damages += [("state", "left", 3), ("level", "size", 13), ("level", "max_steps", 5), ("level", "squares", 48)]
    damages += [("level", "start", 11), ("level", "start", 2), ("level", "end", -1), ("level", "grid", 4)]
    damages += [("level", "grid", 0), ("level", "grid", 1)]
    for record, field, value in damages:
        before = rows.copy()
        rows[record][field][1] = value
        damaged = envs.snapshot()
        rows[:] = before
        with pytest.raises(ValueError, match="damaged"):
            envs.restore(damaged)
    envs.restore(kept)


@pytest.mark.parametrize("family", ["Escape", "Explore"])
def test_pictures(family):
    env = gym.make(f"memenvs/popgym-Labyrinth{family}Easy-v0", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    first = env.render()
    for _ in range(5):
        env.step(env.oracle())
    assert first.shape == env.render().shape
    assert (first != env.render()).any()
    env = gym.make(f"memenvs/popgym-Labyrinth{family}Easy-v0", render_mode="ansi")
    env.reset(seed=0)
    text = env.render()
    assert ("G" in text) == (family == "Escape")
    assert ("49 squares left" in text) == (family == "Explore")
