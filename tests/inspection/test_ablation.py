"""Ablations change one place of a memory, and nothing else; what follows is what the policy then does."""

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from memagents import NEC, core_names
from memagents.cores.core import map_state
from memagents.environments import make_env
from memagents.inspection.ablation import KINDS, Course, ablate, observations_of, state_of
from memagents.inspection.places import leaf_of, places_of, with_leaf
from memagents.inspection.replay import replay
from tests.inspection.support import livened, make_agent, recorded

WITH_PLACES = [name for name in core_names() if name != "none"]


@pytest.mark.parametrize("core", WITH_PLACES)
def test_every_core_has_places_of_one_number(core):
    policy = make_agent(policy_kwargs={"core": core}).policy
    state = policy.initial_state(2)
    places = places_of(state)
    assert places.number > 1
    assert all(leaf_of(state, path).shape[places.axis] == places.number for path in places.leaves)
    changed = with_leaf(state, places.leaves[0], torch.ones_like(leaf_of(state, places.leaves[0])))
    assert leaf_of(changed, places.leaves[0]).eq(1).all()


@pytest.mark.parametrize("core", ["dnc", "lstm", "ntm", "sam", "kv", "rmc", "ffm", "universal"])
def test_erasing_equals_a_slow_loop_by_hand(core, tmp_path):
    agent = livened(make_agent(n_envs=1, policy_kwargs={"core": core}, length=5), 1.5)
    policy, episode = agent.policy, recorded(agent, tmp_path / "recording", states=True)
    found = ablate(policy, episode, "erase", rows=7)
    observations, places = observations_of(policy, episode), places_of(policy.initial_state(1))
    assert found.divergence.shape == (episode.length, places.number, episode.length)
    false, course = torch.zeros(1, 1, dtype=torch.bool), Course(policy, episode)
    with torch.no_grad():
        for step, place in [(1, 0), (2, places.number - 1), (episode.length - 1, places.number - 2)]:
            states, tellings, worth = [state_of(policy, episode)] * 2, [], []
            for t in range(episode.length):
                states[0] = course.at(t, states[0])
                if t == step:
                    states[1] = states[0]
                    for path in places.leaves:
                        leaf = leaf_of(states[1], path).clone().movedim(places.axis, 1)
                        leaf[0, place] = leaf_of(policy.initial_state(1), path).movedim(places.axis, 1)[0, place]
                        states[1] = with_leaf(states[1], path, leaf.movedim(1, places.axis))
                acted = [replay(policy, observations[t : t + 1], state, false) for state in states]
                states = [one.state for one in acted]
                probabilities = [policy.distribution(one.outputs[0]).probabilities() for one in acted]
                tellings.append(float(kl_divergence(*map(Categorical, probabilities))))
                worth.append(float(policy.values(acted[1].outputs[0]) - policy.values(acted[0].outputs[0])))
            assert np.isnan(found.divergence[step, place, :step]).all()
            assert np.allclose(found.divergence[step, place, step:], tellings[step:], atol=1e-5)
            assert np.allclose(found.values[step, place, step:], worth[step:], atol=1e-4)


def test_the_kinds_do_what_they_say(tmp_path):
    agent = livened(make_agent(n_envs=1, policy_kwargs={"core": "gru", "core_kwargs": {"hidden_size": 4}}, length=6))
    episode = recorded(agent, tmp_path / "recording")
    found = {kind: ablate(agent.policy, episode, kind, steps=[2, 4], places=[0, 3]) for kind in KINDS}
    for kind, ablations in found.items():
        assert ablations.kind == kind
        assert ablations.place == "unit"
        assert ablations.divergence.shape == (2, 2, episode.length)
        assert (ablations.worst() > 0).all()
    # Frozen, a unit is as it was before; in the first step after, nothing but the outputs themselves tells.
    nothing = ablate(agent.policy, episode, "noise", scale=0)
    assert np.nanmax(nothing.divergence) < 1e-6
    again = ablate(agent.policy, episode, "noise", steps=[2, 4], places=[0, 3])
    assert np.array_equal(again.divergence, found["noise"].divergence, equal_nan=True)


def test_freezing_holds_a_unit(tmp_path):
    agent = livened(make_agent(n_envs=1, policy_kwargs={"core": "gru", "core_kwargs": {"hidden_size": 4}}, length=6))
    policy, episode = agent.policy, recorded(agent, tmp_path / "recording")
    found = ablate(policy, episode, "freeze", steps=[2], places=[1])
    observations, false = observations_of(policy, episode), torch.zeros(1, dtype=torch.bool)
    state = own = state_of(policy, episode)
    with torch.no_grad():
        for t in range(episode.length):
            kept = own.hidden[0, 1].clone()
            acted = [policy(observations[t], one, false) for one in (state, own)]
            state, own = (one.state for one in acted)
            if t >= 2:
                own = map_state(torch.clone, own)
                own.hidden[0, 1] = kept
                p, q = (Categorical(policy.distribution(one.outputs).probabilities()) for one in acted)
                assert np.isclose(found.divergence[0, 0, t], float(kl_divergence(p, q)), atol=1e-5)


def test_of_two_memories_the_actors_is_changed_and_its_policy_alone_departs(tmp_path):
    agent = livened(make_agent(n_envs=1, policy_kwargs={"core": "gru", "critic_core": "same"}, length=5))
    found = ablate(agent.policy, recorded(agent, tmp_path / "recording"), steps=[2], places=[0, 1])
    assert (found.worst() > 0).all()
    assert np.nanmax(np.abs(found.values)) < 1e-6


@pytest.mark.parametrize("env", ["Pendulum-v1"])
def test_continuous_actions(env, tmp_path):
    agent = livened(make_agent(env, 1, policy_kwargs={"core": "gru"}))
    found = ablate(agent.policy, recorded(agent, tmp_path / "recording"), steps=[5], places=[0])
    assert np.nanmax(found.divergence) > 0


def test_bad_input_is_told_in_one_sentence(tmp_path):
    agent = make_agent(n_envs=1, length=3)
    episode = recorded(agent, tmp_path / "recording")
    with pytest.raises(ValueError, match="kind must be one of"):
        ablate(agent.policy, episode, "burn")
    with pytest.raises(ValueError, match="steps must be numbers from 0 to"):
        ablate(agent.policy, episode, steps=[99])
    with pytest.raises(ValueError, match="places must be numbers from 0 to 63"):
        ablate(agent.policy, episode, places=[64])
    store = make_agent(n_envs=1, length=3, policy_kwargs={"core": "kv"})
    with pytest.raises(ValueError, match="entries of a store move on"):
        ablate(store.policy, recorded(store, tmp_path / "recording"), "freeze")
    without = make_agent(n_envs=1, length=3, policy_kwargs={"core": "none"})
    with pytest.raises(ValueError, match="the state of its core is empty"):
        ablate(without.policy, recorded(without, tmp_path / "recording"))
    episodic = NEC("MlpPolicy", make_env("memenvs/TMaze-v0", 1))
    with pytest.raises(ValueError, match="must have an actor and a critic"):
        ablate(episodic.policy, episode)
