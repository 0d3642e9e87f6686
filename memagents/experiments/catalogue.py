"""Algorithms that can be trained: their short names, their classes and their settings."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from memagents.experiments.settings import ImitationSettings, MFECSettings, NECSettings, PPOSettings, TrainSettings

if TYPE_CHECKING:
    from memagents.algorithms.algorithm import MemoryAlgorithm


class Algorithm(NamedTuple):
    """Algorithm by its name on the command line.

    Its class is given as ``"module:Class"``, so that the table loads none of them.
    """

    name: str
    path: str
    settings: type[TrainSettings]

    def load(self) -> type[MemoryAlgorithm]:
        """Import the class."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)


ALGORITHMS = {
    entry.name: entry
    for entry in (
        Algorithm("ppo", "memagents.algorithms.ppo:RecurrentPPO", PPOSettings),
        Algorithm("imitate", "memagents.algorithms.imitation:Imitation", ImitationSettings),
        Algorithm("nec", "memagents.nec.nec:NEC", NECSettings),
        Algorithm("mfec", "memagents.nec.mfec:MFEC", MFECSettings),
    )
}


def of_settings(settings: TrainSettings) -> Algorithm:
    """Return the algorithm that the settings are of."""
    return of_class(settings.algorithm)


def of_class(name: str) -> Algorithm:
    """Return the algorithm whose class has this name.

    :raises ValueError: if there is none; the message lists them
    """
    known = {entry.settings.algorithm: entry for entry in ALGORITHMS.values()}
    if name not in known:
        raise ValueError(f"algorithm must be one of {', '.join(known)}, not {name!r}")
    return known[name]
