"""minGRU and minLSTM (Feng et al. 2024, arXiv 2410.01201)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import boolean, one_of, positive_int
from memagents.cores import register_core
from memagents.cores.layered import Layer, Layered, initial_half_lives, memory_dtype, number_of_layers
from memagents.cores.lstm import as_torch_begins
from memagents.memory.state_space import remaining


class MinimalLayer(Layer):
    """One layer of :class:`MinGRU`, (..., I) to (..., H)."""

    def __init__(self, input_size: int, keep: Tensor, cell: str, positive: bool, skip: bool):
        super().__init__()
        hidden_size, gates = len(keep), 1 if cell == "gru" else 2
        self.cell, self.positive, self.parts = cell, positive, gates + 1 + skip
        self.maps = nn.Linear(input_size, self.parts * hidden_size)
        as_torch_begins(self.maps, hidden_size)
        bias = keep.logit()
        begin = -bias if cell == "gru" else torch.cat([bias, -bias])
        with torch.no_grad():
            self.maps.bias[: gates * hidden_size] = begin.to(self.maps.bias.dtype)

    def project(self, inputs: Tensor) -> Tensor:
        """The pre-activations of the gates, the candidate and the skip side by side."""
        return self.maps(inputs)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        parts = x.to(memory_dtype(self.maps.weight.dtype, False)).chunk(self.parts, dim=-1)
        if self.cell == "gru":
            update, candidate, *skip = parts
            keep, into = (-update).sigmoid(), update.sigmoid()
        else:
            forget, input_gate, candidate, *skip = parts
            ratio = functional.logsigmoid(forget) - functional.logsigmoid(input_gate)  # log(f / i)
            keep, into = ratio.sigmoid(), (-ratio).sigmoid()
        if self.positive:
            candidate = torch.where(candidate >= 0, candidate + 0.5, candidate.sigmoid())
        return keep, into * candidate, skip

    def outputs(self, memory: Tensor, aside: Any) -> Tensor:
        return (memory + aside[0] if aside else memory).to(self.maps.weight.dtype)


@register_core("mingru")
class MinGRU(Layered):
    """Gated recurrent networks made so small that no gate looks at the state; a window is one scan a layer.

        minGRU:  z = σ(W_z x + b_z),  h' = (1 - z) ∘ h + z ∘ h̃,  h̃ = W_h x + b_h
        minLSTM: f = σ(W_f x + b_f),  i = σ(W_i x + b_i),  h' = f/(f + i) ∘ h + i/(f + i) ∘ h̃

    These are the paper's equations (sections 3.1 and 3.2). With ``positive`` the candidate is g(h̃), g(x) = x + 1/2 for
    x ≥ 0 and σ(x) below, as in its appendix, whose parallel form needs logarithms of all that it sums. Here a window
    is a scan of h itself: it begins at zero like any state, since no logarithm of it is taken, and a state that is
    carried from one window to the next is the h of one step to the next.

    One layer cannot count or compare, as its gates do not see h, so that layers are stacked; the paper's have two or
    three (as others tell it). The rest is ours. With ``skip`` a layer says h' + ℓ(x) with ℓ linear, since a unit that
    remembers for long hardly shows the present. The biases of the gates are such that, for a gate's input of zero, the
    half-lives of a layer's units spread evenly over their logarithms, from the shortest to the longest. Without biases
    all would begin with a half-life of one step. Weights and other biases begin as torch's recurrent layers do.

    :param input_size: width I of one input
    :param hidden_size: units H of each layer, also the width of one output
    :param layers: how many are stacked
    :param cell: "gru" for minGRU, "lstm" for minLSTM
    :param shortest_half_life: of a unit at the start, in steps
    :param longest_half_life: of a unit at the start, in steps
    :param positive: put the candidates through g, so that no h is negative
    :param skip: add a linear layer of its input to what a layer says
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 64,
        layers: int = 2,
        cell: str = "gru",
        shortest_half_life: float = 1.0,
        longest_half_life: float = 100.0,
        positive: bool = False,
        skip: bool = True,
    ):
        width = positive_int("hidden_size", hidden_size)
        one_of("cell", cell, ["gru", "lstm"])
        options = (cell, boolean("positive", positive), boolean("skip", skip))
        keep = remaining(initial_half_lives(shortest_half_life, longest_half_life, width))
        sizes = (positive_int("input_size", input_size), *(width for _ in number_of_layers(layers)))
        stack = [MinimalLayer(size, keep, *options) for size in sizes[:-1]]
        super().__init__(input_size, width, stack, width, complex_state=False)
