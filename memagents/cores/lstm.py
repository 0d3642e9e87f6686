"""Long Short-Term Memory (Hochreiter & Schmidhuber 1997; with the forget gate of Gers et al. 2000)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, reset_steps, where_state


class LSTMState(NamedTuple):
    """B rows, H units."""

    hidden: Tensor  # (B, H)
    cell: Tensor  # (B, H)


def lstm_cell(gates: Tensor, cell: Tensor) -> LSTMState:
    """c' = σ(f) c + σ(i) tanh(g), h = σ(o) tanh(c').

    :param gates: pre-activations (B, 4H) in the order of ``torch.nn.LSTM``: input, forget, candidate, output
    :param cell: c, (B, H); the new state has its dtype
    """
    i, f, g, o = gates.to(cell.dtype).chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return LSTMState(o.sigmoid() * cell.tanh(), cell)


def as_torch_begins(module: nn.Module, hidden_size: int) -> None:
    """All parameters uniform in ±1/√H, as those of torch's recurrent layers.

    ``nn.Linear`` would draw those of few inputs much larger, which made CartPole without velocities unstable to learn.
    """
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)


@register_core("lstm")
class LSTM(MemoryCore):
    """One LSTM layer; the outputs are its hidden states.

    :param input_size: width I of one input
    :param hidden_size: units H, also the width of one output
    """

    def __init__(self, input_size: int, hidden_size: int = 64):
        super().__init__(input_size, positive_int("hidden_size", hidden_size))
        self.hidden_size = hidden_size
        self.input_gates = nn.Linear(input_size, 4 * hidden_size)
        self.recurrent_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        as_torch_begins(self, hidden_size)

    def initial_state(self, batch_size: int) -> LSTMState:
        weight = self.recurrent_gates.weight
        return LSTMState(*(weight.new_zeros(batch_size, self.hidden_size) for _ in range(2)))

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the gates: (..., I) to (..., 4H)."""
        return self.input_gates(inputs)

    def step(self, x: Tensor, state: LSTMState) -> Step:
        state = lstm_cell(x + self.recurrent_gates(state.hidden), state.cell)
        return Step(state.hidden, state, {}, {})

    def unroll(self, inputs: Tensor, state: LSTMState, starts: Tensor, trace: bool = False) -> Unrolled:
        """As :meth:`MemoryCore.unroll`, by torch's fused LSTM from each reset to the next where that is worth it.

        It is on the CPU, where resets can be looked at, if four steps or more lie between two of them. Not under
        autocast, where the fused LSTM would leave a state of low precision.
        """
        self.check_window(inputs, starts)
        if inputs.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().unroll(inputs, state, starts, trace)
        resets = reset_steps(starts)
        if 4 * sum(resets) > len(resets):
            return super().unroll(inputs, state, starts, trace)
        cuts = [t for t, reset in enumerate(resets) if reset or t == 0]
        stretches = []
        for begin, end in pairwise([*cuts, len(resets)]):
            if resets[begin]:
                state = where_state(starts[begin], self.initial_state(inputs.shape[1]), state)
            hidden, state = self._fused(inputs[begin:end], state)
            stretches.append(hidden)
        return Unrolled(self.readout(torch.cat(stretches)), state, {}, {})

    def _fused(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Hidden states (t, B, H) of some steps without a reset inside, and the state after them."""
        bias = self.input_gates.bias
        weights = (self.input_gates.weight, self.recurrent_gates.weight, bias, torch.zeros_like(bias))
        before = (state.hidden.unsqueeze(0), state.cell.unsqueeze(0))
        hidden, last, cell = torch.lstm(inputs, before, weights, True, 1, 0.0, self.training, False, False)
        return hidden, LSTMState(last.squeeze(0), cell.squeeze(0))
