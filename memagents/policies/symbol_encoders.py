"""Encoders of what is neither numbers nor pictures: the cells of a grid world, and the words of a sentence."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn import functional as F

from memagents.policies.picture_encoders import SMALLEST_PICTURE

SIZES = (16, 8, 4)  # how many types, colours and states of a cell are told apart: MiniGrid has 11, 6 and 4
LEAST_ONE_HOT = 256  # numbers in the one-hot code of a sentence; shorter ones are no burden
LEAST_WORDS = 20  # of a language: fewer codes are digits or cards, and no sum of embeddings could keep many apart


def is_grid(space: spaces.Space) -> bool:
    """Return whether a space is MiniGrid's view: bytes (n, m, 3), n and m at least 3, too small to be a picture."""
    shape = space.shape or (0,)
    return is_image_space(space) and shape[-1] == 3 and min(shape) >= 3 and max(shape) < SMALLEST_PICTURE


def is_words(space: spaces.Space) -> bool:
    """Return whether a space is a sentence: places for words of one large vocabulary."""
    return (
        isinstance(space, spaces.MultiDiscrete)
        and space.nvec.ndim == 1
        and bool((space.nvec == space.nvec[0]).all())
        and not space.start.any()
        and space.nvec[0] >= LEAST_WORDS
        and int(space.nvec.sum(dtype=np.int64)) >= LEAST_ONE_HOT
    )


class GridEncoder(BaseFeaturesExtractor):
    """A grid of cells, each with a type, a colour and a state: embeddings, one convolution and one linear layer.

    The embedding of a cell is the sum of those of its type, colour and state. The convolution has windows of 3 by 3
    cells, two apart. Codes beyond 15, 7 and 3 count as these.

    :param observation_space: ``Box`` (n, m, 3) of bytes, n and m of at least 3
    :param features_dim: numbers that come out
    :param embedding_size: of a cell
    :param channels: of the convolution
    """

    takes_codes = True

    def __init__(
        self, observation_space: spaces.Box, features_dim: int = 64, embedding_size: int = 8, channels: int = 32
    ):
        super().__init__(observation_space, features_dim)
        height, width = (side + (side + 1) % 2 for side in observation_space.shape[:2])  # odd, for windows two apart
        if min(height, width) < 3:
            raise ValueError(f"a grid must be at least 3 by 3 cells, not {observation_space.shape}")
        self.embeddings = nn.ParameterList(nn.Parameter(0.5 * torch.randn(n, embedding_size)) for n in SIZES)
        self.register_buffer("largest", torch.tensor(SIZES, dtype=torch.uint8) - 1, persistent=False)
        self.largest: Tensor
        self.convolution = nn.Linear(9 * embedding_size, channels)
        self.linear = nn.Linear(height // 2 * (width // 2) * channels, features_dim)
        for layer in (self.convolution, self.linear):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, cells: Tensor) -> Tensor:
        """(B, n, m, 3) codes to (B, features_dim)."""
        kinds, colours, states = torch.minimum(cells, self.largest).long().unbind(-1)
        codes = states.add(colours, alpha=SIZES[2]).add_(kinds, alpha=SIZES[1] * SIZES[2])  # (B, n, m)
        codes = F.pad(codes, (0, (codes.shape[2] + 1) % 2, 0, (codes.shape[1] + 1) % 2))
        # Windows of codes are embedded, and not windows taken of embeddings: the numbers to move are fewer.
        windows = codes.unfold(1, 3, 2).unfold(2, 3, 2).flatten(1, 2).flatten(2)  # (B, windows, 9)
        kind, colour, state = self.embeddings
        table = (kind[:, None, None] + colour[:, None] + state).flatten(0, 2)  # of every possible cell
        # As F.embedding, whose backward takes three times as long.
        embedded = table.index_select(0, windows.flatten()).view(*windows.shape, -1)
        features = self.convolution(embedded.flatten(2)).relu()
        return self.linear(features.flatten(1)).relu()


class WordsEncoder(BaseFeaturesExtractor):
    """A sentence: the sum of embeddings, which each word has of its own in each place.

    This is a linear layer on the one-hot code, without the code.

    :param observation_space: ``MultiDiscrete`` (n,), all entries below the same number of words
    :param features_dim: numbers that come out
    """

    takes_codes = True

    def __init__(self, observation_space: spaces.MultiDiscrete, features_dim: int = 32):
        super().__init__(observation_space, features_dim)
        places, words = len(observation_space.nvec), int(observation_space.nvec[0])
        self.embeddings = nn.Parameter(torch.randn(places * words, features_dim) * places**-0.5)
        self.register_buffer("firsts", words * torch.arange(places), persistent=False)
        self.firsts: Tensor

    def forward(self, words: Tensor) -> Tensor:
        """(B, n) codes to (B, features_dim)."""
        return F.embedding_bag(words.long() + self.firsts, self.embeddings, mode="sum").relu()
