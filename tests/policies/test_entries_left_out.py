"""Entries of the observation that the policy does not see, and what is counted of them."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import NEC, RecurrentPPO, load_agent
from tests.support.agents import assert_same_weights, weights_of

CORRIDOR = 8


class Corridor(gym.Env):
    """A corridor that looks the same everywhere; ``place`` says where the agent is. Action 1 goes on, 0 stays."""

    observation_space = spaces.Dict(look=spaces.Discrete(2), place=spaces.Box(0, CORRIDOR, (1,), np.int64))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.count = 0
        return self.seen(), {}

    def step(self, action):
        self.place, self.count = self.place + int(action), self.count + 1
        return self.seen(), 0.0, self.place == CORRIDOR, self.count == 40, {}

    def seen(self):
        return {"look": 0, "place": np.array([self.place])}


def corridors(count=2):
    return DummyVecEnv([Corridor] * count)


def agent_of(kind=RecurrentPPO, encoder=None, **kwargs):
    policy_kwargs = {"encoder": encoder or {"place": "none"}, **kwargs.pop("policy_kwargs", {})}
    return kind("MultiInputPolicy", corridors(), seed=0, device="cpu", policy_kwargs=policy_kwargs, **kwargs)


def observations(places):
    return {"look": np.zeros(len(places), np.int64), "place": np.array(places).reshape(-1, 1)}


@pytest.mark.parametrize("kwargs", [{}, {"condition_on": ["action"]}, {"policy_kwargs": {"recall_lag": 2}}])
def test_it_changes_nothing_that_the_policy_does(kwargs):
    agent = agent_of(n_steps=8, **kwargs)
    agent.learn(32)
    seen = {"look": torch.zeros(1, 3, dtype=torch.int64), "place": torch.tensor([[[0], [3], [7]]])}
    if "condition_on" in kwargs:
        seen["previous_action"] = torch.zeros(1, 3, 2)
    encoded = agent.policy.encode(seen)
    assert torch.equal(encoded[:, 0], encoded[:, 1])
    assert torch.equal(encoded[:, 0], encoded[:, 2])
    assert encoded.shape[-1] == 2 + 2 * ("condition_on" in kwargs)
    assert agent.policy.core.input_size == encoded.shape[-1]


@pytest.mark.parametrize("kind", [RecurrentPPO, NEC])
def test_it_is_saved_and_gone_on_with(kind, tmp_path):
    agent = agent_of(kind, **({"n_steps": 8} if kind is RecurrentPPO else {"learning_starts": 4, "batch_size": 4}))
    agent.learn(32)
    agent.save(tmp_path)
    loaded = load_agent(tmp_path, device="cpu")
    assert_same_weights(weights_of(loaded), weights_of(agent))
    ours, theirs = (one.predict(observations([2, 5]), deterministic=True)[0] for one in (agent, loaded))
    assert np.array_equal(ours, theirs)
    kind.resume(tmp_path, corridors(), device="cpu").learn(16, reset_num_timesteps=False)


def test_it_is_counted_where_the_bonus_names_it():
    """A corridor that looks the same everywhere is new but once; its places are new one after the other."""
    paid = {}
    for counted in (None, ["place"]):
        own = {"coef": 1.0, "normalize": None, "form": "first", **({} if counted is None else {"counted": counted})}
        agent = agent_of(n_steps=40, bonus="count", bonus_kwargs=own)
        agent.learn(80)
        window, rewards = agent.window, agent._exploration.rewards
        paid[bool(counted)] = rewards
        if counted:
            places = window.observations["place"][..., 0]
            onward = (places[1:] > places[:-1]) & ~window.starts[1:]
            assert torch.equal(rewards[:-1].bool(), onward)
            assert onward.any()
    assert not paid[False].any()


def test_noveld_counts_it_too_and_looks_at_what_is_seen():
    agent = agent_of(n_steps=16, bonus="noveld*count", bonus_kwargs={"counted": "place"})
    agent.learn(64)
    noveld = agent._exploration.reward.bonus.factors[0]
    assert noveld.hash.names == ["place"]
    assert noveld.target.names == ["look"]


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        ({"encoder": {"place": "none", "look": "none"}}, r"encoder leaves out every entry \(look, place\)"),
        ({"encoder": {"plaice": "none"}}, "encoder: there is no entry 'plaice'; there are look, place"),
        ({"encoder": {"place": "no"}}, "encoder of an entry must be one of auto, grid, cnn, flat, none, not 'no'"),
        ({"encoder": "none"}, "encoder must be one of auto, grid, cnn, flat, not 'none'"),
        ({"features_extractor_class": CombinedExtractor}, "a features_extractor_class has to leave them out itself"),
    ],
)
def test_what_is_refused(policy_kwargs, message):
    with pytest.raises(ValueError, match=message):
        agent_of(policy_kwargs=policy_kwargs)
