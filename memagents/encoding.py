"""From observations as the environment gives them to the numbers a network takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn

from memagents.conditioning import CONDITION_ENTRIES
from memagents.symbols import SMALLEST_PICTURE, GridEncoder, WordsEncoder, is_grid, is_words

Observations = Tensor | dict[str, Tensor]


def map_observations(function: Callable[[Any], Any], observations: Any) -> Any:
    """Apply ``function`` to observations, entry by entry where they are a dict."""
    if isinstance(observations, dict):
        return {name: function(values) for name, values in observations.items()}
    return function(observations)


def stack_observations(observations: Sequence[Any]) -> Any:
    """N single observations as arrays (N, ...), entry by entry where they are dicts."""
    if isinstance(observations[0], dict):
        return {name: np.stack([one[name] for one in observations]) for name in observations[0]}
    return np.stack(observations)


def any_entry(observations: Observations) -> Tensor:
    """The observations themselves, or an entry where they are a dict: its leading dimensions are those of all."""
    return next(iter(observations.values())) if isinstance(observations, dict) else observations


def preprocess(
    observations: Observations,
    space: spaces.Space,
    normalize_images: bool = True,
    dtype: torch.dtype = torch.float32,
    codes: bool = False,
) -> Observations:
    """What SB3's ``preprocess_obs`` gives: one-hot codes, images in [0, 1], floats.

    Unlike it, codes may begin elsewhere than at 0, and those of a MultiDiscrete space are made in one pass.

    :param observations: (B, ...) as the space gives them, or a dict of such
    :param normalize_images: divide images by 255
    :param dtype: of the result
    :param codes: leave the cells of grids and the words of sentences as they are, as encoders with ``takes_codes`` want
    """
    if isinstance(observations, dict):
        entries = space.spaces if isinstance(space, spaces.Dict) else {}
        return {
            name: _numbers(observations[name], entry, normalize_images, dtype, codes) for name, entry in entries.items()
        }
    return _numbers(observations, space, normalize_images, dtype, codes)


def _numbers(values: Tensor, space: spaces.Space, normalize_images: bool, dtype: torch.dtype, codes: bool) -> Tensor:
    if codes and (is_grid(space) or is_words(space)):
        return values
    if isinstance(space, spaces.MultiDiscrete):
        entries = values.flatten(1).long() - torch.as_tensor(space.start.reshape(-1), device=values.device)
        return one_hot_codes(entries, space.nvec.reshape(-1).tolist(), dtype)
    if isinstance(space, spaces.Discrete):
        return one_hot_codes(values.reshape(-1, 1).long() - int(space.start), [int(space.n)], dtype)
    numbers = values.to(dtype)
    return numbers / 255 if normalize_images and is_image_space(space) else numbers


def one_hot_codes(codes: Tensor, sizes: list[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """(B, K) integers, the k-th below ``sizes[k]``, as (B, sum(sizes)) concatenated one-hot vectors."""
    offsets = torch.tensor([0, *sizes[:-1]], device=codes.device).cumsum(0)
    hot = torch.zeros(len(codes), sum(sizes), dtype=dtype, device=codes.device)
    return hot.scatter_(1, codes + offsets, 1.0)


class FlatEncoder(BaseFeaturesExtractor):
    """Flattens; unlike SB3's, it counts one-hot codes right when the space's numbers are bytes.

    :param observation_space: anything but a Dict
    """

    def __init__(self, observation_space: spaces.Space):
        super().__init__(observation_space, encoded_size(observation_space))

    def forward(self, observations: Tensor) -> Tensor:
        """(B, ...) to (B, features)."""
        return observations.flatten(1)


class DictEncoder(BaseFeaturesExtractor):
    """Encodes every entry of a Dict by its own default encoder and concatenates, the previous action and reward last.

    :param observation_space: a Dict
    """

    takes_codes = True

    def __init__(self, observation_space: spaces.Dict):
        entries = sorted(observation_space.spaces.items(), key=lambda entry: entry[0] in CONDITION_ENTRIES)
        encoders = {name: default_encoder(space)(space) for name, space in entries}
        super().__init__(observation_space, sum(encoder.features_dim for encoder in encoders.values()))
        self.encoders = nn.ModuleDict(encoders)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Entries (B, ...) to (B, features)."""
        return torch.cat([encoder(observations[name]) for name, encoder in self.encoders.items()], dim=1)


def default_encoder(space: spaces.Space) -> type[BaseFeaturesExtractor]:
    """Entry by entry for a Dict, NatureCNN for pictures, encoders of their own for grids and words, else flattening."""
    if isinstance(space, spaces.Dict):
        return DictEncoder
    if is_grid(space):
        return GridEncoder
    if is_words(space):
        return WordsEncoder
    return NatureCNN if is_picture(space) else FlatEncoder


def encoded_size(space: spaces.Space) -> int:
    """How many numbers :func:`preprocess` makes of one observation."""
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum(dtype=np.int64))
    return int(space.n) if isinstance(space, spaces.Discrete) else math.prod(space.shape or ())


def condition_size(space: spaces.Space) -> int:
    """How many of the numbers that :class:`DictEncoder` gives, the last ones, tell the previous action and reward."""
    if not isinstance(space, spaces.Dict):
        return 0
    return sum(encoded_size(entry) for name, entry in space.spaces.items() if name in CONDITION_ENTRIES)


def is_picture(space: spaces.Space) -> bool:
    """Whether a space holds images large enough for NatureCNN: 7×7×3 symbols are none."""
    return is_image_space(space) and sorted(space.shape or ())[1] >= SMALLEST_PICTURE
