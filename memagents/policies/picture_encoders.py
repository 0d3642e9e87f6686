"""Encoders of pictures, whichever way round their channels are and however small they are."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space_channels_first
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn

SMALLEST_PICTURE = 36  # pixels a side that NatureCNN needs


class PictureEncoder(BaseFeaturesExtractor):
    """Convolutions over a picture: Stable-Baselines3's NatureCNN, or two small layers where a picture is too small.

    The channels are those of the three dimensions that is the smallest, as in Stable-Baselines3.

    :param observation_space: ``Box`` (C, H, W) or (H, W, C)
    :param features_dim: numbers that come out
    """

    def __init__(self, observation_space: spaces.Box, features_dim: int = 512):
        super().__init__(observation_space, features_dim)
        self.channels_first = is_image_space_channels_first(observation_space)
        shape = observation_space.shape if self.channels_first else tuple(observation_space.shape[i] for i in (2, 0, 1))
        if min(shape[1:]) >= SMALLEST_PICTURE:
            picture = spaces.Box(0, 1, shape)  # as it is when it has been preprocessed
            self.layers: nn.Module = NatureCNN(picture, features_dim, normalized_image=True)
        else:
            self.layers = small_cnn(shape, features_dim)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) or (B, H, W, C) to (B, features_dim)."""
        return self.layers(pictures if self.channels_first else pictures.permute(0, 3, 1, 2))


def small_cnn(shape: tuple[int, ...], features_dim: int) -> nn.Module:
    """Return two convolutions of 3 by 3 pixels, the second with a stride of 2, and a linear layer.

    :param shape: of a picture, (C, H, W)
    """
    convolutions = nn.Sequential(
        *(nn.Conv2d(shape[0], 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        nn.Flatten(),
    )
    with torch.no_grad():
        flat = convolutions(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(convolutions, nn.Linear(flat, features_dim), nn.ReLU())
