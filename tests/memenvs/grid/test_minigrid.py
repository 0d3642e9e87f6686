"""MiniGrid's environments against MiniGrid itself: the same level and the same actions give the same steps."""

from collections import Counter

import gymnasium as gym
import minigrid  # noqa: F401 — registers its environments
import numpy as np
import pytest

from memenvs.grid.ids import FAMILIES
from memenvs.grid.minigrid import MiniGrid
from memenvs.grid.missions import MissionWords

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date")

WITH_FAILURE = {"Memory", "LavaCrossing", "LavaGap", "DistShift", "RedBlueDoors", "GoToDoor", "GoToObject", "Fetch"}
WITH_FAILURE |= {"PutNear", "Dynamic-Obstacles"}
STEPS = [(1, 0), (0, 1), (-1, 0), (0, -1)]
# Of actions: those that do much are tried more often, and those that end an episode less often.
WEIGHTS = {family: [0.12, 0.12, 0.34, 0.14, 0.07, 0.19, 0.02] for family in FAMILIES}
WEIGHTS["GoToDoor"] = WEIGHTS["GoToObject"] = [0.18, 0.18, 0.4, 0.06, 0.06, 0.02, 0.1]
WEIGHTS["PutNear"] = [0.1, 0.1, 0.25, 0.3, 0.2, 0.03, 0.02]
WEIGHTS["Dynamic-Obstacles"] = [0.35, 0.35, 0.3]


def of_family(family):
    return [f"MiniGrid-{family}{variant}" for variant in FAMILIES[family].split()]


def pair(name, **parameters):
    """MiniGrid's environment with numbers for missions, and ours."""
    peer = MissionWords(gym.make(name, disable_env_checker=True, **parameters).unwrapped)
    return peer, MiniGrid(level=name, levels=64, **parameters)


def begin(peer, env, seed=None):
    """Begin the same level in both."""
    observation, _ = env.reset(seed=seed)
    expected, _ = peer.reset(seed=int(env.batch.rows["level"]["number"][0]))
    same(expected, observation)


def same(expected, observation):
    assert expected.keys() == observation.keys()
    for key, value in expected.items():
        assert np.array_equal(value, observation[key]), key


def fields_outside(grid):
    """What is empty between the rooms and the border: no agent ever gets there."""
    width, height = grid.width, grid.height
    outside, found = set(), [(x, y) for x in range(width) for y in range(height) if x * y == 0]
    found += [(x, y) for x in range(width) for y in range(height) if x == width - 1 or y == height - 1]
    while found:
        x, y = found.pop()
        if 0 <= x < width and 0 <= y < height and (x, y) not in outside and grid.get(x, y) is None:
            outside.add((x, y))
            found += [(x + dx, y + dy) for dx, dy in STEPS]
    return outside


def leap(peer, env, rng):
    """Put both agents before some object, or anywhere: random walks would meet what is behind doors too seldom."""
    grid, world = peer.unwrapped.grid, peer.unwrapped
    outside = fields_outside(grid)
    things = [i for i, thing in enumerate(grid.grid) if thing is not None and thing.type != "wall"]
    for _ in range(20):
        if things and rng.random() < 0.8:
            y, x = divmod(int(rng.choice(things)), grid.width)
        else:
            x, y = rng.integers(grid.width), rng.integers(grid.height)
        direction = int(rng.integers(4))
        x, y = int(x - STEPS[direction][0]), int(y - STEPS[direction][1])
        if 0 < x < grid.width - 1 and 0 < y < grid.height - 1 and grid.get(x, y) is None and (x, y) not in outside:
            world.agent_pos, world.agent_dir = (x, y), direction
            state = env.batch.rows["state"]
            state["x"], state["y"], state["direction"] = x, y, direction
            return


def compare(peer, env, transitions, rng, weights):
    """Step both alike, and count how episodes ended."""
    ends = Counter()
    begin(peer, env, seed=int(rng.integers(2**31)))  # from here on chance is the same in every run
    for _ in range(transitions):
        if rng.random() < 0.12:
            leap(peer, env, rng)
        action = int(rng.choice(len(weights), p=weights))
        expected, reward, terminated, truncated, _ = peer.step(action)
        given = env.step(action)
        same(expected, given[0])
        assert given[1] == reward
        assert given[2] == terminated
        assert given[3] == (truncated and not terminated)  # here an episode is one or the other
        if terminated or truncated:
            ends["success" if reward > 0 else "failure" if terminated else "truncated"] += 1
            assert given[4]["success"] == (reward > 0)
            begin(peer, env)
    return ends


def check_family(family, transitions):
    rng, names = np.random.default_rng(0), of_family(family)
    ends = Counter()
    for name in names:
        for parameters in ({}, {"max_steps": 8}):
            ends += compare(*pair(name, **parameters), transitions // len(names) // 2 + 1, rng, WEIGHTS[family])
    assert ends["truncated"] > 3
    assert (ends["success"] > 0) == (family != "Playground")
    assert (ends["failure"] > 0) == (family in WITH_FAILURE)
    print(f"{family}: {dict(ends)}")


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_are_minigrids(family):
    check_family(family, 2_000)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_very_many_steps_are_minigrids(family):
    check_family(family, 20_000)
