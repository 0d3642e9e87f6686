"""Which situations are identical: numbers for observations, and for the histories of episodes."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np


def situation_numbers(observations: Any, before: np.ndarray | None = None) -> np.ndarray:
    """A number for each of B observations, the same for the same bytes, else another one but for one pair in 2^64.

    :param observations: (B, ...), or a dict of these
    :param before: the numbers int64 (B,) of the histories that led there, where these count; 0 where an episode begins
    :return: int64 (B,)
    """
    entries = observations.values() if isinstance(observations, dict) else [observations]
    columns = [np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8) for values in entries]
    if before is not None:
        columns.append(before.astype(np.int64).reshape(-1, 1).view(np.uint8))
    rows = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype=np.int64).copy()
