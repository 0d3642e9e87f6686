"""Entries of a Dict in another order than the weights have them: by their names they are told apart, never by place.

``spaces.Dict`` keeps the order of keyword arguments and pairs, but sorts a mapping; two that are ordered differently
are equal.
"""

import shutil
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from memagents import MFEC, NEC, CheckpointError, Imitation, RecurrentPPO, as_vec_env, load_agent
from memagents.environments.joined import JoinedVecEnv
from memagents.experiments.evaluation import evaluate
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.settings import PPOSettings
from memagents.experiments.training import make_agent
from tests.support.worlds import World

WIDTHS = {"wind": 2, "aim": 2, "rest": 3}  # the first two could be taken for one another by their shapes
NAMES = {"own": ["wind", "aim", "rest"], "sorted": ["aim", "rest", "wind"]}
AGENTS = {
    "ppo": (RecurrentPPO, {"n_steps": 4, "n_epochs": 1}),
    "imitation": (Imitation, {"n_steps": 4, "oracle_share": 0.5}),
    "nec": (NEC, {"learning_starts": 4, "batch_size": 4}),
    "recurrent nec": (NEC, {"learning_starts": 4, "batch_size": 4, "policy_kwargs": {"core": "gru"}}),
    "mfec": (MFEC, {}),
}


def space(order="own"):
    made = spaces.Dict([(name, spaces.Box(-1, 1, (WIDTHS[name],), np.float32)) for name in NAMES[order]])
    assert list(made) == NAMES[order]
    return made


def world(order="own"):
    return World(space(order), spaces.Discrete(3))


def worlds(order="own"):
    return DummyVecEnv([partial(world, order)] * 2)


def estimates(agent, condition=False):
    """What the agent thinks of fixed observations: values of actions, or probabilities of them."""
    rng = np.random.default_rng(0)
    seen: dict[str, np.ndarray] = {
        name: rng.uniform(-1, 1, (20, width)).astype(np.float32) for name, width in WIDTHS.items()
    }
    if condition:
        seen["previous_action"] = np.eye(3, dtype=np.uint8)[rng.integers(3, size=20)]
        seen["previous_reward"] = rng.normal(size=(20, 1)).astype(np.float32)
    observations, _ = agent.policy.obs_to_tensor(seen)
    state, starts = agent.policy.initial_state(20), torch.ones(20, dtype=torch.bool)
    with torch.no_grad():
        if hasattr(agent.policy, "estimate"):
            return agent.policy.estimate(observations, state, starts).values
        window = {name: values[None] for name, values in observations.items()}
        outputs = agent.policy.unroll(window, state, starts[None])[0][0]
        return torch.cat([agent.policy.distribution(outputs).mode()[:, None], agent.policy.values(outputs)[:, None]], 1)


def trained(kind, folder, order="own", **kwargs):
    torch.manual_seed(0)
    agent = kind("MultiInputPolicy", worlds(order), seed=0, device="cpu", **kwargs)
    agent.learn(24)
    agent.save(folder)
    return agent


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("condition_on", [(), ("action", "reward")])
def test_a_saved_agent_keeps_its_order(name, condition_on, tmp_path):
    kind, kwargs = AGENTS[name]
    agent = trained(kind, tmp_path, condition_on=condition_on, **kwargs)
    expected = estimates(agent, bool(condition_on))
    assert expected.unique().numel() > 1
    for again in (
        load_agent(tmp_path, device="cpu"),
        kind.load(tmp_path, device="cpu"),
        kind.load(tmp_path, worlds(), device="cpu"),
        kind.load(tmp_path, worlds("sorted"), device="cpu"),
        kind.resume(tmp_path, worlds("sorted"), device="cpu"),
    ):
        assert list(again.observation_space) == list(agent.observation_space)
        torch.testing.assert_close(estimates(again, bool(condition_on)), expected, rtol=0, atol=0)
    again.learn(24, reset_num_timesteps=False)
    given = as_vec_env(worlds("sorted"), condition_on)
    given.seed(0)
    assert len(evaluate(agent, given, 2).returns) == 2


