"""Neural Episodic Control: the differentiable neural dictionary, its search, the agents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.nec.mfec import MFEC
    from memagents.nec.nec import NEC
    from memagents.nec.policy import EpisodicPolicy, ProjectionPolicy

__all__ = ["MFEC", "NEC", "EpisodicPolicy", "ProjectionPolicy"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "EpisodicPolicy": "memagents.nec.policy",
        "ProjectionPolicy": "memagents.nec.policy",
        "MFEC": "memagents.nec.mfec",
        "NEC": "memagents.nec.nec",
    },
)
