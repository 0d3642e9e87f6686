"""Cores whose steps need not wait for one another: a window at once, and a step as a window of one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memagents.cores.core import MemoryCore, S, Step, Unrolled, fall_back


class WindowCore(MemoryCore[S]):
    """A core that defines :meth:`window` instead of ``step`` and ``recur``, and maybe a faster way without a trace."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fall_back(cls, "untraced", ("window",), WindowCore)

    def window(self, x: Tensor, state: S, starts: Tensor) -> Step[S]:
        """Compute all steps of a window.

        :param x: of :meth:`project`, (T, B, X)
        :param state: before the window
        :param starts: (T, B) booleans
        :return: as of :meth:`step`, but (T, B, ...) where that has (B, ...); the state is that after the window
        """
        raise NotImplementedError

    def untraced(self, x: Tensor, state: S, starts: Tensor) -> Step[S]:
        """Compute the same for those who look at no trace; a subclass overrides this only to be faster."""
        return self.window(x, state, starts)

    def step(self, x: Tensor, state: S) -> Step[S]:
        starts = torch.zeros(1, x.shape[0], dtype=torch.bool, device=x.device)
        features, state, losses, trace = self.window(x.unsqueeze(0), state, starts)
        losses, trace = ({name: only[0] for name, only in of_steps.items()} for of_steps in (losses, trace))
        return Step(features[0], state, losses, trace)

    def recur(self, x: Tensor, state: S, starts: Tensor, trace: bool = False) -> Unrolled[S]:
        """Run :meth:`MemoryCore.recur`, all steps at once."""
        features, state, losses, shown = (self.window if trace else self.untraced)(x, state, starts)
        return Unrolled(self.readout(features), state, losses, shown if trace else {})
