"""Intrinsic rewards in RecurrentPPO: what they add, and what they leave alone."""

import json

import numpy as np
import pytest
import torch

from memagents import CheckpointError, RecurrentPPO
from memagents.algorithms.rollout import Beyond
from memagents.bonuses import BONUSES
from tests.support.agents import Interrupted, assert_same_weights, interrupt_at, make, weights_of
from tests.support.toys import tmaze

T = 8


def stepped(**kwargs):
    """An agent with a window of experience, and its window's figures before anything was added to them."""
    agent = make(n_steps=T, **kwargs)
    before = {}
    credit = RecurrentPPO.credit

    def watching(window, beyond):
        before.update(rewards=window.rewards.clone(), beyond=beyond)
        credit(agent, window, beyond)

    agent.credit = watching
    agent.train = lambda: None
    agent.learn(3 * T * agent.n_envs)
    return agent, agent._window, before


def gae(rewards, values, ends, bootstrap, last, gamma, decay):
    """By the definition: the discounted sum of surprises up to the end of the episode."""
    steps = len(rewards)
    following = torch.cat([values[1:], last[None]])
    surprises = rewards + gamma * torch.where(ends, bootstrap, following) - values
    advantages = torch.zeros_like(rewards)
    for t in range(steps):
        weight = torch.ones_like(last)
        for later in range(t, steps):
            advantages[t] += weight * surprises[later]
            weight = weight * gamma * decay * (~ends[later])
    return advantages


