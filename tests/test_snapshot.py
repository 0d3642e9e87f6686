"""A snapshot of an environment and its wrappers goes on exactly, or says that it does not."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecCheckNan, VecEnvWrapper, VecFrameStack, VecMonitor, VecNormalize

import memenvs  # noqa: F401
from memagents import as_vec_env
from memagents.conditioning import ConditionOn
from memagents.snapshot import restore_env, snapshot_env
from tests.toys import assert_same, dummy


def underground(count=4):
    return as_vec_env(gym.make_vec("memenvs/Underground-v0", num_envs=count, stations=3, exits=1, labels=3, distance=1))


def dict_of_floats(env):
    """Underground's bytes as floats that VecNormalize takes."""

    class Floats(VecEnvWrapper):
        def __init__(self, venv):
            super().__init__(venv, observation_space=gym.spaces.Box(0, 20, (8,), np.float32))

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

    return Floats(env)


STACKS = {
    "bare": underground,
    "monitor": lambda: VecMonitor(underground()),
    "condition": lambda: as_vec_env(VecCheckNan(underground()), ["action", "reward"]),
    "normalized": lambda: VecNormalize(dict_of_floats(underground())),
    "normalized_rewards": lambda: VecNormalize(underground(), norm_obs=False),
    "normalized_dict": lambda: VecNormalize(
        ConditionOn(dict_of_floats(underground()), ["reward"]), norm_obs_keys=["observation"]
    ),
}


@pytest.mark.parametrize("stack", STACKS)
def test_a_snapshot_goes_on_exactly(stack):
    env = STACKS[stack]()
    env.seed(5)
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(9):
        env.step(rng.integers(0, 3, 4))
    snapshot = snapshot_env(env)
    other = STACKS[stack]()
    other.seed(99)
    other.reset()
    assert restore_env(other, snapshot)
    for _ in range(30):
        actions = rng.integers(0, 3, 4)
        for a, b in zip(env.step(actions), other.step(actions), strict=True):
            if isinstance(a, list):
                for ours, theirs in zip(a, b, strict=True):
                    for info in (ours, theirs):
                        info.get("episode", {}).pop("t", None)
                    assert_same(ours, theirs)
            else:
                assert_same(a, b)
    assert_same(env.reset(), other.reset())


def test_what_cannot_go_on_exactly_says_so():
    for make in (dummy, lambda: VecNormalize(dummy()), lambda: VecFrameStack(dict_of_floats(underground()), 2)):
        env = make()
        env.reset()
        env.step(np.zeros(env.num_envs, np.int64))
        snapshot = snapshot_env(env)
        other = make()
        other.reset()
        assert not restore_env(other, snapshot)
        if isinstance(env, VecNormalize):
            np.testing.assert_array_equal(other.obs_rms.mean, env.obs_rms.mean)
            assert other.obs_rms.count == env.obs_rms.count


def test_snapshots_of_other_wrappers_are_refused():
    bare, monitored = underground(), VecMonitor(underground())
    for env in (bare, monitored):
        env.reset()
    with pytest.raises(ValueError, match="wrapped in VecMonitor when"):
        restore_env(bare, snapshot_env(monitored))
    with pytest.raises(ValueError, match="wrapped in VecMonitor, the saved"):
        restore_env(monitored, snapshot_env(bare))
    with pytest.raises(ValueError):
        restore_env(underground(3), snapshot_env(bare))
