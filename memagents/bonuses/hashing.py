"""Observations as numbers that are alike where the observations are."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from memagents.checks import in_range
from memagents.environments.conditioning import CONDITION_ENTRIES
from memagents.policies.encoding import Observations

MOST_AT_ONCE = 1 << 22  # numbers that are multiplied at a time, 8 bytes each


def seen_space(space: spaces.Space) -> spaces.Space:
    """Return the space without the previous action and reward, which would make everything new."""
    if not isinstance(space, spaces.Dict):
        return space
    return spaces.Dict([(name, entry) for name, entry in space.items() if name not in CONDITION_ENTRIES])


class ObservationHash(nn.Module):
    """Hash observations to 64 bits: the sum of their bytes, each by a factor of its own, modulo 2⁶⁴.

    Of two observations that differ, one pair in 2⁵⁶ is taken for alike (multilinear hashing, Carter & Wegman 1979).
    The previous action and reward, which ``condition_on`` adds, do not count.

    :param space: of one observation
    :param resolution: measured numbers are rounded to multiples of it; without it they are refused
    :raises ValueError: for a space of measured numbers without a resolution
    """

    def __init__(self, space: spaces.Space, resolution: float | None = None):
        super().__init__()
        seen = seen_space(space)
        entries = dict(seen.items()) if isinstance(seen, spaces.Dict) else {"": seen}
        measured = [name for name, entry in entries.items() if np.dtype(entry.dtype).kind not in "iub"]
        if measured and resolution is None:
            which = f"entry {measured[0]!r}" if measured[0] else "observation"
            raise ValueError(
                f"bonus: the {which} is measured in numbers ({entries[measured[0]]}), and hardly ever comes again: "
                "round them by bonus_kwargs={'resolution': 0.1}, or take 'rnd' or 'e3b', which need no counting"
            )
        self.resolution = None if resolution is None else in_range("resolution", resolution, 0)
        self.names, self.measured = list(entries), set(measured)
        self.register_buffer("factors", torch.zeros(0, dtype=torch.int64), persistent=False)
        self.factors: Tensor

    def forward(self, observations: Observations) -> Tensor:
        """(T, B, ...) to int64 (T, B)."""
        entries = observations if isinstance(observations, dict) else {"": observations}
        parts = [self._bytes(entries[name], name in self.measured) for name in self.names]
        steps, rows = parts[0].shape[:2]
        flat = torch.cat([part.flatten(0, 1) for part in parts], dim=1)
        if len(self.factors) != flat.shape[1]:
            self.factors = _odd_numbers(flat.shape[1]).to(flat.device)
        chunks = flat.split(max(1, MOST_AT_ONCE // flat.shape[1]))
        return torch.cat([((chunk.long() + 1) * self.factors).sum(1) for chunk in chunks]).view(steps, rows)

    def _bytes(self, values: Tensor, measured: bool) -> Tensor:
        """(T, B, ...) to bytes (T, B, n)."""
        if measured:
            assert self.resolution is not None
            values = (values / self.resolution).round().long()
        return values.reshape(*values.shape[:2], -1).contiguous().view(torch.uint8)


def _odd_numbers(count: int) -> Tensor:
    """The factors, the same in every run: int64 (count,)."""
    drawn = torch.randint(-(2**62), 2**62, (count,), generator=torch.Generator().manual_seed(1979))
    return 2 * drawn + 1
