"""No memory: the control that every memory is compared with."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled


class NoState(NamedTuple):
    """A state that holds nothing but the number of rows B."""

    nothing: Tensor  # (B, 0)


@register_core("none")
class Memoryless(MemoryCore[NoState]):
    """One layer tanh(W x + b) of the present input alone.

    :param input_size: width I of one input
    :param hidden_size: units H, also the width of one output
    """

    def __init__(self, input_size: int, hidden_size: int = 64):
        super().__init__(input_size, positive_int("hidden_size", hidden_size))
        self.hidden_size = hidden_size
        self.hidden = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size: int) -> NoState:
        return NoState(self.hidden.weight.new_zeros(batch_size, 0))

    def project(self, inputs: Tensor) -> Tensor:
        """All there is to do: (..., I) to (..., H)."""
        return self.hidden(inputs).tanh()

    def step(self, x: Tensor, state: NoState) -> Step[NoState]:
        return Step(x, state, {}, {})

    def recur(self, x: Tensor, state: NoState, starts: Tensor, trace: bool = False) -> Unrolled[NoState]:
        """Run :meth:`MemoryCore.recur` without a loop: there is nothing to carry on or to reset."""
        return Unrolled(self.readout(x), state, {}, {})
