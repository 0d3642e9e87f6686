"""States of the global random generators, taken, put back and preserved."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Return the states of the global generators: Python's, NumPy's, torch's and every CUDA device's."""
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 — SB3 seeds and uses this one
    version, python_keys, gauss = random.getstate()
    return {
        "python": [version, list(python_keys), gauss],
        "numpy": [kind, keys, position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Go on from :func:`random_states`."""
    version, python_keys, gauss = states["python"]
    random.setstate((version, tuple(python_keys), gauss))
    np.random.set_state(tuple(states["numpy"]))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


@contextlib.contextmanager
def preserved_random_states() -> Iterator[None]:
    """Leave the global generators as they were, whatever is drawn inside."""
    states = random_states()
    try:
        yield
    finally:
        set_random_states(states)
