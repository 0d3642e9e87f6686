"""S5, a state space layer (Smith et al. 2023, arXiv 2208.04933), with resets (Lu et al. 2023, arXiv 2303.03982)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from memagents.cores import register_core
from memagents.cores.diagonal import Diagonal, DiagonalBlock, block_sizes
from memagents.cores.layered import initial_half_lives, memory_dtype, number_of_layers
from memagents.memory.state_space import hippo_normal, zero_order_hold


class S5Block(DiagonalBlock):
    """One block of :class:`S5`."""

    def __init__(self, width: int, state_size: int, norm: bool, lives: Tensor):
        super().__init__(width, state_size, norm)
        rates, vectors = hippo_normal(state_size)
        intervals = math.log(2) / -rates.real / lives[torch.randperm(state_size)]
        self.log_rates = nn.Parameter((-rates.real).log().float())  # log(-Re λ)
        self.frequencies = nn.Parameter(rates.imag.float())  # Im λ
        self.log_intervals = nn.Parameter(intervals.log().float())  # log Δ
        into = torch.randn(2 * state_size, width) / math.sqrt(width)
        output = torch.randn(width, 2 * state_size) / math.sqrt(2 * state_size)
        # Each number stands for a pair, h and its conjugate, of which the sum is 2 Re h.
        self.begin(vectors.mH @ into.to(vectors.dtype), 2 * output.to(vectors.dtype) @ vectors)

    def dynamics(self) -> tuple[Tensor, Tensor]:
        """λ̄ and (λ̄ - 1)/λ."""
        dtype = memory_dtype(self.log_rates.dtype, False)
        rates, intervals = self.log_rates.to(dtype).exp(), self.log_intervals.to(dtype).exp()
        return zero_order_hold(-rates, self.frequencies.to(dtype), intervals)


@register_core("s5")
class S5(Diagonal):
    """A linear system in continuous time with HiPPO's matrix, followed in learned steps, in blocks.

        h_t = λ̄ ∘ h_{t-1} + (λ̄ - 1)/λ ∘ (B̃ u_t),  y_t = 2 Re(C̃ h_t) + D ∘ u_t,  λ̄ = exp(λ Δ)
        x ← x + GLU(GELU(y)),  u = LN(x)

    That is zero-order hold. λ are the eigenvalues of the normal part of HiPPO-LegS of size 2 N, and B̃ = V⁻¹ B and
    C̃ = C V with its eigenvectors V and real B and C, normal by the square root of what they sum over; D is normal. Of
    each conjugate pair one is kept, therefore the 2, which is part of ``output`` here. With resets an episode begins
    at zero, inside a window as well. λ, Δ, B̃, C̃ and D are learned, λ as log(-Re λ) and Im λ, so that no state grows,
    however long the episode, and λ is never 0: programs that learn Re λ itself have to clip it, or may diverge.

    At the start Re λ = -1/2, and a half-life of τ steps is a Δ of 2 log(2)/τ. Half-lives are evenly spread over their
    logarithms and dealt to λ at random; 14 to 1,386 steps are the Δ from 0.001 to 0.1 that the paper draws. The
    programs for RL (arXiv 2303.03982) have four blocks without a norm, widths and 2 N of 256, and the start flag in
    the observation. The state is complex64, or complex128 in a core of float64.

    :param input_size: width I of one input
    :param width: H of each block, also the width of one output
    :param state_size: N, conjugate pairs that each block remembers
    :param layers: how many blocks are stacked
    :param shortest_half_life: of a number at the start, in steps
    :param longest_half_life: of a number at the start, in steps
    :param norm: whether each block begins with a LayerNorm
    """

    def __init__(
        self,
        input_size: int,
        width: int = 64,
        state_size: int = 32,
        layers: int = 2,
        shortest_half_life: float = 14.0,
        longest_half_life: float = 1400.0,
        norm: bool = True,
    ):
        sizes = block_sizes(width, state_size, norm)
        lives = initial_half_lives(shortest_half_life, longest_half_life, state_size)
        blocks: list[DiagonalBlock] = [S5Block(*sizes, lives) for _ in number_of_layers(layers)]
        super().__init__(input_size, blocks, width, state_size)
