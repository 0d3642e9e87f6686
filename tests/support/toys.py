"""Small environments whose every number is random but fixed by the seed, and that record what they were asked to do."""

import copy

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

import memenvs  # noqa: F401
from memagents.environments.guidance import decision_mask
from memagents.environments.vector import as_vec_env

OBSERVATIONS = {
    "box": spaces.Box(-1, 1, (3,), np.float32),
    "discrete": spaces.Discrete(5),
    "multi_discrete": spaces.MultiDiscrete([3, 4]),
    "multi_binary": spaces.MultiBinary(3),
    "symbols": spaces.Box(0, 255, (3, 3, 3), np.uint8),
    "dict": spaces.Dict(
        {"codes": spaces.MultiDiscrete([3, 2]), "place": spaces.Discrete(4), "sight": spaces.Box(-1, 1, (2, 2))}
    ),
}
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "shifted": spaces.Discrete(3, start=5),
    "box": spaces.Box(-2, 1, (2,), np.float32),
    "multi_discrete": spaces.MultiDiscrete([3, 2]),
    "multi_binary": spaces.MultiBinary(3),
}


class Toy(gym.Env):
    """Random observations and rewards; episodes of 2 to 6 steps that are terminated or truncated.

    :param tells: whether ``info["decision"]`` is given, and only where it is false
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, observations="box", actions="discrete", tells=False, render_mode=None):
        self.observation_space = OBSERVATIONS[observations]
        self.action_space = ACTIONS[actions]
        self.tells = tells
        self.render_mode = render_mode
        self.number = 0  # of the episode

    def _observe(self):
        # A space draws from a generator of its own: tied to this one, a seed fixes everything.
        space = type(self)._seeded(self.observation_space, int(self.np_random.integers(2**31)))
        return space.sample()

    @staticmethod
    def _seeded(space, seed):
        space.seed(seed)
        return space

    def _info(self):
        matters = not self.tells or self.np_random.random() < 0.5
        return {} if matters else {"decision": False}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number += 1
        self.remaining = int(self.np_random.integers(2, 7))
        self.cut = bool(self.np_random.integers(2))
        return self._observe(), {"begins": self.number, **self._info()}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.remaining -= 1
        ended = self.remaining == 0
        reward = float(self.np_random.normal()) + 0.1 * float(np.sum(action))
        info = {"ends": self.number, **self._info()} if ended else self._info()
        return self._observe(), reward, ended and not self.cut, ended and self.cut, info

    def oracle(self):
        if isinstance(self.action_space, spaces.Discrete):
            return -1 if self.remaining == 4 else int(self.action_space.start) + self.remaining % 3
        # Several entries, each below 2.
        size = self.action_space.shape[0]
        return np.full(size, -1) if self.remaining == 4 else (self.remaining >> np.arange(size)) % 2


class Counter(gym.Env):
    """The observation counts the steps of an episode, from 0; the reward is the same number.

    :param steps: length of an episode, which is truncated then
    """

    observation_space: spaces.Space = spaces.Box(0, 1000, (1,), np.float32)
    action_space: spaces.Space = spaces.Discrete(2)

    def __init__(self, steps=3):
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), float(self.count), False, self.count == self.steps, {}


def toys(count, **parameters):
    """Functions that make ``count`` toys, as DummyVecEnv and SyncVectorEnv take them."""
    return [lambda: Toy(**parameters)] * count


def underground(count=4, **parameters):
    """The smallest journeys: three stations with an exit each, one step to go."""
    return as_vec_env(
        gym.make_vec("memenvs/Underground-v0", num_envs=count, stations=3, exits=1, labels=3, distance=1, **parameters)
    )


def tmaze(count=4, **parameters):
    """T-mazes with a short corridor."""
    return as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=count, length=3, **parameters))


def dummy(count=3, **parameters):
    """Toys as SB3 users have them."""
    return DummyVecEnv([lambda make=make: Monitor(make()) for make in toys(count, **parameters)])


def assert_same(a, b):
    """Arrays, numbers, and dicts of them, bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same(a[name], b[name])
    else:
        np.testing.assert_array_equal(a, b)


class Floats(VecEnvWrapper):
    """Underground's bytes as floats, which VecNormalize takes; a wrapper of its own with (no) state."""

    def __init__(self, venv):
        super().__init__(venv, observation_space=spaces.Box(0, 20, (8,), np.float32))

    def reset(self):
        return self.venv.reset().astype(np.float32)

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        for i in np.flatnonzero(dones):
            infos[i]["terminal_observation"] = infos[i]["terminal_observation"].astype(np.float32)
        return observations.astype(np.float32), rewards, dones, infos

    def snapshot(self):
        return {}

    def restore(self, snapshot):
        assert snapshot == {}


class Recorder(VecEnvWrapper):
    """Keeps what every step gave: ``history[t]`` is (actions, observations, rewards, dones, infos, decisions)."""

    def __init__(self, venv):
        super().__init__(venv)
        self.history = []

    def reset(self):
        self.first = self.venv.reset()
        self.first_decisions = decision_mask(self.venv, None, None)
        return copy.deepcopy(self.first)

    def step_async(self, actions):
        self.actions = np.array(actions)
        self.venv.step_async(actions)

    def step_wait(self):
        given = self.venv.step_wait()
        decisions = decision_mask(self.venv, given[3], given[2])
        self.history.append(copy.deepcopy((self.actions, *given, decisions)))
        return given
