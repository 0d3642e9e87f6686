"""CartPole without velocities."""

import gymnasium as gym
import numpy as np

from memagents import make_env

ID = "memagents.environments.cartpole:CartPolePositions-v1"


def test_it_is_cartpole_without_velocities():
    env, whole = gym.make(ID), gym.make("CartPole-v1")
    assert env.spec.max_episode_steps == whole.spec.max_episode_steps
    assert np.array_equal(env.observation_space.high, whole.observation_space.high[[0, 2]])
    for seed in range(3):
        seen, (state, _) = env.reset(seed=seed)[0], whole.reset(seed=seed)
        ended = False
        while not ended:
            assert np.array_equal(seen, state[[0, 2]])
            action = int(state[2] + state[3] > 0)
            seen, *ours = env.step(action)
            state, *theirs = whole.step(action)
            assert ours == theirs
            ended = bool(ours[1] or ours[2])
        assert env.observation_space.contains(seen)


def test_it_is_made_by_its_id():
    env = make_env(ID, 2, seed=0)
    assert env.reset().shape == (2, 2)