def test_one_head_adds_the_bonus_to_the_reward():
    agent, window, before = stepped(bonus="count", bonus_kwargs={"coef": 0.5, "normalize": None})
    added = window.rewards - before["rewards"]
    assert torch.unique(added).numel() > 2
    assert not added[window.ends].any()
    assert added[~window.ends].min() > 0
    beyond: Beyond = before["beyond"]
    bootstrap = torch.zeros_like(window.rewards)
    with torch.no_grad():
        bootstrap[beyond.steps, beyond.rows] = agent.policy.values(beyond.cut)
        last = agent.policy.values(beyond.last)
    expected = gae(window.rewards, window.values, window.ends, bootstrap, last, agent.gamma, agent.gae_lambda)
    torch.testing.assert_close(window.advantages, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(window.returns, window.advantages + window.values)


@pytest.mark.parametrize("episodic", [True, False])
def test_two_heads(episodic):
    """Advantages are added, returns are learned apart, and a return that is not episodic goes on over the ends."""
    own = {"coef": 0.5, "normalize": None, "heads": 2, "bonus_gamma": 0.8, "episodic": episodic}
    agent, window, before = stepped(bonus="count", bonus_kwargs=own)
    assert torch.equal(window.rewards, before["rewards"])
    beyond, policy = before["beyond"], agent.policy
    ends = window.ends if episodic else torch.zeros_like(window.ends)
    cut, bonus_cut = torch.zeros_like(window.rewards), torch.zeros_like(window.rewards)
    with torch.no_grad():
        cut[beyond.steps, beyond.rows] = policy.values(beyond.cut)
        bonus_cut[beyond.steps, beyond.rows] = policy.bonus_values(beyond.cut)
        last, bonus_last = policy.values(beyond.last), policy.bonus_values(beyond.last)
    decay = agent.gae_lambda
    extrinsic = gae(window.rewards, window.values, window.ends, cut, last, agent.gamma, decay)
    paid = agent._exploration.rewards
    intrinsic = gae(paid, window.bonus_values, ends, bonus_cut, bonus_last, 0.8, decay)
    torch.testing.assert_close(window.advantages, extrinsic + intrinsic, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(window.returns, extrinsic + window.values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(window.bonus_returns, intrinsic + window.bonus_values, rtol=1e-4, atol=1e-5)
    assert window.bonus_values.any()


def test_the_second_head_learns_the_returns_of_the_bonuses():
    agent = make(n_steps=T, bonus="count", bonus_kwargs={"heads": 2, "coef": 1.0}, n_minibatches=1)
    agent.learn(1)
    batch = next(agent._window.minibatches(1))
    evaluated = agent.policy.evaluate_actions(batch.observations, batch.actions, batch.initial_state, batch.starts)
    losses, _ = agent._losses(batch, evaluated, torch.tensor(0.2), None)
    expected = (batch.bonus_returns - evaluated.bonus_values).square().mean()
    torch.testing.assert_close(losses["bonus_value_loss"], expected)
    assert agent.loss_weights()["bonus_value_loss"] == agent.vf_coef
    before = agent.policy.bonus_value_net.weight.clone()
    agent.learn(T * agent.n_envs, reset_num_timesteps=False)
    assert not torch.equal(agent.policy.bonus_value_net.weight, before)


@pytest.mark.parametrize("bonus", [*BONUSES, "e3b*rnd"])
def test_an_interrupted_run_goes_on_exactly(bonus, tmp_path):
    """Counts, covariances, networks, their optimiser and the running scale, in the middle of episodes."""
    kwargs = {"bonus": bonus, "bonus_kwargs": {"coef": 0.5, "final_coef": 0.0, "heads": 2}}
    whole = make(**kwargs)
    whole.learn(6 * 32)
    agent = make(run_dir=tmp_path, checkpoint_interval=1, **kwargs)
    with pytest.raises(Interrupted):
        agent.learn(6 * 32, callback=interrupt_at(100))
    again = RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
    again.learn(again.remaining_timesteps, reset_num_timesteps=False)
    assert_same_weights(weights_of(again), weights_of(whole))
    mine, theirs = again._exploration.reward.state_dict(), whole._exploration.reward.state_dict()
    assert_same_weights(mine, theirs)


def test_what_is_logged_is_the_environments_own(tmp_path):
    """A bonus of hundreds changes no return in the log; it stands beside them."""
    agent = make(bonus="count", bonus_kwargs={"coef": 500.0}, run_dir=tmp_path)
    agent.learn(6 * 32)
    returns = [episode["r"] for episode in agent.ep_info_buffer]
    assert returns
    assert np.abs(returns).max() <= 1
    rows = [line.split(",") for line in (tmp_path / "progress.csv").read_text().splitlines()]
    logged = dict(zip(rows[0], rows[-1], strict=True))
    assert float(logged["rollout/bonus_mean"]) > 10
    assert abs(float(logged["rollout/ep_rew_mean"])) <= 1


def test_it_is_saved_with_the_agent_and_not_needed_to_act(tmp_path):
    agent = make(bonus="noveld", bonus_kwargs={"heads": 2, "alpha": 0.25})
    agent.learn(32)
    agent.save(tmp_path)
    assert json.loads((tmp_path / "policy.json").read_text())["hyperparameters"]["bonus"] == "noveld"
    alone = RecurrentPPO.load(tmp_path, device="cpu")
    assert (alone.bonus, alone.bonus_kwargs["alpha"]) == ("noveld", 0.25)
    alone.predict(agent.env.reset())
    again = RecurrentPPO.load(tmp_path, tmaze(), device="cpu")
    again.learn(32)
    assert_same_weights(weights_of(alone), weights_of(RecurrentPPO.load(tmp_path, device="cpu")))


@pytest.mark.parametrize("heads", [1, 2])
def test_environments_that_come_later(heads, tmp_path):
    """An agent that was loaded without one explores as soon as it has one."""
    agent = make(bonus="count", bonus_kwargs={"heads": heads, "coef": 1.0})
    agent.learn(32)
    agent.save(tmp_path)
    later = RecurrentPPO.load(tmp_path, device="cpu")
    later.set_env(tmaze())
    later.learn(32)
    assert later._exploration.mean_reward > 0


def test_a_head_that_is_not_paid_learns_nothing(tmp_path):
    agent = make(bonus="count", bonus_kwargs={"heads": 2})
    agent.learn(32)
    agent.save(tmp_path)
    for changes in ({"bonus": None, "bonus_kwargs": None}, {"bonus_kwargs": {"heads": 1}}):
        alone = RecurrentPPO.load(tmp_path, tmaze(), device="cpu", **changes)
        before = alone.policy.bonus_value_net.weight.clone()
        alone.learn(32)
        assert torch.equal(alone.policy.bonus_value_net.weight, before)


def test_a_training_without_a_bonus_does_not_go_on_with_one(tmp_path):
    make(run_dir=tmp_path).learn(32)
    with pytest.raises(CheckpointError, match="the training had no bonus, and this one has"):
        RecurrentPPO.resume(tmp_path, tmaze(), device="cpu", bonus="count")


def test_a_bonus_that_is_not_finite_is_named():
    agent = make(bonus="count", bonus_kwargs={"coef": 1e38})
    with pytest.raises(FloatingPointError, match=r"not finite at step .*: the bonus of environment 0 at step"):
        agent.learn(6 * 32)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bonus": "curiosity"}, "bonus must be one of"),
        ({"bonus_kwargs": {"coef": 1}}, "bonus_kwargs: {'coef': 1} is for bonus, which is None"),
        ({"bonus": "count", "bonus_kwargs": {"coef": -0.1}}, "coef must be a finite number of"),
        ({"bonus": "count", "bonus_kwargs": {"gamma": 0.9}}, "bonus 'count' has no parameter 'gamma'; it has: form"),
        (
            {"bonus": "count", "bonus_kwargs": "coef=1"},
            "bonus_kwargs must be a dict of values .* not 'coef=1'",
        ),
    ],
)
def test_what_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)
