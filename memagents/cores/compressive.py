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
from memagents.cores.transformer import FeedForward, Kernels, Places, RelativeAttention, kernels_for
from memagents.cores.window import WindowCore
from memagents.memory import compression, history
from memagents.memory.attention import attention
from memagents.memory.relative import constant_sinusoids


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
        return self._window(x, state, starts, None)

    def untraced(self, x: Tensor, state: CompressiveState, starts: Tensor) -> Step[CompressiveState]:
        """Run by kernels where there are such, see :func:`memagents.kernels.choice.window_for`.

        The kernels, for the CPU, equal :meth:`window`, which runs for a trace, if ``width / heads`` is no multiple of 8
        (in float64 of 4), and wherever there are none. They cannot be differentiated twice.
        """
        tensors = [x, state.rows, state.compressed, self.embedding.weight]
        return self._window(x, state, starts, kernels_for(tensors, self.layers[0].attention.key_size))  # type: ignore[union-attr, arg-type]

    def _window(
        self, x: Tensor, state: CompressiveState, starts: Tensor, kernels: Kernels | None
    ) -> Step[CompressiveState]:
        plan = compression.leaving(
            state.filled, state.compressed_filled, starts, self.length, self.compressed, self.rate
        )
        filled = self.capacity + len(x) - plan.first_after.squeeze(1)
        if kernels is None:
            pasts, olds = state.rows, state.compressed
            seen = compression.sees(plan, self.length, self.rate)
        else:
            plan, pasts, olds = compression.trimmed(plan, state.rows, state.compressed)
            seen = compression.runs(plan, self.capacity, pasts.shape[2], olds.shape[2])
        stream, trace = x.transpose(0, 1), {}
        rows, compressed, errors = [], [], []
        for number, (layer, past, old) in enumerate(zip(self.layers, pasts.unbind(1), olds.unbind(1), strict=True)):
            whole = history.timeline(past, stream, plan.first)
            columns, error = layer.compress(whole, old, plan)  # type: ignore[operator]
            if kernels is None:
                stream, weights = layer(whole, columns, plan, seen)
                trace[f"layer_{number + 1}_weights"] = weights.transpose(0, 1)
            else:
                stream = layer.along(whole, columns, seen, self.compressed, kernels)  # type: ignore[operator]
            rows.append(history.newest(whole, plan.first_after, self.capacity))
            compressed.append(compression.newest_compressed(columns, plan))
            errors.append(error)
        state = CompressiveState(
            torch.stack(rows, dim=1),
            filled,
            torch.stack(compressed, dim=1),
            compression.compressed_filled_after(plan),
        )
        losses = {}
        if self.reconstruction_weight:
            error = torch.where(plan.left, self.reconstruction_weight * sum(errors), 0)  # (B, E)
            losses["reconstruction"] = error.new_zeros(starts.T.shape).scatter(1, self._steps(plan, pasts), error).T
        return Step(stream.transpose(0, 1), state, losses, trace)

    def _steps(self, plan: compression.Leaving, pasts: Tensor) -> Tensor:
        """The steps after which groups leave, (B, E), whatever where there is no such group."""
        return plan.group + self.capacity - pasts.shape[2]


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

    def compress(self, whole: Tensor, compressed: Tensor, plan: compression.Leaving) -> tuple[Tensor, Tensor]:
        """Compress the groups that leave, and those alone.

        :param whole: the timeline of the layer's inputs, (B, M' + T, W)
        :param compressed: the compressed rows before the window, (B, C', W)
        :param plan: which rows leave the memory when
        :return: the compressed rows before the window and of it, (B, C' + E, W); the reconstruction's error for each of
            the latter, (B, E)
        """
        groups = compression.groups_of(plan)
        rows, begin = groups[0], plan.group[groups]
        old = compression.take(whole.detach(), rows, begin, self.rate)  # (G, rate, W)
        looking = compression.take(whole.detach(), rows, begin + self.rate, self.length)
        with full_precision(whole):
            new = self.compressor(old.flatten(-2))  # (G, W)
        error = self._error(looking, old, new)
        all_new = new.new_zeros(*plan.group.shape, new.shape[-1]).index_put(groups, new.detach())
        columns = compression.columns_timeline(compressed, all_new, plan)
        return columns, error.new_zeros(plan.group.shape).index_put(groups, error)

    def forward(self, whole: Tensor, columns: Tensor, plan: compression.Leaving, seen: Tensor) -> tuple[Tensor, Tensor]:
        """
        :param whole: the timeline of the layer's inputs, (B, M + T, W)
        :param columns: of :meth:`compress`, (B, C + E, W)
        :param plan: which rows leave the memory when
        :param seen: which compressed and other rows each step sees, (B, T, C + E + M + T)
        :return: the next layer's inputs, (B, T, W); the attention's weights by slot, (B, T, heads, C + M + 1)
        """
        capacity = self.length + self.rate - 1
        slots = plan.columns.shape[2] + capacity + 1
        places = Places(
            partial(compression.to_positions, plan=plan, length=capacity),
            partial(compression.to_slots, plan=plan, length=capacity),
        )
        found, weights = self.attention(torch.cat([columns, whole], dim=1), seen, slots, places)
        return self._update(whole[:, capacity:], found), weights

    def along(self, whole: Tensor, columns: Tensor, runs: Tensor, slots: int, kernels: Kernels) -> Tensor:
        """Run :meth:`forward` by kernels, for the next layer's inputs alone.

        :param whole: (B, M' + T, W)
        :param columns: (B, C' + E, W)
        :param runs: what each step sees, int64 (B, T, 2, 3)
        :param slots: C
        :param kernels: of :func:`memagents.cores.transformer.kernels_for`
        :return: (B, T, W)
        """
        steps, span = runs.shape[1], slots + self.length + self.rate
        stream, joined = whole[:, -steps:], torch.cat([columns, whole], dim=1)
        if steps == 1 and not torch.is_grad_enabled():
            past = runs[:, 0].clone()
            past[:, 1, 1] -= 1  # but for its own row
            encodings = constant_sinusoids(span, whole.shape[-1], whole)
            found = self.attention.of_rows(joined, past, stream[:, 0], encodings, kernels).unsqueeze(1)
        else:
            found = self.attention.along(joined, runs, span, kernels)
        return self._update(stream, found)

    def _update(self, stream: Tensor, found: Tensor) -> Tensor:
        """The next layer's inputs, from the layer's own and what the attention found, (B, T, W) all."""
        stream = self.attention_norm(stream + found)
        return self.feedforward_norm(stream + self.feedforward(stream))

    def _error(self, looking: Tensor, old: Tensor, new: Tensor) -> Tensor:
        """‖attn(h, old) − attn(h, f_c(old))‖², a mean over h and the width.

        :param looking: h, (G, L, W), without history, as ``old`` is
        :param old: (G, rate, W)
        :param new: f_c(old), (G, W)
        :return: (G,)
        """
        with full_precision(old):
            # Who looks at a single row finds that row's values, whatever is asked.
            difference = self._look(looking, old) - self._values(new.unsqueeze(-2))
        return difference.square().mean(dim=(-3, -2, -1))

    def _look(self, looking: Tensor, rows: Tensor) -> Tensor:
        """attn(h, m), by content alone, with constants for matrices: (G, heads, L, W / heads)."""
        queries, keys = (
            self.attention.split(linear(of, projection.weight.detach()))
            for projection, of in ((self.attention.queries, looking), (self.attention.keys, rows))
        )
        return attention(queries, keys, self._values(rows))[0]

    def _values(self, rows: Tensor) -> Tensor:
        """(G, M, W) to (G, heads, M, W / heads), with a constant matrix."""
        return self.attention.split(linear(rows, self.attention.values.weight.detach()))
