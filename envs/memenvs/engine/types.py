"""Types of the values that pass between environments and their users."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

Observation = np.ndarray | dict[str, np.ndarray]
"""One array, or a dict of them where the records of observations have several fields."""

Given = TypeVar("Given", bound=Observation)

Snapped = np.ndarray | str | bool
Snapshot = dict[str, Snapped]
"""Everything needed to go on exactly, in plain values."""
