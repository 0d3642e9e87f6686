"""Layers that each remember by a linear recurrence, h_t = a_t ∘ h_{t-1} + b_t, and see only what comes from below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

from memagents.checks import positive, positive_int
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.memory.scan import cut, linear_scan
from memagents.memory.state_space import half_lives

Advance: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From a, b and h before to h after: one step, or all of a window."""


class LayersState(NamedTuple):
    """B rows, L layers, N numbers that each remembers."""

    memory: Tensor  # h, (B, L, N), real or complex


class Layer(nn.Module):
    """One recurrence. What it adds to its memory, and how fast that fades, depends on its input alone."""

    def project(self, inputs: Tensor) -> Tensor:
        """What :meth:`terms` takes, of the layer's inputs (..., I)."""
        return inputs

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        """a, (..., N) or (N,), b, (..., N), both of the memory's dtype, and what :meth:`outputs` needs beside h."""
        raise NotImplementedError

    def outputs(self, memory: Tensor, aside: Any) -> Tensor:
        """What the layer says, (..., O), of h, (..., N)."""
        raise NotImplementedError


class Layered(MemoryCore[LayersState]):
    """A stack of :class:`Layer`; a window is one scan a layer. It cannot be differentiated twice.

    :param input_size: width I of one input
    :param output_size: width O of one output
    :param layers: the lowest first
    :param state_size: numbers N that each layer remembers
    :param complex_state: whether these are complex: complex64, or complex128 in a core of float64
    """

    def __init__(
        self, input_size: int, output_size: int, layers: Sequence[Layer], state_size: int, complex_state: bool
    ):
        super().__init__(input_size, output_size)
        self.layers = nn.ModuleList(layers)
        self.state_size, self.complex_state = state_size, complex_state

    def initial_state(self, batch_size: int) -> LayersState:
        parameter = next(self.parameters())
        dtype = memory_dtype(parameter.dtype, self.complex_state)
        shape = (batch_size, len(self.layers), self.state_size)
        return LayersState(torch.zeros(shape, dtype=dtype, device=parameter.device))

    def project(self, inputs: Tensor) -> Tensor:
        return self._stack()[0].project(inputs)

    def step(self, x: Tensor, state: LayersState) -> Step[LayersState]:
        def one_step(decay: Tensor, addition: Tensor, memory: Tensor) -> Tensor:
            return decay * memory + addition

        features, memories, decays = self._through(x, state, one_step)
        memory = torch.stack(memories, dim=1)
        return Step(features, LayersState(memory), {}, _trace(memory, decays))

    def recur(self, x: Tensor, state: LayersState, starts: Tensor, trace: bool = False) -> Unrolled[LayersState]:
        """Run :meth:`MemoryCore.recur` by one scan a layer over the window."""

        def scan(decay: Tensor, addition: Tensor, memory: Tensor) -> Tensor:
            decay, memory = cut(starts, decay, memory)
            return linear_scan(decay, addition, memory)

        features, memories, decays = self._through(x, state, scan)
        after = LayersState(torch.stack([memory[-1] for memory in memories], dim=1))  # not the whole window
        shown = _trace(torch.stack(memories, dim=2), decays) if trace else {}
        return Unrolled(self.readout(features), after, {}, shown)

    def _stack(self) -> list[Layer]:
        return cast("list[Layer]", list(self.layers))

    def _through(self, x: Tensor, state: LayersState, advance: Advance) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """What the last layer says; of each layer h after, and a."""
        memories, decays = [], []
        for number, (layer, memory) in enumerate(zip(self._stack(), state.memory.unbind(1), strict=True)):
            decay, addition, aside = layer.terms(layer.project(x) if number else x)
            with full_precision(addition):
                memory = advance(decay, addition, memory)
            x = layer.outputs(memory, aside)
            memories.append(memory)
            decays.append(decay)
        return x, memories, decays


def memory_dtype(dtype: torch.dtype, complex_state: bool) -> torch.dtype:
    """The dtype of a memory beside parameters of a ``dtype``: at least single precision."""
    return torch.promote_types(dtype, torch.complex64 if complex_state else torch.float32)


def initial_half_lives(shortest: float, longest: float, count: int) -> Tensor:
    """Half-lives of ``count`` units at the start, (count,), see :func:`~memagents.memory.state_space.half_lives`.

    :raises ValueError: if they are no finite numbers above 0, or the longest is below the shortest
    """
    if positive("longest_half_life", longest) < positive("shortest_half_life", shortest):
        raise ValueError(f"longest_half_life must be at least shortest_half_life, {shortest}, not {longest}")
    return half_lives(shortest, longest, count)


def number_of_layers(layers: int) -> range:
    """The numbers of so many layers."""
    return range(positive_int("layers", layers))


def _trace(memory: Tensor, decays: list[Tensor]) -> dict[str, Tensor]:
    """h, of complex numbers the magnitude, and |a|, both (..., L, N)."""
    shape = (*memory.shape[:-2], memory.shape[-1])
    decay = torch.stack([decay.abs().expand(shape) for decay in decays], dim=-2)
    return {"memory": memory.abs() if memory.is_complex() else memory, "decay": decay}
