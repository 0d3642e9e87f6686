"""Long Short-Term Memory (Hochreiter & Schmidhuber 1997; with the forget gate of Gers et al. 2000)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, positive_int


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


@register_core("lstm")
class LSTM(MemoryCore):
    """One LSTM layer; the outputs are its hidden states.

    :param input_size: width I of one input
    :param hidden_size: units H, also the width of one output
    """

    def __init__(self, input_size: int, hidden_size: int = 64):
        super().__init__(input_size, hidden_size)
        self.hidden_size = positive_int("hidden_size", hidden_size)
        self.input_gates = nn.Linear(input_size, 4 * hidden_size)
        self.recurrent_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def initial_state(self, batch_size: int) -> LSTMState:
        weight = self.recurrent_gates.weight
        return LSTMState(*(weight.new_zeros(batch_size, self.hidden_size) for _ in range(2)))

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the gates: (..., I) to (..., 4H)."""
        return self.input_gates(inputs)

    def step(self, x: Tensor, state: LSTMState) -> Step:
        state = lstm_cell(x + self.recurrent_gates(state.hidden), state.cell)
        return Step(state.hidden, state, {}, {})
