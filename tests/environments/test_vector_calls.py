"""What is said to some of the environments behind a vector environment reaches these, and no others."""

import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import ClipReward, RecordEpisodeStatistics, TransformObservation
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import memenvs  # noqa: F401
from memagents import as_vec_env
from memagents.environments.conditioning import ConditionOn
from memagents.environments.joined import JoinedVecEnv


class Slope(gym.Env):
    """Shows its slope at every step, and where it was asked to begin."""

    observation_space = spaces.Box(-99, 99, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.slope = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.height = float((options or {}).get("height", 0))
        return self.look(), {}

    def look(self):
        return np.array([self.height, self.slope], np.float32)

    def step(self, action):
        return self.look(), 0.0, False, False, {}

    def tilt(self, slope, *, by=0.0):
        self.slope = slope + by
        return self.slope


def sync(count):
    return SyncVectorEnv([Slope] * count)


def sync_same_step(count):
    return SyncVectorEnv([Slope] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def in_processes(count):
    return AsyncVectorEnv([Slope] * count)


def in_processes_same_step(count):
    return AsyncVectorEnv([Slope] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def wrapped_within(count):
    return SyncVectorEnv([lambda: TimeLimit(Slope(), 50)] * count)


def wrapped_around(count):
    return TransformObservation(ClipReward(RecordEpisodeStatistics(sync(count)), -1, 1), lambda seen: seen)


WAYS = {
    "sync": lambda: as_vec_env(sync(4)),
    "sync, same step": lambda: as_vec_env(sync_same_step(4)),
    "async": lambda: as_vec_env(in_processes(4)),
    "async, same step": lambda: as_vec_env(in_processes_same_step(4)),
    "wrapped within": lambda: as_vec_env(wrapped_within(4)),
    "wrapped around": lambda: as_vec_env(wrapped_around(4)),
    "under SB3's wrappers": lambda: ConditionOn(VecMonitor(as_vec_env(sync(4))), ["action"]),
    "joined": lambda: JoinedVecEnv([as_vec_env(sync(3)), as_vec_env(sync(1))]),
    "joined of two kinds": lambda: JoinedVecEnv([DummyVecEnv([Slope] * 2), as_vec_env(wrapped_around(2))]),
    "SB3's own": lambda: DummyVecEnv([Slope] * 4),
}


@pytest.fixture(params=WAYS)
def env(request):
    made = WAYS[request.param]()
    yield made
    made.close()


def seen(observations):
    if isinstance(observations, dict):
        observations = observations["observation"]
    return np.asarray(observations).T.tolist()


def test_what_is_set_called_and_asked_reaches_the_rows_meant(env):
    env.reset()
    env.set_attr("slope", 5.0)
    assert env.get_attr("slope") == [5.0] * 4
    env.set_attr("slope", 2.0, indices=[1, 3])
    assert env.get_attr("slope") == [5.0, 2.0, 5.0, 2.0]
    assert env.get_attr("slope", indices=[3, 0]) == [2.0, 5.0]
    env.set_attr("slope", 9.0, indices=0)
    assert env.get_attr("slope", indices=0) == [9.0]
    # What the environments do says it, too: nothing was set on something around them.
    assert seen(env.step(np.zeros(4, np.int64))[0])[1] == [9.0, 2.0, 5.0, 2.0]


def test_methods_are_called_in_the_rows_meant(env, request):
    env.reset()
    assert env.env_method("tilt", 3.0, by=0.5) == [3.5] * 4
    if "async" in request.node.name:
        # Gymnasium's processes are all asked together.
        with pytest.raises(ValueError, match=r"indices: env_method\('tilt'\) reaches all rows of a AsyncVectorEnv"):
            env.env_method("tilt", 7.0, indices=[1])
        assert env.get_attr("slope") == [3.5] * 4
        return
    assert env.env_method("tilt", 7.0, indices=[3, 1]) == [7.0, 7.0]
    assert env.env_method("tilt", 8.0, indices=2) == [8.0]
    assert env.get_attr("slope") == [3.5, 7.0, 8.0, 7.0]
    assert [env.env_method("look", indices=[i])[0][1] for i in range(4)] == [3.5, 7.0, 8.0, 7.0]
    # Results come in the order that was asked for.
    assert [row[1] for row in env.env_method("look", indices=[2, 0, 3])] == [8.0, 3.5, 7.0]


def test_options_of_a_reset_are_those_of_each_row_and_of_one_reset(env):
    env.set_options([{"height": level} for level in (1, 2, 2, 4)])
    assert seen(env.reset())[0] == [1, 2, 2, 4]
    assert seen(env.reset())[0] == [0, 0, 0, 0]
    env.set_options({"height": 3})
    assert seen(env.reset())[0] == [3, 3, 3, 3]
    env.set_options([{}, {"height": 6}, {}, {}])
    assert seen(env.reset())[0] == [0, 6, 0, 0]


def test_what_is_not_there(env):
    env.reset()
    assert not env.has_attr("no_such_thing")
    assert env.has_attr("slope")
    with pytest.raises(AttributeError):
        env.env_method("no_such_thing")
    with pytest.raises(AttributeError):
        env.get_attr("no_such_thing")
    assert env.get_attr("slope") == [1.0] * 4  # it is still alive


def test_a_batch_that_is_a_whole():
    env = as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=3, length=2))
    env.reset()
    inner = env.vector.unwrapped
    env.set_attr("label", "mine")
    assert inner.label == "mine" and env.get_attr("label", indices=[2]) == ["mine"]
    assert list(env.env_method("oracle", indices=[2, 0])) == [1, 1]
    with pytest.raises(ValueError, match=re.escape("indices: set_attr('label') reaches all rows of a")):
        env.set_attr("label", "yours", indices=[1])
    assert inner.label == "mine"
    for options in ({"height": 1}, [{}, {"height": 1}, {}]):  # memenvs knows none, and says so
        env.set_options(options)
        with pytest.raises(ValueError, match=r"options of reset must be None or empty: none are known, not .'height'"):
            env.reset()
