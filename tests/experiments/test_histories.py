"""Evaluations act once for rows with the same history, and play the same episodes."""

from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch

import memenvs  # noqa: F401  (registers the environments)
from memagents import NEC, Imitation, RecurrentPPO, as_vec_env, core_names
from memagents.experiments import evaluation
from memagents.experiments.evaluation import evaluate
from memagents.experiments.histories import EqualHistories, may_share


class Sum(NamedTuple):
    sum: torch.Tensor


def trained(core, env_id="memenvs/TMaze-v0", condition_on=(), **kwargs):
    """Return an agent whose most likely actions differ from row to row."""
    env = as_vec_env(gym.make_vec(env_id, num_envs=8, **kwargs), condition_on=condition_on)
    agent = RecurrentPPO("MlpPolicy", env, policy_kwargs={"core": core}, n_steps=8, seed=0)
    with torch.no_grad():
        for weights in agent.policy.action_net.parameters():
            weights.normal_(generator=torch.Generator().manual_seed(1))
    return agent


def played(agent, monkeypatch, share, **kwargs):
    monkeypatch.setattr(evaluation, "may_share", lambda agent: share and may_share(agent))
    rows, plain = [], agent.policy.forward

    def counted(observations, *arguments):
        rows.append(len(next(iter(observations.values())) if isinstance(observations, dict) else observations))
        return plain(observations, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(agent.policy, "forward", counted)
        return evaluate(agent, agent.env, seed=0, **{"episodes": 24, **kwargs}), rows


@pytest.mark.parametrize("core", core_names())
def test_the_same_episodes_are_played(core, monkeypatch):
    agent = trained(core, length=6)
    (ours, some), (plain, whole) = (played(agent, monkeypatch, share) for share in (True, False))
    for name in ("returns", "lengths", "success"):
        assert np.array_equal(getattr(ours, name), getattr(plain, name)), name
    assert len(some) == len(whole) and set(whole) == {8} and sum(some) < 0.6 * sum(whole), "there are two cues"


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("memenvs/Underground-v0", {"stations": 4, "exits": 2}),
        ("memenvs/MiniGrid-MemoryS7-v0", {}),
        ("memenvs/Bandit-v0", {}),
        ("memenvs/popgym-PositionOnlyCartPoleEasy-v0", {}),
    ],
)
@pytest.mark.parametrize("condition_on", [(), ("action", "reward")])
def test_histories_that_part_and_begin_anew(env_id, kwargs, condition_on, monkeypatch):
    """Also where episodes end one by one, and what was done and paid is seen."""
    agent = trained("gru", env_id, condition_on, **kwargs)
    (ours, _), (plain, _) = (played(agent, monkeypatch, share) for share in (True, False))
    assert np.array_equal(ours.returns, plain.returns) and np.array_equal(ours.lengths, plain.lengths)


def test_sampled_actions_are_drawn_for_each_row(monkeypatch):
    _, rows = played(trained("gru", length=6), monkeypatch, True, deterministic=False)
    assert set(rows) == {8}


def test_what_is_remembered_beyond_episodes_is_not_shared():
    env = as_vec_env(gym.make_vec("memenvs/TMaze-v0", num_envs=2))
    assert may_share(RecurrentPPO("MlpPolicy", env, policy_kwargs={"core": "gru"}))
    assert may_share(Imitation("MlpPolicy", env, policy_kwargs={"core": "gru"}).policy)
    assert not may_share(NEC("MlpPolicy", "CartPole-v1")) and not may_share(object())


def test_a_wrapper_sees_every_row():
    class Looking:
        def __init__(self, agent):
            self.policy, self.rows = agent.policy, set()

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            self.rows.add(len(observation))
            return self.policy.predict(observation, state, episode_start, deterministic)

    agent = trained("gru", length=6)
    looking = Looking(agent)
    evaluate(looking, agent.env, 8, seed=0)
    assert looking.rows == {8}


def test_states_move_only_when_histories_do():
    """Two rows of four see the same, then one of them something else; then all begin anew."""
    given = []

    class Recorder:
        def predict(self, observation, state, starts, deterministic):
            given.append((observation.tolist(), None if state is None else state[0].tolist(), starts.tolist()))
            before = torch.zeros(len(observation)) if state is None else state[0] * ~torch.as_tensor(starts)
            return observation[:, 0] + 10, Sum(10 * before + torch.as_tensor(observation[:, 0]))

    agent, none, all_rows = EqualHistories(Recorder()), np.zeros(4, bool), np.ones(4, bool)
    state = None
    for seen, starts, wanted in (
        ([1, 2, 1, 3], all_rows, ([[1], [2], [3]], None)),
        ([1, 2, 1, 3], none, ([[1], [2], [3]], [1, 2, 3])),
        ([1, 2, 5, 3], none, ([[1], [5], [2], [3]], [11, 11, 22, 33])),
        ([1, 2, 5, 3], none, ([[1], [2], [5], [3]], [111, 222, 115, 333])),
        ([4, 4, 4, 4], all_rows, ([[4]], None)),
    ):
        actions, state = agent.predict(np.array(seen)[:, None], state, starts, True)
        assert actions.tolist() == [value + 10 for value in seen]
        observed, states, _ = given[-1]
        assert sorted(observed) == sorted(wanted[0])
        if wanted[1] is not None:
            assert sorted(states) == sorted(wanted[1])
    assert state.state[0].tolist() == [4]


def test_entries_of_any_shape():
    class First:
        def predict(self, observation, state, starts, deterministic):
            return np.arange(len(observation["one"])), Sum(torch.zeros(len(starts)))

    observation = {"one": np.array([2.0, 1.0, 2.0]), "nothing": np.zeros((3, 0)), "two": np.zeros((3, 2, 2), np.uint8)}
    actions, state = EqualHistories(First()).predict(observation, None, np.ones(3, bool), True)
    assert actions[0] == actions[2] != actions[1] and state.different == 2
