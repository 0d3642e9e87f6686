"""Observations normalised as in a training, as a part of the graph that takes them as the environment gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memagents.export.names import OBSERVATION

_PREFIX = "observation/"  # of the observations' statistics among all


class Normalization(nn.Module):
    """clip((x − mean) / √(variance + ε)) of some entries, in float64 and then float32, as VecNormalize computes it.

    :param tree: statistics of a training, see :func:`memagents.environments.normalization.statistics_of`
    """

    def __init__(self, tree: dict[str, Any]):
        super().__init__()
        self.clip, self.epsilon = float(tree["clip"][0]), float(tree["epsilon"])
        self.statistics: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # mean and standard deviation
        for path, (mean, variance, _) in tree["statistics"].items():
            if not path.startswith(_PREFIX):
                continue
            name = path.removeprefix(_PREFIX) or OBSERVATION
            mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
            self.statistics[name] = mean, np.sqrt(variance + self.epsilon)
            for part, values in zip(("mean", "std"), self.statistics[name], strict=True):
                self.register_buffer(f"{part}_{len(self.statistics)}", torch.from_numpy(values))

    def forward(self, observations: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entries (B, ...) by their names, as they are and as the policy takes them."""
        found = dict(observations)
        for number, name in enumerate(self.statistics, start=1):
            mean, std = (self.get_buffer(f"{part}_{number}") for part in ("mean", "std"))
            scaled = (found[name].to(torch.float64) - mean) / std
            found[name] = scaled.clamp(-self.clip, self.clip).to(torch.float32)
        return found

    def of_arrays(self, observations: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Do as :meth:`forward`, in NumPy: what an exported one is held against."""
        found = dict(observations)
        for name, (mean, std) in self.statistics.items():
            found[name] = np.clip((found[name] - mean) / std, -self.clip, self.clip).astype(np.float32)
        return found

    def facts(self) -> dict[str, Any]:
        """Return the statistics as plain values."""
        entries = {name: {"mean": m.tolist(), "std": s.tolist()} for name, (m, s) in self.statistics.items()}
        return {"entries": entries, "clip": self.clip}


def normalization_of(tree: dict[str, Any] | None) -> Normalization | None:
    """Return the normalisation of a training's observations; None where there was none."""
    return Normalization(tree) if tree is not None and tree["observations"] else None
