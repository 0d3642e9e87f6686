"""Gymnasium's vector environments as SB3's: what is learned from is what happened."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecMonitor,
)

import memenvs  # noqa: F401
from memagents import as_vec_env
from memagents.environments.conditioning import ConditionOn
from memagents.environments.guidance import decision_mask, oracle_actions
from memagents.environments.vector import GymnasiumVecEnv
from tests.support.toys import OBSERVATIONS, Counter, Toy, assert_same, dummy, toys

pytestmark = pytest.mark.filterwarnings("ignore:The environment is already wrapped")

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]


def converted(mode, count=3, copy=True, **parameters):
    return as_vec_env(SyncVectorEnv(toys(count, **parameters), autoreset_mode=mode, copy=copy))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("observations", ["box", "dict", "discrete", "symbols"])
@pytest.mark.parametrize("copy", [True, False])
def test_every_autoreset_mode_is_what_sb3s_own_vec_env_gives(mode, observations, copy):
    """No row of experience comes from a reset, whatever gymnasium does at the end of an episode."""
    theirs = dummy(observations=observations, tells=True)
    ours = converted(mode, observations=observations, tells=True, copy=copy)
    theirs.seed(7)
    ours.seed(7)
    assert_same(ours.reset(), theirs.reset())
    np.testing.assert_array_equal(decision_mask(ours, None, None), decision_mask(theirs, None, None))
    rng, ends = np.random.default_rng(0), 0
    for _ in range(60):
        actions = rng.integers(0, 3, 3)
        observed, rewards, dones, infos = ours.step(actions)
        expected, their_rewards, their_dones, their_infos = theirs.step(actions)
        assert_same(observed, expected)
        np.testing.assert_array_equal(rewards, their_rewards)
        assert rewards.dtype == np.float32
        np.testing.assert_array_equal(dones, their_dones)
        np.testing.assert_array_equal(decision_mask(ours, infos, dones), decision_mask(theirs, their_infos, dones))
        for i in np.flatnonzero(dones):
            ends += 1
            assert_same(infos[i]["terminal_observation"], their_infos[i]["terminal_observation"])
            assert infos[i]["TimeLimit.truncated"] == their_infos[i]["TimeLimit.truncated"]
            assert infos[i]["ends"] == their_infos[i]["ends"]
            assert infos[i]["episode"]["r"] == pytest.approx(their_infos[i]["episode"]["r"], abs=1e-5)
            assert infos[i]["episode"]["l"] == their_infos[i]["episode"]["l"]
            assert ours.reset_infos[i]["begins"] == theirs.reset_infos[i]["begins"]
        assert all("terminal_observation" not in infos[i] for i in np.flatnonzero(~dones))
    assert ends > 20


def test_what_is_not_said_of_a_decision_matters():
    env = converted(AutoresetMode.SAME_STEP, tells=True)
    env.seed(0)
    env.reset()
    told = []
    for _ in range(30):
        _, _, dones, infos = env.step(np.zeros(3, np.int64))
        told.append(decision_mask(env, infos, dones))
    assert 0.3 < np.mean(told) < 0.7
    silent = converted(AutoresetMode.SAME_STEP)
    silent.reset()
    assert decision_mask(silent, None, None).tolist() == [True] * 3


@pytest.mark.parametrize("wrap", [VecMonitor, VecCheckNan, lambda env: ConditionOn(env, ["action"])])
def test_decisions_are_found_below_wrappers(wrap):
    inner, wrapped = dummy(tells=True), wrap(dummy(tells=True))
    for env in (inner, wrapped):
        env.seed(3)
        env.reset()
    np.testing.assert_array_equal(decision_mask(wrapped, None, None), decision_mask(inner, None, None))
    for _ in range(20):
        actions = np.zeros(3, np.int64)
        _, _, dones, infos = inner.step(actions)
        expected = decision_mask(inner, infos, dones)
        _, _, dones, infos = wrapped.step(actions)
        np.testing.assert_array_equal(decision_mask(wrapped, infos, dones), expected)


def test_a_vector_env_that_cannot_reset_single_rows_is_refused():
    """Gymnasium's own CartPoleVectorEnv resets all rows: every other episode would end unseen."""
    env = as_vec_env(gym.make_vec("CartPole-v1", num_envs=4))
    env.seed(0)
    env.reset()
    with pytest.raises(ValueError, match=r"CartPoleVectorEnv can not reset single rows.*sync"):
        for _ in range(100):
            env.step(np.array([0, 1, 0, 1]))


