"""What users of Stable-Baselines3 and sb3-contrib type, and what they are told."""

import pytest

from memagents import NEC, RecurrentPPO
from memagents.algorithms.sb3_names import ARGUMENTS, POLICIES
from memagents.experiments.configuration import command_line
from memagents.experiments.settings import PPOSettings


@pytest.mark.parametrize("name", ["batch_size", "use_sde", "rollout_buffer_class"])
def test_arguments_name_their_equivalents(name):
    with pytest.raises(TypeError, match=f"RecurrentPPO has no argument '{name}'; instead of {name}: "):
        RecurrentPPO("MlpPolicy", "CartPole-v1", **{name: 64})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("clip", "clip_range, clip_range_vf"),
        ("lr", "learning_rate"),
        ("lambda", "gae_lambda"),
        ("n_step", "n_steps"),
    ],
)
def test_names_that_are_spelled_alike(name, meant):
    with pytest.raises(TypeError, match=f"^RecurrentPPO has no argument '{name}'; spelled alike: {meant}"):
        RecurrentPPO("MlpPolicy", "CartPole-v1", **{name: 1})
    with pytest.raises(TypeError, match=r"^RecurrentPPO has no argument 'colour'$"):
        RecurrentPPO("MlpPolicy", "CartPole-v1", colour=1)


@pytest.mark.parametrize(
    ("option", "meant"),
    [("--lr", "--learning-rate"), ("--clip=0.1", "--clip-range"), ("--timesteps", "--total-timesteps"), ("--cor", "")],
)
def test_options_that_are_spelled_alike(option, meant):
    name = option.partition("=")[0]
    with pytest.raises(ValueError, match=f"^there is no setting {name}; spelled alike: {meant or '--core'}"):
        command_line(PPOSettings, [option, "1"])


def test_options_that_there_are():
    for words in (["--normalize_reward"], ["--no-normalize-reward"], ["--env-kwargs", "length=3"], ["--n-envs=3"]):
        command_line(PPOSettings, words)


def test_other_arguments_are_refused_as_ever():
    with pytest.raises(TypeError, match="RecurrentPPO has no argument 'bach_size'"):
        RecurrentPPO("MlpPolicy", "CartPole-v1", bach_size=64)
    with pytest.raises(TypeError, match="NEC has no argument 'use_sde'"):
        NEC("MlpPolicy", "CartPole-v1", use_sde=True)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_name_their_equivalents(name):
    with pytest.raises(ValueError, match=f"not '{name}'; instead of it: '"):
        RecurrentPPO(name, "CartPole-v1")


@pytest.mark.parametrize("name", ["lstm_hidden_size", "n_lstm_layers", "shared_lstm", "enable_critic_lstm"])
def test_policy_kwargs_name_their_equivalents(name):
    assert name in ARGUMENTS
    with pytest.raises(ValueError, match=f"the policy has no parameter '{name}'; instead of {name}: .*; it has: core"):
        RecurrentPPO("MlpPolicy", "CartPole-v1", policy_kwargs={name: 1})
