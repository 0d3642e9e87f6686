"""Hierarchical Chunk Attention Memory (Lampinen et al. 2021, "Towards mental time travel", arXiv 2105.14039)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import boolean, positive_int
from memagents.cores import register_core
from memagents.cores.core import Step, full_precision
from memagents.cores.episode_store import EpisodeStore, HCAMState
from memagents.cores.transformer import FeedForward, RelativeAttention, kernels_for
from memagents.memory import chunks, history
from memagents.memory.relative import constant_sinusoids


@register_core("hcam")
class HCAM(EpisodeStore[HCAMState]):
    """A memory of the episode in chunks of C steps: a step looks for the k chunks that concern it, and then into them.

    With e the embedded input, x = e + RelativeAttention(LN(e)) over the last C steps, and c_ji row i of chunk j: ::

        s_j = (W_q LN(x)) · (W_k mean_i c_ji) / √W,  w = softmax of the k highest s
        x ← x + Σ_j w_j MultiHead(LN(x), c_j + positions),  x ← x + MLP(LN(x))

    The M last complete chunks are readable. As published keys and contents pass no gradient back to the steps that
    they hold (``stop_gradient``), positions are sinusoids counted back from a chunk's newest row, and the matrices of
    the memory begin with variance 2 / fan-in. If fewer than k chunks are complete the softmax is over those, and where
    none is, the memory gives exactly zero; the published program returns masked chunks there.

    The chunk being filled cannot be read as one. It reaches the policy by the attention to the last C steps, by content
    and age as in Transformer-XL, with gradients. What else is of this library: one such block where the published agent
    has four, each behind a Transformer's layer; contents are embedded inputs; the heads have no biases; and the
    reconstruction by which that agent also learns is left out (``recall_lag`` is for that). The mean as a key was read
    in a third party's program.

    :param input_size: width I of one input
    :param chunks: number of readable chunks M; no weight depends on it
    :param chunk_size: steps of a chunk C; no weight depends on it
    :param top_k: chunks k that a step looks into
    :param width: width W of the stream, a multiple of ``heads``
    :param heads: number of attention heads, each with W / heads of the width
    :param feedforward: hidden units of the perceptron; by default 4 W
    :param stop_gradient: whether chunks pass no gradient back
    :param output_size: width O of one output, by a linear layer; by default the stream itself
    """

    def __init__(
        self,
        input_size: int,
        chunks: int = 16,
        chunk_size: int = 8,
        top_k: int = 4,
        width: int = 32,
        heads: int = 2,
        feedforward: int | None = None,
        stop_gradient: bool = True,
        output_size: int | None = None,
    ):
        width = positive_int("width", width)
        length = (positive_int("chunks", chunks) + 1) * positive_int("chunk_size", chunk_size) - 1
        super().__init__(input_size, width if output_size is None else output_size, length, width)
        self.chunks, self.chunk_size = chunks, chunk_size
        self.top_k = positive_int("top_k", top_k)
        self.heads = positive_int("heads", heads)
        self.stop_gradient = boolean("stop_gradient", stop_gradient)
        self.embedding = nn.Linear(input_size, width)
        self.recent_norm = nn.LayerNorm(width)
        self.recent = RelativeAttention(width, heads)
        self.memory_norm = nn.LayerNorm(width)
        self.queries = nn.Linear(width, width, bias=False)  # W_q
        self.keys = nn.Linear(width, width, bias=False)  # W_k
        self.row_queries = nn.Linear(width, width, bias=False)
        self.row_keys = nn.Linear(width, width, bias=False)
        self.row_values = nn.Linear(width, width, bias=False)
        self.found = nn.Linear(width, width, bias=False)
        for matrix in (self.queries, self.keys, self.row_queries, self.row_keys, self.row_values, self.found):
            nn.init.kaiming_normal_(matrix.weight, nonlinearity="relu")
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward)
        self.output = nn.Identity() if output_size is None else nn.Linear(width, output_size)

    def initial_state(self, batch_size: int) -> HCAMState:
        empty = super().initial_state(batch_size)
        return HCAMState(empty.rows, empty.filled, torch.zeros_like(empty.filled))

    def project(self, inputs: Tensor) -> Tensor:
        """e: (..., I) to (..., W)."""
        return self.embedding(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """The stream's end, or a linear layer of it: (..., W) to (..., O)."""
        return self.output(features)

    def look(self, x: Tensor, whole: Tensor, first: Tensor, state: HCAMState) -> tuple[Tensor, dict[str, Tensor]]:
        return self._look(x, whole, first, state, traced=True)

    def find(self, x: Tensor, whole: Tensor, first: Tensor, state: HCAMState) -> Tensor:
        """Run :meth:`look` for the features alone, the attention to the last steps by a kernel where there is one."""
        return self._look(x, whole, first, state, traced=False)[0]

    def _look(
        self, x: Tensor, whole: Tensor, first: Tensor, state: HCAMState, traced: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """:meth:`look`, where ``state.phase`` is that of every step, (B, T)."""
        steps = len(x)
        recent = whole[:, -(steps + self.chunk_size - 1) :]  # all that the last C steps of any step can be
        left_out = whole.shape[1] - recent.shape[1]
        length, nearest = recent.shape[1] - steps, (first - left_out).clamp(min=0)
        kernels = None if traced else kernels_for([x, recent, self.keys.weight], self.recent.key_size)
        normed, trace = self.recent_norm(recent), {}
        if kernels is None:
            seen = history.sees(nearest, length, length + 1)
            found, weights = self.recent(normed, seen, length + 1)
            trace["recent_weights"] = functional.pad(weights, (self.chunk_size - 1 - length, 0))
        else:
            found = self.recent.along(normed, history.runs(nearest, length, length + 1), length + 1, kernels)
        stream = whole[:, -steps:] + found.to(whole.dtype)
        found, weights, begins = self._remember(self.memory_norm(stream), whole, first, state.phase)
        stream = stream + found.to(whole.dtype)
        if traced:
            filling = torch.arange(whole.shape[1] - steps, whole.shape[1], device=whole.device) - state.phase
            slots = self.chunks - (filling.unsqueeze(2) - begins) // self.chunk_size  # the newest complete chunk last
            shown = weights.new_zeros(*first.shape, self.chunks)
            trace["chunk_weights"] = shown.scatter_add(2, slots.clamp(0, self.chunks - 1), weights)
        stream = stream + self.feedforward(self.feedforward_norm(stream)).to(whole.dtype)
        return stream, trace

    def _remember(self, asked: Tensor, whole: Tensor, first: Tensor, phases: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the steps find in their chunks, (B, T, W), and the chunks' weights and first positions, (B, T, K)."""
        steps, positions, width = asked.shape[1], whole.shape[1], whole.shape[2]
        if positions < self.chunk_size:
            none = first.new_zeros(*first.shape, 0)
            return torch.zeros_like(asked), none.to(whole.dtype), none
        stored = whole.detach() if self.stop_gradient else whole
        maps = (self.row_queries, self.row_keys, self.row_values)
        of_queries, of_keys, of_values = (made.weight.unflatten(0, (self.heads, -1)) for made in maps)
        with full_precision(whole):
            asked = asked.to(whole.dtype)
            # (W_q x) · (W_k c) = (W_kᵀ W_q x) · c: no chunk has to be multiplied by a matrix.
            of_chunks = self.queries(asked) @ self.keys.weight * width**-0.5
            scores = of_chunks @ chunks.means(stored, self.chunk_size).transpose(1, 2)
            mask = chunks.readable(first, phases, positions - steps, self.chunk_size, self.chunks)
            weights, begins = chunks.choose(scores, mask, self.top_k)
            contents = chunks.take(stored, begins, self.chunk_size)
            contents = contents + constant_sinusoids(self.chunk_size, width, whole)
            queries = torch.einsum("btw,hkw->bthk", asked, of_queries) * (width // self.heads) ** -0.5
            found, _ = chunks.look_within(torch.einsum("bthk,hkw->bthw", queries, of_keys), contents, weights)
            found = torch.einsum("bthw,hkw->bthk", found, of_values).flatten(2)
            return self.found(found), weights, begins

    def _window(
        self,
        x: Tensor,
        state: HCAMState,
        starts: Tensor,
        look: Callable[..., tuple[Tensor, dict[str, Tensor]]],
    ) -> Step[HCAMState]:
        phases = chunks.phases(state.phase, starts, self.chunk_size)
        step = super()._window(x, state._replace(phase=phases), starts, look)
        return step._replace(state=step.state._replace(phase=(phases[:, -1] + 1) % self.chunk_size))
