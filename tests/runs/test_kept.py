"""Checkpoints that are kept beside the last one: the last few, and the best."""

import os
import shutil
import time

import gymnasium as gym
import numpy as np
import pytest

from memagents import MFEC, RecurrentPPO
from memagents.runs import agent_files, kept, layout
from memagents.runs.files import CheckpointError
from tests.support.agents import make


class Rising(gym.Env):
    """One step an episode; its rewards are told beforehand."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, rewards):
        self.rewards = iter(rewards)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), next(self.rewards), True, False, {}


def learned(folder, windows, **kwargs):
    """An agent after windows of 8 steps, in each of which all rewards are alike."""
    env = Rising([reward for reward in windows for _ in range(8)])
    kwargs = {"checkpoint_interval": 1, "stats_window_size": 8} | kwargs
    agent = RecurrentPPO("MlpPolicy", env, n_steps=8, run_dir=folder, device="cpu", **kwargs)
    return agent.learn(8 * len(windows))


def test_the_last_ones_are_kept(tmp_path):
    agent = learned(tmp_path, [0.0] * 5, keep_last=3)
    assert [path.name for path in kept.kept(tmp_path)] == ["000000000024", "000000000032", "000000000040"]
    loaded = [RecurrentPPO.load(path, device="cpu") for path in kept.kept(tmp_path)]
    assert [one.num_timesteps for one in loaded] == [24, 32, 40]
    for name, weight in agent.policy.state_dict().items():
        assert np.array_equal(weight, loaded[-1].policy.state_dict()[name])
    with pytest.raises(CheckpointError, match=r"000000000024 is a checkpoint that .* keeps: copy it, and go on"):
        RecurrentPPO.resume(kept.kept(tmp_path)[0], Rising([]), device="cpu")
    copied = shutil.copytree(kept.kept(tmp_path)[0], tmp_path / "copied")
    RecurrentPPO.resume(copied, Rising([0.0] * 16), device="cpu").learn(16, reset_num_timesteps=False)
    agent.set_env(Rising([0.0] * 16))
    agent.learn(16)  # which counts from 0 again
    assert [path.name for path in kept.kept(tmp_path)] == ["000000000040", "000000000008", "000000000016"]


def test_a_clock_that_is_set_back_changes_no_order(tmp_path):
    agent = learned(tmp_path, [0.0] * 2, keep_last=2)
    tomorrow = time.time_ns() + 86_400 * 10**9
    for number, path in enumerate(kept.kept(tmp_path)):
        os.utime(path, ns=(tomorrow + number * 10**9,) * 2)
    agent.set_env(Rising([0.0] * 8))
    agent.learn(8, reset_num_timesteps=False)
    assert [path.name for path in kept.kept(tmp_path)] == ["000000000016", "000000000024"]


def test_the_best_one_is_kept(tmp_path):
    learned(tmp_path, [1.0, 3.0, 2.0], keep_best=True)
    assert agent_files.read_description(tmp_path / "best")["mean_return"] == 3.0
    assert RecurrentPPO.load(tmp_path / "best", device="cpu").num_timesteps == 16
    again = RecurrentPPO.resume(tmp_path, Rising([2.5] * 8 + [3.5] * 8), device="cpu")
    again.learn(8, reset_num_timesteps=False)
    assert RecurrentPPO.load(tmp_path / "best", device="cpu").num_timesteps == 16, "a resumed run knows the best one"
    again.learn(8, reset_num_timesteps=False)
    assert RecurrentPPO.load(tmp_path / "best", device="cpu").num_timesteps == 40


def test_the_best_one_is_of_many_episodes_and_of_the_present_lesson(tmp_path):
    agent = learned(tmp_path, [5.0, 1.0, 2.0], keep_best=True, stats_window_size=16)
    assert agent_files.read_description(tmp_path / "best")["mean_return"] == 3.0
    agent.set_env(Rising([0.5] * 32))
    agent.begin_episodes()
    agent.lesson = 1
    agent.learn(24, reset_num_timesteps=False)
    assert agent_files.read_description(tmp_path / "best")["mean_return"] == 0.5


def test_nothing_is_kept_unasked_and_none_is_listed_as_a_run(tmp_path):
    learned(tmp_path / "plain", [0.0])
    assert not (tmp_path / "plain" / "best").exists()
    assert not (tmp_path / "plain" / "kept").exists()
    learned(tmp_path / "keeping", [0.0], keep_last=1, keep_best=True)
    assert layout.runs_in(tmp_path) == [tmp_path / "keeping", tmp_path / "plain"]
    layout.remove(tmp_path / "keeping")
    assert not any((tmp_path / "keeping").iterdir())


def test_a_best_one_that_cannot_be_read_is_left_alone_and_ends_no_training(tmp_path):
    learned(tmp_path, [5.0], keep_best=True)
    (tmp_path / "best" / "manifest.json").write_text("{")
    again = RecurrentPPO.load(tmp_path, Rising([9.0] * 8), run_dir=tmp_path, device="cpu")
    with pytest.warns(UserWarning, match=r"the checkpoint of step 8 is not kept beside the run's own: .*manifest.json"):
        again.learn(8)
    assert (tmp_path / "best" / "manifest.json").read_text() == "{"
    assert agent_files.read_description(tmp_path)["mean_return"] == 9.0


def test_what_others_put_there_stays(tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "evaluations.npz").write_bytes(b"mine")
    learned(tmp_path, [5.0], keep_best=True)
    assert RecurrentPPO.load(tmp_path / "best", device="cpu").num_timesteps == 8
    layout.remove(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["best", "evaluations.npz"]


def test_a_return_that_is_not_finite_is_none(tmp_path):
    agent = learned(tmp_path, [1.0], keep_best=True)
    agent.ep_info_buffer.append({"r": -np.inf, "l": 1, "t": 0.0})
    agent.save(tmp_path)
    assert agent_files.read_description(tmp_path)["mean_return"] is None


def test_episodic_control_keeps_them_too(tmp_path):
    agent = MFEC("MlpPolicy", Rising([0.0] * 64), run_dir=tmp_path, checkpoint_interval=1, keep_last=2, train_freq=16)
    agent.learn(64)
    assert len(kept.kept(tmp_path)) == 2


@pytest.mark.parametrize("wrong", [{"keep_last": -1}, {"keep_last": 1.5}, {"keep_best": "yes"}])
def test_what_is_no_number_or_choice_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        make(**wrong)
