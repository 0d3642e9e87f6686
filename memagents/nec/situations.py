"""Identity of situations: numbers for observations, and for the histories of episodes."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from gymnasium import spaces


def situation_numbers(observations: Any, space: spaces.Space, before: np.ndarray | None = None) -> np.ndarray:
    """A number for each of B observations, the same for the same values, else another one but for one pair in 2^64.

    :param observations: (B, ...), or a dict of these in any order
    :param space: of one observation; its types are those that count, since environments do not always keep to them
    :param before: the numbers int64 (B,) of the histories that led there, where these count; 0 where an episode begins
    :return: int64 (B,)
    """
    entries = [(observations, space)]
    if isinstance(space, spaces.Dict):
        entries = [(observations[name], entry) for name, entry in space.spaces.items()]
    columns = [_typed(values, entry).reshape(len(values), -1).view(np.uint8) for values, entry in entries]
    if before is not None:
        columns.append(before.astype(np.int64).reshape(-1, 1).view(np.uint8))
    rows = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype=np.int64).copy()


def _typed(values: Any, space: spaces.Space) -> np.ndarray:
    """In the space's own type, unless they are fractions that it has no room for."""
    array = np.asarray(values)
    fractions = array.dtype.kind == "f" and np.dtype(space.dtype).kind != "f"
    return np.ascontiguousarray(array if fractions else array.astype(space.dtype))
