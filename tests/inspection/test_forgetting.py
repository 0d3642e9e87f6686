"""What an agent is worth that forgets, and how far back its estimates hang on."""

import numpy as np
import pytest
import torch

from memagents.experiments.evaluation import Interval
from memagents.inspection import ablate, record
from memagents.inspection.forgetting import ForgetfulAgent, Forgetting, forgetting
from memagents.inspection.forks import fork
from memagents.inspection.smear import smear
from tests.inspection.support import livened, make_agent, recorded


@pytest.mark.parametrize("core", ["lstm", "dnc", "kv"])
def test_a_memory_that_goes_back_far_enough_is_the_whole_memory(core):
    agent = livened(make_agent(policy_kwargs={"core": core}, length=(2, 5)))
    env, policy = agent.env, agent.policy
    env.seed(1)
    observations, starts = env.reset(), np.ones(3, dtype=bool)
    states = {"whole": None, 100: None, 2: None, 0: None}
    agents = {"whole": policy, **{age: ForgetfulAgent(policy, age) for age in (100, 2, 0)}}
    age, differ = np.zeros(3, dtype=int), {2: False, 0: False}
    for _ in range(25):
        age = np.where(starts, 0, age + 1)
        actions = {}
        for name, one in agents.items():
            actions[name], states[name] = one.predict(observations, states[name], starts, True)
        assert np.array_equal(actions["whole"], actions[100])
        for short in (2, 0):
            assert np.array_equal(actions["whole"][age <= short], actions[short][age <= short])
            differ[short] |= not np.array_equal(actions["whole"], actions[short])
        observations, _, starts, _ = env.step(np.random.default_rng(0).integers(4, size=3))
    assert len(states[2]) == 2
    assert states[0] == ()


def test_an_untrained_agent_loses_nothing_by_forgetting():
    agent = make_agent(length=4, n_envs=8)
    found = forgetting(agent.policy, agent.env, ages=(3, 0), episodes=8)
    assert found.ages == (0, 3)
    assert found.measure == "success"
    assert found.horizon == 0


def test_the_horizon_is_where_forgetting_begins_to_cost_nothing():
    def scores(*means):
        return [Interval(mean, mean - 0.1, mean + 0.1) for mean in means]

    whole = Interval(0.9, 0.85, 0.95)
    assert Forgetting("success", (0, 1, 2, 4), scores(0.5, 0.9, 0.6, 0.9), whole).horizon == 4
    assert Forgetting("success", (0, 1, 2, 4), scores(0.5, 0.9, 0.86, 0.9), whole).horizon == 1
    assert Forgetting("success", (0, 1, 2, 4), scores(0.5, 0.5, 0.5, 0.5), whole).horizon is None


def test_a_negative_age_is_refused():
    agent = make_agent()
    with pytest.raises(ValueError, match="age"):
        ForgetfulAgent(agent.policy, -1)


def test_an_agent_or_a_recording_in_the_place_of_its_part_is_refused(tmp_path):
    agent = make_agent(n_envs=1)
    recording = record(agent, tmp_path / "recording", 1)
    message = r"^policy must be that of an agent, as agent.policy, not RecurrentPPO$"
    with pytest.raises(ValueError, match=message):
        forgetting(agent, agent.env)
    with pytest.raises(ValueError, match=message):
        fork(agent, lambda rows: agent.env)
    for find in smear, ablate:
        with pytest.raises(ValueError, match=r"^policy must have an actor and a critic .* has, not RecurrentPPO$"):
            find(agent, recording.episodes[0])
        with pytest.raises(ValueError, match=r"^episode must be one of .* recording.episodes\[0\], not Recording$"):
            find(agent.policy, recording)


@pytest.mark.parametrize("of", ["value", "action"])
def test_the_smear_is_the_gradient_by_each_observation(of, tmp_path):
    agent = livened(make_agent(n_envs=1, policy_kwargs={"core": "gru"}, length=6), 1.5)
    policy, episode = agent.policy, recorded(agent, tmp_path / "recording")
    shares = smear(policy, episode, of, rows=4)
    assert shares.shape == (episode.length, episode.length)
    assert np.allclose(shares.sum(1), 1, atol=1e-5)
    assert np.allclose(np.triu(shares, 1), 0)
    steps = episode.read()
    encoded = policy.encode(torch.from_numpy(steps["observation"])[:, None]).detach()
    spread = encoded.std(0, correction=0)[0]
    for t in (0, 3, episode.length - 1):
        inputs = encoded.clone().requires_grad_()
        starts = torch.zeros(episode.length, 1, dtype=torch.bool)
        outputs = policy.core.unroll(inputs, policy.initial_state(1), starts).outputs[t]
        if of == "value":
            asked = policy.values(outputs)
        else:
            asked = policy.distribution(outputs).log_prob(torch.from_numpy(steps["actions"][t : t + 1]))
        (gradient,) = torch.autograd.grad(asked.sum(), inputs)
        density = (gradient[:, 0].abs() * spread).sum(1)
        assert np.allclose(shares[t], (density / density.sum()).numpy(), atol=1e-4)


@pytest.mark.parametrize("critic_core", [None, "same"])
def test_the_value_hangs_on_what_it_does_also_where_the_critic_does_not_train_it(critic_core, tmp_path):
    shares = []
    for gradient in (True, False):
        kwargs = {"core": "gru", "critic_core": critic_core, "critic_gradient": gradient}
        agent = make_agent(n_envs=1, policy_kwargs=kwargs, length=4)
        episode = recorded(agent, tmp_path / "recording")
        shares.append(smear(agent.policy, episode))
        assert agent.policy.critic_gradient is gradient
        assert critic_core is None or agent.policy.core.critic_gradient is gradient
    assert np.allclose(shares[0].sum(1), 1, atol=1e-5) and np.allclose(*shares)


def test_the_smear_of_one_step_is_all_its_own(tmp_path):
    agent = make_agent("memenvs/Bandit-v0", n_envs=1, policy_kwargs={"core": "gru"}, max_episode_steps=1)
    episode = recorded(agent, tmp_path / "recording")
    assert episode.length == 1
    assert smear(agent.policy, episode).tolist() == [[1.0]]


def test_an_agent_without_memory_hangs_on_the_present_alone(tmp_path):
    agent = make_agent(n_envs=1, policy_kwargs={"core": "none"}, length=4)
    shares = smear(agent.policy, recorded(agent, tmp_path / "recording"))
    assert np.allclose(shares, np.diag(np.diag(shares)))
