"""The Linear Recurrent Unit (Orvieto et al. 2023, arXiv 2303.06349)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from memagents.checks import in_range
from memagents.cores import register_core
from memagents.cores.diagonal import Diagonal, DiagonalBlock, block_sizes
from memagents.cores.layered import initial_half_lives, memory_dtype, number_of_layers


class LRUBlock(DiagonalBlock):
    """One block of :class:`LRU`."""

    def __init__(self, width: int, state_size: int, norm: bool, lives: Tensor, largest_phase: float):
        super().__init__(width, state_size, norm)
        rates = math.log(2) / lives  # -log |λ|
        phases = largest_phase * (1 - torch.rand(state_size))  # above 0, of which there is no logarithm
        self.log_rates = nn.Parameter(rates.log().float())  # ν
        self.log_phases = nn.Parameter(phases.log())  # θ
        self.log_scales = nn.Parameter((-torch.expm1(-2 * rates)).sqrt().log().float())  # log γ
        into = torch.complex(*torch.randn(2, state_size, width)) / math.sqrt(2 * width)
        self.begin(into, torch.complex(*torch.randn(2, width, state_size)) / math.sqrt(state_size))

    def dynamics(self) -> tuple[Tensor, Tensor]:
        """λ and γ."""
        dtype = memory_dtype(self.log_rates.dtype, False)
        rates, phases, scales = (x.to(dtype).exp() for x in (self.log_rates, self.log_phases, self.log_scales))
        return torch.polar((-rates).exp(), phases), scales


@register_core("lru")
class LRU(Diagonal):
    """Numbers that each decay and turn at a learned rate, in blocks with all that is not linear.

        h_t = λ ∘ h_{t-1} + γ ∘ (B u_t),  y_t = Re(C h_t) + D ∘ u_t,  λ = exp(-exp(ν) + i exp(θ))
        x ← x + GLU(GELU(y)),  u = LN(x)

    |λ| is below 1 whatever is learned. As in the paper γ = √(1 - |λ|²) at the start and its logarithm is then learned
    by itself; B is normal by 1/√(2 H) and C by 1/√N, in real and imaginary parts, D normal; phases are uniform between
    0 and ``largest_phase``. The paper draws |λ|² uniformly between squares of r_min and r_max. Here half-lives are
    evenly spread over their logarithms: |λ| = r is a half-life of log(1/2) / log(r) steps, of r from 0.9 to 0.999 one
    of 7 to 693. The block is told of the paper by others; its batch norm would mix rows, so that LN stands there. The
    state is complex64, or complex128 in a core of float64.

    :param input_size: width I of one input
    :param width: H of each block, also the width of one output
    :param state_size: N, complex numbers that each block remembers
    :param layers: how many blocks are stacked
    :param shortest_half_life: of a number at the start, in steps
    :param longest_half_life: of a number at the start, in steps
    :param largest_phase: by how much a number turns in a step at most, at the start, in radians up to 2π
    :param norm: whether each block begins with a LayerNorm
    """

    def __init__(
        self,
        input_size: int,
        width: int = 64,
        state_size: int = 32,
        layers: int = 2,
        shortest_half_life: float = 1.0,
        longest_half_life: float = 1000.0,
        largest_phase: float = 2 * math.pi,
        norm: bool = True,
    ):
        sizes = block_sizes(width, state_size, norm)
        lives = initial_half_lives(shortest_half_life, longest_half_life, state_size)
        largest = in_range("largest_phase", largest_phase, 1e-6, 2 * math.pi)
        blocks: list[DiagonalBlock] = [LRUBlock(*sizes, lives, largest) for _ in number_of_layers(layers)]
        super().__init__(input_size, blocks, width, state_size)
