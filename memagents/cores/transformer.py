"""Parts of Transformers over an episode: attention by age, gates in place of residuals, feed-forward layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores.core import full_precision
from memagents.kernels import choice
from memagents.kernels.choice import Window
from memagents.memory import history
from memagents.memory.relative import constant_sinusoids, relative_attention
from memagents.memory.writes import gated_overwrite


class Places(NamedTuple):
    """Conversions between entries by age and entries by position, where they are not the plain ones."""

    to_positions: Callable[[Tensor], Tensor]  # (B, heads, T, S) to (B, heads, T, P)
    to_ages: Callable[[Tensor], Tensor]  # back


class Kernels(NamedTuple):
    """Fused windows of :mod:`memagents.kernels` for what lies around attention."""

    attention: Window
    look: Window
    gate: Window


def kernels_for(tensors: Sequence[Tensor], key_size: int) -> Kernels | None:
    """The kernels for such tensors and heads of such a size, if there are any, see :mod:`memagents.kernels.choice`."""
    attention = choice.window_for("attention", tensors, key_size=key_size)
    look = choice.window_for("look", tensors, key_size=key_size)
    gate = choice.window_for("gate", tensors, key_size=key_size)
    return None if attention is None or look is None or gate is None else Kernels(attention, look, gate)


class RelativeAttention(nn.Module):
    """Multi-head attention of a window's steps to a timeline, by content and age (Dai et al. 2019, section 3.3).

    u and v belong to this layer, as its matrices do, and begin at zero; the matrices have no biases.

    :param width: W, a multiple of ``heads``
    :param heads: number of heads, each with W / heads of the width
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % positive_int("heads", heads):
            raise ValueError(f"width must be a multiple of heads ({heads}), not {width}")
        self.heads = heads
        self.queries = nn.Linear(width, width, bias=False)  # W_q
        self.keys = nn.Linear(width, width, bias=False)  # W_{k,E}
        self.values = nn.Linear(width, width, bias=False)  # W_v
        self.ages = nn.Linear(width, width, bias=False)  # W_{k,R}
        self.output = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, width // heads))  # u
        self.position_bias = nn.Parameter(torch.zeros(heads, width // heads))  # v

    def forward(self, whole: Tensor, seen: Tensor, span: int, places: Places | None = None) -> tuple[Tensor, Tensor]:
        """
        :param whole: a timeline of which the last T rows are the window's, (B, L + T, W)
        :param seen: (B, T, L + T) booleans of :func:`memagents.memory.history.sees`
        :param span: S, how many positions a step sees at most, its own among them; at most L + 1
        :param places: where the ages are on the timeline; by default, at age a of step t the position L + t − a
        :return: what the steps find, (B, T, W), and the weights by age, from the oldest to a step's own,
            (B, T, heads, S)
        """
        steps = seen.shape[1]
        queries = self.split(self.queries(whole[:, -steps:]).to(whole.dtype))
        keys, values = (self.split(made.to(whole.dtype)) for made in (self.keys(whole), self.values(whole)))
        encodings = self.split(self.ages(constant_sinusoids(span, whole.shape[-1], whole)).to(whole.dtype))
        to_positions, to_ages = (None, None) if places is None else places
        with full_precision(whole):
            found, weights = relative_attention(
                queries, keys, values, encodings, self.content_bias, self.position_bias, seen, to_positions
            )
            by_age = history.unskew(weights, span) if to_ages is None else to_ages(weights)
        return self.output(found.transpose(1, 2).flatten(2)).to(whole.dtype), by_age.transpose(1, 2)

    def along(self, whole: Tensor, runs: Tensor, span: int, kernels: Kernels) -> Tensor:
        """Run :meth:`forward` by kernels, for what the steps find alone.

        :param whole: as there
        :param runs: what each step sees, int64 (B, T, R, 3), see :func:`memagents.memory.history.runs`
        :param span: S
        :param kernels: of :func:`kernels_for`
        :return: (B, T, W)
        """
        queries = self.queries(whole[:, -runs.shape[1] :])
        encodings = self.ages(constant_sinusoids(span, whole.shape[-1], whole))
        of_content, of_age = queries + self.content_bias.flatten(), queries + self.position_bias.flatten()
        found = kernels.attention(
            of_content, self.keys(whole), self.values(whole), runs, span, self.heads, ages=of_age, encodings=encodings
        )
        return self.output(found)

    def of_rows(
        self,
        store: Tensor,
        runs: Tensor,
        present: Tensor,
        encodings: Tensor,
        kernels: Kernels,
        norm: nn.LayerNorm | None = None,
        shift: Tensor | None = None,
        after: Tensor | None = None,
    ) -> Tensor:
        """Run a single step of :meth:`forward`, without a gradient, from the rows themselves: no key or value is made.

        q · W_k x = (W_kᵀ q) · x and Σ w W_v x = W_v Σ w x, so that a step takes about as long as its memory to be read.

        :param store: rows of the past, (B, P, W)
        :param runs: which of them the step sees, int64 (B, R, 3)
        :param present: the step's own row, (B, W)
        :param encodings: sinusoids of the slots, (S, W)
        :param kernels: of :func:`kernels_for`
        :param norm: what is attended to is this of the rows
        :param shift: or the sum of this, (W,), and the rows
        :param after: becomes the last L rows, (B, L, W)
        :return: (B, W)
        """
        heads, size = self.content_bias.shape
        asking = present if norm is None else norm(present)
        queries = self.queries(asking if shift is None else asking + shift).unflatten(-1, (heads, size))
        of_content = (queries + self.content_bias).transpose(0, 1) @ self.keys.weight.unflatten(0, (heads, size))
        of_age = (queries + self.position_bias).transpose(0, 1)
        by_slot = of_age @ self.ages(encodings).unflatten(-1, (heads, size)).permute(1, 2, 0)  # (H, B, S)
        if norm is not None:  # what is added to all rows alike adds the same to all scores, which changes nothing
            of_content = of_content * norm.weight
        factor, normed = size**-0.5, norm is not None
        found = kernels.look(store, runs, present, of_content, by_slot, len(encodings), factor, normed, after)
        if norm is not None:
            found = found * norm.weight + norm.bias
        if shift is not None:
            found = found + shift
        found = found @ self.values.weight.unflatten(0, (heads, size)).transpose(1, 2)  # (H, B, K)
        return self.output(found.transpose(0, 1).flatten(1))

    @property
    def key_size(self) -> int:
        """K, the width of a head."""
        return self.content_bias.shape[1]

    def split(self, rows: Tensor) -> Tensor:
        """(..., M, W) to (..., heads, M, W / heads)."""
        return rows.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class GRUGate(nn.Module):
    """A residual connection that a GRU decides on (Parisotto et al. 2019, section 3.2).

    r = σ(W_r y + U_r x), z = σ(W_z y + U_z x − b_g), ĥ = tanh(W_g y + U_g (r ∘ x)), g = (1 − z) ∘ x + z ∘ ĥ

    :param width: W
    :param bias: what b_g begins as: the greater, the nearer the layer begins to the identity
    """

    def __init__(self, width: int, bias: float):
        super().__init__()
        self.of_update = nn.Linear(width, 3 * width, bias=False)  # W_r, W_z, W_g
        self.of_stream = nn.Linear(width, 2 * width, bias=False)  # U_r, U_z
        self.of_reset = nn.Linear(width, width, bias=False)  # U_g
        self.bias = nn.Parameter(torch.full((width,), float(bias)))  # b_g

    def forward(self, stream: Tensor, update: Tensor, kernels: Kernels | None = None) -> Tensor:
        """
        :param stream: x, (..., W)
        :param update: y, what a layer made of it, (..., W)
        :param kernels: run by one of these; else by the plain operations, which it equals
        :return: (..., W), in the precision of the stream
        """
        if kernels is not None:
            of_update, of_stream = self.of_update(update), self.of_stream(stream)
            return kernels.gate(stream, of_update, of_stream, self.of_reset.weight, self.bias)
        of_update, of_stream = self.of_update(update).to(stream.dtype), self.of_stream(stream).to(stream.dtype)
        r_y, z_y, h_y = of_update.chunk(3, dim=-1)
        r_x, z_x = of_stream.chunk(2, dim=-1)
        reset, open_ = (r_y + r_x).sigmoid(), (z_y + z_x - self.bias).sigmoid()
        candidate = (h_y + self.of_reset(reset * stream).to(stream.dtype)).tanh()
        return gated_overwrite(stream, open_, candidate)


class FeedForward(nn.Sequential):
    """W_2 ReLU(W_1 x + b_1) + b_2, step by step (Vaswani et al. 2017, equation 2), in the precision of x.

    :param width: W, of the input and the output
    :param hidden: of W_1 x; by default 4 W, the ratio of that paper
    """

    def __init__(self, width: int, hidden: int | None = None):
        hidden = 4 * width if hidden is None else positive_int("feedforward", hidden)
        super().__init__(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).to(x.dtype)
