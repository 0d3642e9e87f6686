"""The mLSTM, xLSTM's matrix memory (Beck et al. 2024, arXiv 2405.04517)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.chunked import Chunked, ChunkedBlock, Told, Ways
from memagents.cores.layered import initial_half_lives, number_of_layers
from memagents.memory.state_space import remaining

BLOCK = 4
"""Width of the blocks on the diagonal of the maps to q, k and v."""


class MLSTMState(NamedTuple):
    """B rows, H heads of width D, X = H D channels; of L layers one behind another."""

    memory: Tensor  # C, and beside it n as the last column, both divided by exp(m), (B, L H, D, D + 1)
    stabiliser: Tensor  # m, (B, L H)
    recent: Tensor  # the convolution's last inputs, (B, L 3, X), the oldest first


class MLSTMBlock(ChunkedBlock[MLSTMState]):
    """One block of :class:`MLSTM`.

    :param lives: half-lives of the heads at the start, (H,)
    """

    def __init__(self, width: int, head_size: int, lives: Tensor):
        heads, inner = len(lives), len(lives) * head_size
        super().__init__(width, [inner, inner], inner, True, inner)
        self.heads, self.head_size = heads, head_size
        bound = 1 / math.sqrt(BLOCK)
        self.maps_of_heads = nn.Parameter(  # of q, k and v, (3, X / 4, in, out)
            torch.empty(3, inner // BLOCK, BLOCK, BLOCK).uniform_(-bound, bound)
        )
        self.gates = nn.Linear(3 * inner, 2 * heads)  # ĩ and f̃, of q, k and v
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            self.gates.bias[:heads].normal_(0, 0.1)
            self.gates.bias[heads:] = remaining(lives).logit().float()
        self.scale = nn.Parameter(torch.ones(inner))
        self.skip = nn.Parameter(torch.ones(inner))

    def initial(self, batch_size: int) -> MLSTMState:
        memory = self.zeros(batch_size, self.heads, self.head_size, self.head_size + 1)
        return MLSTMState(memory, self.zeros(batch_size, self.heads), self.zeros(batch_size, 3, self.channels))

    def remember(self, parts: list[Tensor], state: MLSTMState, ways: Ways) -> Told[MLSTMState]:
        inputs, gate = parts
        mixed, recent = self.convolved(inputs, state.recent, ways)
        maps = _of_heads(self.maps_of_heads.to(self.dtype), self.heads)
        queries, keys = _by_heads(mixed, maps[:2])
        (values,) = _by_heads(inputs, maps[2:])
        gates = self._gates(mixed, inputs, maps)
        log_input, forget = gates.chunk(2, dim=-1)
        log_forget = functional.logsigmoid(forget)
        stabiliser, before, after = ways.stabilise(log_forget, log_input, state.stabiliser)
        log_decay, into = log_forget + before - stabiliser, (log_input - stabiliser).exp()
        keys = keys * (into / math.sqrt(self.head_size)).unsqueeze(-1)
        values = functional.pad(values, (0, 1), value=1.0)  # so that n is a column of C
        reads, memory = ways.remember(
            queries, keys.unsqueeze(-2), values.unsqueeze(-2), log_decay.unsqueeze(-1), state.memory
        )
        # e^80 is as good as any more, which might overflow
        least = (-stabiliser).clamp(max=80.0).exp().unsqueeze(-1)
        normaliser = torch.maximum(reads[..., -1:].abs(), least) + 1e-6
        hidden = functional.layer_norm(reads[..., :-1] / normaliser, (self.head_size,)).flatten(-2)
        hidden = torch.addcmul(hidden * self.scale.to(self.dtype), mixed, self.skip.to(self.dtype))
        y = hidden * functional.silu(gate)

        def trace() -> dict[str, Tensor]:
            return {"memory": memory, "forget_gate": log_forget.exp(), "input_gate": log_input.exp()}

        return Told(y, MLSTMState(memory, after, recent), trace)

    def _gates(self, mixed: Tensor, inputs: Tensor, maps: Tensor) -> Tensor:
        """ĩ and f̃, (..., 2 H). As q, k and v are linear in x̃ and x, so are these, by products of weights alone."""
        weight = self.gates.weight.to(self.dtype).unflatten(1, (3, self.heads, -1))
        weight = torch.einsum("gmho,mhio->mghi", weight, maps).flatten(2)  # (3, 2 H, X)
        gates = functional.linear(mixed, weight[0] + weight[1], self.gates.bias.to(self.dtype))
        return gates + functional.linear(inputs, weight[2])


@register_core("mlstm")
class MLSTM(Chunked[MLSTMState]):
    """A matrix a head with exponential gates, a normaliser that counts what was written, and a stabiliser of both.

        m' = max(log σ(f̃) + m, ĩ),  F = exp(log σ(f̃) + m - m'),  I = exp(ĩ - m')
        C ← F C + I (k/√D) vᵀ,  n ← F n + I k/√D,  h = Cᵀ q / (max(|nᵀ q|, exp(-m')) + 1e-6)

    for each head of width D; all begin at zero. What is read depends on m by rounding and by the 1e-6 alone. Around it
    is the authors' block: LN(stream) goes up to x and z, of width H D each (theirs are twice as wide as the stream,
    with four heads; by default these are as wide, with two, for speed); x̃ is x through a causal convolution of width 4,
    with a bias, and a SiLU; q and k are of x̃ and v is of x, by maps of blocks of 4 on the diagonal; ĩ and f̃ are
    affine in [q, k, v]. The block adds W_o ((LN(h) + s ∘ x̃) ∘ SiLU(z)), with LN of each head without a shift, to the
    stream, which begins as a linear layer of the input. The convolution's last three inputs are state; over an
    episode's start it finds zeros.

    The gates' weights begin at zero, their biases as N(0, 0.1) for ĩ and for f̃ such that the heads' half-lives are
    evenly spread over their logarithms. The defaults are the published ones: biases from 3 to 6 are half-lives from 14
    to 280 steps. s begins at 1, other maps as torch's linear layers do, the authors' beginnings not having been found.

    The keys are divided by √D, in a step and a window alike: the authors' chunkwise program divides the queries, and
    its states are not those of their recurrent one.

    :param input_size: width I of one input
    :param width: of the residual stream, also the width of one output
    :param heads: number of heads H
    :param head_size: width D of keys and values of a head; a multiple of 4
    :param layers: how many blocks are stacked
    :param shortest_half_life: of a head at the start, in steps
    :param longest_half_life: of a head at the start, in steps
    :param chunk: steps of a window that are computed together; no weight depends on it
    """

    def __init__(
        self,
        input_size: int,
        width: int = 64,
        heads: int = 2,
        head_size: int = 32,
        layers: int = 1,
        shortest_half_life: float = 14.0,
        longest_half_life: float = 280.0,
        chunk: int = 16,
    ):
        width = positive_int("width", width)
        if positive_int("head_size", head_size) % BLOCK:
            raise ValueError(f"head_size must be a multiple of {BLOCK}, not {head_size}")
        lives = initial_half_lives(shortest_half_life, longest_half_life, positive_int("heads", heads))
        super().__init__(input_size, [MLSTMBlock(width, head_size, lives) for _ in number_of_layers(layers)], chunk)


def _of_heads(blocks: Tensor, heads: int) -> Tensor:
    """Blocks on diagonals, (3, X / 4, 4, 4), as one matrix a head, (3, H, D, D): few large products are faster."""
    blocks = blocks.unflatten(1, (heads, -1))
    each = torch.eye(blocks.shape[2], dtype=blocks.dtype, device=blocks.device).view(-1, 1, blocks.shape[2], 1)
    return (blocks.unsqueeze(-2) * each).flatten(4, 5).flatten(2, 3)


def _by_heads(x: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
    """Products of x, (..., H D), with matrices of each head, (M, H, D, D): M times (..., H, D)."""
    heads, size = maps.shape[1:3]
    rows = x.reshape(-1, heads, size).transpose(0, 1)
    products = rows @ maps.permute(1, 2, 0, 3).flatten(2)  # (H, ..., M D)
    return products.transpose(0, 1).unflatten(0, x.shape[:-1]).chunk(len(maps), dim=-1)
