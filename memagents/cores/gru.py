"""Gated Recurrent Unit (Cho et al. 2014), with the equations of ``torch.nn.GRU``."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled
from memagents.cores.lstm import as_torch_begins, remember_for
from memagents.kernels import choice


class GRUState(NamedTuple):
    """B rows, H units."""

    hidden: Tensor  # (B, H)


@register_core("gru")
class GRU(MemoryCore):
    """One GRU layer; the outputs are its hidden states.

    r = σ(W_r x + U_r h), z = σ(W_z x + U_z h), n = tanh(W_n x + b_n + r ∘ (U_n h + c_n)), h' = (1 − z) n + z h: the
    reset gate acts after the recurrent product, not before it as in the paper.

    :param input_size: width I of one input
    :param hidden_size: units H, also the width of one output
    :param horizon: longest time scale in steps with which the units begin, see
        :func:`memagents.cores.lstm.remember_for`; by default all begin with about 2 steps, as torch's do
    """

    def __init__(self, input_size: int, hidden_size: int = 64, horizon: int | None = None):
        super().__init__(input_size, positive_int("hidden_size", hidden_size))
        self.hidden_size = hidden_size
        self.input_gates = nn.Linear(input_size, 3 * hidden_size)
        self.recurrent_gates = nn.Linear(hidden_size, 3 * hidden_size)
        as_torch_begins(self, hidden_size)
        if horizon is not None:
            update = slice(hidden_size, 2 * hidden_size)
            remember_for(self.input_gates.bias.data[update], positive_int("horizon", horizon))
            nn.init.zeros_(self.recurrent_gates.bias[update])

    def initial_state(self, batch_size: int) -> GRUState:
        return GRUState(self.recurrent_gates.weight.new_zeros(batch_size, self.hidden_size))

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the gates, in the order reset, update, candidate: (..., I) to (..., 3H)."""
        return self.input_gates(inputs)

    def recur(self, x: Tensor, state: GRUState, starts: Tensor, trace: bool = False) -> Unrolled:
        """Run a window of steps by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernels equal the default loop, which runs for a trace, and cannot be differentiated twice; those for CUDA
        never ran on a GPU yet.
        """
        gates = self.recurrent_gates
        window = None if trace else choice.window_for("gru", [x, gates.weight, *state])
        if window is None:
            return super().recur(x, state, starts, trace)
        hidden, after = window(x, starts, gates.weight, gates.bias, state.hidden)
        return Unrolled(self.readout(hidden), GRUState(after), {}, {})

    def step(self, x: Tensor, state: GRUState) -> Step:
        hidden = state.hidden
        x_reset, x_update, x_new = x.to(hidden.dtype).chunk(3, dim=-1)
        h_reset, h_update, h_new = self.recurrent_gates(hidden).to(hidden.dtype).chunk(3, dim=-1)
        reset, update = (x_reset + h_reset).sigmoid(), (x_update + h_update).sigmoid()
        new = (x_new + reset * h_new).tanh()
        hidden = new + update * (hidden - new)
        trace = {"hidden": hidden, "reset_gate": reset, "update_gate": update}
        return Step(hidden, GRUState(hidden), {}, trace)
