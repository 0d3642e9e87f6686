"""Links of a DNC, found again from what it wrote: they follow from the write weightings alone.

A trace of them would take N² numbers a step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from memagents.cores.pair import CRITIC
from memagents.inspection.recording import TRACE
from memagents.memory.linkage import update_link, update_precedence

LINK = "link"
LINK_AXES = ("to slot", "from slot")
_TRACED = ("write_weights", "allocation", "read_modes")  # what a DNC shows, and no other core


def links_of(write_weights: np.ndarray) -> np.ndarray:
    """Return the link matrix after each step of an episode: L (Graves et al. 2016, "Temporal memory linkage").

    :param write_weights: of each step from an episode's first one on, (T, N)
    :return: (T, N, N); at [t, i, j] how far slot i was written right after slot j
    """
    weights = torch.from_numpy(write_weights)[:, None]
    precedence = torch.zeros_like(weights[0])
    link = precedence.unsqueeze(2) * precedence.unsqueeze(1)
    links = []
    for written in weights:
        link = update_link(link, precedence, written)
        precedence = update_precedence(precedence, written)
        links.append(link[0])
    return torch.stack(links).numpy()


def linked(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the write weightings (T, N) of the DNCs that arrays of an episode are of, by the names of their links."""
    found = {}
    for prefix in (f"{TRACE}.", f"{TRACE}.{CRITIC}"):
        if all(prefix + name in arrays for name in _TRACED):
            found[prefix + LINK] = arrays[f"{prefix}write_weights"]
    return found
