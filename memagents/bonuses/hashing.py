"""Observations as numbers that are alike where the observations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from memagents.checks import positive
from memagents.environments.conditioning import CONDITION_ENTRIES
from memagents.policies.encoding import Observations, bytes_of, seen_of

MOST_AT_ONCE = 1 << 22  # numbers that are multiplied at a time, 8 bytes each


def seen_space(space: spaces.Space, encoder: str | Mapping[str, str] = "auto") -> spaces.Space:
    """Return the space without the previous action and reward, which would make everything new.

    :param encoder: of the policy; entries that it leaves out are left out here
    """
    seen = seen_of(space, encoder)
    if not isinstance(seen, spaces.Dict):
        return seen
    return spaces.Dict([(name, entry) for name, entry in seen.items() if name not in CONDITION_ENTRIES])


def counted_space(
    space: spaces.Space, counted: str | Sequence[str] | None, encoder: str | Mapping[str, str] = "auto"
) -> spaces.Space:
    """Return the part of the space that is counted: by default what is seen, see :func:`seen_space`.

    :param counted: names of entries, also of those that the encoder leaves out
    :param encoder: of the policy
    :raises ValueError: for a name that is no entry's
    """
    if counted is None:
        return seen_space(space, encoder)
    names = [counted] if isinstance(counted, str) else list(counted)
    entries = dict(space.items()) if isinstance(space, spaces.Dict) else {}
    if not names or not set(names) <= entries.keys():
        there = f"({', '.join(entries)})" if entries else f"of a Dict, and the observation is {space}"
        raise ValueError(f"counted must be one or more names of entries {there}, not {counted!r}")
    return spaces.Dict([(name, entries[name]) for name in dict.fromkeys(names)])


class ObservationHash(nn.Module):
    """Hash observations to 64 bits: the sum of their bytes, each by a factor of its own, modulo 2⁶⁴.

    Of two observations that differ, one pair in 2⁵⁶ is taken for alike (multilinear hashing, Carter & Wegman 1979).

    :param space: of one observation, or of those of its entries that count
    :param resolution: measured numbers are rounded to multiples of it; without it they are refused
    :raises ValueError: for a space of measured numbers without a resolution
    """

    def __init__(self, space: spaces.Space, resolution: float | None = None):
        super().__init__()
        entries = dict(space.items()) if isinstance(space, spaces.Dict) else {"": space}
        measured = [name for name, entry in entries.items() if np.dtype(entry.dtype).kind not in "iub"]
        if measured and resolution is None:
            which = f"entry {measured[0]!r}" if measured[0] else "observation"
            raise ValueError(
                f"bonus: the {which} is measured in numbers ({entries[measured[0]]}), and hardly ever comes again: "
                "round them by bonus_kwargs={'resolution': 0.1}, or take 'rnd' or 'e3b', which need no counting"
            )
        self.resolution = None if resolution is None else positive("resolution", resolution)
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
        return bytes_of(values.reshape(*values.shape[:2], -1))


def _odd_numbers(count: int) -> Tensor:
    """The factors, the same in every run: int64 (count,)."""
    drawn = torch.randint(-(2**62), 2**62, (count,), generator=torch.Generator().manual_seed(1979))
    return 2 * drawn + 1
