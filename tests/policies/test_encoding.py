"""Observations as numbers, held to Stable-Baselines3's ``preprocess_obs`` and to plain loops."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import NatureCNN

from memagents import RecurrentPPO
from memagents.policies.encoding import (
    DictEncoder,
    FlatEncoder,
    Preprocessor,
    bytes_of,
    encoded_size,
    encoder_for,
    is_picture,
    make_encoder,
)
from memagents.policies.symbol_encoders import GridEncoder
from tests.support.toys import OBSERVATIONS

PICTURE = spaces.Box(0, 255, (3, 36, 40), np.uint8)


def samples(space, count=5):
    space.seed(0)
    drawn = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {name: torch.as_tensor(np.stack([one[name] for one in drawn])) for name in space.spaces}
    return torch.as_tensor(np.stack(drawn))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("space", [*OBSERVATIONS.values(), PICTURE], ids=[*OBSERVATIONS, "picture"])
def test_the_same_numbers_as_sb3(space, normalize):
    observations = samples(space)
    ours = Preprocessor(space, normalize)(observations)
    theirs = preprocess_obs(observations, space, normalize_images=normalize)
    if isinstance(space, spaces.Dict):
        assert list(ours) == list(space.spaces)
        for name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
    else:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_codes_that_do_not_begin_at_zero():
    place = spaces.Discrete(3, start=-1)
    torch.testing.assert_close(Preprocessor(place)(torch.tensor([-1, 1, 0])), torch.eye(3)[[0, 2, 1]])
    codes = spaces.MultiDiscrete([2, 3], start=[4, -1])
    expected = torch.tensor([[1.0, 0, 0, 0, 1], [0, 1, 1, 0, 0]])
    torch.testing.assert_close(Preprocessor(codes)(torch.tensor([[4, 1], [5, -1]])), expected)


def test_bytes_as_codes():
    """Sums of byte-sized codes may exceed a byte."""
    space = spaces.MultiDiscrete([200, 200], dtype=np.uint8)
    codes = Preprocessor(space)(torch.tensor([[199, 199]], dtype=torch.uint8))
    assert codes.shape == (1, 400)
    assert codes.nonzero()[:, 1].tolist() == [199, 399]
    assert encoded_size(space) == 400


def test_the_wanted_precision():
    for space in OBSERVATIONS.values():
        numbers = Preprocessor(space)(samples(space), torch.float64)
        for values in numbers.values() if isinstance(numbers, dict) else [numbers]:
            assert values.dtype == torch.float64


@pytest.mark.parametrize(("name", "space"), OBSERVATIONS.items(), ids=OBSERVATIONS)
def test_encoders_know_their_width(name, space):
    encoder = make_encoder(space)
    encoded = encoder(Preprocessor(space, codes=True)(samples(space)))
    assert encoded.shape == (5, encoder.features_dim)
    assert isinstance(encoder, {"dict": DictEncoder, "symbols": GridEncoder}.get(name, FlatEncoder))


def test_pictures_and_symbols_are_told_apart():
    assert is_picture(PICTURE)
    assert encoder_for(PICTURE)[0] is NatureCNN
    for symbols in (spaces.Box(0, 255, (7, 7, 3), np.uint8), spaces.Box(-1, 1, (64, 64, 3)), spaces.Discrete(3)):
        assert not is_picture(symbols)
    both = spaces.Dict({"view": PICTURE, "mission": spaces.MultiDiscrete([5, 5])})
    encoder = make_encoder(both)
    assert isinstance(encoder.encoders["view"], NatureCNN)
    assert isinstance(encoder.encoders["mission"], FlatEncoder)
    assert encoder(Preprocessor(both)(samples(both))).shape == (5, encoder.features_dim)


def test_bytes_of_a_single_number_with_any_stride():
    apart = torch.tensor([258, 7])[::2]  # (1,), a stride of 2
    for values in (apart, apart.reshape(1, 1)):
        assert bytes_of(values).flatten().tolist() == [2, 1, 0, 0, 0, 0, 0, 0]
    assert bytes_of(torch.tensor([[1, 2], [3, 4]], dtype=torch.int16)).tolist() == [[1, 0, 2, 0], [3, 0, 4, 0]]


def test_an_agent_in_one_environment_whose_observation_is_a_tuple():
    agent = RecurrentPPO("MlpPolicy", "memenvs/popgym-AutoencodeEasy-v0", n_steps=4, policy_kwargs={"core": "none"})
    assert agent.learn(8).num_timesteps == 8
