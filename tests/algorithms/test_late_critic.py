"""The critic's memory waits while the actor's acts; that nobody can tell, tests/algorithms/test_rollout.py shows."""

import gymnasium as gym
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from memagents import RecurrentPPO, as_vec_env
from memagents.cores.core import state_leaves
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import map_observations
from tests.support.toys import dummy

T, B = 11, 4


def make(policy="MlpPolicy", env=None, **kwargs):
    kwargs = {"core": "lstm", "core_kwargs": {"hidden_size": 8}, **kwargs}
    agent = RecurrentPPO(policy, env or dummy(B), n_steps=T, n_epochs=1, policy_kwargs=kwargs, seed=3, device="cpu")
    agent.policy.double()
    return agent


class At(BaseCallback):
    """Does something at one step, counted from 0."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action = step, action

    def _on_step(self):
        return self.n_calls - 1 != self.step or self.action(self.model)


@torch.no_grad()
def lived_through(agent, steps):
    """The leaves of the memory after so many steps of the present window, by both cores together."""
    window = agent.window
    observations = map_observations(lambda values: values[:steps], window.observations)
    return state_leaves(agent.policy.unroll(observations, window.initial_state, window.starts[:steps])[1])


def assert_same(found, expected):
    assert len(found) == len(expected) == 4  # of two LSTMs
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("step", [0, 4, T - 1])
def test_saved_within_a_window_it_is_where_the_actor_is(step):
    found, expected = [], []

    def look(agent):
        found.extend(agent.training_state()["core_state"])
        expected.extend(lived_through(agent, step + 1))
        return True

    agent = make()
    agent.learn(2 * T * B, callback=At(step, look))
    plain = make()
    plain.learn(2 * T * B)
    assert_same(found, expected)
    for own, other in zip(agent.policy.state_dict().values(), plain.policy.state_dict().values(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-9)  # to have looked changes nothing


def test_stopped_within_a_window_it_goes_on_from_there():
    agent, expected = make(), []
    agent.learn(2 * T * B, callback=At(5, lambda agent: expected.extend(lived_through(agent, 6))))
    agent.learn(1, reset_num_timesteps=False, callback=At(0, lambda _: False))
    assert_same(state_leaves(agent.window.initial_state), expected)


def test_episodes_that_a_callback_begins_have_nothing_of_those_before():
    agent, leaves = make(), []

    def begin(agent):
        agent.begin_episodes()
        leaves.extend(agent.training_state()["core_state"])
        return False

    agent.learn(T * B, callback=At(5, begin))
    assert_same(leaves, state_leaves(agent.policy.initial_state(B)))


def test_a_step_acts_through_the_actors_memory_alone(monkeypatch):
    agent = make(env=as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=B, length=2 * T)))  # no time limit in reach
    asked = []
    for name in ("actor", "critic"):
        core = getattr(agent.policy.core, name)
        plain = core.recur
        monkeypatch.setattr(
            core, "recur", lambda x, *rest, name=name, plain=plain: asked.append((name, len(x))) or plain(x, *rest)
        )
    agent.learn(1, callback=At(T - 2, lambda _: False))
    agent.memory_state()
    assert asked == [("actor", 1)] * (T - 1) + [("critic", T - 1)]


class Counted(MemoryPolicy):
    """Acts by a ``forward`` of its own."""

    calls = 0

    def forward(self, observations, state, starts, deterministic=False):
        Counted.calls += 1
        return super().forward(observations, state, starts, deterministic)


def test_a_policy_with_its_own_way_to_act_is_asked():
    Counted.calls = 0
    make(Counted, critic_core="same").learn(T * B)
    assert Counted.calls == T
