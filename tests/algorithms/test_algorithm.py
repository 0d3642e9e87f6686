"""Expectations of Stable-Baselines3's users: environments of every kind, callbacks, evaluation, logs, seeds."""

import time

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize, VecTransposeImage

import memenvs  # noqa: F401
from memagents import Imitation, RecurrentPPO, as_vec_env
from memagents.cores.core import state_leaves
from memagents.environments.conditioning import ConditionOn
from memagents.policies.picture_encoders import PictureEncoder
from memagents.policies.symbol_encoders import GridEncoder
from memagents.runs.progress import read_progress
from tests.cores.support import SMALL
from tests.support.agents import assert_same_weights, make, weights_of
from tests.support.toys import Counter, Floats, Toy, dummy, tmaze, underground
from tests.support.worlds import World


def agent_for(env, **kwargs):
    kwargs = {"n_steps": 8, "seed": 0, "device": "cpu", **kwargs}
    return RecurrentPPO(kwargs.pop("policy", "MlpPolicy"), env, **kwargs)


# --- environments ---------------------------------------------------------------------------------------------------

ENVIRONMENTS = {
    "id": lambda: "CartPole-v1",
    "id of ours": lambda: "memenvs/TMaze-v0",
    "one": lambda: gym.make("CartPole-v1"),
    "one in a monitor": lambda: Monitor(Toy()),
    "sb3": dummy,
    "sync, next step": lambda: gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync"),
    "sync, same step": lambda: gym.make_vec(
        "CartPole-v1",
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    ),
    "batched": lambda: gym.make_vec("memenvs/TMaze-v0", num_envs=3),
    "batched, one": lambda: gym.make_vec("memenvs/TMaze-v0", num_envs=1),
    "batched, buffers reused": lambda: gym.make_vec("memenvs/TMaze-v0", num_envs=3, copy=False),
    "conditioned": lambda: ConditionOn(dummy(), ["reward"]),
    "continuous": lambda: dummy(actions="box"),
}


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_every_kind_of_environment(kind):
    agent = agent_for(ENVIRONMENTS[kind]())
    env = agent.get_env()
    agent.learn(5 * 8 * env.num_envs)
    assert agent.num_timesteps == 5 * 8 * env.num_envs
    assert agent._episode_num > 0
    assert len(agent.ep_info_buffer) == min(agent._episode_num, 100)
    action, state = agent.predict(env.reset())
    env.step(action)
    agent.predict(env.reset(), state, np.ones(env.num_envs, bool))


def test_no_experience_comes_from_a_reset():
    """Gymnasium's NEXT_STEP mode has a row after each end in which nothing was done: it must not be in a window."""
    env = gym.vector.SyncVectorEnv([lambda: Counter(3)] * 2)
    agent = agent_for(env, n_steps=12)
    agent.learn(24)
    window = agent._window
    assert window.observations[:, 0, 0].tolist() == [0, 1, 2] * 4
    assert window.rewards[:, 0].tolist() == [1, 2, 3] * 4
    assert window.starts[:, 0].tolist() == [True, False, False] * 4
    assert window.ends[:, 0].tolist() == [False, False, True] * 4
    assert (window.bootstrap[:, 0] != 0).tolist() == window.ends[:, 0].tolist()
    assert agent.ep_info_buffer[0] == {"r": 6.0, "l": 3}


class Pictures(gym.Env):
    """Symbols and a picture, both bytes."""

    observation_space = spaces.Dict(
        {
            "symbols": spaces.Box(0, 255, (7, 7, 3), np.uint8),
            "view": spaces.Box(0, 255, (40, 36, 3), np.uint8),
        }
    )
    action_space = spaces.Discrete(2)
    metadata = {"render_modes": []}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, self.np_random.random() < 0.2, {}


class OneOf(gym.ObservationWrapper):
    def __init__(self, env, name):
        super().__init__(env)
        self.name = name
        self.observation_space = env.observation_space[name]

    def observation(self, observation):
        return observation[self.name]


