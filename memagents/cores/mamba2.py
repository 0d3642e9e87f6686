"""Mamba-2 (Dao & Gu 2024, arXiv 2405.21060)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.chunked import Chunked, ChunkedBlock, ChunkedState, Told, Ways, steady_decay
from memagents.cores.layered import initial_half_lives, number_of_layers


class Mamba2Block(ChunkedBlock[ChunkedState]):
    """One block of :class:`Mamba2`.

    :param lives: half-lives of the heads at the start, (H,)
    """

    def __init__(self, width: int, head_size: int, state_size: int, groups: int, lives: Tensor):
        heads = len(lives)
        inner = heads * head_size
        mixed = inner + 2 * groups * state_size
        super().__init__(width, [inner, mixed, heads], mixed, True, inner)  # z, (x, B, C), dt
        self.heads, self.head_size, self.state_size, self.groups = heads, head_size, state_size, groups
        log_rates, intervals = steady_decay(lives.unsqueeze(1))
        self.log_rates, self.intervals = nn.Parameter(log_rates), nn.Parameter(intervals.squeeze(1))
        self.feedthrough = nn.Parameter(torch.ones(heads))  # D
        self.scale = nn.Parameter(torch.ones(inner))

    def initial(self, batch_size: int) -> ChunkedState:
        memory = self.zeros(batch_size, self.heads, self.state_size, self.head_size)
        return ChunkedState(memory, self.zeros(batch_size, 3, self.channels))

    def remember(self, parts: list[Tensor], state: ChunkedState, ways: Ways) -> Told[ChunkedState]:
        gate, mixed, intervals = parts
        mixed, recent = self.convolved(mixed, state.recent, ways)
        grouped = self.groups * self.state_size
        inputs, into, out = mixed.split([self.heads * self.head_size, grouped, grouped], dim=-1)
        inputs = inputs.unflatten(-1, (self.heads, -1))  # x, (..., H, P)
        intervals = functional.softplus(intervals + self.intervals.to(self.dtype))  # dt, (..., H)
        log_decay = -self.log_rates.to(self.dtype).exp() * intervals
        reads, memory = ways.remember(
            self._of_heads(out),
            self._of_heads(into).unsqueeze(-2),
            (intervals.unsqueeze(-1) * inputs).unsqueeze(-2),
            log_decay.unsqueeze(-1),
            state.memory,
        )
        y = torch.addcmul(reads, self.feedthrough.to(self.dtype).unsqueeze(-1), inputs).flatten(-2)
        y = functional.rms_norm(y * functional.silu(gate), y.shape[-1:], self.scale.to(self.dtype), 1e-5)
        seen = {"memory": memory, "interval": intervals}
        return Told(y, ChunkedState(memory, recent), lambda: {"decay": log_decay.exp(), **seen})

    def _of_heads(self, grouped: Tensor) -> Tensor:
        """(..., G N) to (..., H, N): the heads of a group have the same."""
        each = grouped.unflatten(-1, (self.groups, 1, self.state_size))
        return each.expand(*each.shape[:-2], self.heads // self.groups, -1).flatten(-3, -2)


@register_core("mamba2")
class Mamba2(Chunked[ChunkedState]):
    """A selective state-space model: how long a step lasts for the memory, what goes into it and what is asked of it.

        [z, x, B, C, dt] = W u,  dt ← softplus(dt + b),  h ← exp(-A dt) h + B (dt x)ᵀ,  y = hᵀ C + D x
        stream ← stream + W_o RMSNorm(y ∘ SiLU(z)),  u = LN(stream)

    for each head, with h (N, P), zero at the start, A, D and dt scalars of the head, and B and C shared by the heads of
    a group. x, B and C are put together through a causal convolution of width 4, with a bias, and a SiLU; z gates
    before the norm, which is over all heads (the authors' order, for which others have RMSNorm(y) ∘ SiLU(z)). The sizes
    are smaller than the authors', the norm in front is a LayerNorm, and the stream begins as a linear layer of the
    input. The convolution's last three inputs are state; over an episode's start it finds zeros.

    D begins as 1, dt as 0.1 for dt's share of W u = 0, and A so that the heads' half-lives are evenly spread over their
    logarithms then. The authors draw A from 1 to 16 and dt from 0.001 to 0.1, with half-lives of 0.9 to 109 steps (5 to
    95%), where a long memory has a small dt and so is hardly written to. The defaults here are longer, for retention.

    :param input_size: width I of one input
    :param width: of the residual stream, also the width of one output
    :param heads: number of heads H, a multiple of ``groups``
    :param head_size: width P of x of a head
    :param state_size: width N of B and C
    :param groups: number of groups of heads
    :param layers: how many blocks are stacked
    :param shortest_half_life: of a head at the start, in steps
    :param longest_half_life: of a head at the start, in steps
    :param chunk: steps of a window that are computed together; no weight depends on it
    """

    def __init__(
        self,
        input_size: int,
        width: int = 64,
        heads: int = 4,
        head_size: int = 32,
        state_size: int = 16,
        groups: int = 1,
        layers: int = 1,
        shortest_half_life: float = 10.0,
        longest_half_life: float = 1000.0,
        chunk: int = 16,
    ):
        if positive_int("heads", heads) % positive_int("groups", groups):
            raise ValueError(f"heads must be a multiple of groups, {groups}, not {heads}")
        sizes = (
            positive_int("width", width),
            positive_int("head_size", head_size),
            positive_int("state_size", state_size),
        )
        lives = initial_half_lives(shortest_half_life, longest_half_life, heads)
        super().__init__(input_size, [Mamba2Block(*sizes, groups, lives) for _ in number_of_layers(layers)], chunk)
