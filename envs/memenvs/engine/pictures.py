"""The picture of one environment of a batch."""

from __future__ import annotations

import numpy as np

from memenvs.engine.batch import Batch


def picture(batch: Batch, row: int, mode: str) -> np.ndarray | str:
    """Return the picture of the environment in a row: an image (H, W, 3), or a text for ``"ansi"``."""
    function = batch.definition.text if mode == "ansi" else batch.definition.draw
    if function is None:
        raise NotImplementedError(f"{batch.definition.name} has no picture for render_mode {mode!r}")
    return function(batch.rows["state"][row], batch.rows["level"][row])


def check_render_mode(mode: str | None, modes: list[str]) -> None:
    """Refuse a render mode that is not among ``modes``."""
    if mode is not None and mode not in modes:
        raise ValueError(f"render_mode must be None or one of {modes}, not {mode!r}")
