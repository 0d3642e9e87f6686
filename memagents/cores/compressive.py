"""Compressive Transformer (Rae et al. 2019, "Compressive transformers for long-range sequence modelling")."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import Step, full_precision
from memagents.cores.transformer import FeedForward, Places, RelativeAttention
from memagents.cores.window import WindowCore
from memagents.memory import compression, history
from memagents.memory.attention import attention


class CompressiveState(NamedTuple):
    """B rows, M = L + rate − 1 rows of memory at most, C compressed ones, W width; see memagents.memory.compression."""

    rows: Tensor  # (B, layers, M, W): each layer's last inputs, oldest first
    filled: Tensor  # int64 (B,): how many of them are of the present episode, the last so many
    compressed: Tensor  # (B, layers, C, W): what older inputs became, oldest first
    compressed_filled: Tensor  # int64 (B,): how many of them are of the present episode


@register_core("compressive")
class Compressive(WindowCore[CompressiveState]):
    """A Transformer-XL that does not discard its oldest memories but compresses them.

    A layer is post-norm, as in the paper's Algorithm 1: a = LN(h + Attention(h, [compressed; memory; present])) and
    h ← LN(a + MLP(a)). As soon as L + ``rate`` inputs of a layer are in its memory, the ``rate`` oldest leave it after
    the step and become one compressed row, by a convolution of width and stride ``rate``, each layer its own.

    The convolutions learn from the loss "reconstruction" alone (Algorithm 2), and it trains nothing else: ::

        Σ over layers ‖attn(h, old) − attn(h, f_c(old))‖²

    where attn is the layer's attention by content alone, before its output matrix, with its matrices, h and the old
    memories taken as constants. So compressed rows have no gradient on their way to the inputs that they are made of,
    nor to the convolution; what attends to them is trained as usual. The square is a mean over h and the width.

    Of steps instead of segments some choices follow. h are the L rows that stay in the memory, the present one last.
    Every row is in the memory or the compressed one: up to ``rate`` − 1 wait in the memory for their group. Relative
    positions go on through the compressed rows slot by slot: the latest has the age L + ``rate``, the one before it one
    more. As in GTrXL, gradients stop at the window's edge and flow inside it, but for compressed rows.

    :param input_size: width I of one input
    :param length: number of past steps L that each layer keeps as they are; no weight depends on it
    :param compressed: number of compressed rows C of each layer; no weight depends on it
    :param rate: how many rows become one
    :param layers: number of layers
    :param width: width W of a row, a multiple of ``heads``
    :param heads: number of attention heads, each with W / heads of the width
    :param feedforward: hidden units of the perceptrons; by default 4 W
    :param reconstruction_weight: weight of the loss; with 0 there is none, and the convolutions stay as they began
    :param output_size: width O of one output, by a linear layer; by default h of the last layer
    """

    def __init__(
        self,
        input_size: int,
        length: int = 32,
        compressed: int = 32,
        rate: int = 3,
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        feedforward: int | None = None,
        reconstruction_weight: float = 1.0,
        output_size: int | None = None,
    ):
        width = positive_int("width", width)
        super().__init__(input_size, width if output_size is None else output_size)
        self.length = positive_int("length", length)
        self.compressed = positive_int("compressed", compressed)
        self.rate = positive_int("rate", rate)
        self.reconstruction_weight = in_range("reconstruction_weight", reconstruction_weight, 0, 1e6)
        self.width = width
        self.embedding = nn.Linear(input_size, width)
        self.layers = nn.ModuleList(
            _Layer(width, heads, feedforward, length, rate) for _ in range(positive_int("layers", layers))
        )
        self.output = nn.Identity() if output_size is None else nn.Linear(width, output_size)

    @property
    def capacity(self) -> int:
        """M, the greatest number of rows in the memory after a step."""
        return self.length + self.rate - 1

    def initial_state(self, batch_size: int) -> CompressiveState:
        weight, layers = self.embedding.weight, len(self.layers)
        rows, compressed = (
            weight.new_zeros(batch_size, layers, size, self.width) for size in (self.capacity, self.compressed)
        )
        filled, compressed_filled = torch.zeros(2, batch_size, dtype=torch.int64, device=weight.device)
        return CompressiveState(rows, filled, compressed, compressed_filled)

    def project(self, inputs: Tensor) -> Tensor:
        """The first layer's inputs: (..., I) to (..., W)."""
        return self.embedding(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """The last layer's outputs, or a linear layer of them: (..., W) to (..., O)."""
        return self.output(features)

    def window(self, x: Tensor, state: CompressiveState, starts: Tensor) -> Step[CompressiveState]:
        plan = compression.leaving(
            state.filled, state.compressed_filled, starts, self.length, self.compressed, self.rate
        )
        seen = compression.sees(plan, self.length, self.rate)
        stream, trace = x.transpose(0, 1), {}
        rows, compressed, errors = [], [], []
        for number, layer in enumerate(self.layers):
            whole = history.timeline(state.rows[:, number], stream, plan.first)
            stream, columns, error, weights = layer(whole, state.compressed[:, number], plan, seen)
            rows.append(history.newest(whole, plan.first_after, self.capacity))
            compressed.append(compression.newest_compressed(columns, plan))
            errors.append(error)
            trace[f"layer_{number + 1}_weights"] = weights.transpose(0, 1)
        state = CompressiveState(
            torch.stack(rows, dim=1),
            self.capacity + len(x) - plan.first_after.squeeze(1),
            torch.stack(compressed, dim=1),
            compression.compressed_filled_after(plan),
        )
        losses = {}
        if self.reconstruction_weight:
            error = torch.where(plan.left, self.reconstruction_weight * sum(errors), 0)  # (B, E)
            losses["reconstruction"] = error.new_zeros(starts.T.shape).scatter(1, plan.group, error).T
        return Step(stream.transpose(0, 1), state, losses, trace)


class _Layer(nn.Module):
    """Attention and a perceptron, a residual and a LayerNorm around both; and what compresses the layer's inputs."""

    def __init__(self, width: int, heads: int, feedforward: int | None, length: int, rate: int):
        super().__init__()
        self.length = length
        self.rate = rate
        self.attention = RelativeAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward)
        self.feedforward_norm = nn.LayerNorm(width)
        # f_c: as wide as its stride, a convolution is a linear layer of the rows of a group, side by side.
        self.compressor = nn.Linear(rate * width, width)

    def forward(
        self, whole: Tensor, compressed: Tensor, plan: compression.Leaving, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """
        :param whole: the timeline of the layer's inputs, (B, M + T, W)
        :param compressed: the compressed rows before the window, (B, C, W)
        :param plan: which rows leave the memory when
        :param seen: which compressed and other rows each step sees, (B, T, C + E + M + T)
        :return: the next layer's inputs, (B, T, W); the compressed rows before the window and of it, (B, C + E, W); the
            reconstruction's error for each of the latter, (B, E); the attention's weights by slot,
            (B, T, heads, C + M + 1)
        """
        old = compression.take(whole.detach(), plan.group, self.rate)  # (B, E, rate, W)
        with full_precision(whole):
            new = self.compressor(old.flatten(-2))  # (B, E, W)
        error = self._error(compression.take(whole.detach(), plan.group + self.rate, self.length), old, new)
        columns = compression.columns_timeline(compressed, new.detach(), plan)

        slots, capacity = compressed.shape[1], self.length + self.rate - 1
        places = Places(
            partial(compression.to_positions, plan=plan, length=capacity),
            partial(compression.to_slots, plan=plan, length=capacity),
        )
        found, weights = self.attention(torch.cat([columns, whole], dim=1), seen, slots + capacity + 1, places)
        stream = self.attention_norm(whole[:, capacity:] + found)
        return self.feedforward_norm(stream + self.feedforward(stream)), columns, error, weights

    def _error(self, looking: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """‖attn(h, old) − attn(h, f_c(old))‖², a mean over h and the width.

        :param looking: h, (B, E, L, W), without history, as ``old`` is
        :param old: (B, E, rate, W)
        :param new: f_c(old), (B, E, W)
        :return: (B, E)
        """
        with full_precision(old):
            # Who looks at a single row finds that row's values, whatever is asked.
            difference = self._look(looking, old) - self._values(new.unsqueeze(-2))
        return difference.square().mean(dim=(-3, -2, -1))

    def _look(self, looking: Tensor, rows: Tensor) -> Tensor:
        """attn(h, m), by content alone, with constants for matrices: (B, E, heads, L, W / heads)."""
        queries, keys = (
            self.attention.split(linear(of, projection.weight.detach()))
            for projection, of in ((self.attention.queries, looking), (self.attention.keys, rows))
        )
        return attention(queries, keys, self._values(rows))[0]

    def _values(self, rows: Tensor) -> Tensor:
        """(B, E, M, W) to (B, E, heads, M, W / heads), with a constant matrix."""
        return self.attention.split(linear(rows, self.attention.values.weight.detach()))
