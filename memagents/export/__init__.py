"""Policies out of the framework: one step of a run's policy as a file for ONNX Runtime or for torch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memagents.lazy import exports

if TYPE_CHECKING:
    from memagents.export.run import Exported, export_run

__all__ = ["Exported", "export_run"]

__getattr__, __dir__ = exports(
    __name__,
    {
        "Exported": "memagents.export.run",
        "export_run": "memagents.export.run",
    },
)
