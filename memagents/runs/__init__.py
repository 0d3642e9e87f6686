"""Run folders: their layout, their files without pickle, the progress of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.runs.files import CheckpointError
    from memagents.runs.progress import read_progress

__all__ = ["CheckpointError", "read_progress"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "CheckpointError": "memagents.runs.files",
        "read_progress": "memagents.runs.progress",
    },
)
