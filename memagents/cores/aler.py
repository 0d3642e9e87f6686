"""An LSTM with slots that are overwritten one at a time, after the abstract of ALER (arXiv 2610.00592)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import positive, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.cores.lstm import LSTM, LSTMState
from memagents.memory.overwrite import gumbel_slot, overwrite
from memagents.memory.scan import reset_steps


class ALERState(NamedTuple):
    """B rows, N slots, W width, H units of the LSTM. All but the key begins at zero."""

    memory: Tensor  # M, (B, N, W)
    key: Tensor  # of the random draws, int64 (B,)
    controller: LSTMState


class Interface(NamedTuple):
    """What the slots take from the LSTM, (..., ·)."""

    query: Tensor  # q, W
    gate: Tensor  # W_g h + b_g, H
    address: Tensor  # w, N, of zeros and ones


@register_core("aler")
class ALER(MemoryCore[ALERState]):
    """An LSTM beside slots, of which each step overwrites one; a gate fuses what is read with the LSTM's state. After
    the abstract of the paper, which is all that was found of it.

    With h the LSTM's output for x, ::

        r_t = M_{t-1}ᵀ softmax(M_{t-1} q / √W),  q = W_q h
        g = σ(W_g h + U_g r + b_g),  y = (1 − g) ∘ h + g ∘ (U_r r + b_r)
        w = one-hot of the greatest of W_a h + b_a + Gumbel noise,  M_t = M_{t-1} + w (tanh(W_v y + b_v) − M_{t-1})ᵀ

    From the abstract are the LSTM, the slots, the write by an address of its own, by Gumbel-softmax, that overwrites
    the slot it gathers on, and the learned gate that fuses what is retrieved with the recurrent state in front of the
    heads. Everything else is of this library, and may be otherwise there: that the read is attention by content; that
    it comes before the write, so that a later observation can transform what a slot held; that the LSTM sees no read;
    how many slots there are, their width, the temperature, and the gate, which begins as torch's layers do.

    The address is one-hot, and backward the softmax at temperature τ (straight-through): the other slots stay as they
    are to the last bit, where a soft address would leave 0.37 of a slot after 100 writes of 0.01. The noise is made of
    the state's key, in training alone; in evaluation the likeliest slot is overwritten. Untrained, all slots are about
    equally likely, so that a slot has a half-life of about 0.7 N steps.

    :param input_size: width I of one input
    :param slots: number of slots N
    :param width: width W of a slot
    :param hidden_size: units H of the LSTM, also the width of one output
    :param temperature: τ, above 0
    :param horizon: longest time scale in steps with which the LSTM's units begin, see
        :class:`memagents.cores.lstm.LSTM`
    """

    def __init__(
        self,
        input_size: int,
        slots: int = 16,
        width: int = 32,
        hidden_size: int = 64,
        temperature: float = 1.0,
        horizon: int | None = None,
    ):
        super().__init__(input_size, positive_int("hidden_size", hidden_size))
        self.temperature = positive("temperature", temperature)
        self.sizes = (positive_int("width", width), hidden_size, positive_int("slots", slots))
        self.controller = LSTM(input_size, hidden_size, horizon)
        self.interface = nn.Linear(hidden_size, sum(self.sizes))  # W_q, W_g, W_a
        self.from_read = nn.Linear(width, 2 * hidden_size)  # U_g, U_r
        self.value = nn.Linear(hidden_size, width)  # W_v

    def initial_state(self, batch_size: int) -> ALERState:
        width, _, slots = self.sizes
        memory = self.value.weight.new_zeros(batch_size, slots, width)
        key = torch.zeros(batch_size, dtype=torch.int64, device=memory.device)
        return ALERState(memory, key, self.controller.initial_state(batch_size))

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the LSTM's gates: (..., I) to (..., 4 H)."""
        return self.controller.project(inputs)

    def step(self, x: Tensor, state: ALERState) -> Step[ALERState]:
        hidden, controller, _, gates = self.controller.step(x, state.controller)
        with full_precision(x):
            hidden = hidden.to(state.memory.dtype)
            interface = self._interface(hidden, state.key)
            fused, memory, reading, gate = self._access(hidden, interface, state.memory)
        trace = {
            "read_weights": reading,
            "write_weights": interface.address,
            "fusion_gate": gate,
            "memory": memory,
            **gates,
        }
        return Step(fused, ALERState(memory, state.key + 1, controller), {}, trace)

    def recur(self, x: Tensor, state: ALERState, starts: Tensor, trace: bool = False) -> Unrolled[ALERState]:
        """Run the LSTM's window by its kernel, where there is one, and all that follows from it alone at once; then
        the slots step by step. With a trace all is step by step."""
        if trace:
            return super().recur(x, state, starts, trace)
        memory = state.memory
        hidden, controller, _, _ = self.controller.recur(x, state.controller, starts)
        with full_precision(x):
            hidden = hidden.to(memory.dtype)
            keys = state.key + torch.arange(len(x), device=x.device).unsqueeze(1)
            parts = (part.unbind(0) for part in self._interface(hidden, keys))
            outputs = []
            for now, start, reset, *interface in zip(
                hidden.unbind(0), starts, reset_steps(starts), *parts, strict=True
            ):
                if reset:
                    memory = torch.where(start.view(-1, 1, 1), 0, memory)
                fused, memory, _, _ = self._access(now, Interface(*interface), memory)
                outputs.append(fused)
        state = ALERState(memory, state.key + len(x), controller)
        return Unrolled(self.readout(torch.stack(outputs)), state, {}, {})

    def _interface(self, hidden: Tensor, keys: Tensor) -> Interface:
        """What the slots take from h, (..., H), with one key for each row of it, (...)."""
        query, gate, logits = self.interface(hidden).split(self.sizes, dim=-1)
        address = gumbel_slot(logits, keys if self.training else None, self.temperature)
        return Interface(query * self.sizes[0] ** -0.5, gate, address)

    def _access(self, hidden: Tensor, interface: Interface, memory: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """y, the memory after the step, the weights of its read, (B, N), and g."""
        weights = torch.softmax(interface.query.unsqueeze(1) @ memory.transpose(1, 2), dim=2)  # (B, 1, N)
        of_gate, candidate = self.from_read((weights @ memory).squeeze(1)).chunk(2, dim=1)
        gate = (interface.gate + of_gate).sigmoid()
        fused = torch.lerp(hidden, candidate, gate)
        memory = overwrite(memory, interface.address, self.value(fused).tanh())
        return fused, memory, weights.squeeze(1), gate
