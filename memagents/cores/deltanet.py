"""Gated DeltaNet (Yang et al. 2024, arXiv 2412.06464) and its kin."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import boolean, positive_int
from memagents.cores import register_core
from memagents.cores.chunked import Chunked, ChunkedBlock, ChunkedState, Told, Ways, steady_decay
from memagents.cores.layered import initial_half_lives, number_of_layers
from memagents.memory.linear import unit


class DeltaBlock(ChunkedBlock[ChunkedState]):
    """One block of :class:`DeltaNet`.

    :param lives: half-lives at the start, (H, 1), with split gates (H, K); None for no decay
    """

    def __init__(
        self,
        width: int,
        heads: int,
        key_size: int,
        value_size: int,
        lives: Tensor | None,
        householder_steps: int,
        split_gates: bool,
        negative_eigenvalues: bool,
    ):
        writes, inner = heads * householder_steps, heads * value_size
        gates = writes * (key_size + value_size) if split_gates else writes
        decays, outputs = (key_size, value_size) if split_gates else (heads, inner)  # low rank, or all of them
        mixed = heads * key_size + writes * (key_size + value_size)
        sizes = [mixed, gates, *([decays, outputs] if lives is not None else [])]
        super().__init__(width, sizes, mixed, False, inner)
        self.heads, self.writes, self.gated = heads, householder_steps, lives is not None
        self.key_size, self.value_size = key_size, value_size
        self.split, self.strength = split_gates, 2.0 if negative_eigenvalues else 1.0
        self.scale = nn.Parameter(torch.ones(value_size))
        if lives is not None:
            log_rates, intervals = steady_decay(lives)
            if split_gates:
                self.decay_up = nn.Linear(key_size, heads * key_size, bias=False)
                self.output_gate_up = nn.Linear(value_size, inner, bias=False)
            self.log_rates, self.intervals = nn.Parameter(log_rates), nn.Parameter(intervals)

    def initial(self, batch_size: int) -> ChunkedState:
        memory = self.zeros(batch_size, self.heads, self.key_size, self.value_size)
        return ChunkedState(memory, self.zeros(batch_size, 3, self.channels))

    def remember(self, parts: list[Tensor], state: ChunkedState, ways: Ways) -> Told[ChunkedState]:
        mixed, gates, *decays = parts
        mixed, recent = self.convolved(mixed, state.recent, ways)
        queries, keys, values = self._heads(mixed)
        erase, write = self._gates(gates)
        log_decay = self._log_decay(decays[0]) if self.gated else torch.zeros_like(queries[..., :1])
        reads, memory = ways.remember(queries, keys, write * values, log_decay, state.memory, erase=erase * keys)
        tiny = 1e-5 * self.key_size  # as if reads, of which the norm takes no notice else, had been divided by √K
        normal = functional.rms_norm(reads, (self.value_size,), self.scale.to(self.dtype), tiny).flatten(-2)
        if self.gated:
            normal = normal * self._output_gate(decays[1])
        seen = {"memory": memory, "write_gate": write, "erase_gate": erase}
        return Told(normal, ChunkedState(memory, recent), lambda: {"decay": log_decay.exp(), **seen})

    def _heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, (..., H, K), k, (..., H, n, K), and v, (..., H, n, V)."""
        values, shape = self._writes(self.value_size), (self.heads, self.writes)
        vectors, values = mixed.split([self.channels - values, values], dim=-1)
        vectors = unit(vectors.unflatten(-1, (-1, self.key_size)))
        queries, keys = vectors.split([self.heads, self.heads * self.writes], dim=-2)
        return queries, keys.unflatten(-2, shape), values.unflatten(-1, (*shape, self.value_size))

    def _writes(self, size: int) -> int:
        """Numbers of all writes of a step."""
        return self.heads * self.writes * size

    def _gates(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of the keys, to erase, (..., H, n, K or 1), and of the values, to write, (..., H, n, V or 1)."""
        gates, shape = gates.sigmoid(), (self.heads, self.writes, -1)
        if not self.split:
            beta = self.strength * gates.unflatten(-1, shape)
            return beta, beta
        erase, write = gates.split([self._writes(self.key_size), self._writes(self.value_size)], dim=-1)
        return self.strength * erase.unflatten(-1, shape), write.unflatten(-1, shape)

    def _log_decay(self, decays: Tensor) -> Tensor:
        """log α, (..., H, 1), or with split gates (..., H, K)."""
        if self.split:
            decays = functional.linear(decays, self.decay_up.weight.to(self.dtype))
        intervals = functional.softplus(decays.unflatten(-1, (self.heads, -1)) + self.intervals.to(self.dtype))
        return -self.log_rates.to(self.dtype).exp().unsqueeze(-1) * intervals

    def _output_gate(self, gate: Tensor) -> Tensor:
        if self.split:
            return functional.linear(gate, self.output_gate_up.weight.to(self.dtype)).sigmoid()
        return functional.silu(gate)


@register_core("deltanet")
class DeltaNet(Chunked[ChunkedState]):
    """A matrix a head that fades, and in which what is written at a key takes the place of what was there.

        S ← α S,  S ← S + β k (v - Sᵀ k)ᵀ,  o = Sᵀ q / √K,  y = RMSNorm(o) ∘ SiLU(W_g u),  x ← x + W_o y,  u = LN(x)

    for each head, with S (K, V) and zero at the start. q, k and v are linear in u, put through a causal convolution of
    width 4 and a SiLU, and q and k divided by √(Σ² + 1e-6). β = σ(W_b u) and α = exp(-A softplus(W_a u + b)) are
    scalars of each head. No map has a bias. This is the authors' gated delta rule (as their program has it, in
    flash-linear-attention); the sizes are smaller, the norm in front is a LayerNorm, and x begins as a linear layer of
    the input. The convolution's last three inputs are state; over an episode's start it finds zeros.

    Options, which can be combined:

    - ``gated=False``: α = 1 and no output gate, DeltaNet (arXiv 2406.06484).
    - ``householder_steps=n``: n writes in a step, each with its own k, v and β, after one decay and before one read;
      the step's transition is the product of n generalised Householder matrices: DeltaProduct (arXiv 2502.10297).
    - ``negative_eigenvalues``: β = 2 σ(W_b u), so that a write can turn the sign of what lies along k (arXiv
      2411.12537), with which states can be tracked. DeltaProduct has it on.
    - ``split_gates``: S ← Diag(α) S, S ← S + k (w ∘ v - Sᵀ (b ∘ k))ᵀ with gates b of the channels of the keys and w
      of those of the values: Gated DeltaNet-2 (arXiv 2605.22791). α is one for each channel of the keys, by a map of
      rank K here, and the output gate a sigmoid of rank V. With ``negative_eigenvalues`` b alone is doubled, which is
      ours.

    α are such that, for W_a u = 0, the half-lives of the heads (with ``split_gates`` of each head's channels) are
    evenly spread over their logarithms, from the shortest to the longest. The defaults are longer than the published
    0.9 to 186 steps (5 to 95% of the heads), for tasks of retention. A write forgets as well: with keys at random it
    takes β/K of what a head holds.

    :param input_size: width I of one input
    :param width: of the residual stream, also the width of one output
    :param heads: number of heads H
    :param key_size: width K of keys and queries of a head
    :param value_size: width V of values of a head
    :param layers: how many blocks are stacked
    :param shortest_half_life: of a head, or channel, at the start, in steps
    :param longest_half_life: of a head, or channel, at the start, in steps
    :param gated: whether there are decays and output gates
    :param householder_steps: writes n in each step
    :param split_gates: whether erasing and writing have gates of their own, for each channel
    :param negative_eigenvalues: whether β reaches 2
    :param chunk: steps of a window that are computed together; no weight depends on it
    """

    def __init__(
        self,
        input_size: int,
        width: int = 64,
        heads: int = 2,
        key_size: int = 32,
        value_size: int = 32,
        layers: int = 1,
        shortest_half_life: float = 10.0,
        longest_half_life: float = 1000.0,
        gated: bool = True,
        householder_steps: int = 1,
        split_gates: bool = False,
        negative_eigenvalues: bool = False,
        chunk: int = 16,
    ):
        sizes = (
            positive_int("width", width),
            positive_int("heads", heads),
            positive_int("key_size", key_size),
            positive_int("value_size", value_size),
        )
        options = (
            positive_int("householder_steps", householder_steps),
            boolean("split_gates", split_gates),
            boolean("negative_eigenvalues", negative_eigenvalues),
        )
        lives = initial_half_lives(shortest_half_life, longest_half_life, key_size if split_gates else heads)
        lives = lives.expand(heads, key_size) if split_gates else lives.unsqueeze(1)
        blocks = [
            DeltaBlock(*sizes, lives if boolean("gated", gated) else None, *options) for _ in number_of_layers(layers)
        ]
        super().__init__(input_size, blocks, chunk)
