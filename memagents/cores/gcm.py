"""Graph Convolutional Memory (Morad et al. 2021, arXiv 2106.14117)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import boolean, one_of, positive_int
from memagents.cores import register_core
from memagents.cores.core import Step, full_precision
from memagents.cores.window import WindowCore
from memagents.memory import draws, history
from memagents.memory.graph import drawn_edges, neighbourhood, past


class GCMState(NamedTuple):
    """B rows, L past nodes, W width."""

    rows: Tensor  # of each layer its inputs at the last nodes, (B, layers, L, W), oldest first, zero where none was
    filled: Tensor  # int64 (B,): how many there were, the last so many
    key: Tensor  # int64 (B,): of the draws of edges


class GraphConvolution(nn.Module):
    """h ← tanh(W_1 h + W_2 n + b), n of the neighbourhood (GraphConv of Morris et al. 2019)."""

    def __init__(self, width: int):
        super().__init__()
        self.own = nn.Linear(width, width)  # W_1 and b
        self.others = nn.Linear(width, width, bias=False)  # W_2

    def forward(self, nodes: Tensor, neighbours: Tensor) -> Tensor:
        return torch.tanh(self.own(nodes) + self.others(neighbours))


@register_core("gcm")
class GCM(WindowCore[GCMState]):
    """Every step is a node of a graph, which graph convolutions read at the present one.

        x_t = W_0 o_t + b_0,  h⁰ = x,  h_t^l = tanh(W_1 h_t^{l-1} + b + W_2 Σ_{j ∈ N(t)} h_j^{l-1})

    N(t) is chosen when step t comes, among the L steps before it in its episode. "temporal" takes all of them, so that
    L = 2 is the paper's edges to t - 1 and t - 2; then the memory is a causal convolution whose taps are alike, of
    L × ``layers`` steps. "learned" draws some, by scores (P x_t)ᵀ(Q x_j)/√R of learned P and Q, R = min(W, 16); forward
    they are there or not, backward each draw is its softmax (straight-through). There is no edge from a step to itself,
    which W_1 sees. The mean in place of the sum is ours: a sum over many nodes that are alike drives every tanh to its
    end. So is the form of the scores: the authors put pairs through a perceptron (as others tell it).

    As edges lead from earlier steps to later ones alone, what a layer says of a step never changes. It is kept, and a
    step computes its own node only. In the authors' program all nodes are computed anew in every step, and a node
    that is dropped is missed at once by those that have an edge to it; here these keep what they have heard of it.
    Until nodes are dropped, both are the same.

    :param input_size: width I of one input
    :param length: past nodes L that a step may have an edge to; no weight depends on it
    :param edges: "temporal" or "learned"
    :param layers: number of graph convolutions
    :param width: W of a node and of each layer, also of one output
    :param mean: take the mean over neighbours, or else their sum
    :param draws: how many edges a node draws where they are learned; some may coincide
    """

    def __init__(
        self,
        input_size: int,
        length: int = 32,
        edges: str = "temporal",
        layers: int = 2,
        width: int = 64,
        mean: bool = True,
        draws: int = 4,
    ):
        super().__init__(input_size, positive_int("width", width))
        self.length, self.mean = positive_int("length", length), boolean("mean", mean)
        self.edges, self.draws = one_of("edges", edges, ["temporal", "learned"]), positive_int("draws", draws)
        self.embedding = nn.Linear(input_size, width)
        self.layers = nn.ModuleList(GraphConvolution(width) for _ in range(positive_int("layers", layers)))
        if edges == "learned":
            self.pairs = nn.Linear(width, 2 * min(width, 16), bias=False)

    def initial_state(self, batch_size: int) -> GCMState:
        rows = self.embedding.weight.new_zeros(batch_size, len(self.layers), self.length, self.output_size)
        filled, key = torch.zeros(2, batch_size, dtype=torch.int64, device=rows.device).unbind(0)
        return GCMState(rows, filled, key)

    def project(self, inputs: Tensor) -> Tensor:
        """The nodes: (..., I) to (..., W)."""
        return self.embedding(inputs)

    def window(self, x: Tensor, state: GCMState, starts: Tensor) -> Step[GCMState]:
        first = history.first_positions(state.filled, starts, self.length)
        filled = history.filled_after(first, self.length)
        pasts, first = history.trimmed(state.rows, first)  # (B, layers, L', W)
        stream, rows, edges = x.transpose(0, 1), [], None
        for layer, before in zip(self.layers, pasts.unbind(1), strict=True):
            whole = history.timeline(before, stream, first)
            rows.append(history.newest(whole, first, self.length))
            with full_precision(whole):
                if edges is None:
                    edges = self._edges(whole, first, state.key)
                found = neighbourhood(edges, whole, self.mean)
            stream = layer(stream, found)
        state = GCMState(torch.stack(rows, dim=1), filled, state.key + len(x))
        return Step(stream.transpose(0, 1), state, {}, {"edges": self._by_age(edges)})

    def _edges(self, nodes: Tensor, first: Tensor, key: Tensor) -> Tensor:
        """Which nodes (B, L' + T, W) of the timeline each step has an edge to, (B, T, L' + T), of zeros and ones."""
        steps = first.shape[1]
        allowed = past(first, nodes.shape[1] - steps)
        if self.edges == "temporal":
            return allowed.to(nodes.dtype)
        keys = key.unsqueeze(1) + torch.arange(steps, device=key.device)
        asking, asked = self.pairs(nodes).chunk(2, dim=-1)
        scores = asking[:, -steps:] @ asked.transpose(1, 2) / asking.shape[2] ** 0.5
        return drawn_edges(scores, draws.uniform(keys, self.draws, nodes.dtype), allowed)

    def _by_age(self, edges: Tensor | None) -> Tensor:
        """Edges to the L steps before each, the oldest first, (T, B, L)."""
        assert edges is not None
        span = edges.shape[2] - edges.shape[1] + 1
        by_age = history.unskew(edges, span)[..., :-1]
        return functional.pad(by_age, (self.length + 1 - span, 0)).transpose(0, 1)
