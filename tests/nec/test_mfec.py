"""Model-Free Episodic Control: the best returns there were, found again without gradients."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy

from memagents import MFEC, NEC, as_vec_env
from memagents.nec.situations import situation_numbers
from tests.nec.agents import Chain, Codes, Watcher, agent_for, episodes_of, situations_of
from tests.support.agents import assert_same_weights, weights_of
from tests.support.toys import OBSERVATIONS, Recorder, dummy


def remembered(agent):
    """Values by action and situation."""
    parts = agent.policy.dictionary.tree()["actions"]
    return {
        (action, number): value
        for action, part in enumerate(parts)
        for number, value in zip(part["ids"].tolist(), part["values"].tolist(), strict=True)
    }


def test_a_value_is_the_largest_return_that_there_was(monkeypatch):
    """Blundell et al. 2016, equation 1, over all episodes of two environments; that of a known final one counts too."""
    env = Recorder(dummy(2, observations="discrete"))
    agent = agent_for(env, MFEC, gamma=0.9, exploration_fraction=1.0)
    watcher = Watcher(agent, monkeypatch)
    agent.learn(2 * 80)
    largest = {}
    for episode in episodes_of(env, watcher):
        following = episode.last
        for t in reversed(range(len(episode.actions) if episode.over else 0)):
            following = episode.rewards[t] + 0.9 * following
            place = int(episode.actions[t]), situations_of(episode, env.observation_space, False)[t]
            largest[place] = max(largest.get(place, -np.inf), following)
    found = remembered(agent)
    assert found.keys() == largest.keys() and len(found) > 12
    for place, value in found.items():
        assert value == pytest.approx(largest[place], rel=1e-5)


def test_acting_and_predicting_find_known_situations():
    """Whose neighbours would mislead: by their mean, all situations are alike."""
    always = {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0}
    agent = agent_for(Codes(), MFEC, policy_kwargs={"neighbours": 50}, **always)
    agent.learn(150)
    values = remembered(agent)
    numbers = situation_numbers(np.arange(4), spaces.Discrete(4)).tolist()
    best = [int(np.argmax([values[action, number] for action in range(3)])) for number in numbers]
    assert best == [0, 2, 1, 0]
    assert agent.predict(np.arange(4), deterministic=True)[0].tolist() == [1, 3, 2, 1]


def test_what_is_beyond_a_time_limit_is_not_guessed():
    """Even where the final observation has been stepped from before, and comes in another type than the space's."""

    class Round(gym.Env):
        """0, 1, 2, 0, …, as numbers of another type than the space's; only the step from 2 is rewarded."""

        observation_space = spaces.Dict({"a": spaces.Box(0, 2, (1,), np.float32), "b": spaces.Discrete(2)})
        action_space = spaces.Discrete(1)

        def _see(self):
            return {"b": 1, "a": np.array([self.place], np.float64)}

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.place, self.left = 0, 5
            return self._see(), {}

        def step(self, action):
            reward = float(self.place == 2)
            self.place, self.left = (self.place + 1) % 3, self.left - 1
            return self._see(), reward, False, self.left == 0, {}

    agent = agent_for(Round(), MFEC, gamma=0.5, policy_kwargs={"neighbours": 3})
    agent.learn(20)
    values = {}
    for place in range(3):  # an episode is 0, 1, 2, 0, 1, and ends at 2
        seen = {"a": np.array([[place]], np.float32), "b": np.array([1])}
        values[place] = remembered(agent)[0, int(situation_numbers(seen, agent.observation_space)[0])]
    assert values == pytest.approx({0: 0.25, 1: 0.5, 2: 1.0})


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_there_are_no_gradients(name):
    agent = agent_for(dummy(2, observations=name), MFEC)
    before = weights_of(agent)
    agent.learn(80)
    assert_same_weights(weights_of(agent), before)
    assert agent.replay is None and agent._n_updates == 0
    assert all(parameter.grad is None for parameter in agent.policy.parameters())


@pytest.mark.parametrize(("make", "steps"), [(Codes, 150), (Chain, 300)])
def test_it_learns(make, steps):
    agent = agent_for(make(), MFEC, exploration_fraction=0.7)
    agent.learn(steps)
    returns, _ = evaluate_policy(agent, as_vec_env(make()), n_eval_episodes=20, return_episode_rewards=True)
    assert np.mean(returns) == 1


@pytest.mark.parametrize("argument", ["core", "core_kwargs", "write_rate", "delta", "net_arch"])
def test_what_it_has_not_is_refused(argument):
    with pytest.raises(ValueError, match=f"policy_kwargs: the policy has no parameter '{argument}'"):
        agent_for(dummy(1), MFEC, policy_kwargs={argument: 1})


def test_nothing_of_it_can_be_learned_by_nec():
    with pytest.raises(ValueError, match="policy must have something to learn"):
        NEC(MFEC.policy_aliases["MlpPolicy"], dummy(1), device="cpu")


def test_an_approximate_search_finds_the_same_in_a_small_table():
    pytest.importorskip("faiss")
    agents = [
        agent_for(dummy(2), MFEC, policy_kwargs={"search": search, "capacity": 500}) for search in ("exact", "faiss")
    ]
    for agent in agents:
        agent.learn(120)
    ours, theirs = (remembered(agent) for agent in agents)
    assert ours == theirs
    observations = torch.rand(20, 3).numpy()
    exact, approximate = (agent.predict(observations, deterministic=True)[0] for agent in agents)
    assert (exact == approximate).mean() >= 0.9
