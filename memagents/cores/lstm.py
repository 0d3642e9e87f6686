"""Long Short-Term Memory (Hochreiter & Schmidhuber 1997; with the forget gate of Gers et al. 2000)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled
from memagents.kernels import choice


class LSTMState(NamedTuple):
    """B rows, H units."""

    hidden: Tensor  # (B, H)
    cell: Tensor  # (B, H)


def lstm_cell(gates: Tensor, cell: Tensor) -> LSTMState:
    """c' = σ(f) c + σ(i) tanh(g), h = σ(o) tanh(c').

    :param gates: pre-activations (B, 4H) in the order of ``torch.nn.LSTM``: input, forget, candidate, output
    :param cell: c, (B, H); the new state has its dtype
    """
    return gated_cell(gates, cell)[0]


def gated_cell(gates: Tensor, cell: Tensor) -> tuple[LSTMState, dict[str, Tensor]]:
    """Return what :func:`lstm_cell` does, and its three gates by name, (B, H) each."""
    i, f, g, o = gates.to(cell.dtype).chunk(4, dim=-1)
    into, keep, out = i.sigmoid(), f.sigmoid(), o.sigmoid()
    cell = keep * cell + into * g.tanh()
    return LSTMState(out * cell.tanh(), cell), {"input_gate": into, "forget_gate": keep, "output_gate": out}


def as_torch_begins(module: nn.Module, hidden_size: int) -> None:
    """All parameters uniform in ±1/√H, as those of torch's recurrent layers.

    ``nn.Linear`` would draw those of few inputs much larger, which made CartPole without velocities unstable to learn.
    """
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)


@torch.no_grad()
def remember_for(keep: Tensor, horizon: int) -> None:
    """Draw the biases of gates that keep, so that units begin with time scales from 2 steps to the horizon.

    b = log(u), u uniform in [1, horizon − 1]: such a gate, open by σ(b), forgets over 1 + u steps (chrono
    initialisation; Tallec & Ollivier 2018, arXiv:1804.11188, section 2).

    :param keep: biases of the gates (H,), changed in place
    :param horizon: longest time scale in steps, 3 or more
    """
    if horizon < 3:
        raise ValueError(f"horizon must be 3 steps or more, not {horizon}")
    keep.uniform_(1, horizon - 1).log_()


@register_core("lstm")
class LSTM(MemoryCore):
    """One LSTM layer; the outputs are its hidden states.

    :param input_size: width I of one input
    :param hidden_size: units H, also the width of one output
    :param horizon: longest time scale in steps with which the units begin, see :func:`remember_for`; by default all
        begin with about 2 steps, as torch's do
    """

    def __init__(self, input_size: int, hidden_size: int = 64, horizon: int | None = None):
        super().__init__(input_size, positive_int("hidden_size", hidden_size))
        self.hidden_size = hidden_size
        self.input_gates = nn.Linear(input_size, 4 * hidden_size)
        self.recurrent_gates = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        as_torch_begins(self, hidden_size)
        if horizon is not None:
            into, keep, _, _ = self.input_gates.bias.data.chunk(4)
            remember_for(keep, positive_int("horizon", horizon))
            into.copy_(-keep)

    def initial_state(self, batch_size: int) -> LSTMState:
        weight = self.recurrent_gates.weight
        return LSTMState(*(weight.new_zeros(batch_size, self.hidden_size) for _ in range(2)))

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the gates: (..., I) to (..., 4H)."""
        return self.input_gates(inputs)

    def step(self, x: Tensor, state: LSTMState) -> Step:
        state, gates = gated_cell(x + self.recurrent_gates(state.hidden), state.cell)
        return Step(state.hidden, state, {}, {**state._asdict(), **gates})

    def recur(self, x: Tensor, state: LSTMState, starts: Tensor, trace: bool = False) -> Unrolled:
        """Run a window of steps by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernels equal the default loop, which runs for a trace, and cannot be differentiated twice; those for CUDA
        never ran on a GPU yet.
        """
        weight = self.recurrent_gates.weight
        window = None if trace else choice.window_for("lstm", [x, weight, *state])
        if window is None:
            return super().recur(x, state, starts, trace)
        hidden, *after = window(x, starts, weight, *state)
        return Unrolled(self.readout(hidden), LSTMState(*after), {}, {})
