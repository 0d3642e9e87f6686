"""Real numbers as actions of compiled environments, through learning, evaluation and a saved state."""

import numpy as np
import pytest

from memagents import RecurrentPPO
from memagents.environments.guidance import has_oracle
from memagents.environments.make import make_env
from memagents.experiments.evaluation import RandomAgent

PENDULUM = "memenvs/popgym-PositionOnlyPendulumEasy-v0"


@pytest.mark.parametrize("conditions", [(), ("action", "reward")])
def test_an_agent_learns_and_goes_on_from_a_file(conditions, tmp_path):
    env = make_env(PENDULUM, 8, seed=0, max_steps=20, condition_on=conditions)
    assert not has_oracle(env)
    agent = RecurrentPPO(
        "MlpPolicy",
        env,
        policy_kwargs={"core": "gru", "core_kwargs": {"hidden_size": 8}},
        n_steps=32,
        n_minibatches=2,
        n_epochs=2,
        seed=0,
    )
    before = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    agent.learn(8 * 32 * 2)
    assert any((before[name] != value).any() for name, value in agent.policy.state_dict().items())
    assert len(agent.ep_info_buffer) > 8
    agent.save(tmp_path / "agent.zip")
    loaded = RecurrentPPO.load(tmp_path / "agent.zip", env=env)
    observation = env.reset()
    for one in (agent, loaded):
        actions, _ = one.predict(observation, deterministic=True)
        assert actions.shape == (8, 1)
        assert actions.dtype == np.float32
        assert np.all(abs(actions) <= 2)
    assert np.array_equal(agent.predict(observation, deterministic=True)[0], actions)
    loaded.learn(8 * 32)


def test_random_play():
    env = make_env(PENDULUM, 4, seed=0, max_steps=5)
    observations = env.reset()
    agent, starts, ends = RandomAgent(env.action_space), np.ones(4, bool), 0
    for _ in range(20):
        actions, _ = agent.predict(observations, None, starts)
        observations, rewards, starts, _ = env.step(actions)
        assert np.isfinite(rewards).all()
        ends += starts.sum()
    assert ends == 16
