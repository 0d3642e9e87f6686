"""Types of the values that pass between environments and their users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Observation = np.ndarray | dict[str, np.ndarray] | tuple[np.ndarray, ...]
"""One array; or, where the records of observations have several fields, a dict or a tuple of them, as the space is."""

Given = TypeVar("Given", bound=Observation)

Snapped = np.ndarray | str | bool
Snapshot = dict[str, Snapped]
"""Everything needed to go on exactly, in plain values."""


def mapped(function: Callable[[np.ndarray], np.ndarray], observation: Given) -> Given:
    """Return an observation with each of its arrays as the function makes it."""
    made: Any
    if isinstance(observation, dict):
        made = {name: function(array) for name, array in observation.items()}
    elif isinstance(observation, tuple):
        made = tuple(map(function, observation))
    else:
        made = function(observation)
    return made
