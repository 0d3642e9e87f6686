"""Algorithms that can be trained: their short names, their classes and their settings."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

from memagents.experiments.episodic_settings import EpisodicSettings, MFECSettings, NECSettings
from memagents.experiments.settings import DistillSettings, ImitationSettings, PPOSettings, TrainSettings

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
        Algorithm("distill", "memagents.algorithms.distillation:Distillation", DistillSettings),
        Algorithm("nec", "memagents.nec.nec:NEC", NECSettings),
        Algorithm("mfec", "memagents.nec.mfec:MFEC", MFECSettings),
    )
}

_NO_CORE = ("none", "Memoryless")  # by name, and by the name of the class


def of_settings(settings: TrainSettings) -> Algorithm:
    """Return the algorithm that the settings are of."""
    return of_class(settings.algorithm)


def of_class(name: str) -> Algorithm:
    """Return the algorithm whose class has this name.

    :raises ValueError: if there is none; the message lists them
    """
    known = {entry.settings.algorithm: entry for entry in ALGORITHMS.values()}
    if name not in list(known):  # a list: a file may name what cannot be hashed
        raise ValueError(f"algorithm must be one of {', '.join(known)}, not {name!r}")
    return known[name]


def core_beside(algorithm: str, core: str | None) -> str:
    """Return the core that is named beside an algorithm; "" of episodic control without one: its memory is its own.

    :param algorithm: name of its class
    :param core: its name, or that of its class; None where it is not known
    """
    episodic = [
        entry.settings.algorithm for entry in ALGORITHMS.values() if issubclass(entry.settings, EpisodicSettings)
    ]
    return "" if core is None or (algorithm in episodic and core in _NO_CORE) else core
