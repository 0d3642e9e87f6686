"""What those cores share whose steps need not wait for one another: a window at once, and a step as a window of one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memagents.cores.core import MemoryCore, Step, Unrolled


class WindowCore(MemoryCore):
    """A core that defines :meth:`window` instead of ``step`` and ``recur``."""

    def window(self, x: Tensor, state: Any, starts: Tensor) -> Step:
        """All steps of a window.

        :param x: of :meth:`project`, (T, B, X)
        :param state: before the window
        :param starts: (T, B) booleans
        :return: as of :meth:`step`, but (T, B, ...) where that has (B, ...); the state is that after the window
        """
        raise NotImplementedError

    def step(self, x: Tensor, state: Any) -> Step:
        starts = torch.zeros(1, len(x), dtype=torch.bool, device=x.device)
        features, state, losses, trace = self.window(x.unsqueeze(0), state, starts)
        losses, trace = ({name: told[0] for name, told in of_steps.items()} for of_steps in (losses, trace))
        return Step(features[0], state, losses, trace)

    def recur(self, x: Tensor, state: Any, starts: Tensor, trace: bool = False) -> Unrolled:
        """As :meth:`MemoryCore.recur`, all steps at once."""
        features, state, losses, shown = self.window(x, state, starts)
        return Unrolled(self.readout(features), state, losses, shown if trace else {})
