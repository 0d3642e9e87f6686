"""Feature extractors of somebody else's, tried once, and hidden layers behind any encoder."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from torch import Tensor, nn

from memagents.policies.encoding import Observations, Preprocessor, map_observations, stack_observations
from memagents.runs.arrays import tensor_of

_ROWS = 2  # observations by which an extractor is tried


class DeepEncoder(BaseFeaturesExtractor):
    """An encoder and hidden layers behind it, each linear with layer normalisation and ReLU.

    The normalisation gives the memory numbers of one size, whatever the encoder makes of an observation.

    :param observation_space: of the observations
    :param kind: class of the encoder
    :param kwargs: its parameters beside the space
    :param layers: units of each layer; the last gives the features
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        kind: type[BaseFeaturesExtractor],
        kwargs: dict[str, Any],
        layers: list[int],
    ):
        super().__init__(observation_space, layers[-1])
        self.encoder = kind(observation_space, **kwargs)
        self.takes_codes = getattr(self.encoder, "takes_codes", False)
        width = int(self.encoder.features_dim)
        self.layers = nn.Sequential(*create_mlp(width, -1, layers, nn.ReLU, post_linear_modules=[nn.LayerNorm]))

    def forward(self, observations: Observations) -> Tensor:
        """Observations, as the encoder takes them, to features (B, F)."""
        return self.layers(self.encoder(observations))


@torch.no_grad()
def try_extractor(extractor: BaseFeaturesExtractor, space: spaces.Space, preprocess: Preprocessor) -> None:
    """Look through an extractor of somebody else's once, which also makes the weights of lazy layers.

    :param extractor: the extractor
    :param space: of the observations
    :param preprocess: makes of observations what the extractor is given
    :raises ValueError: if it fails, or its features are not as many as it says
    """
    space = copy.deepcopy(space)  # whose own random numbers are not to be used up
    space.seed(0)
    drawn = stack_observations([space.sample() for _ in range(_ROWS)])
    observations = map_observations(lambda values: tensor_of(np.asarray(values)), drawn)
    numbers = preprocess(observations, torch.get_default_dtype())
    training, name = extractor.training, type(extractor).__name__
    extractor.eval()
    try:
        features = extractor(numbers)
    except (RuntimeError, ValueError, TypeError, LookupError) as error:
        shapes = map_observations(lambda values: tuple(values.shape), numbers)
        raise ValueError(f"{name} fails at {_ROWS} observations, which it is given as {shapes}: {error}") from error
    extractor.train(training)
    wanted, made = int(extractor.features_dim), tuple(features.shape)
    if made != (_ROWS, wanted):
        raise ValueError(
            f"features_dim of {name} is {wanted}, but of {_ROWS} observations it makes {made}, not {_ROWS, wanted}"
        )