def test_memenvs_say_what_the_policy_needs():
    env = as_vec_env(gym.make_vec("memenvs/Underground-v0", num_envs=4, stations=3, exits=1, labels=3, distance=1))
    env.seed(1)
    env.reset()
    rng, seen = np.random.default_rng(0), []
    for _ in range(40):
        oracle = oracle_actions(env)
        assert oracle.dtype == np.int64
        decision = env.decision
        np.testing.assert_array_equal(decision, oracle >= 0)
        seen.append(decision)
        _, _, dones, infos = env.step(env.random_walk(rng))
        for i in np.flatnonzero(dones):
            assert {"success", "spl", "episode", "terminal_observation"} <= infos[i].keys()
            assert infos[i]["TimeLimit.truncated"] is False
    assert 0 < np.mean(seen) < 1


@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
def test_an_oracle_is_found_in_the_batch_or_in_each_environment(vectorization):
    env = as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=3, length=2, vectorization_mode=vectorization))
    env.reset()
    assert oracle_actions(env).tolist() == [1, 1, 1]
    assert oracle_actions(VecMonitor(env)).tolist() == [1, 1, 1]
    assert list(env.env_method("oracle", indices=[0, 2])) == [1, 1]


def test_an_environment_without_an_oracle():
    for env in (as_vec_env(SyncVectorEnv([Counter] * 2)), as_vec_env(Counter())):
        env.reset()
        with pytest.raises(ValueError, match="no oracle"):
            oracle_actions(env)


def test_seeds_reach_the_environments():
    first = []
    for _ in range(2):
        env = converted(AutoresetMode.SAME_STEP)
        env.seed(11)
        first.append(env.reset())
        again = env.reset()
    np.testing.assert_array_equal(*first)
    assert not np.array_equal(first[0], again)


def test_attributes_methods_and_pictures():
    env = as_vec_env(SyncVectorEnv([lambda: Counter(4), lambda: Counter(5)]))
    assert env.get_attr("steps") == [4, 5]
    assert env.get_attr("steps", indices=1) == [5]
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.get_images() == [None, None]
    pictures = as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=2, render_mode="rgb_array"))
    pictures.reset()
    assert [picture.dtype for picture in pictures.get_images()] == [np.uint8] * 2
    assert pictures.render_mode == "rgb_array"


def test_what_as_vec_env_takes():
    assert isinstance(as_vec_env(SyncVectorEnv([Counter])), GymnasiumVecEnv)
    single = as_vec_env(Toy())
    assert isinstance(single, DummyVecEnv)
    assert single.env_is_wrapped(Monitor) == [True]
    monitored = Monitor(Toy())
    assert as_vec_env(monitored).envs == [monitored]
    assert as_vec_env(single) is single
    conditioned = as_vec_env(single, ["reward"])
    assert isinstance(conditioned, ConditionOn)
    assert as_vec_env(conditioned, ["reward"]) is conditioned
    with pytest.raises(ValueError, match="env must be a gymnasium Env or VectorEnv or an SB3 VecEnv, not int"):
        as_vec_env(3)


def test_toys_cover_the_spaces():
    for name, space in OBSERVATIONS.items():
        env = Toy(observations=name)
        assert space.contains(env.reset(seed=0)[0])


def test_what_other_processes_load_is_light():
    """A spawned worker unpickles the function that makes its environment, and should not load torch for it."""
    code = "import sys, memagents.environments.adapted; assert not {'torch', 'stable_baselines3'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
