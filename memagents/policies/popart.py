"""PopArt: a value layer whose targets are normalised, and whose outputs are kept when the normalisation moves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memagents.ranks import moments

STEP_SIZE = 0.1  # β of the running statistics, by window
SMALLEST = 1e-4  # standard deviation, as in van Hasselt et al. 2016


class PopArt(nn.Linear):
    """A linear layer that learns in units of its targets' running mean μ and standard deviation σ.

    Its outputs are in real units: σ (W h + b) + μ. When the statistics move (adaptively rescaling targets), W and b
    move against them, so that no output changes (preserving outputs precisely): van Hasselt et al. 2016,
    arXiv:1602.07714, proposition 1. A loss in units of σ has gradients that do not depend on the size of rewards;
    Hessel et al. 2018, arXiv:1809.04474, do so in actor-critic agents.

    The statistics are exponential averages over windows, with the step size β / (1 − (1 − β)^t), β = 0.1, in which the
    initial values have no part. They are buffers, saved and loaded with the weights.

    :param in_features: width of h
    :param out_features: outputs, which share the statistics
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("variance", torch.ones((), dtype=torch.float64))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.mean: Tensor
        self.variance: Tensor
        self.updates: Tensor

    @property
    def std(self) -> Tensor:
        """σ, a scalar."""
        return self.variance.sqrt().clamp(min=SMALLEST)

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs in real units, (..., in_features) to (..., out_features)."""
        normalized = super().forward(features).to(self.weight.dtype)
        return normalized * self.std.to(normalized.dtype) + self.mean.to(normalized.dtype)

    @torch.no_grad()
    def update(self, targets: Tensor) -> None:
        """Count targets in, (N, ...) of any shape; the outputs stay as they are.

        Targets that are not finite change nothing: the loss made of them will be an error.
        """
        count, mean, squares = moments(targets.flatten().to(torch.float64))
        variance = squares / count
        if not variance.isfinite():
            return
        old_std, difference = self.std, mean - self.mean
        self.updates += 1
        step = (STEP_SIZE / (1 - (1 - STEP_SIZE) ** self.updates.to(torch.float64))).clamp(max=1)
        self.variance.copy_((1 - step) * (self.variance + step * difference.square()) + step * variance)
        self.mean += step * difference
        self.weight.copy_(self.weight * (old_std / self.std))
        self.bias.copy_((self.bias * old_std - step * difference) / self.std)