def test_pictures_are_transposed_and_symbols_are_not():
    symbols = agent_for(OneOf(Pictures(), "symbols"))
    assert symbols.observation_space.shape == (7, 7, 3)
    assert not isinstance(symbols.get_env(), VecTransposeImage)
    assert isinstance(symbols.policy.features_extractor, GridEncoder)
    view = agent_for(OneOf(Pictures(), "view"), policy="CnnPolicy", condition_on=["action"])
    assert view.observation_space["observation"].shape == (3, 40, 36)
    assert isinstance(view.policy.features_extractor.encoders["observation"], NatureCNN)
    both = agent_for(Pictures(), policy="MultiInputPolicy")
    encoders = both.policy.features_extractor.encoders
    assert isinstance(encoders["symbols"], GridEncoder) and isinstance(encoders["view"], PictureEncoder)
    for agent in (symbols, view, both):
        agent.learn(16)
        action, _ = agent.predict(agent.get_env().reset())
        assert action.shape == (1,)
    # Gymnasium's own observation, channels last, is understood by predict as well.
    assert both.predict(Pictures().reset()[0])[0].shape == ()


class Words(Counter):
    observation_space = spaces.Dict({"view": spaces.Box(0, 1, (2,)), "mission": spaces.Text(9)})


@pytest.mark.parametrize("env", [Words, lambda: gym.vector.SyncVectorEnv([Words])])
def test_observations_of_a_space_that_is_not_supported(env):
    with pytest.raises(ValueError, match=r"MultiBinary or a Dict of these, not Text .the entry 'mission'"):
        agent_for(env())


def test_without_an_environment_there_are_no_spaces():
    with pytest.raises(ValueError, match="env must be an environment"):
        agent_for(None)


def test_actions_of_a_space_that_is_not_supported():
    class Odd(Counter):
        action_space = spaces.Tuple([spaces.Discrete(2)])

    with pytest.raises(ValueError, match="actions must be Box, Discrete, MultiDiscrete or MultiBinary, not Tuple"):
        agent_for(as_vec_env(Odd()))


def test_another_environment():
    agent = agent_for(tmaze())
    agent.learn(64)
    agent.set_env(tmaze())
    agent.learn(64, reset_num_timesteps=False)
    assert agent.num_timesteps == 128
    with pytest.raises(ValueError, match="spaces do not match"):
        agent.set_env(underground())


# --- learn ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_the_same_run():
    first, second, other = (agent_for(tmaze(), seed=seed).learn(128) for seed in (0, 0, 1))
    assert_same_weights(weights_of(first), weights_of(second))
    assert not torch.equal(first.policy.value_net.weight, other.policy.value_net.weight)


def test_learning_on_does_not_begin_anew():
    agent = agent_for(gym.vector.SyncVectorEnv([lambda: Counter(100)] * 2))
    agent.learn(16)
    state, observation = agent._state, agent._last_obs
    agent.learn(16, reset_num_timesteps=False)
    assert agent.num_timesteps == 32
    for leaf, expected in zip(state_leaves(agent._window.initial_state), state_leaves(state), strict=True):
        assert torch.equal(leaf, expected)
    np.testing.assert_array_equal(agent._window.observations[0], observation)
    assert not agent._window.starts.any()
    agent.learn(16)
    assert agent.num_timesteps == 16
    assert agent._window.starts[0].all()
    assert agent._window.observations[0].eq(0).all()
    assert agent.learn(0) is agent


