"""Hidden layers between the encoder and the memory."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch.nn import functional as F

from memagents import NEC, RecurrentPPO
from memagents.policies.extractors import DeepEncoder
from memagents.policies.symbol_encoders import GridEncoder


class Halves(BaseFeaturesExtractor):
    """The first half of the numbers."""

    def __init__(self, observation_space):
        super().__init__(observation_space, observation_space.shape[0] // 2)

    def forward(self, observations):
        return observations[:, : self.features_dim]


def agent_of(env, kind=RecurrentPPO, policy="MlpPolicy", **policy_kwargs):
    return kind(policy, env, device="cpu", seed=0, policy_kwargs={"core": "gru", **policy_kwargs})


def test_layers_are_linear_normalised_and_rectified():
    policy = agent_of("CartPole-v1", encoder_layers=[8, 6]).policy
    assert policy.core.actor.input_size == 6
    x = torch.randn(5, 4)
    wanted = x
    for k in (0, 3):
        linear = policy.features_extractor.layers[k]
        wanted = wanted @ linear.weight.T + linear.bias
        wanted = (wanted - wanted.mean(1, keepdim=True)) / (wanted.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        wanted = F.relu(wanted)
    torch.testing.assert_close(policy.encode(x[None])[0], wanted)


@pytest.mark.parametrize("env", ["memenvs/Copy-v0", "memenvs/MiniGrid-MemoryS7-v0", "memenvs/StoryQA-v0"])
@pytest.mark.parametrize("condition_on", [(), ("action", "reward")], ids=str)
def test_layers_come_behind_whatever_the_encoder_is(env, condition_on):
    policy_kwargs = {"core": "gru", "encoder_layers": [12]}
    agent = RecurrentPPO(
        "MultiInputPolicy", env, n_steps=16, device="cpu", policy_kwargs=policy_kwargs, condition_on=condition_on
    )
    weight = agent.policy.features_extractor.layers[0].weight
    before = weight.detach().clone()
    agent.learn(32)
    assert agent.policy.core.actor.input_size == 12
    assert not torch.equal(weight, before)


def test_a_grids_codes_arrive_as_they_are():
    extractor = agent_of("memenvs/MiniGrid-MemoryS7-v0", policy="MultiInputPolicy", encoder_layers=[7])
    extractor = extractor.policy.features_extractor
    assert isinstance(extractor, DeepEncoder)
    assert extractor.takes_codes == {"image"}
    assert isinstance(extractor.encoder.encoders["image"], GridEncoder)


def test_layers_come_behind_an_extractor_of_ones_own():
    policy = agent_of("CartPole-v1", features_extractor_class=Halves, encoder_layers=(5,)).policy
    assert policy.features_extractor.layers[0].in_features == 2
    assert policy.core.actor.input_size == 5


def test_an_extractor_of_ones_own_that_fails_is_named_behind_layers_too():
    class Liar(Halves):
        def forward(self, observations):
            return observations

    with pytest.raises(ValueError, match="features_dim of Liar is 2, but of 2 observations it makes"):
        agent_of("CartPole-v1", features_extractor_class=Liar, encoder_layers=[5])


def test_a_memory_of_pairs_sees_no_condition_apart():
    kwargs = {"condition_on": ("action",), "device": "cpu"}
    plain = RecurrentPPO("MultiInputPolicy", "CartPole-v1", policy_kwargs={"core": "kv"}, **kwargs)
    deep = RecurrentPPO(
        "MultiInputPolicy", "CartPole-v1", policy_kwargs={"core": "kv", "encoder_layers": [9]}, **kwargs
    )
    assert plain.policy.core.actor.observation_size == 4
    assert deep.policy.core.actor.observation_size == 9


@pytest.mark.parametrize("kind", [RecurrentPPO, NEC])
def test_layers_are_saved_with_the_agent(kind, tmp_path):
    agent = agent_of("CartPole-v1", kind, encoder_layers=[8])
    agent.save(tmp_path / "agent")
    loaded = kind.load(tmp_path / "agent", device="cpu")
    x = torch.randn(3, 2, 4)
    assert torch.equal(loaded.policy.encode(x), agent.policy.encode(x))


def test_no_layers_are_no_layers():
    plain, none = agent_of("CartPole-v1").policy, agent_of("CartPole-v1", encoder_layers=[]).policy
    assert plain.state_dict().keys() == none.state_dict().keys()
    observation = np.zeros((1, 4), np.float32)
    assert torch.equal(plain.encode(torch.tensor(observation)[None]), none.encode(torch.tensor(observation)[None]))


@pytest.mark.parametrize("layers", [8, [0], [8.0], "8", {"pi": [8]}])
def test_layers_are_a_list_of_sizes(layers):
    with pytest.raises(ValueError, match="encoder_layers must be a list of sizes, not"):
        agent_of("CartPole-v1", encoder_layers=layers)
