"""Episodic control goes on after a crash as if there had been none."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import LinearSchedule

from memagents import MFEC, NEC, CheckpointError
from tests.nec.agents import agent_for
from tests.support.agents import Interrupted, assert_same_weights, interrupt_at, weights_of
from tests.support.toys import tmaze, underground
from tests.support.trees import assert_equal

LINEAR = LinearSchedule(1e-2, 0.0, 1.0)
RUNS = {
    "single steps": (NEC, "none", tmaze, {"n_steps": 3}),
    "episodes": (NEC, "gru", tmaze, {"n_steps": 3}),
    "whole returns": (NEC, "gru", underground, {"n_steps": None, "memory_learning_rate": 1e-3}),
    "prioritised steps": (NEC, "none", underground, {"n_steps": 2, "priority_exponent": 0.6, "gradient_steps": 2}),
    "prioritised episodes": (NEC, "gru", underground, {"priority_exponent": 0.6, "buffer_size": 100}),
    "conditioned": (NEC, "gru", underground, {"condition_on": ["action", "reward"], "train_freq": 3}),
    "dropout": (NEC, "gru", tmaze, {"policy_kwargs": {"core_kwargs": {"hidden_size": 5, "dropout": 0.5}}}),
    "table": (MFEC, "none", underground, {}),
    "conditioned table": (MFEC, "none", tmaze, {"condition_on": ["action"]}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_exactly(name, tmp_path):
    """Bit for bit: dictionaries with the order of eviction, replay, running episodes, weights, optimiser, dice.

    With a core the dictionaries are full; the crash is in the middle of episodes, between two checkpoints.
    """
    cls, core, environment, kwargs = RUNS[name]
    kwargs = {"checkpoint_interval": 5, "train_freq": 3, "exploration_fraction": 1.0, "policy_kwargs": {}, **kwargs}
    kwargs["policy_kwargs"] = {"capacity": 6, **kwargs["policy_kwargs"]}
    if cls is NEC:
        kwargs |= {"learning_rate": LINEAR, "dictionary_learning_rate": LINEAR}
    straight = agent_for(environment(), cls, core, **kwargs)
    iteration = 4 * straight.train_freq
    total = 25 * iteration
    straight.learn(total)
    agent = agent_for(environment(), cls, core, **kwargs, run_dir=tmp_path / "run")
    with pytest.raises(Interrupted):
        agent.learn(total, callback=interrupt_at(13 * iteration + 5))
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002
    resumed = cls.resume(tmp_path / "run", environment(), device="cpu")
    assert resumed.num_timesteps == 10 * iteration
    assert any(trail.steps for trail in resumed._trails) or environment is underground
    assert (resumed.policy.dictionary.counts == 6).all() or core == "none"
    resumed.learn(resumed.remaining_timesteps, reset_num_timesteps=False)
    assert_same_weights(weights_of(resumed), weights_of(straight))
    assert_equal(resumed.policy.lasting_memory(), straight.policy.lasting_memory())
    expected, reached = straight.training_state(), resumed.training_state()
    assert expected["own"].keys() == {"replay", "trails", "histories", "rng"}
    assert_equal(reached, expected)


def test_an_agent_that_has_not_learned_yet_can_be_resumed(tmp_path):
    agent_for(tmaze()).save(tmp_path)
    agent = NEC.resume(tmp_path, tmaze(), device="cpu")
    straight = agent_for(tmaze())
    for one in (agent, straight):
        one.learn(100)
    assert_equal(agent.policy.lasting_memory(), straight.policy.lasting_memory())


@pytest.mark.parametrize("core", ["none", "gru"])
def test_without_a_snapshot_episodes_begin_anew(core, tmp_path):
    """CartPole cannot be put back: what ran is not written, what was written is remembered."""

    def cartpoles():
        return gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")

    agent = agent_for(cartpoles(), core=core, checkpoint_interval=1, run_dir=tmp_path)
    with pytest.raises(Interrupted):
        agent.learn(200, callback=interrupt_at(150))
    resumed = NEC.resume(tmp_path, cartpoles(), device="cpu")
    assert resumed.num_timesteps == 144 and len(resumed.replay) > 0
    before = resumed.policy.lasting_memory()
    resumed.learn(2, reset_num_timesteps=False)
    assert [len(trail.steps) for trail in resumed._trails] == [4, 4]
    for was, now in zip(before["actions"], resumed.policy.lasting_memory()["actions"], strict=True):
        assert was["ids"].tolist() == now["ids"].tolist()


def test_what_does_not_fit_is_not_gone_on_with(tmp_path):
    agent = agent_for(tmaze())
    agent.learn(100)
    agent.save(tmp_path)
    state = "state.safetensors"
    for message, changes in {
        "the run had 4 environments, now there are 3": {"env": tmaze(3)},
        f"{state}.*capacity must be 100000 as it was saved, not 7": {"buffer_size": 7},
        f"{state}.*ids must be at most 2": {
            "policy_kwargs": {"capacity": 2, "key_size": 6, "core_kwargs": {"hidden_size": 5}}
        },
    }.items():
        with pytest.raises(CheckpointError, match=message):
            NEC.resume(tmp_path, **{"env": tmaze(), "device": "cpu", **changes})
    with pytest.raises(CheckpointError, match="is a run of NEC, not of MFEC"):
        MFEC.resume(tmp_path, tmaze(), device="cpu")
