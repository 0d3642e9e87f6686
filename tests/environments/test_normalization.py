"""Normalised observations and rewards: in training, in the next lesson, saved with the run, frozen in evaluations."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from memagents import as_vec_env, make_env
from memagents.environments.normalization import carry_over, find, frozen, normalized, statistics_of
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.run import Run
from memagents.experiments.settings import Lesson, PPOSettings
from memagents.experiments.training import make_agent


class Mixed(gym.Env):
    """A number around 100, a code and a picture."""

    observation_space = spaces.Dict(
        level=spaces.Box(-np.inf, np.inf, (1,), np.float32),
        code=spaces.Discrete(3),
        picture=spaces.Box(0, 255, (40, 40, 1), np.uint8),
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def look(self):
        level = self.np_random.normal(100, 10, 1).astype(np.float32)
        return {"level": level, "code": 2, "picture": np.full((40, 40, 1), 7, np.uint8)}

    def step(self, action):
        return self.look(), 5.0, False, bool(self.np_random.random() < 0.2), {}


def test_numbers_are_normalised_and_codes_and_pictures_are_not():
    env = normalized(DummyVecEnv([Mixed] * 4), observations=True, rewards=True)
    seen = [env.reset()]
    rewards = []
    for _ in range(200):
        observation, reward, _, _ = env.step(np.zeros(4, int))
        seen.append(observation)
        rewards.append(reward)
    levels = np.array([one["level"] for one in seen[100:]])
    assert abs(levels.mean()) < 0.2 and 0.8 < levels.std() < 1.2
    assert all((one["code"] == 2).all() and (one["picture"] == 7).all() for one in seen)
    assert np.abs(rewards[-1]).max() < 5


def test_nothing_to_normalise_is_said():
    env = make_env("memenvs/TMaze-v0", 2)
    with pytest.raises(ValueError, match="normalize_observations needs numbers"):
        normalized(env, observations=True, rewards=False)
    assert normalized(env, observations=False, rewards=False) is env
    assert isinstance(normalized(env, observations=False, rewards=True), VecNormalize)


def test_statistics_go_on_and_freeze():
    first = normalized(DummyVecEnv([Mixed] * 2), True, True)
    first.reset()
    for _ in range(50):
        first.step(np.zeros(2, int))
    second = normalized(DummyVecEnv([Mixed] * 2), True, True)
    carry_over(first, second)
    assert second.obs_rms["level"].mean == first.obs_rms["level"].mean
    still = frozen(DummyVecEnv([Mixed] * 2), statistics_of(first))
    before = still.obs_rms["level"].mean.copy()
    still.reset()
    _, rewards, _, _ = still.step(np.zeros(2, int))
    assert (still.obs_rms["level"].mean == before).all() and (rewards == 5).all()
    assert find(as_vec_env(still)) is still and find(DummyVecEnv([Mixed])) is None
    carry_over(None, second)  # nothing to carry


def test_a_run_keeps_its_statistics(tmp_path):
    settings = PPOSettings(
        env="CartPole-v1",
        n_envs=2,
        n_steps=16,
        total_timesteps=64,
        normalize_observations=True,
        normalize_reward=True,
        run_dir=str(tmp_path / "run"),
        device="cpu",
        lessons=(Lesson({}),),
    )
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    agent.learn(64, curriculum)
    agent.save(agent.run_dir)
    loaded = Run.open(tmp_path / "run").load_agent(make_env("CartPole-v1", 3), "cpu")
    kept = find(loaded.env)
    assert not kept.training and not kept.norm_reward
    np.testing.assert_array_equal(kept.obs_rms.mean, find(agent.env).obs_rms.mean)
    resumed = make_agent(PPOSettings(**{**vars(settings), "resume": str(tmp_path / "run")}), make_curriculum(settings))
    np.testing.assert_array_equal(find(resumed.env).obs_rms.var, find(agent.env).obs_rms.var)
    assert find(resumed.env).training
