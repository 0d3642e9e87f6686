"""The T-maze: what is seen, what is rewarded, when it ends."""

import gymnasium as gym
import numpy as np
import pytest

UP, RIGHT, DOWN, LEFT = range(4)


@pytest.mark.parametrize("length", [1, 4, 30])
def test_the_oracle_turns_as_the_cue_said(length):
    env = gym.make("memenvs/TMaze-v0", length=length)
    cues = set()
    for seed in range(12):
        observation, info = env.reset(seed=seed)
        assert observation.dtype == np.uint8
        cue = int(observation[0])
        cues.add(cue)
        assert cue in (1, 2)
        assert observation[1] == 0
        for place in range(1, length + 1):
            assert info["decision"]
            assert env.unwrapped.oracle() == RIGHT
            observation, reward, end, cut, info = env.step(RIGHT)
            assert observation.tolist() == [0, int(place == length)]
            assert (reward, end, cut) == (0.0, False, False)
        assert env.unwrapped.oracle() == (UP if cue == 1 else DOWN)
        _, reward, end, cut, info = env.step(env.unwrapped.oracle())
        assert (reward, end, cut, info["success"]) == (1.0, True, False, 1.0)
    assert cues == {1, 2}


def test_a_wrong_turn_brings_nothing():
    env = gym.make("memenvs/TMaze-v0", length=2).unwrapped
    env.reset(seed=0)
    env.step(RIGHT)
    env.step(RIGHT)
    _, reward, end, cut, info = env.step(UP if env.oracle() == DOWN else DOWN)
    assert (reward, end, cut, info["success"]) == (0.0, True, False, 0.0)


def test_walls_stop_and_time_runs_out():
    env = gym.make("memenvs/TMaze-v0", length=2).unwrapped
    env.reset(seed=0)
    for action in (LEFT, UP, DOWN, RIGHT, RIGHT):
        observation, _, end, cut, _ = env.step(action)
        assert not end and not cut
    assert observation[1] == 1
    _, reward, end, cut, info = env.step(RIGHT)  # against the wall of the junction, in the sixth and last step
    assert (reward, end, cut, info["success"]) == (0.0, False, True, 0.0)


def test_a_random_walk_takes_open_ways_and_is_right_half_the_time():
    envs = gym.make_vec("memenvs/TMaze-v0", num_envs=512, length=2)
    observations, _ = envs.reset(seed=0)
    rng = np.random.default_rng(0)
    assert (envs.random_walk(rng) == RIGHT).all()
    success = []
    for _ in range(60):
        actions = envs.random_walk(rng)
        assert not np.isin(actions[observations[:, 1] == 0], [UP, DOWN]).any()
        assert not np.any(actions[observations[:, 1] == 1] == RIGHT)
        observations, _, terminated, _, infos = envs.step(actions)
        if "success" in infos:
            success += infos["success"][terminated].tolist()
    assert 0.45 < np.mean(success) < 0.55


def test_corridors_of_drawn_lengths():
    envs = gym.make_vec("memenvs/TMaze-v0", num_envs=400, length=(2, 5))
    observations, _ = envs.reset(seed=0)
    junction, cues = np.zeros(400, dtype=int), observations[:, 0]
    for step in range(1, 6):
        observations, *_ = envs.step(np.full(400, RIGHT))
        junction[(observations[:, 1] == 1) & (junction == 0)] = step
    counts = [np.bincount(junction[cues == cue], minlength=6)[2:] for cue in (1, 2)]
    assert np.sum(counts) == 400
    assert np.min(counts) > 30  # of fifty: every length with either cue
    with pytest.raises(ValueError, match="split"):
        gym.make("memenvs/TMaze-v0", length=(2, 5), split="test")


@pytest.mark.parametrize("length", [(3, 2), (0, 4), [1, 2, 3], 0, -1, 2.5, "long", True])
def test_a_wrong_length_is_named(length):
    with pytest.raises(ValueError, match="length"):
        gym.make("memenvs/TMaze-v0", length=length)
