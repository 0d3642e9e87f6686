"""A process of an environment that ends is named, in training and in evaluation, and leaves no other behind."""

import os

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from memagents.environments.workers import named_ends
from memagents.experiments.evaluation import RandomAgent, evaluate
from tests.support.agents import make


class Mortal(gym.Env):
    """Its process ends at a step."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, last, raises=False):
        self.left, self.raises = last, raises

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        if self.left == 0 and self.raises:
            raise RuntimeError("no more")
        if self.left == 0:
            os._exit(7)
        return np.zeros(2, np.float32), 0.0, False, False, {}


def environments(raises=False, start_method="fork"):
    makers = [lambda last=last: Mortal(last, raises) for last in (99, 11, 99)]
    return VecMonitor(SubprocVecEnv(makers, start_method=start_method))


@pytest.mark.parametrize("how", ["learn", "evaluate"])
def test_a_process_that_ends_is_named(how, tmp_path):
    env = environments()
    with pytest.raises(ConnectionError, match=r"the process of environment 1 \(exit code 7\) has ended: it crashed"):
        if how == "learn":
            make(env, run_dir=tmp_path).learn(1000)
        else:
            evaluate(RandomAgent(env.action_space), env, 3)
    assert not any(process.is_alive() for process in env.venv.processes)
    env.close()


@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_an_environment_that_raises_is_named(start_method):
    env = environments(raises=True, start_method=start_method)
    with pytest.raises(ConnectionError, match=r"the process of environment 1 \(exit code 1\) has ended"):
        evaluate(RandomAgent(env.action_space), env, 3)
    assert not any(process.is_alive() for process in env.venv.processes)


def test_environments_that_were_set_meanwhile_are_watched_too():
    class Replacing(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            if self.num_timesteps == 3 * 8:
                self.model.env.close()
                self.model.set_env(environments())
                self.model.begin_episodes()

    agent = make(VecMonitor(DummyVecEnv([lambda: Mortal(99)] * 3)), n_steps=8)
    with pytest.raises(ConnectionError, match=r"the process of environment 1 \(exit code 7\) has ended"):
        agent.learn(1000, Replacing())


def test_who_was_ended_by_us_is_not_blamed():
    env = environments()
    with (
        pytest.raises(ConnectionError, match=r"the process of environment 1 \(exit code 7\) has"),
        named_ends(lambda: env),
    ):
        evaluate(RandomAgent(env.action_space), env, 3)


def test_a_process_forked_meanwhile_keeps_nothing_waiting():
    env = environments()
    with named_ends(lambda: env):
        other = environments()
    other.close()
    env.close()


def test_another_broken_pipe_stays_what_it_is():
    with pytest.raises(BrokenPipeError, match="mine"), named_ends(lambda: DummyVecEnv([lambda: Mortal(9)])):
        raise BrokenPipeError("mine")


def test_a_callbacks_own_broken_pipe_ends_no_environment():
    env = environments()
    with pytest.raises(ConnectionResetError, match="tracking"), named_ends(lambda: env):
        raise ConnectionResetError("tracking server")
    assert all(process.is_alive() for process in env.venv.processes)
    env.close()
