"""Numbers of an observation for the networks of a bonus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from gymnasium import spaces
from torch import Tensor, nn

from memagents.bonuses.hashing import seen_space
from memagents.policies.encoding import (
    Observations,
    Preprocessor,
    guesses_known,
    make_encoder,
    module_names,
)
from memagents.policies.repetition import Repetition, may_repeat
from memagents.ranks import moments

Encoder = str | Mapping[str, str]


class Features(nn.Module):
    """An encoder for the space, then linear layers: observations (T, B, ...) to (T, B, features).

    Observations that come again are encoded once, where they are symbols.

    :param space: of one observation; the previous action and reward, and what the encoder leaves out, are not taken
    :param sizes: widths of the linear layers behind the encoder, with ReLUs between them
    :param encoder: for observations of three dimensions, see :func:`memagents.policies.encoding.encoder_for`
    """

    def __init__(self, space: spaces.Space, sizes: Sequence[int], encoder: Encoder = "auto"):
        super().__init__()
        seen, self.width = seen_space(space, encoder), sizes[-1]
        if isinstance(encoder, Mapping) and isinstance(seen, spaces.Dict):
            encoder = {name: word for name, word in encoder.items() if name in seen.spaces}
        self.names = list(seen) if isinstance(seen, spaces.Dict) else None
        with guesses_known():
            self.encoder = make_encoder(seen, encoder)
        codes = getattr(self.encoder, "takes_codes", False)
        self._preprocess = Preprocessor(seen, True, codes)
        layers: list[nn.Module] = []
        for before, after in zip([self.encoder.features_dim, *sizes[:-1]], sizes, strict=True):
            linear = nn.Linear(before, after)
            nn.init.orthogonal_(linear.weight, 2**0.5)
            nn.init.zeros_(linear.bias)
            layers += [nn.ReLU(), linear]
        self.layers = nn.Sequential(*layers[1:])
        self._repetition = Repetition(self._each, self.parameters, may_repeat(seen))

    def forward(self, observations: Observations) -> Tensor:
        if self.names is not None:
            assert isinstance(observations, dict)
            observations = {name: observations[name] for name in self.names}
        return self._repetition(observations)

    def _each(self, observations: Observations) -> Tensor:
        """(N, ...) to (N, features)."""
        return self.layers(self.encoder(self._preprocess(observations, torch.float32)))


class Whitening(nn.Module):
    """Measured numbers to mean 0 and standard deviation 1 of all that were seen, clipped to ±5; symbols as they are.

    Burda et al. 2019 (arXiv:1810.12894, section 2.4): a random network sees little of what it is not scaled for.

    :param space: of one observation
    """

    def __init__(self, space: spaces.Space):
        super().__init__()
        entries = dict(space.items()) if isinstance(space, spaces.Dict) else {"": space}
        measured = [name for name, entry in entries.items() if _measured(entry)]
        self._keys = dict(zip(measured, module_names([f"of_{name}" for name in measured]), strict=True))
        self.moments = nn.ModuleDict({key: Moments(entries[name].shape or ()) for name, key in self._keys.items()})

    def forward(self, observations: Observations) -> Observations:
        if not self.moments:
            return observations
        if isinstance(observations, dict):
            return {name: self._whiten(name, values) for name, values in observations.items()}
        return self._whiten("", observations)

    def update(self, observations: Observations) -> None:
        """Count a window of observations (T, B, ...) in."""
        entries = observations if isinstance(observations, dict) else {"": observations}
        for name, values in entries.items():
            moments = self._of(name)
            if moments is not None:
                moments.update(values.flatten(0, 1))

    def _of(self, name: str) -> Moments | None:
        if name not in self._keys:
            return None
        found = self.moments[self._keys[name]]
        assert isinstance(found, Moments)
        return found

    def _whiten(self, name: str, values: Tensor) -> Tensor:
        moments = self._of(name)
        if moments is None:
            return values
        return ((values - moments.mean) / moments.std()).clamp(-5, 5).to(torch.float32)


class Moments(nn.Module):
    """Mean and variance of all rows ever given, in float64 (Chan et al. 1979), as buffers.

    :param shape: of one row
    """

    def __init__(self, shape: Sequence[int] = ()):
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(tuple(shape), dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(tuple(shape), dtype=torch.float64))  # sum of squared differences
        self.count: Tensor
        self.mean: Tensor
        self.squares: Tensor

    @torch.no_grad()
    def update(self, values: Tensor) -> None:
        """Count rows (N, ...) in."""
        count, mean, squares = moments(values.to(torch.float64))
        difference, total = mean - self.mean, self.count + count
        self.squares += squares + difference.square() * self.count * count / total
        self.mean += difference * count / total
        self.count.copy_(total)

    def std(self) -> Tensor:
        """Standard deviation; 1 where there is none yet."""
        variance = self.squares / self.count.clamp(min=1)
        return torch.where(variance > 0, variance.sqrt(), 1.0)


def _measured(space: spaces.Space) -> bool:
    return isinstance(space, spaces.Box) and not may_repeat(space)
