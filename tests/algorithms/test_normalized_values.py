"""A critic that learns in units of the returns' running mean and standard deviation; everything else in real units."""

import json

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnvWrapper

from memagents import RecurrentPPO, load_agent
from memagents.experiments.settings import PPOSettings
from memagents.policies.actor_critic import MemoryPolicy
from memagents.runs.files import CheckpointError
from tests.support.agents import Interrupted, assert_same_weights, interrupt_at, make, weights_of
from tests.support.toys import dummy, tmaze
from tests.support.trainings import SMALL


class Paid(VecEnvWrapper):
    """Rewards of another size and place."""

    def __init__(self, venv, factor, more):
        super().__init__(venv)
        self.factor, self.more = factor, more

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, self.factor * rewards + self.more, dones, infos


def paid(**kwargs):
    shared = {"critic_core": None, "net_arch": [6]}
    return make(Paid(dummy(4), 30, 100), normalize_values=True, policy_kwargs=shared, **kwargs)


def seen(agent):
    """The critic's features (T, B, ...) of the present window."""
    with torch.no_grad():
        return agent.policy.critic(agent.window.outputs)


def test_values_and_bootstraps_are_in_real_units():
    """Those recorded while acting are what the layer says, and returns are rewards and such values."""
    agent = paid(learning_rate=1e-2, n_epochs=1)
    credited = []

    def credit(window, beyond):
        RecurrentPPO.credit(agent, window, beyond)
        raw = torch.nn.functional.linear(seen(agent), agent.policy.value_net.weight, agent.policy.value_net.bias)
        layer = agent.policy.value_net
        credited.append((raw.squeeze(-1) * layer.std + layer.mean - window.values).abs().max().item())
        with torch.no_grad():
            torch.testing.assert_close(
                window.bootstrap[beyond.steps, beyond.rows], agent.policy.values(beyond.cut), rtol=0, atol=0
            )

    agent.credit = credit
    agent.learn(20 * 8 * 4)
    assert max(credited) < 1e-3  # of some hundreds
    window, layer = agent.window, agent.policy.value_net
    assert 300 < layer.mean < 900  # four steps at 100, and as much again where every other end is a time limit
    assert abs(window.values.mean() - layer.mean) < layer.std < 500
    last = agent.policy.predict_values(window.observation(7), agent._state, window.starts[7])
    assert (last - layer.mean).abs().max() < 2 * layer.std


def test_what_was_predicted_is_predicted_when_learning_begins():
    """The statistics move before a window's first update, in which values are still those recorded while acting."""
    agent, differences, means = paid(learning_rate=1e-2), [], []

    def losses(batch, evaluated, *args):
        differences[-1].append((evaluated.values - batch.values).abs().max().item())
        return RecurrentPPO._losses(agent, batch, evaluated, *args)

    def train():
        differences.append([])
        means.append(agent.policy.value_net.mean.item())
        RecurrentPPO.train(agent)

    agent._losses, agent.train = losses, train
    agent.policy.double()
    agent.learn(5 * 8 * 4)
    assert len(set(means)) == 5
    assert max(window[0] for window in differences) < 1e-6
    assert min(window[-1] for window in differences) > 1e-3


@pytest.mark.parametrize("clip_vf", [None, 2.0])
def test_the_loss_by_hand(clip_vf):
    """The squared distance of the normalised return from W h + b; clipped, around old values in real units."""
    agent = paid(clip_range_vf=clip_vf, n_minibatches=1, n_epochs=1)
    agent.policy.double()
    agent.learn(3 * 8 * 4)
    layer = agent.policy.value_net
    batch = next(agent.window.minibatches(1))
    evaluated = agent.policy.evaluate_actions(batch.observations, batch.actions, batch.initial_state, batch.starts)
    clip = None if clip_vf is None else torch.tensor(clip_vf, dtype=torch.float64)
    losses, _ = agent._losses(batch, evaluated, torch.tensor(0.2), clip)
    outputs, _, _ = agent.policy.unroll(batch.observations, batch.initial_state, batch.starts)
    normalized = (agent.policy.critic(outputs) @ layer.weight.T + layer.bias).squeeze(-1).detach().numpy()
    mean, std = layer.mean.item(), layer.std.item()
    errors = []
    for t in range(8):
        for b in range(4):
            value, old = std * normalized[t, b] + mean, batch.values[t, b].item()
            if clip_vf is not None:
                value = old + min(max(value - old, -clip_vf), clip_vf)
            errors.append((batch.returns[t, b].item() - value) / std)
    assert losses["value_loss"].item() == pytest.approx(np.mean(np.square(errors)), rel=1e-9)


def test_a_critic_of_large_returns_learns():
    """In as many steps as leave one in real units at the beginning."""
    values = {}
    for normalize_values in (True, False):
        agent = make(Paid(dummy(4), 30, 100), normalize_values=normalize_values, learning_rate=3e-3)
        agent.learn(20 * 8 * 4)
        values[normalize_values] = agent.window.values.mean().item()
    assert values[True] > 300
    assert values[False] < 30


def test_an_interrupted_run_goes_on_exactly(tmp_path):
    whole = make(normalize_values=True)
    whole.learn(6 * 32)
    agent = make(normalize_values=True, run_dir=tmp_path, checkpoint_interval=1)
    with pytest.raises(Interrupted):
        agent.learn(6 * 32, callback=interrupt_at(100))
    again = RecurrentPPO.resume(tmp_path, tmaze(), device="cpu")
    again.learn(again.remaining_timesteps, reset_num_timesteps=False)
    assert_same_weights(weights_of(again), weights_of(whole))
    assert {"value_net.mean", "value_net.variance", "value_net.updates"} < weights_of(whole).keys()


def test_it_is_saved_with_the_agent_and_with_the_policy(tmp_path):
    agent = paid()
    agent.learn(3 * 8 * 4)
    agent.save(tmp_path / "run")
    assert json.loads((tmp_path / "run/policy.json").read_text())["hyperparameters"]["normalize_values"]
    agent.policy.save(tmp_path / "policy")
    for policy in (load_agent(tmp_path / "run", device="cpu").policy, MemoryPolicy.load(tmp_path / "policy", "cpu")):
        assert_same_weights(dict(policy.state_dict()), weights_of(agent))
        with torch.no_grad():
            assert torch.equal(policy.values(agent.window.outputs), agent.policy.values(agent.window.outputs))
    alone = RecurrentPPO.load(tmp_path / "run", dummy(4), normalize_values=False)
    alone.learn(8 * 4)  # with the statistics as they are
    assert alone.policy.value_net.updates == agent.policy.value_net.updates


def test_a_reward_that_is_not_finite_leaves_the_weights():
    agent = make(Paid(dummy(4), 1, np.nan), normalize_values=True)
    before = weights_of(agent)
    with pytest.raises(FloatingPointError, match="reward"):
        agent.learn(32)
    assert_same_weights(weights_of(agent), before)


def test_a_run_whose_critic_learned_in_other_units_is_refused(tmp_path):
    from memagents.experiments.lessons import make_curriculum
    from memagents.experiments.training import make_agent

    own = SMALL | {"core": "lstm", "run_dir": str(tmp_path / "run")}
    settings = PPOSettings(**own, normalize_values=True, init_from=str(tmp_path / "first"))
    first = PPOSettings(**own | {"run_dir": str(tmp_path / "first")})
    make_agent(first, make_curriculum(first)).save(tmp_path / "first")
    with pytest.raises(CheckpointError, match="its normalize_values is None, this run's is True"):
        make_agent(settings, make_curriculum(settings))
