"""Encoders of grids and sentences, against a convolution and a linear layer on one-hot codes."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.nn import functional as F

from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import DictEncoder, Preprocessor, encoder_for, make_encoder
from memagents.policies.symbol_encoders import SIZES, GridEncoder, WordsEncoder, is_grid, is_words


def grid(height, width=None):
    return spaces.Box(0, 255, (height, width or height, 3), np.uint8)


def sentence(words=40, places=12):
    return spaces.MultiDiscrete([words] * places, dtype=np.uint8)


def test_which_spaces_are_grids_and_sentences():
    assert all(is_grid(space) for space in (grid(3), grid(7), grid(25), grid(16, 8)))
    pictures = [
        grid(36),
        grid(7, 64),
        spaces.Box(0, 255, (3, 20, 20), np.uint8),
        spaces.Box(0, 255, (7, 7, 1), np.uint8),
    ]
    assert not any(is_grid(space) for space in (grid(1, 7), grid(7, 2)))
    others = [spaces.Box(0, 10, (7, 7, 3), np.uint8), spaces.Box(0, 255, (7, 7, 3)), spaces.Discrete(3)]
    assert not any(is_grid(space) for space in pictures + others)
    assert is_words(sentence()) and is_words(spaces.MultiDiscrete([128, 128]))
    short = [
        sentence(40, 6),
        sentence(14, 52),
        spaces.MultiDiscrete([300, 299]),
        spaces.MultiDiscrete([300, 300], start=[0, 1]),
    ]
    assert not any(is_words(space) for space in [*short, spaces.MultiDiscrete([[300, 300]]), spaces.MultiBinary(300)])


@pytest.mark.parametrize("shape", [(3, 3), (7, 7), (5, 9), (8, 8), (16, 7), (25, 25)])
def test_a_grid_is_embedded_and_convolved(shape):
    encoder = GridEncoder(grid(*shape), features_dim=6, embedding_size=5, channels=4).double()
    codes = torch.stack([torch.randint(n, (11, *shape)) for n in SIZES], -1)
    encoded = encoder(codes.to(torch.uint8))
    embedded = sum(F.one_hot(codes[..., i], n).double() @ encoder.embeddings[i] for i, n in enumerate(SIZES))
    nothing = sum(table[0] for table in encoder.embeddings)  # what stands beside a grid of an even side: unseen cells
    odd = [side + (side + 1) % 2 for side in shape]
    padded = nothing.expand(11, *odd, 5).clone()
    padded[:, : shape[0], : shape[1]] = embedded
    kernel = encoder.convolution.weight.view(4, 3, 3, 5).permute(0, 3, 1, 2)
    features = F.conv2d(padded.permute(0, 3, 1, 2), kernel, encoder.convolution.bias, stride=2).relu()
    expected = encoder.linear(features.permute(0, 2, 3, 1).flatten(1)).relu()
    torch.testing.assert_close(encoded, expected)


def test_codes_too_large_count_as_the_largest():
    encoder = GridEncoder(grid(3))
    largest = torch.tensor(SIZES) - 1
    torch.testing.assert_close(encoder(torch.full((1, 3, 3, 3), 255)), encoder(largest.expand(1, 3, 3, 3)))


def test_a_grid_too_small():
    with pytest.raises(ValueError, match="at least 3 by 3"):
        GridEncoder(grid(1, 7))
    assert make_encoder(grid(1, 7)).features_dim == 21


def test_a_sentence_is_a_linear_layer_on_one_hot_words():
    space = sentence(30, 9)
    encoder = WordsEncoder(space, features_dim=7)
    words = torch.randint(30, (13, 9), dtype=torch.uint8)
    torch.testing.assert_close(encoder(words), (Preprocessor(space)(words) @ encoder.embeddings).relu())


def test_entries_choose_their_encoders_and_every_symbol_counts():
    space = spaces.Dict({"image": grid(7), "direction": spaces.Discrete(4), "mission": sentence()})
    policy = MemoryPolicy(space, spaces.Discrete(7), lambda _: 1e-3, core="none")
    encoder = policy.features_extractor
    assert isinstance(encoder, DictEncoder)
    assert isinstance(encoder.encoders["image"], GridEncoder)
    assert isinstance(encoder.encoders["mission"], WordsEncoder)
    codes = {
        "image": torch.randint(3, (1, 1, 7, 7, 3), dtype=torch.uint8),
        "direction": torch.zeros(1, 1, dtype=torch.int64),
        "mission": torch.zeros(1, 1, 12, dtype=torch.uint8),
    }
    before = policy.encode(codes)
    assert before.shape == (1, 1, encoder.features_dim)
    for name, values in codes.items():
        for place in (0, values.numel() - 1):
            changed = values.clone()
            changed.view(-1)[place] = 3
            assert not torch.equal(policy.encode({**codes, name: changed}), before)


def test_an_encoder_of_ones_own_gets_sb3s_numbers():
    from stable_baselines3.common.torch_layers import FlattenExtractor

    own = {"features_extractor_class": FlattenExtractor}
    policy = MemoryPolicy(grid(3), spaces.Discrete(2), lambda _: 1e-3, core="none", **own)
    numbers = policy.encode(torch.full((1, 1, 3, 3, 3), 51, dtype=torch.uint8))
    torch.testing.assert_close(numbers, torch.full((1, 1, 27), 0.2))
    assert encoder_for(grid(3))[0] is GridEncoder
