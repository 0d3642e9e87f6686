"""Looking into memories: recordings of episodes, and what can be found out from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.inspection.recorder import record
    from memagents.inspection.recording import Recording

__all__ = ["Recording", "record"]

__getattr__, __dir__ = exports(
    __name__,
    {"Recording": "memagents.inspection.recording", "record": "memagents.inspection.recorder"},
)