def test_a_second_learn_has_a_schedule_of_its_own():
    rates = []

    class Rates(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_start(self):
            rates.append(self.model._current_progress_remaining)

    agent = agent_for(tmaze())
    for _ in range(2):
        agent.learn(4 * 32, callback=Rates())
    assert rates == [1, 0.75, 0.5, 0.25] * 2
    agent.learn(4 * 32, callback=Rates(), reset_num_timesteps=False)
    assert rates[8:] == [0.5, 0.375, 0.25, 0.125]


class Story(BaseCallback):
    """Records its calls, in order."""

    def __init__(self, stop_at=10**9):
        super().__init__()
        self.told, self.stop_at = [], stop_at

    def _on_training_start(self):
        self.told.append("training start")

    def _on_rollout_start(self):
        self.told.append("rollout start")

    def _on_step(self):
        assert {"infos", "dones", "rewards", "new_obs"} <= self.locals.keys()
        self.told.append(self.num_timesteps)
        return self.num_timesteps < self.stop_at

    def _on_rollout_end(self):
        self.told.append("rollout end")

    def _on_training_end(self):
        self.told.append("training end")


def test_callbacks_are_called_as_sb3_calls_them():
    agent, story = agent_for(tmaze(), n_steps=2), Story()
    agent.learn(16, callback=story)
    expected = ["training start", "rollout start", 4, 8, "rollout end", "rollout start", 12, 16, "rollout end"]
    assert story.told == [*expected, "training end"]


def test_a_callback_stops_the_training():
    agent, story = agent_for(tmaze(), n_steps=2), Story(stop_at=12)
    agent.learn(10**6, callback=[story])
    assert story.told[-2:] == [12, "training end"]
    assert agent.num_timesteps == 12
    agent.learn(10**6, callback=StopTrainingOnMaxEpisodes(max_episodes=2))  # in each environment
    assert 8 <= len(agent.ep_info_buffer) <= 11
    agent.learn(10**6, callback=lambda *_: False)
    assert agent.num_timesteps == 4


def test_a_training_can_be_asked_to_stop_after_the_window():
    agent, story = agent_for(tmaze(), n_steps=4), Story()

    class Stop(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 24:
                self.model.stop()
            return True

    agent.learn(10**6, callback=CallbackList([story, Stop()]))
    assert agent.num_timesteps == 32
    assert story.told[-2:] == ["rollout end", "training end"]
    agent.learn(16, reset_num_timesteps=False)
    assert agent.num_timesteps == 48


def test_an_error_ends_the_callbacks_too():
    agent, story = agent_for(tmaze()), Story()

    class Oops(BaseCallback):
        def _on_step(self):
            raise RuntimeError("oops")

    with pytest.raises(RuntimeError, match="oops"):
        agent.learn(64, callback=[story, Oops()])
    assert story.told[-1] == "training end"


def test_logs_are_written_every_so_many_windows():
    rows = []

    class Rows(KVWriter):
        def write(self, key_values, key_excluded, step=0):
            rows.append((step, dict(key_values)))

        def close(self):
            pass

    agent = agent_for(tmaze(), memory_learning_rate=1e-4, policy_kwargs={"core": "lstm"})
    agent.set_logger(Logger(None, [Rows()]))
    agent.learn(7 * 32, log_interval=3)
    assert [step for step, _ in rows] == [96, 192]
    for name in (
        *("time/fps", "time/time_elapsed", "time/iterations"),
        *("rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/success_rate"),
        *("train/learning_rate", "train/memory_learning_rate", "train/approx_kl", "train/clip_fraction"),
        *("train/policy_gradient_loss", "train/value_loss", "train/entropy_loss", "train/explained_variance"),
        *("train/gradient_norm", "train/n_updates"),
    ):
        assert name in rows[-1][1], name
    rows.clear()
    agent.learn(96, log_interval=None)
    assert not rows
    continuous = agent_for(dummy(actions="box"))
    continuous.set_logger(Logger(None, [Rows()]))
    continuous.learn(24)
    assert rows[0][1]["train/std"] == pytest.approx(1, abs=0.1)


def test_a_clock_that_is_set_back_does_not_show_in_the_speed(monkeypatch, tmp_path):
    agent, wall, looks = agent_for(tmaze(), run_dir=tmp_path), time.time_ns, iter(range(10**6))
    monkeypatch.setattr(time, "time_ns", lambda: wall() - next(looks) * 10**12)
    agent.learn(96)
    for row in read_progress(tmp_path / "progress.csv"):
        assert 0 < float(row["time/fps"]) < 1e6 and 0 <= float(row["time/time_elapsed"]) < 1e6


def test_episodes_are_remembered():
    agent = agent_for(gym.vector.SyncVectorEnv([lambda: Counter(3)] * 2), n_steps=9, stats_window_size=4)
    agent.learn(18)
    assert list(agent.ep_info_buffer) == [{"r": 6.0, "l": 3}] * 4
    assert agent._episode_num == 6


# --- SB3's callbacks and evaluation ---------------------------------------------------------------------------------


def test_checkpoint_callback(tmp_path):
    agent = agent_for(tmaze())
    agent.learn(96, callback=CheckpointCallback(save_freq=8, save_path=str(tmp_path), name_prefix="agent"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["agent_32_steps", "agent_64_steps", "agent_96_steps"]
    again = RecurrentPPO.load(tmp_path / "agent_96_steps.zip", device="cpu")
    assert again.num_timesteps == 96


@pytest.mark.parametrize(
    ("make_env", "conditions"),
    [
        (tmaze, ()),
        (tmaze, ("action", "reward")),
        (lambda: VecNormalize(Floats(underground())), ()),
        (dummy, ()),
    ],
)
@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_eval_callback(make_env, conditions, tmp_path):
    agent = agent_for(make_env(), condition_on=conditions)
    eval_env = as_vec_env(make_env(), agent.condition_on)
    if isinstance(eval_env, VecNormalize):
        eval_env.training = False
    callback = EvalCallback(
        eval_env, n_eval_episodes=6, eval_freq=8, best_model_save_path=str(tmp_path), log_path=str(tmp_path), verbose=0
    )
    agent.learn(64, callback=callback)
    assert len(callback.evaluations_results[0]) == 6
    best = RecurrentPPO.load(tmp_path / "best_model", eval_env, device="cpu")
    assert best.num_timesteps in 8 * agent.n_envs * np.arange(1, 4)


def test_evaluation_does_not_disturb_learning():
    """The memory that evaluates is not the one that learns."""
    quiet = agent_for(tmaze()).learn(128)
    callback = EvalCallback(tmaze(), n_eval_episodes=4, eval_freq=3, verbose=0)
    evaluated = agent_for(tmaze()).learn(128, callback=callback)
    assert callback.last_mean_reward > -np.inf
    assert_same_weights(weights_of(quiet), weights_of(evaluated))


class Perfect:
    """Knows the T-maze by heart: what it sees first is remembered by nothing but the state it is given."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        cue = np.where(episode_start, observation[:, 0], 0 if state is None else state)
        return np.where(observation[:, 1] == 1, np.where(cue == 1, 0, 2), 1), cue


@pytest.mark.parametrize(
    "env",
    [
        lambda: as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=5)),
        lambda: DummyVecEnv([lambda: Monitor(gym.make("memenvs/TMaze-v0"))] * 2),
        lambda: as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=3, vectorization_mode="sync")),
        lambda: gym.make("memenvs/TMaze-v0"),
    ],
)
@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped")
def test_evaluate_policy_passes_the_memory(env):
    returns, lengths = evaluate_policy(Perfect(), env(), n_eval_episodes=20, return_episode_rewards=True)
    assert returns == [1.0] * 20
    assert lengths == [11] * 20
    mean, _ = evaluate_policy(agent_for(tmaze()), as_vec_env(env()), n_eval_episodes=4, deterministic=False)
    assert 0 <= mean <= 1


def test_a_trained_agent_is_as_good_when_evaluated():
    """Acting in ``learn`` and in ``evaluate_policy`` is the same: what was learned to be remembered still is."""
    settings = {"n_steps": 24, "learning_rate": 1e-3, "gamma": 0.95, "ent_coef": 0.01}
    agent = agent_for(tmaze(32), **settings, policy_kwargs={"critic_core": None})
    agent.learn(32 * 24 * 60)
    learned = np.mean(agent.ep_success_buffer)
    assert learned > 0.9  # 1.0 with each of five seeds: with steps three times as large it is a matter of rounding
    mean, _ = evaluate_policy(agent, tmaze(8), n_eval_episodes=100, deterministic=False)
    assert abs(mean - learned) < 0.1
    mean, _ = evaluate_policy(agent, tmaze(8), n_eval_episodes=50)
    assert mean > 0.95


def test_parameters_as_sb3_gives_them():
    agent, other = make(seed=0), make(seed=1)
    other.set_parameters(agent.get_parameters())
    assert_same_weights(weights_of(agent), weights_of(other))
    assert agent.get_vec_normalize_env() is None
    normalized = agent_for(VecNormalize(dummy()))
    assert normalized.get_vec_normalize_env() is normalized.get_env()


def test_imitation_is_used_alike():
    agent = Imitation("MlpPolicy", "memenvs/TMaze-v0", n_steps=8, device="cpu")
    with pytest.raises(ValueError, match="no oracle"):
        Imitation("MlpPolicy", "CartPole-v1", device="cpu").learn(8)
    agent.learn(16)
    assert agent.num_timesteps == 16


def test_a_trace_of_what_is_no_window():
    agent = agent_for(tmaze(2), policy_kwargs={"core": "gru"})
    window = np.zeros((5, 2, *agent.env.observation_space.shape), np.uint8)
    for wrong in (window[:, 0], window[0, 0], window[:0], window[..., None]):
        with pytest.raises(ValueError, match=r"^observations must be \(T, B.*\), T steps of B environments, not \("):
            agent.trace(wrong)
    with pytest.raises(ValueError, match=r"^starts must be \(T, B\) = \(5, 2\), not \(5,\)$"):
        agent.trace(window, np.zeros(5, bool))


def test_a_trace_of_entries():
    both = spaces.Dict({"aim": spaces.Box(-1, 1, (3,), np.float32), "place": spaces.Discrete(2)})
    agent = agent_for(DummyVecEnv([lambda: World(both)]), policy_kwargs={"core": "gru"})
    window = {"aim": np.zeros((5, 2, 3), np.float32), "place": np.zeros((5, 2), np.int64)}
    assert agent.trace(window)["outputs"].shape[:2] == (5, 2)
    for name in window:
        with pytest.raises(ValueError, match=rf"^observations\['{name}'\] must be \(T, B.*\), T steps of B environ"):
            agent.trace({**window, name: window[name][:, 0]})
    for wrong in (window["aim"], {"aim": window["aim"]}):
        with pytest.raises(ValueError, match=r"^observations must be a dict of aim, place"):
            agent.trace(wrong)


@pytest.mark.parametrize("core", ["dnc", "lstm", "kv"])
def test_a_trace_names_what_the_memory_does(core):
    agent = agent_for(tmaze(2), policy_kwargs={"core": core, "core_kwargs": SMALL.get(core)})
    window = np.stack([agent.env.observation_space.sample() for _ in range(10)]).reshape(5, 2, 2)
    starts = np.zeros((5, 2), bool)
    starts[0] = starts[3, 1] = True
    traced = agent.trace(window, starts)
    assert traced["outputs"].shape == (5, 2, agent.policy.core.output_size)
    assert all(len(values) == 5 and values.shape[1] == 2 for values in traced.values())
    assert core != "dnc" or "read_weights" in traced
    later = agent.trace(window[3:, 1:])["outputs"]
    np.testing.assert_allclose(traced["outputs"][3:, 1:], later, atol=1e-5)  # nothing of the episode before
