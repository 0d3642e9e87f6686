"""Gated Transformer-XL (Parisotto et al. 2019, "Stabilizing Transformers for reinforcement learning")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import Step
from memagents.cores.episode_store import EpisodeStore, StoreState
from memagents.cores.transformer import FeedForward, GRUGate, Kernels, RelativeAttention, kernels_for
from memagents.memory import history
from memagents.memory.relative import constant_sinusoids


@register_core("gtrxl")
class GTrXL(EpisodeStore[StoreState]):
    """A Transformer in which each layer sees its own inputs of the last L steps, and gates take the residuals' place.

    The stream begins as a linear layer of the input. A layer changes it twice (section 3.2), through a LayerNorm in
    front (the identity map reordering), a ReLU behind, and a GRU's gate with the stream x: ::

        x ← g(x, ReLU(Attention(LN(past and present x))))         x ← g(x, ReLU(MLP(LN(x))))

    The gates begin nearly shut (b_g = 2, trained), so that what the heads see first is almost the input. Attention is
    Transformer-XL's, by content and age, to the step itself and to the L before it in its episode.

    The paper stops gradients at the memory of the past segment and has them inside the segment. The memory's gradients
    are kept here: it is the window's edge, where the agents cut the state, that stops them, and inside a window they
    flow. Where the paper is silent: u and v belong to each layer, and the perceptron has the Transformer's ratio.

    As every layer looks back L steps, the output depends on the last ``layers`` × L inputs and the present one.

    :param input_size: width I of one input
    :param length: number of past steps L that each layer keeps; no weight depends on it
    :param layers: number of layers
    :param width: width W of the stream, a multiple of ``heads``
    :param heads: number of attention heads, each with W / heads of the width
    :param feedforward: hidden units of the perceptrons; by default 4 W
    :param gate_bias: what all b_g begin as
    :param output_size: width O of one output, by a linear layer; by default the stream itself
    """

    def __init__(
        self,
        input_size: int,
        length: int = 64,
        layers: int = 3,
        width: int = 64,
        heads: int = 4,
        feedforward: int | None = None,
        gate_bias: float = 2.0,
        output_size: int | None = None,
    ):
        width = positive_int("width", width)
        super().__init__(input_size, width if output_size is None else output_size, length, width)
        gate_bias = in_range("gate_bias", gate_bias, -100, 100)
        self.embedding = nn.Linear(input_size, width)
        self.layers = nn.ModuleList(
            _Layer(width, heads, feedforward, gate_bias) for _ in range(positive_int("layers", layers))
        )
        self.output = nn.Identity() if output_size is None else nn.Linear(width, output_size)

    def initial_state(self, batch_size: int) -> StoreState:
        """One history a layer, (B, layers, L, W), all filled alike."""
        rows, filled = super().initial_state(batch_size)
        return StoreState(rows.unsqueeze(1).repeat(1, len(self.layers), 1, 1), filled)

    def project(self, inputs: Tensor) -> Tensor:
        """The stream's beginning: (..., I) to (..., W)."""
        return self.embedding(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """The stream's end, or a linear layer of it: (..., W) to (..., O)."""
        return self.output(features)

    def window(self, x: Tensor, state: StoreState, starts: Tensor) -> Step[StoreState]:
        return self._through(x, state, starts, None)

    def untraced(self, x: Tensor, state: StoreState, starts: Tensor) -> Step[StoreState]:
        """Run by a kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernel, for the CPU, equals :meth:`window`, which runs for a trace, if ``width / heads`` is no multiple of 8
        (in float64 of 4), and wherever there is no kernel. It cannot be differentiated twice.
        """
        kernels = kernels_for([x, state.rows, self.embedding.weight], self._attention.key_size)
        if kernels is not None and len(x) == 1 and not torch.is_grad_enabled():
            return self._act(x[0], state, starts[0], kernels)
        return self._through(x, state, starts, kernels)

    @property
    def _attention(self) -> RelativeAttention:
        return self.layers[0].attention  # type: ignore[return-value]

    def _act(self, x: Tensor, state: StoreState, starts: Tensor, kernels: Kernels) -> Step[StoreState]:
        """A single step of :meth:`untraced` without a gradient: x (B, W) and starts (B,), results as there."""
        runs, filled = history.runs_of_step(state.filled, starts, self.length)
        encodings = constant_sinusoids(self.length + 1, x.shape[-1], x)
        pasts, after = state.rows.contiguous(), torch.empty_like(state.rows, memory_format=torch.contiguous_format)
        for layer, past, then in zip(self.layers, pasts.unbind(1), after.unbind(1), strict=True):
            x = layer.act(past, runs, x, encodings, kernels, then)  # type: ignore[operator]
        return Step(x.unsqueeze(0), StoreState(after, filled), {}, {})

    def _through(self, x: Tensor, state: StoreState, starts: Tensor, kernels: Kernels | None) -> Step[StoreState]:
        first = history.first_positions(state.filled, starts, self.length)
        filled = history.filled_after(first, self.length)
        pasts, first = history.trimmed(state.rows, first)  # (B, layers, L', W)
        length = pasts.shape[2]
        seen = (history.sees if kernels is None else history.runs)(first, length, length + 1)
        stream, rows, trace = x.transpose(0, 1), [], {}
        for number, (layer, past) in enumerate(zip(self.layers, pasts.unbind(1), strict=True), start=1):
            whole = history.timeline(past, stream, first)
            rows.append(history.newest(whole, first, self.length))
            if kernels is not None:
                stream = layer.along(whole, seen, kernels)  # type: ignore[operator]
                continue
            stream, weights = layer(whole, seen)
            shown = functional.pad(weights, (self.length - length, 0))
            trace[f"layer_{number}_weights"] = shown.transpose(0, 1)
        state = StoreState(torch.stack(rows, dim=1), filled)
        return Step(stream.transpose(0, 1), state, {}, trace)


class _Layer(nn.Module):
    """Attention and a perceptron, each between a LayerNorm and a gate."""

    def __init__(self, width: int, heads: int, feedforward: int | None, gate_bias: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = RelativeAttention(width, heads)
        self.attention_gate = GRUGate(width, gate_bias)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward)
        self.feedforward_gate = GRUGate(width, gate_bias)

    def forward(self, whole: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """
        :param whole: the timeline of the layer's inputs, (B, L + T, W)
        :param seen: which positions each step sees, (B, T, L + T)
        :return: the stream after it, (B, T, W), and the attention's weights by age, (B, T, heads, L + 1)
        """
        steps = seen.shape[1]
        found, weights = self.attention(self.attention_norm(whole), seen, whole.shape[1] - steps + 1)
        return self._update(whole[:, -steps:], found), weights

    def along(self, whole: Tensor, runs: Tensor, kernels: Kernels) -> Tensor:
        """Run :meth:`forward` by kernels, for the stream alone; ``runs`` in place of ``seen``, (B, T, 1, 3)."""
        steps = runs.shape[1]
        found = self.attention.along(self.attention_norm(whole), runs, whole.shape[1] - steps + 1, kernels)
        return self._update(whole[:, -steps:], found, kernels)

    def act(
        self, past: Tensor, runs: Tensor, stream: Tensor, encodings: Tensor, kernels: Kernels, after: Tensor
    ) -> Tensor:
        """A single step of :meth:`along` without a gradient.

        :param past: the layer's inputs before, (B, L, W)
        :param runs: which of them are of the episode, (B, 1, 3)
        :param stream: (B, W)
        :param encodings: sinusoids of the ages, (L + 1, W)
        :param kernels: of :func:`memagents.cores.transformer.kernels_for`
        :param after: becomes the layer's last inputs, (B, L, W)
        :return: the stream after it, (B, W)
        """
        found = self.attention.of_rows(past, runs, stream, encodings, kernels, norm=self.attention_norm, after=after)
        return self._update(stream, found, kernels)

    def _update(self, stream: Tensor, found: Tensor, kernels: Kernels | None = None) -> Tensor:
        """The stream after the layer, from that before it and what the attention found, (..., W) all."""
        stream = self.attention_gate(stream, found.relu(), kernels)
        return self.feedforward_gate(stream, self.feedforward(self.feedforward_norm(stream)).relu(), kernels)
