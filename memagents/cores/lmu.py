"""The Legendre Memory Unit (Voelker et al. 2019)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import boolean, positive, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.cores.layered import memory_dtype
from memagents.memory.legendre import delay_window, legendre_delay
from memagents.memory.scan import matrix_scan


class LMUState(NamedTuple):
    """B rows, S signals, d polynomials, H hidden units."""

    memory: Tensor  # m, (B, S, d)
    hidden: Tensor  # h, (B, H), or (B, 0) where nothing feeds back


@register_core("lmu")
class LMU(MemoryCore[LMUState]):
    """A line of delay: a few numbers a step, of which the last θ steps are kept as Legendre polynomials.

        u = E_x x + E_h h + E_m m,  m'_s = Ā m_s + B̄ u_s,  h' = tanh(W_x x + W_h h + W_m m')

    Ā and B̄ are fixed, see :func:`memagents.memory.legendre.legendre_delay`. What is to be repeated after a lag must lie
    within θ: choose θ no shorter than the longest. After a few θ nothing is left, whatever is learned (of order 32 and
    θ 64 the largest eigenvalue of Ā is 0.87). The paper has one signal u; several take in a symbol of several numbers.

    Without ``feedback`` E_h, E_m and W_h are left out and h' is a ReLU, as in the parallel LMU (Chilkuri & Eliasmith
    2021, arXiv 2102.11417; as others tell it). A window is one scan then. With it, a window runs step after step,
    with a way back that is written out; neither can be differentiated twice. E_x and E_h begin uniform by LeCun, E_m at
    zero, W normal by Glorot; u and h' have biases, which begin at zero.

    :param input_size: width I of one input
    :param hidden_size: H, also the width of one output
    :param order: number d of polynomials
    :param theta: θ in steps
    :param signals: number S of u
    :param feedback: whether u and h' depend on the state
    """

    transition: Tensor
    injection: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 64,
        order: int = 32,
        theta: float = 64.0,
        signals: int = 1,
        feedback: bool = True,
    ):
        super().__init__(input_size, positive_int("hidden_size", hidden_size))
        self.hidden_size, self.order = hidden_size, positive_int("order", order)
        self.signals, self.feedback = positive_int("signals", signals), boolean("feedback", feedback)
        for name, tensor in zip(
            ("transition", "injection"), legendre_delay(order, positive("theta", theta)), strict=True
        ):
            self.register_buffer(name, tensor.float(), persistent=False)  # Ā and B̄
        width = signals * order
        self.from_input = nn.Linear(input_size, signals + hidden_size)  # E_x and W_x
        self.from_memory = nn.Parameter(nn.init.xavier_normal_(torch.empty(hidden_size, width)))  # W_m
        nn.init.zeros_(self.from_input.bias)
        nn.init.xavier_normal_(self.from_input.weight.data[signals:])
        _lecun_uniform(self.from_input.weight.data[:signals])
        if feedback:
            self.from_hidden = nn.Parameter(nn.init.xavier_normal_(torch.empty(hidden_size, hidden_size)))  # W_h
            self.hidden_encoder = nn.Parameter(_lecun_uniform(torch.empty(signals, hidden_size)))  # E_h
            self.memory_encoder = nn.Parameter(torch.zeros(signals, width))  # E_m

    def initial_state(self, batch_size: int) -> LMUState:
        weight = self.from_memory
        shapes = (self.signals, self.order), (self.hidden_size if self.feedback else 0,)
        return LMUState(*(torch.zeros(batch_size, *s, dtype=self._dtype(), device=weight.device) for s in shapes))

    def project(self, inputs: Tensor) -> Tensor:
        """E_x x and W_x x side by side: (..., I) to (..., S + H)."""
        return self.from_input(inputs)

    def step(self, x: Tensor, state: LMUState) -> Step[LMUState]:
        dtype, memory = self._dtype(), state.memory
        with full_precision(x):
            signals, hidden = self._split(x)
            if self.feedback:
                signals = signals + state.hidden @ self.hidden_encoder.to(dtype).t()
                signals = signals + memory.flatten(1) @ self.memory_encoder.to(dtype).t()
                hidden = hidden + state.hidden @ self.from_hidden.to(dtype).t()
            memory = memory @ self.transition.to(dtype).t() + self._injected(signals)
            hidden = self._hidden(hidden + memory.flatten(1) @ self.from_memory.to(dtype).t())
        state = LMUState(memory, hidden if self.feedback else state.hidden)
        return Step(hidden.to(x.dtype), state, {}, {"memory": memory, "hidden": hidden})

    def recur(self, x: Tensor, state: LMUState, starts: Tensor, trace: bool = False) -> Unrolled[LMUState]:
        """Run :meth:`MemoryCore.recur` by one scan, or with feedback by one call, over the window."""
        dtype = self._dtype()
        with full_precision(x):
            signals, hidden = self._split(x)
            if self.feedback:
                before = (state.memory.flatten(1), state.hidden)
                memories, hidden = delay_window(
                    self._injected(signals).flatten(2), hidden, self._maps(), before, starts
                )
            else:
                memories = matrix_scan(
                    self.transition.to(dtype), self._injected(signals), state.memory, starts
                ).flatten(2)
                hidden = self._hidden(hidden + memories @ self.from_memory.to(dtype).t())
        memories = memories.unflatten(2, (self.signals, self.order))
        after = LMUState(memories[-1].clone(), hidden[-1].clone() if self.feedback else state.hidden)
        shown = {"memory": memories, "hidden": hidden} if trace else {}
        return Unrolled(self.readout(hidden.to(x.dtype)), after, {}, shown)

    def _dtype(self) -> torch.dtype:
        return memory_dtype(self.from_memory.dtype, False)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        signals, hidden = x.to(self._dtype()).split([self.signals, self.hidden_size], dim=-1)
        return signals, hidden

    def _injected(self, signals: Tensor) -> Tensor:
        """B̄ u_s, (..., S, d)."""
        return signals.unsqueeze(-1) * self.injection.to(signals.dtype)

    def _hidden(self, total: Tensor) -> Tensor:
        return total.tanh() if self.feedback else total.relu()

    def _maps(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What :func:`~memagents.memory.legendre.delay_window` takes: u put into m' and h'."""
        dtype = self._dtype()
        encoders = (self.memory_encoder.to(dtype), self.hidden_encoder.to(dtype))
        by_memory, by_hidden = (
            (e.unsqueeze(1) * self.injection.to(dtype).unsqueeze(1)).flatten(0, 1) for e in encoders
        )
        lines = torch.block_diag(*[self.transition.to(dtype)] * self.signals)
        return lines + by_memory, by_hidden, self.from_memory.to(dtype), self.from_hidden.to(dtype)


def _lecun_uniform(matrix: Tensor) -> Tensor:
    """Uniform in ±√(3 / inputs)."""
    return nn.init.uniform_(matrix, -math.sqrt(3 / matrix.shape[1]), math.sqrt(3 / matrix.shape[1]))
