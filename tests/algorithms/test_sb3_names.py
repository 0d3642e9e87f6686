"""What users of Stable-Baselines3 and sb3-contrib type, and what they are told."""

import pytest

from memagents import NEC, RecurrentPPO
from memagents.algorithms.sb3_names import ARGUMENTS, POLICIES


@pytest.mark.parametrize("name", ["batch_size", "use_sde", "rollout_buffer_class"])
def test_arguments_name_their_equivalents(name):
    with pytest.raises(TypeError, match=f"RecurrentPPO has no argument '{name}'; instead of {name}: "):
        RecurrentPPO("MlpPolicy", "CartPole-v1", **{name: 64})


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
