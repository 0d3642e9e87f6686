"""A block around a linear recurrence whose matrix is diagonal and complex, as the LRU and S5 have it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import boolean, positive_int
from memagents.cores.layered import Layer, Layered, memory_dtype


class DiagonalBlock(Layer):
    """x + GLU(GELU(y)), y_t = Re(C h_t) + D ∘ u_t, h_t = λ̄ ∘ h_{t-1} + g ∘ (B u_t), u = LN(x); (..., H) to (..., H).

    A subclass says what λ̄ and g are. A complex matrix is kept as a real one, with two rows or columns for each number
    of h: those of ``into`` are Re B and Im B, of ``output`` Re C and -Im C.

    :param width: H
    :param state_size: N, complex numbers of h
    :param norm: whether there is a LayerNorm; otherwise u = x
    """

    def __init__(self, width: int, state_size: int, norm: bool):
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.into = nn.Linear(width, 2 * state_size, bias=False)
        self.output = nn.Linear(2 * state_size, width, bias=False)
        self.feedthrough = nn.Parameter(torch.randn(width))  # D
        self.gates = nn.Linear(width, 2 * width)

    def dynamics(self) -> tuple[Tensor, Tensor]:
        """λ̄ and g, (N,), λ̄ complex."""
        raise NotImplementedError

    @torch.no_grad()
    def begin(self, into: Tensor, output: Tensor) -> None:
        """Set B, complex (N, H), and C, complex (H, N)."""
        self.into.weight.copy_(torch.stack([into.real, into.imag], dim=1).flatten(0, 1))
        self.output.weight.copy_(torch.stack([output.real, -output.imag], dim=2).flatten(1, 2))

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        u = self.norm(x)
        decay, gain = self.dynamics()
        added = self.into(u).to(memory_dtype(self.feedthrough.dtype, False)).unflatten(-1, (-1, 2))
        return decay, gain * torch.view_as_complex(added), (x, u)

    def outputs(self, memory: Tensor, aside: Any) -> Tensor:
        x, u = aside
        y = self.output(torch.view_as_real(memory).flatten(-2).to(self.feedthrough.dtype)) + self.feedthrough * u
        return x + functional.glu(self.gates(functional.gelu(y)))


class Diagonal(Layered):
    """Blocks on a linear layer of the input.

    :param input_size: width I of one input
    :param blocks: the lowest first, of one width H, which is also that of one output
    :param width: H
    :param state_size: complex numbers N of each block
    """

    def __init__(self, input_size: int, blocks: list[DiagonalBlock], width: int, state_size: int):
        super().__init__(input_size, width, blocks, state_size, complex_state=True)
        self.encoder = nn.Linear(input_size, width)

    def project(self, inputs: Tensor) -> Tensor:
        return self.encoder(inputs)


def block_sizes(width: int, state_size: int, norm: bool) -> tuple[int, int, bool]:
    """What :class:`DiagonalBlock` takes.

    :raises ValueError: if one of them is not allowed
    """
    return positive_int("width", width), positive_int("state_size", state_size), boolean("norm", norm)
