"""Agents: what all of them share, windows of experience, recurrent PPO, imitation of an oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.algorithms.algorithm import MemoryAlgorithm
    from memagents.algorithms.distillation import Distillation
    from memagents.algorithms.hindsight import HindsightReplay
    from memagents.algorithms.imitation import Imitation
    from memagents.algorithms.ppo import RecurrentPPO
    from memagents.algorithms.window_algorithm import WindowAlgorithm

__all__ = ["Distillation", "HindsightReplay", "Imitation", "MemoryAlgorithm", "RecurrentPPO", "WindowAlgorithm"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "Distillation": "memagents.algorithms.distillation",
        "HindsightReplay": "memagents.algorithms.hindsight",
        "Imitation": "memagents.algorithms.imitation",
        "MemoryAlgorithm": "memagents.algorithms.algorithm",
        "RecurrentPPO": "memagents.algorithms.ppo",
        "WindowAlgorithm": "memagents.algorithms.window_algorithm",
    },
)
