"""Fast and Forgetful Memory (Morad et al. 2023, arXiv 2310.04128)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.memory.scan import linear_scan

FASTEST_DECAY = 0.67
"""α of the trace that is forgotten first, at the start.

It is the authors' bound for any α, since their sums hold γ^(-t), which must not overflow a float64 within 1,024 steps.
The scan used here has no such limit.
"""


class FFMState(NamedTuple):
    """B rows, m traces, c contexts."""

    memory: Tensor  # S, (B, m, c), complex


@register_core("ffm")
class FFM(MemoryCore[FFMState]):
    """A sum over all of the episode that decays and turns at learned rates; what is summed depends on the input alone.

        x̃ = ℓ1(x) ∘ σ(ℓ2(x)),  S_t = γ ∘ S_{t-1} + x̃ 1ᵀ,  γ_jk = exp(-|α_j| - i ω_k)
        z = ℓ3([Re S; Im S]),  y = LN(z) ∘ σ(ℓ4(x)) + ℓ5(x) ∘ (1 - σ(ℓ4(x)))

    How much of trace j is left says roughly how long ago something was, its angles ω_k t say when. Since S does not
    enter what is added to it, a window is one scan. |γ| is at most 1 whatever α becomes, so that S grows no faster
    than its inputs add up. S is complex64, or complex128 in a core of float64.

    As in the authors' program LN has no parameters. At the start the α are evenly spread from where a share
    ``remainder`` of a trace is left after ``horizon`` steps to 0.67 (about a half-life of one step), and the ω are
    those of periods evenly spread from 1 to ``horizon``. Seen once a step, a period of 1 is no turning at all.

    :param input_size: width I of one input
    :param memory_size: number of traces m, each with a decay α_j
    :param context_size: number of contexts c, each with a frequency ω_k
    :param output_size: width O of one output
    :param horizon: t_e, how many steps back the memory reaches at the start
    :param remainder: β, what is left of the longest trace then, in [1e-6, 1]
    :param write_penalty: weight of the loss "write", the sum of a step's input gates σ(ℓ2(x)); 0 for no such loss
    """

    def __init__(
        self,
        input_size: int,
        memory_size: int = 32,
        context_size: int = 4,
        output_size: int = 64,
        horizon: int = 1024,
        remainder: float = 0.01,
        write_penalty: float = 0.0,
    ):
        super().__init__(input_size, output_size)
        self.memory_size = positive_int("memory_size", memory_size)
        self.write_penalty = in_range("write_penalty", write_penalty, 0)
        slowest = -math.log(in_range("remainder", remainder, 1e-6, 1)) / positive_int("horizon", horizon)
        periods = torch.linspace(1, horizon, positive_int("context_size", context_size))
        self.decays = nn.Parameter(torch.linspace(min(slowest, FASTEST_DECAY), FASTEST_DECAY, memory_size))  # α
        self.frequencies = nn.Parameter(2 * math.pi / periods)  # ω
        self.sizes = (memory_size, memory_size, output_size, output_size)
        self.from_input = nn.Linear(input_size, sum(self.sizes))  # ℓ1, ℓ2, ℓ4, ℓ5
        self.mix = nn.Linear(2 * memory_size * context_size, output_size)  # ℓ3

    def initial_state(self, batch_size: int) -> FFMState:
        # From the parameters: Module.to() of a real dtype would leave a complex buffer as it is.
        dtype = torch.promote_types(self.decays.dtype, torch.complex64)
        shape = (batch_size, len(self.decays), len(self.frequencies))
        return FFMState(torch.zeros(shape, dtype=dtype, device=self.decays.device))

    def project(self, inputs: Tensor) -> Tensor:
        """x̃, σ(ℓ2(x)), σ(ℓ4(x)) and ℓ5(x) side by side: (..., I) to (..., 2 m + 2 O)."""
        values, input_gates, output_gates, skips = self.from_input(inputs).split(self.sizes, dim=-1)
        input_gates = input_gates.sigmoid()
        return torch.cat([values * input_gates, input_gates, output_gates.sigmoid(), skips], dim=-1)

    def readout(self, features: Tensor) -> Tensor:
        """y of S, the output gate and the skip: (..., 2 m c + 2 O) to (..., O)."""
        memory, gates, skips = features.split([self.mix.in_features, self.output_size, self.output_size], dim=-1)
        normal = functional.layer_norm(self.mix(memory), [self.output_size])
        return normal * gates + skips * (1 - gates)

    def step(self, x: Tensor, state: FFMState) -> Step[FFMState]:
        with full_precision(x):
            memory = self._decay() * state.memory + self._additions(x, state.memory)
            return Step(self._features(x, memory), FFMState(memory), self._losses(x), self._trace(x, memory))

    def recur(self, x: Tensor, state: FFMState, starts: Tensor, trace: bool = False) -> Unrolled[FFMState]:
        """Run :meth:`MemoryCore.recur` by one scan over the window. It cannot be differentiated twice."""
        with full_precision(x):
            additions = self._additions(x, state.memory)
            memories = linear_scan(self._decay(), additions, state.memory, starts=starts)
            features = self._features(x, memories)
            shown = self._trace(x, memories) if trace else {}
        state = FFMState(memories[-1].clone())  # which does not keep the whole window
        return Unrolled(self.readout(features), state, self._losses(x), shown)

    def _decay(self) -> Tensor:
        """γ, (m, c)."""
        precision = torch.promote_types(self.decays.dtype, torch.float32)
        angles = -self.frequencies.to(precision).expand(len(self.decays), -1)
        return torch.polar(self._remaining().to(precision).unsqueeze(1).expand_as(angles), angles)

    def _remaining(self) -> Tensor:
        """|γ|, (m,)."""
        return (-self.decays.abs()).exp()

    def _additions(self, x: Tensor, memory: Tensor) -> Tensor:
        """x̃ 1ᵀ, (..., m, c), complex as ``memory`` is."""
        return x[..., : self.memory_size, None].to(memory.dtype).expand(*x.shape[:-1], *memory.shape[1:])

    def _features(self, x: Tensor, memory: Tensor) -> Tensor:
        """The input of :meth:`readout`."""
        rest = x[..., 2 * self.memory_size :].to(memory.real.dtype)
        features = torch.cat([memory.real.flatten(-2), memory.imag.flatten(-2), rest], dim=-1)
        return features.to(self.decays.dtype)

    def _input_gates(self, x: Tensor) -> Tensor:
        return x[..., self.memory_size : 2 * self.memory_size].to(self.decays.dtype)

    def _losses(self, x: Tensor) -> dict[str, Tensor]:
        return {"write": self.write_penalty * self._input_gates(x).sum(dim=-1)} if self.write_penalty else {}

    def _trace(self, x: Tensor, memory: Tensor) -> dict[str, Tensor]:
        """|S|, σ(ℓ2(x)) and |γ|, which is the same in every step and row."""
        gates = self._input_gates(x)
        return {"memory": memory.abs(), "write_gates": gates, "decay": self._remaining().expand_as(gates)}
