"""Environments that show everything: twins of those that have to be remembered."""

import gymnasium as gym
import numpy as np
import pytest
from minigrid.wrappers import FullyObsWrapper

from memenvs.grid.cells import AGENT, GOAL


@pytest.mark.parametrize("level", ["MemoryS7", "DoorKey-5x5", "KeyCorridorS3R1", "MultiRoom-N2-S4", "Fetch-5x5-N2"])
def test_the_whole_grid_is_what_minigrid_shows(level):
    ours = gym.make(f"memenvs/MiniGrid-{level}-v0", observable=True, levels=20).unwrapped
    theirs = FullyObsWrapper(gym.make(f"MiniGrid-{level}-v0"))
    rng = np.random.default_rng(0)
    for _ in range(3):
        observation, _ = ours.reset(seed=int(rng.integers(1000)))
        number = int(ours.batch.rows["level"]["number"][0])
        expected, _ = theirs.reset(seed=number)
        for _ in range(30):
            assert observation["image"].shape == ours.observation_space["image"].shape == expected["image"].shape
            assert np.array_equal(observation["image"], expected["image"])
            assert observation["direction"] == expected["direction"]
            action = int(rng.integers(ours.action_space.n))
            observation, _, *ends, _ = ours.step(action)
            expected, *_ = theirs.step(action)
            if any(ends):
                break


@pytest.mark.parametrize("level", ["MemoryS7", "Fetch-5x5-N2"])
def test_the_whole_grid_beside_the_view(level):
    """Each as it is alone."""
    seen = [
        gym.make_vec(f"memenvs/MiniGrid-{level}-v0", num_envs=3, levels=20, **more)
        for more in ({"observable": "beside"}, {"observable": True}, {})
    ]
    both, whole, view = (env.reset(seed=3)[0] for env in seen)
    for _ in range(40):
        assert np.array_equal(both["world"], whole["image"])
        assert all(np.array_equal(both[name], view[name]) for name in view)
        assert seen[0].observation_space.contains(both)
        actions = seen[0].action_space.sample()
        both, whole, view = (env.step(actions)[0] for env in seen)
    with pytest.raises(ValueError, match="observable must be True, False or 'beside', not 'behind'"):
        gym.make(f"memenvs/MiniGrid-{level}-v0", observable="behind")


def test_a_tmaze_shows_its_cue_at_every_step():
    env = gym.make("memenvs/TMaze-v0", length=4, observable=True)
    cues = set()
    for seed in range(8):
        first, _ = env.reset(seed=seed)
        cues.add(int(first[0]))
        for _ in range(4):
            observation, *_ = env.step(1)
            assert observation[0] == first[0] > 0
        assert observation[1] == 1
        _, reward, terminated, _, _ = env.step({1: 0, 2: 2}[int(first[0])])
        assert reward == 1
        assert terminated
    assert cues == {1, 2}


@pytest.mark.parametrize("goals", [1, 3])
def test_a_maze_shows_the_way_to_the_goal(goals):
    """By what is seen alone, the agent finds as short a way as the oracle."""
    env = gym.make("memenvs/Maze-v0", size=(7, 9), goals=goals, observable=True, max_steps=60).unwrapped
    observation, _ = env.reset(seed=1)
    image = observation["image"]
    assert image.shape == (9, 9, 3)
    for _ in range(60):
        image = observation["image"]
        ((x, y),) = np.argwhere(image[..., 0] == AGENT)
        assert image[x, y, 2] == observation["direction"]
        goal = np.argwhere(image[..., 0] == GOAL)
        if goals > 1:
            assert len(goal) >= goals - 1  # the agent may stand on one
            goal = goal[image[tuple(goal.T)][:, 1] == observation["wanted"]]
        assert len(goal) == 1
        assert env.oracle() in first_steps(image[..., 0], (x, y, int(observation["direction"])), tuple(goal[0]))
        observation, _, terminated, truncated, _ = env.step(env.oracle())
        if terminated or truncated:
            break


def first_steps(kinds, pose, goal):
    """First actions of the shortest ways, by breadth-first search: left, right, forward."""
    ahead = ((1, 0), (0, 1), (-1, 0), (0, -1))

    def after(pose, action):
        x, y, direction = pose
        if action < 2:
            return x, y, (direction + (-1, 1)[action]) % 4
        dx, dy = ahead[direction]
        return (x + dx, y + dy, direction) if kinds[x + dx, y + dy] not in (0, 2) else pose

    frontier, seen = {pose: set()}, {pose}
    while frontier:
        found = [first for (x, y, _), first in frontier.items() if (x, y) == goal]
        if found:
            return set().union(*found)
        following = {}
        for place, first in frontier.items():
            for action in range(3):
                reached = after(place, action)
                if reached not in seen:
                    following.setdefault(reached, set()).update(first or {action})
        seen |= following.keys()
        frontier = following
    return set()


@pytest.mark.parametrize("name", ["TMaze", "Maze", "MiniGrid-MemoryS7"])
def test_observable_must_be_a_flag(name):
    with pytest.raises(ValueError, match="observable must be"):
        gym.make(f"memenvs/{name}-v0", observable="yes")
