"""Windows that the benchmarks of cores time: forward and backward, a turn at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.cores.core import MemoryCore, Unrolled

Turn = Callable[[], Tensor]  # forward and backward of a window; returns its outputs


class WindowSize(NamedTuple):
    """Sizes of a window and of its core, whose memory has 0 slots where it is a plain recurrent network."""

    batch: int
    steps: int
    slots: int
    width: int
    heads: int  # that read
    hidden: int

    @property
    def features(self) -> int:
        """Length of what a step gives: the controller's hidden state and the read vectors."""
        return self.hidden + self.heads * self.width


def turn_of(module: nn.Module, forward: Turn) -> Turn:
    """Return a turn: ``forward``, and the gradients of the module's parameters."""

    def turn() -> Tensor:
        module.zero_grad()
        outputs = forward()
        outputs.sum().backward()
        return outputs.detach()

    return turn


def window_of(
    core: MemoryCore, batch: int, steps: int, input_size: int, unroll: Callable[..., Unrolled] | None = None
) -> Turn:
    """Return a turn of a core in the middle of an episode, on the device of its parameters.

    :param core: the core
    :param batch: rows B
    :param steps: steps T
    :param input_size: of an observation
    :param unroll: called with the core before what ``MemoryCore.unroll`` takes; by default the core's own
    """
    device = next((parameter.device for parameter in core.parameters()), None)
    way = unroll or type(core).unroll
    inputs = torch.randn(steps, batch, input_size, device=device)
    starts = torch.zeros(steps, batch, dtype=torch.bool, device=device)
    with torch.no_grad():  # by the core's own way, which leaves the least memory behind: it would hide a later peak
        state = core.unroll(inputs, core.initial_state(batch), starts).state
    return turn_of(core, lambda: way(core, inputs, state, starts).outputs)
