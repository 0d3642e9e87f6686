"""Dropout on what a memory gives (Srivastava et al. 2014), never on its recurrence (Zaremba et al. 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from memagents.checks import in_range
from memagents.cores.core import MemoryCore, State, Step, Unrolled, state_leaves
from memagents.memory import draws


class DropoutState(NamedTuple):
    """B rows."""

    core: State  # of the core inside
    key: Tensor  # of the random draws, int64 (B,)


class Dropout(MemoryCore[DropoutState]):
    """A core of whose outputs a share is set to zero in training, and the others divided by what is left.

    What is dropped in a step depends on the state's key alone, so that learning drops what acting dropped. In eval mode
    nothing is dropped, but the key counts the steps all the same. What the core remembers, its losses and its trace are
    untouched. The recurrence is the core's own: where it has a fused kernel or a scan, that runs.

    ``make_core(name, input_size, dropout=0.1)`` makes one.

    :param core: the core inside
    :param rate: the share that is dropped, in [0, 1)
    """

    def __init__(self, core: MemoryCore, rate: float):
        super().__init__(core.input_size, core.output_size)
        self.core = core
        self.rate = in_range("dropout", rate, 0, 1)
        if self.rate == 1:
            raise ValueError("dropout must be below 1, which would leave nothing")

    def initial_state(self, batch_size: int) -> DropoutState:
        inner = self.core.initial_state(batch_size)
        key = torch.zeros(batch_size, dtype=torch.int64, device=state_leaves(inner)[0].device)
        return DropoutState(inner, key)

    def project(self, inputs: Tensor) -> Tensor:
        return self.core.project(inputs)

    def step(self, x: Tensor, state: DropoutState) -> Step[DropoutState]:
        """The core's step and its readout, since it is that which is dropped from."""
        features, inner, losses, trace = self.core.step(x, state.core)
        outputs = self._drop(self.core.readout(features), state.key)
        return Step(outputs, DropoutState(inner, state.key + 1), losses, trace)

    def recur(self, x: Tensor, state: DropoutState, starts: Tensor, trace: bool = False) -> Unrolled[DropoutState]:
        """The core's own ``recur``, then dropout on all outputs at once."""
        outputs, inner, losses, shown = self.core.recur(x, state.core, starts, trace)
        steps = torch.arange(len(x), device=state.key.device)
        outputs = self._drop(outputs, state.key + steps.unsqueeze(1))
        return Unrolled(outputs, DropoutState(inner, state.key + len(x)), losses, shown)

    def with_more_slots(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        own = self.core.with_more_slots({name.removeprefix("core."): tensor for name, tensor in weights.items()})
        return {f"core.{name}": tensor for name, tensor in own.items()}

    def _drop(self, outputs: Tensor, keys: Tensor) -> Tensor:
        return draws.dropout(outputs, keys, self.rate) if self.training else outputs
