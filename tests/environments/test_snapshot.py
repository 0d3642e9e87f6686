"""A snapshot of an environment and its wrappers goes on exactly, or says that it does not."""

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecCheckNan, VecFrameStack, VecMonitor, VecNormalize

from memagents import as_vec_env
from memagents.environments.conditioning import ConditionOn
from memagents.environments.snapshot import restore_env, snapshot_env
from tests.support.toys import Floats, assert_same, dummy, underground

pytestmark = pytest.mark.filterwarnings("ignore:The environment is already wrapped")

STACKS = {
    "bare": underground,
    "monitor": lambda: VecMonitor(underground()),
    "condition": lambda: as_vec_env(VecCheckNan(underground()), ["action", "reward"]),
    "normalized": lambda: VecNormalize(Floats(underground())),
    "normalized_rewards": lambda: VecNormalize(underground(), norm_obs=False),
    "normalized_dict": lambda: VecNormalize(
        ConditionOn(Floats(underground()), ["reward"]), norm_obs_keys=["observation"]
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
    for make in (dummy, lambda: VecNormalize(dummy()), lambda: VecFrameStack(Floats(underground()), 2)):
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
