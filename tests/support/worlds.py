"""A small environment of any spaces, and what stands in for gymnasium's environments where only their ways matter."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class World(gym.Env):
    """Samples of a space; every other episode ends by a time limit.

    :param observation_space: of any kind that Gymnasium can draw from
    :param action_space: likewise; where it is not a Box, ``oracle`` names one of its actions
    :param steps: length of an episode
    """

    def __init__(self, observation_space=None, action_space=None, steps=3):
        self.observation_space = spaces.Box(-1, 1, (2,), np.float32) if observation_space is None else observation_space
        self.action_space = spaces.Discrete(2) if action_space is None else action_space
        self.steps, self.number = steps, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
            self.action_space.seed(seed)
        self.count, self.number = 0, self.number + 1
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.count += 1
        ended, cut = self.count == self.steps, self.number % 2 == 0
        return self.observation_space.sample(), 1.0, ended and not cut, ended and cut, {}

    def oracle(self):
        return self.action_space.sample()
