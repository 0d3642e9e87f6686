"""Normalised observations and rewards: in training, in the next lesson, saved with the run, frozen in evaluations."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from memagents import CheckpointError, RecurrentPPO, as_vec_env, load_agent, make_env
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


@pytest.mark.parametrize("names", [("normalize_observations",), ("normalize_reward",)])
def test_nothing_is_normalised_twice(names):
    asked = {"observations": "normalize_observations" in names, "rewards": "normalize_reward" in names}
    with pytest.raises(ValueError, match=f"{names[0]}: the environment is a VecNormalize already; leave one"):
        normalized(VecMonitor(VecNormalize(DummyVecEnv([Mixed]), norm_obs_keys=["level"])), **asked)
    kind = NormalizeObservation if asked["observations"] else NormalizeReward
    numbers = gym.make("CartPole-v1")
    with pytest.raises(ValueError, match=f"{names[0]}: the environment has Gymnasium's {kind.__name__} already"):
        normalized(DummyVecEnv([lambda: kind(numbers)]), **asked)
    both = DummyVecEnv([lambda: NormalizeReward(gym.make("CartPole-v1"))])
    assert find(normalized(both, observations=True, rewards=False)).norm_obs


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


def cartpoles(count=2):
    return make_vec_env("CartPole-v1", count, seed=0)


@pytest.fixture
def saved(tmp_path):
    """An agent that was trained in normalised CartPoles, and its folder."""
    env = VecNormalize(cartpoles(), gamma=0.9, clip_obs=5.0)
    agent = RecurrentPPO("MlpPolicy", env, n_steps=8, seed=0, device="cpu").learn(48)
    agent.save(tmp_path / "run")
    return agent, tmp_path / "run"


@pytest.mark.parametrize("env", [lambda: cartpoles(3), lambda: gym.make("CartPole-v1"), lambda: "CartPole-v1"])
@pytest.mark.parametrize("load", [RecurrentPPO.load, load_agent])
def test_statistics_come_back_with_load(load, env, saved):
    agent, folder = saved
    ours = agent.get_vec_normalize_env()
    again = load(folder, env(), device="cpu")
    kept = again.get_vec_normalize_env()
    assert (kept.training, kept.norm_obs, kept.norm_reward, kept.clip_obs) == (False, True, False, 5.0)
    np.testing.assert_array_equal(kept.obs_rms.mean, ours.obs_rms.mean)
    raw = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(kept.normalize_obs(raw), ours.normalize_obs(raw))
    evaluate_policy(again, again.get_env(), 1)
    np.testing.assert_array_equal(kept.obs_rms.mean, ours.obs_rms.mean)


def test_what_is_normalised_already_is_left_alone(saved, caplog):
    caplog.set_level("INFO", "memagents")
    _, folder = saved
    own = VecNormalize(cartpoles())
    assert RecurrentPPO.load(folder, own, device="cpu").get_env() is own and own.training
    assert own.obs_rms.count < 1  # none of the run's
    bare = RecurrentPPO.load(folder, device="cpu")
    assert bare.get_env() is None
    assert not caplog.records
    RecurrentPPO.load(folder, cartpoles(), device="cpu")
    assert caplog.messages == [f"observations are normalised by the statistics in {folder}"]


def test_rewards_alone_leave_the_environment_alone(tmp_path):
    env = VecNormalize(cartpoles(), norm_obs=False)
    RecurrentPPO("MlpPolicy", env, n_steps=8, device="cpu").save(tmp_path)
    assert RecurrentPPO.load(tmp_path, cartpoles(), device="cpu").get_vec_normalize_env() is None
    assert RecurrentPPO.resume(tmp_path, cartpoles(), device="cpu").get_vec_normalize_env().norm_reward


def test_a_run_that_goes_on_normalises_as_before(saved):
    agent, folder = saved
    ours = agent.get_vec_normalize_env()
    again = RecurrentPPO.resume(folder, cartpoles(), device="cpu")
    kept = again.get_vec_normalize_env()
    assert (kept.training, kept.norm_obs, kept.norm_reward, kept.gamma) == (True, True, True, 0.9)
    np.testing.assert_array_equal(kept.returns, ours.returns)
    np.testing.assert_array_equal([kept.ret_rms.mean, kept.ret_rms.var], [ours.ret_rms.mean, ours.ret_rms.var])
    again.learn(32, reset_num_timesteps=False)
    assert kept.obs_rms.count > ours.obs_rms.count


def test_statistics_of_other_spaces_are_refused(saved):
    _, folder = saved
    with pytest.raises(CheckpointError, match="observation_space was"):
        RecurrentPPO.load(folder, gym.make("Acrobot-v1"), device="cpu")