@pytest.mark.parametrize("name", AGENTS)
def test_what_an_agent_does_goes_by_names(name, tmp_path):
    """The same environment, with its entries in another order, is the same to a loaded agent."""
    kind, kwargs = AGENTS[name]
    trained(kind, tmp_path / "run", **kwargs)
    after = []
    for order in NAMES:
        env = DummyVecEnv([partial(Mirrored, order)] * 2)
        folder = shutil.copytree(tmp_path / "run", tmp_path / order)  # a run that goes on saves itself
        agent = kind.resume(folder, env, device="cpu")
        agent.learn(24, reset_num_timesteps=False)
        after.append(agent.policy.state_dict())
    for one, other in zip(*(weights.values() for weights in after), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


class Mirrored(World):
    """Its observations depend on their names alone."""

    def __init__(self, order):
        super().__init__(space(order), spaces.Discrete(3))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def look(self):
        numbers = np.sin(np.arange(7) + 8 * self.count + self.number).astype(np.float32)
        parts = dict(zip(WIDTHS, np.split(numbers, np.cumsum(list(WIDTHS.values()))[:-1]), strict=True))
        return {name: parts[name] for name in self.observation_space}

    def step(self, action):
        return self.look(), *super().step(action)[1:]

    def oracle(self):
        return self.count


@pytest.mark.parametrize("name", AGENTS)
def test_weights_of_another_run_bring_their_order(name, tmp_path):
    kind, kwargs = AGENTS[name]
    expected = estimates(trained(kind, tmp_path, **kwargs))
    fresh = kind("MultiInputPolicy", worlds("sorted"), seed=1, device="cpu", **kwargs)
    fresh.set_parameters(tmp_path)
    assert list(fresh.observation_space) == NAMES["own"]
    torch.testing.assert_close(estimates(fresh), expected, rtol=0, atol=0)
    fresh.learn(24)
    fresh.save(tmp_path / "again")
    again = kind.load(tmp_path / "again", device="cpu")
    torch.testing.assert_close(estimates(again), estimates(fresh), rtol=0, atol=0)


@pytest.mark.parametrize("name", AGENTS)
def test_in_the_middle_of_a_training_another_order_is_refused(name, tmp_path):
    kind, kwargs = AGENTS[name]
    trained(kind, tmp_path, **kwargs)
    busy = kind("MultiInputPolicy", worlds("sorted"), seed=1, device="cpu", **kwargs)
    busy.learn(24)
    before = estimates(busy)
    with pytest.raises(CheckpointError, match="observation_space are wind, aim, rest, in another order"):
        busy.set_parameters(tmp_path)
    torch.testing.assert_close(estimates(busy), before, rtol=0, atol=0)


def test_the_order_counts_also_where_the_spaces_differ_otherwise(tmp_path):
    """Bounds are no matter of weights, so that nothing else would refuse them."""
    expected = estimates(trained(RecurrentPPO, tmp_path, n_steps=4))
    wider = spaces.Dict([(name, spaces.Box(-2, 2, (WIDTHS[name],), np.float32)) for name in NAMES["sorted"]])
    fresh = RecurrentPPO("MultiInputPolicy", World(wider, spaces.Discrete(3)), n_steps=4, device="cpu")
    fresh.set_parameters(tmp_path)
    assert list(fresh.observation_space) == NAMES["own"] and fresh.observation_space["aim"].high[0] == 2
    torch.testing.assert_close(estimates(fresh), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["ppo", "nec", "mfec"])
def test_a_policy_saved_by_itself_keeps_its_order(name, tmp_path):
    kind, kwargs = AGENTS[name]
    agent = trained(kind, tmp_path, **kwargs)
    agent.policy.save(tmp_path / "policy")
    expected = estimates(agent)
    agent.policy = type(agent.policy).load(tmp_path / "policy", "cpu")
    assert list(agent.policy.observation_space) == NAMES["own"]
    torch.testing.assert_close(estimates(agent), expected, rtol=0, atol=0)


def test_below_wrappers(tmp_path):
    """VecNormalize keeps statistics by the names of entries; joined parts may be ordered each in its own way."""

    def normalized(order):
        return VecNormalize(JoinedVecEnv([worlds(order), worlds("own" if order == "sorted" else "sorted")]))

    agent = RecurrentPPO("MultiInputPolicy", normalized("own"), n_steps=4, seed=0, device="cpu")
    agent.learn(24)
    agent.save(tmp_path / "run")
    for order in NAMES:
        env = normalized(order)
        folder = shutil.copytree(tmp_path / "run", tmp_path / order)  # a run that goes on saves itself
        again = RecurrentPPO.resume(folder, env, device="cpu")
        assert list(again.observation_space) == NAMES["own"]
        torch.testing.assert_close(estimates(again), estimates(agent), rtol=0, atol=0)
        for name in WIDTHS:
            np.testing.assert_array_equal(again.env.obs_rms[name].mean, agent.env.obs_rms[name].mean)
        again.learn(24, reset_num_timesteps=False)
    joined = JoinedVecEnv([worlds(), worlds("sorted")])
    assert {name: values.shape for name, values in joined.reset().items()} == {n: (4, w) for n, w in WIDTHS.items()}


def test_weights_for_a_training_from_settings(tmp_path):
    for order in NAMES:
        gym.register(f"Ordered-{order}-v0", partial(world, order))
    try:
        common = {"n_envs": 2, "n_steps": 4, "core": "gru", "core_kwargs": {"hidden_size": 4}, "device": "cpu"}
        first = PPOSettings(env="Ordered-own-v0", run_dir=str(tmp_path / "first"), **common)
        agent = make_agent(first, make_curriculum(first))
        agent.learn(16)
        agent.save(agent.run_dir)
        then = PPOSettings(
            env="Ordered-sorted-v0", run_dir=str(tmp_path / "then"), init_from=str(tmp_path / "first"), **common
        )
        again = make_agent(then, make_curriculum(then))
        torch.testing.assert_close(estimates(again), estimates(agent), rtol=0, atol=0)
    finally:
        for order in NAMES:
            del gym.registry[f"Ordered-{order}-v0"]
