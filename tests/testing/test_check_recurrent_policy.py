"""Policies with one planted fault each: the kit finds it and names it; ours and sb3-contrib's pass."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO as ContribPPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import NEC, RecurrentPPO
from memagents.testing import POLICY_CHECKS, ConformanceError, check_recurrent_policy, policy_case

# What is planted, the check that must find it, and what it must say.
FAULTS = {
    "late reset": ("starts", "(?s)with a fresh state differ at step 2 in actions by.*comes one step late"),
    "never reset": ("starts", "(?s)with a fresh state differ.*episode_start is ignored"),
    "half reset": ("starts", "(?s)with a fresh state differ.*Something of the earlier episode survives"),
    "resets all rows": ("starts", "rows without episode_start, where others have it at step 1, differ"),
    "begins as it ended": ("starts", "state=None with episode_start true and false differ at step 0"),
    "mixed rows": ("rows", "with other observations in the other rows, row 0 differ"),
    "reused actions": ("arrays", "what predict returned at step 0 as actions was changed by a later call"),
    "reused state": ("arrays", "what predict returned at step 0 as state was changed by a later call"),
    "observation in place": ("arrays", "predict changes the observation that it is given"),
    "state on the policy": ("replay", "a sequence played twice differ"),
    "no memory": ("memory", "no memory is seen in actions"),
}


class Recurrent:
    """h' = tanh(W x + U h), action V h', in NumPy; two leaves of state. ``fault`` plants one."""

    def __init__(self, fault=None, rows=8):
        rng = np.random.default_rng(0)
        self.fault = fault
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.of_inputs, self.of_hidden, self.of_action = (rng.normal(size=size) for size in ((3, 4), (4, 4), (4, 2)))
        self.buffer, self.kept, self.calls = np.zeros((rows, 2)), np.zeros((rows, 4)), 0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        hidden, late = (np.zeros((len(observation), 4)), np.zeros(len(observation), bool)) if state is None else state
        if state is None and self.fault == "begins as it ended":
            hidden = hidden + 1
        hidden = self.reset(hidden, np.asarray(episode_start), late)
        if self.fault == "observation in place":
            observation *= 0.5
        if self.fault == "state on the policy":
            hidden = hidden + 0.1 * self.kept
        hidden = np.tanh(observation @ self.of_inputs + hidden @ self.of_hidden)
        if self.fault == "mixed rows":
            hidden = hidden + 0.01 * hidden.mean(0)
        if self.fault == "state on the policy":
            self.kept = hidden
        if self.fault == "reused state":
            self.kept[:] = hidden
            hidden = self.kept
        actions = np.tanh(hidden @ self.of_action)
        if self.fault == "reused actions":
            self.buffer[:] = actions
            actions = self.buffer
        return actions, (hidden, np.array(episode_start))

    def reset(self, hidden, begins, late):
        if self.fault == "no memory":
            return 0 * hidden
        if self.fault == "never reset":
            return hidden
        if self.fault == "late reset":
            begins = late
        if self.fault == "half reset":
            return np.where(begins[:, None], hidden * [0, 0, 0, 1], hidden)
        if self.fault == "resets all rows":
            begins = np.full_like(begins, begins.any())
        return np.where(begins[:, None], 0, hidden)


def test_a_healthy_policy_passes():
    check_recurrent_policy(Recurrent())
    check_recurrent_policy(Recurrent(), rows=2, steps=4, seed=3)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(fault):
    name, seen = FAULTS[fault]
    with pytest.raises(ConformanceError, match=seen) as caught:
        check_recurrent_policy(Recurrent(fault))
    assert caught.value.check == name


@pytest.mark.parametrize("name", [check.name for check in POLICY_CHECKS if check.name != "window"])
def test_every_check_is_seen_to_fail(name):
    assert name in {check for check, _ in FAULTS.values()}


# --- Stable-Baselines3's interface, discrete actions ------------------------------------------------------------------


def contrib(env="CartPole-v1", **kwargs):
    return ContribPPO("MlpLstmPolicy", env, device="cpu", seed=0, policy_kwargs=kwargs)


class Wrapped:
    """A model seen through ``predict`` alone, with resets that are late or missing."""

    def __init__(self, model, fault=None):
        self.model, self.fault = model, fault
        self.observation_space, self.action_space = model.observation_space, model.action_space

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        inner, late = (None, np.zeros(len(observation), bool)) if state is None else state
        begins = {"late reset": late, "never reset": np.zeros_like(late)}.get(self.fault, episode_start)
        actions, inner = self.model.predict(observation, inner, begins, deterministic)
        return actions, (inner, np.array(episode_start))


@pytest.mark.parametrize("fault", [None, "late reset", "never reset"])
def test_faults_show_in_discrete_actions_alone(fault):
    policy = Wrapped(contrib(), fault)
    if fault is None:
        check_recurrent_policy(policy, rows=32)
    else:
        with pytest.raises(ConformanceError, match=FAULTS[fault][1]):
            check_recurrent_policy(policy, rows=32)


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"n_lstm_layers": 2}, {"enable_critic_lstm": False}, {"enable_critic_lstm": False, "shared_lstm": True}],
    ids=str,
)
def test_sb3_contrib_passes(kwargs):
    model = contrib(**kwargs)
    check_recurrent_policy(model)
    check_recurrent_policy(model.policy, gym.make("CartPole-v1"), steps=4)


def test_sb3_contrib_passes_with_continuous_actions():
    check_recurrent_policy(contrib("Pendulum-v1"))


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize(
    ("core", "core_kwargs"),
    [("lstm", {}), ("gru", {"dropout": 0.5}), ("shm", {"width": 4, "thetas": 5})],
    ids=["lstm", "dropout", "random keys"],
)
def test_ours_pass(env, core, core_kwargs):
    model = RecurrentPPO(
        "MlpPolicy", env, policy_kwargs={"core": core, "core_kwargs": core_kwargs}, device="cpu", seed=0
    )
    check_recurrent_policy(model)
    check_recurrent_policy(model.policy, DummyVecEnv([lambda: gym.make(env)] * 2), steps=4)


def test_nec_passes():
    """A policy of another kind: it is seen through its actions."""
    model = NEC("MlpPolicy", "CartPole-v1", policy_kwargs={"core": "gru"}, device="cpu", seed=0)
    model.learn(600)
    check_recurrent_policy(model, rows=16)


@pytest.mark.parametrize("make", [contrib, lambda: RecurrentPPO("MlpPolicy", "CartPole-v1", device="cpu")])
def test_a_window_that_ignores_starts_is_found(make, monkeypatch):
    model = make()
    evaluate = model.policy.evaluate_actions
    monkeypatch.setattr(
        model.policy, "evaluate_actions", lambda *a: evaluate(*a[:3], torch.zeros_like(a[3])), raising=False
    )
    with pytest.raises(
        ConformanceError, match=r"^window: acting and a window with episodes that begin in it differ at step 1 in"
    ):
        check_recurrent_policy(model)


def test_a_policy_without_memory_is_named():
    with pytest.raises(ConformanceError, match="memory: no step differs, whether the state is carried or not"):
        check_recurrent_policy(PPO("MlpPolicy", "CartPole-v1", device="cpu"))
    check_recurrent_policy(PPO("MlpPolicy", "CartPole-v1", device="cpu"), skip="memory")


@pytest.mark.parametrize(
    "space", [spaces.Discrete(5), spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,))})]
)
def test_observations_of_other_spaces(space):
    class Env(gym.Env):
        observation_space, action_space = space, spaces.MultiDiscrete([2, 3])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

        def step(self, action):
            return self.observation_space.sample(), 0.0, False, False, {}

    model = RecurrentPPO(
        "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy", Env(), device="cpu", seed=0
    )
    check_recurrent_policy(model)
    check_recurrent_policy(model, Env(), steps=4)


@pytest.mark.parametrize(
    ("subject", "arguments", "message"),
    [
        (3, {}, "policy_or_model must have predict, which int lacks"),
        (Recurrent(), {"rows": 1}, "rows must be an integer of at least 2, not 1"),
        (Recurrent(), {"steps": 2.0}, r"steps must be an integer of at least 4, not 2\.0"),
        (
            Recurrent(),
            {"env": "CartPole-v1"},
            r"env must be a gymnasium\.Env, an SB3 VecEnv or None, not 'CartPole-v1'",
        ),
        (Recurrent(), {"skip": ("windows",)}, "skip names no check by 'windows'; there are: arrays, replay, memory"),
    ],
)
def test_wrong_arguments_are_named(subject, arguments, message):
    with pytest.raises(ValueError, match=message):
        check_recurrent_policy(subject, **arguments)


def test_single_checks_can_be_asked():
    (starts,) = (check for check in POLICY_CHECKS if check.name == "starts")
    starts(policy_case(Recurrent()))
    with pytest.raises(ConformanceError, match=r"^starts: "):
        starts(policy_case(Recurrent("never reset")))
