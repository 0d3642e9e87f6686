"""An episode forked at any step goes on exactly as it would have, but for what was changed."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize

from memagents import RecurrentPPO
from memagents.environments import ConditionOn, make_env
from memagents.inspection import record
from memagents.inspection.forks import _played, fork
from memagents.inspection.places import leaf_of, places_of, with_leaf
from tests.inspection.support import SHARED, livened


def makes(env="memenvs/Maze-v0", wrap=lambda env: env, **kwargs):
    return lambda rows: wrap(make_env(env, rows, **kwargs))


def policy_for(make, core="gru", scale=4.0):
    agent = livened(RecurrentPPO("MultiInputPolicy", make(1), policy_kwargs={"core": core, **SHARED}, seed=1), scale)
    return agent.policy


def frozen(env):
    wrapped = VecNormalize(env, norm_obs=False)
    wrapped.training = wrapped.norm_reward = False
    return wrapped


@pytest.mark.parametrize("wrap", [lambda env: env, frozen, lambda env: ConditionOn(env, ["action", "reward"])])
def test_with_nothing_changed_every_fork_ends_as_the_episode(wrap):
    make = makes(wrap=wrap, size=7, max_steps=30)
    found = fork(policy_for(make), make, "noise", scale=0, places=[0, 5], seed=4, rows=7)
    assert found.returns.shape == (30, 2)
    assert np.allclose(found.returns, found.whole)


def test_erasing_equals_an_episode_played_by_hand():
    make = makes("memenvs/Bandit-v0")
    policy = policy_for(make, "lstm")
    places = places_of(policy.initial_state(1))
    found = fork(policy, make, seed=2)
    assert found.place == "unit"
    assert not np.allclose(found.returns, found.whole)
    worst = np.abs(found.returns - found.whole)
    step, place = np.unravel_index(worst.argmax(), worst.shape)
    for at, which in [(step, place), (0, 3), (1, 60)]:
        env = make(1)
        env.seed(2)
        observed, starts, state, total, t = env.reset(), np.ones(1, dtype=bool), policy.initial_state(1), 0.0, 0
        while t == 0 or not starts[0]:
            if t == at:
                for path in places.leaves:
                    leaf = leaf_of(state, path).clone()
                    leaf[0, which] = 0
                    state = with_leaf(state, path, leaf)
            with torch.no_grad():
                actions, state = policy.predict(observed, state, np.zeros(1, dtype=bool), deterministic=True)
            observed, rewards, starts, _ = env.step(actions)
            total, t = total + rewards[0], t + 1
        assert np.isclose(found.returns[found.steps == at, which], total)


def test_places_are_those_of_a_recording(tmp_path):
    """Slots that are alike, as those of an untrained DNC, may change places between its kernel and the plain loop."""
    make = makes("memenvs/TMaze-v0", length=6)
    agent = RecurrentPPO("MultiInputPolicy", make(1), policy_kwargs={"core": "dnc", **SHARED}, seed=1)
    recording = record(agent, tmp_path / "recording", 3, seed=3, deterministic=False, states=True)
    episode = recording.episodes[0]
    written = episode.read("trace.write_weights")["trace.write_weights"]
    moments, whole = _played(agent.policy, make(1), 3, episode)
    assert len(moments) == episode.length
    assert np.isclose(whole, episode.total)
    for before, moment in zip(written, moments[1:], strict=False):
        assert np.allclose(moment.state.write_weights[0], before, atol=1e-5)


def test_an_episode_that_is_not_played_again_is_told(tmp_path):
    make = makes("memenvs/TMaze-v0", length=(3, 9))
    agent = RecurrentPPO("MultiInputPolicy", make(1), policy_kwargs={"core": "gru"}, seed=1)
    episode = record(agent, tmp_path / "recording", 1, seed=3).episodes[0]
    assert np.isclose(fork(agent.policy, make, episode=episode, seed=3, places=[0]).whole, episode.total)
    others = [seed for seed in range(4, 20) if not plays(agent.policy, make, episode, seed)]
    assert others
    four = RecurrentPPO("MultiInputPolicy", make(4), policy_kwargs={"core": "gru"}, seed=1)
    episodes = {asked: record(four, tmp_path / f"of {asked}", asked, seed=3).episodes[0] for asked in (4, 1)}
    assert plays(four.policy, make, episodes[4], 3)
    assert not plays(four.policy, make, episodes[1], 3)  # it is the last environment's
    with pytest.raises(ValueError, match=r"of as many episodes at least as the agent had environments$"):
        fork(four.policy, make, episode=episodes[1], seed=3)


def plays(policy, make, episode, seed):
    try:
        _played(policy, make(1), seed, episode)
    except ValueError as error:
        assert "must be the first of a recording" in str(error)
        return False
    return True


def test_an_environment_that_cannot_be_forked_is_told():
    make = makes("CartPole-v1")
    policy = RecurrentPPO("MlpPolicy", make(1)).policy
    with pytest.raises(ValueError, match="must offer snapshot"):
        fork(policy, make)
    with pytest.raises(ValueError, match="kind must be one of"):
        fork(policy, make, "freeze")
