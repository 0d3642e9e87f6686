"""Looking into memories: recordings of episodes, and what can be found out from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.inspection.ablation import ablate
    from memagents.inspection.forgetting import forgetting
    from memagents.inspection.health import HealthCallback, examine
    from memagents.inspection.recorder import record
    from memagents.inspection.recording import Recording
    from memagents.inspection.smear import smear

__all__ = ["HealthCallback", "Recording", "ablate", "examine", "forgetting", "record", "smear"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "HealthCallback": "memagents.inspection.health",
        "Recording": "memagents.inspection.recording",
        "ablate": "memagents.inspection.ablation",
        "examine": "memagents.inspection.health",
        "forgetting": "memagents.inspection.forgetting",
        "record": "memagents.inspection.recorder",
        "smear": "memagents.inspection.smear",
    },
)
