"""Stable Hadamard Memory (Le et al. 2024, arXiv 2410.10132)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.kernels import choice
from memagents.memory.draws import uniform
from memagents.memory.scan import linear_scan

_EPSILON = 1e-5


class SHMState(NamedTuple):
    """B rows, H width."""

    memory: Tensor  # M, (B, H, H)
    key: Tensor  # of the random draws, int64 (B,)


class Maps(NamedTuple):
    """The parts of a step's input, (..., ·)."""

    query: Tensor  # q, H
    key: Tensor  # k, H
    value: Tensor  # v, H
    calibration: Tensor  # v_c, H
    gate: Tensor  # η, 1
    skip: Tensor  # H


@register_core("shm")
class SHM(MemoryCore[SHMState]):
    """A square matrix of which every number is weakened or strengthened by itself in every step.

        M_t = M_{t-1} ∘ C_t + U_t,  C_t = 1 + tanh(θ_t ⊗ v_c(x_t)),  U_t = η(x_t) v(x_t) ⊗ k(x_t),  h_t = M_t q(x_t)

    θ_t is drawn in every step, in training and not, from L learned vectors, and depends on the state's key alone. That
    makes the C of a sequence nearly independent, by which the paper bounds the expectation of their product. Single
    products are not bounded, since C reaches up to 2. So M is clipped to ±``bound``, as in one of the authors' two
    programs; with ``bound=math.inf`` the equation is bare, and 128 doublings overflow a float32. As C and U depend on
    the input alone, a window is one scan, or goes through a kernel.

    The rest follows those programs: x is a LayerNorm of a linear layer of the input; v, v_c, k and q are linear in x,
    without biases; k and q are then cut off at zero and divided by their sum; η is a sigmoid. The output is a linear
    layer of h + ℓ(x), since by h alone a policy would see the present only through what it has just written.

    :param input_size: width I of one input
    :param width: H, of the memory's rows and columns
    :param thetas: number L of vectors that θ is drawn from
    :param encoding_size: width of x
    :param output_size: width O of one output; by default ``width``
    :param bound: the largest magnitude of a number of M, at least 0.001
    :param write_penalty: weight of the loss "write", a step's update gate η; 0 for no such loss
    """

    def __init__(
        self,
        input_size: int,
        width: int = 32,
        thetas: int = 128,
        encoding_size: int = 64,
        output_size: int | None = None,
        bound: float = 100.0,
        write_penalty: float = 0.0,
    ):
        width = positive_int("width", width)
        super().__init__(input_size, width if output_size is None else output_size)
        self.width = width
        self.bound = in_range("bound", bound, 1e-3)
        self.write_penalty = in_range("write_penalty", write_penalty, 0)
        self.encoding = nn.Linear(input_size, positive_int("encoding_size", encoding_size))
        self.norm = nn.LayerNorm(encoding_size)
        self.maps = nn.Linear(encoding_size, 4 * width + 1, bias=False)
        self.skip = nn.Linear(encoding_size, width)
        self.thetas = nn.Parameter(nn.init.xavier_uniform_(torch.empty(positive_int("thetas", thetas), width)))
        self.output = nn.Linear(width, self.output_size)
        self.sizes = (width, width, width, width, 1, width)

    def initial_state(self, batch_size: int) -> SHMState:
        key = torch.zeros(batch_size, dtype=torch.int64, device=self.thetas.device)
        return SHMState(self.thetas.new_zeros(batch_size, self.width, self.width), key)

    def project(self, inputs: Tensor) -> Tensor:
        """:class:`Maps` side by side: (..., I) to (..., 5 H + 1)."""
        x = self.norm(self.encoding(inputs))
        maps = self._parts(torch.cat([self.maps(x), self.skip(x)], dim=-1).to(self.thetas.dtype))
        with full_precision(inputs):
            maps = maps._replace(query=_shares(maps.query), key=_shares(maps.key), gate=maps.gate.sigmoid())
            return torch.cat(maps, dim=-1)

    def readout(self, features: Tensor) -> Tensor:
        """A linear layer of h and the skip: (..., H) to (..., O)."""
        return self.output(features)

    def step(self, x: Tensor, state: SHMState) -> Step[SHMState]:
        maps = self._parts(x)
        with full_precision(x):
            calibration, update = self._calibrate_and_update(maps, state.key)
            memory = (state.memory * calibration + update).clamp(-self.bound, self.bound)
            features = _features(maps, memory)
        state = SHMState(memory, state.key + 1)
        return Step(features, state, self._losses(maps), _trace(maps, memory, calibration))

    def recur(self, x: Tensor, state: SHMState, starts: Tensor, trace: bool = False) -> Unrolled[SHMState]:
        """Run a window by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`, else by
        one scan.

        Both equal the default loop, and neither can be differentiated twice. The kernel, for the CPU, leaves no trace.
        """
        window = None if trace else choice.window_for("shm", [x, state.memory, self.thetas])
        if window is None:
            return self.scan(x, state, starts, trace)
        drawn = self._drawn(_keys_of(x, state))
        features, memory = window(x, starts, self.thetas, drawn, self.bound, state.memory)
        state = SHMState(memory, state.key + len(x))
        return Unrolled(self.readout(features), state, self._losses(self._parts(x)), {})

    def scan(self, x: Tensor, state: SHMState, starts: Tensor, trace: bool = False) -> Unrolled[SHMState]:
        """Compute what :meth:`recur` does by one scan over the window, on any device."""
        maps = self._parts(x)
        with full_precision(x):
            calibration, update = self._calibrate_and_update(maps, _keys_of(x, state))
            # Without a bound too: products of the C may overflow where M does not.
            memories = linear_scan(calibration, update, state.memory, self.bound, doubling=False, starts=starts)
            features = _features(maps, memories)
        state = SHMState(memories[-1].clone(), state.key + len(x))  # not the whole window
        shown = _trace(maps, memories, calibration) if trace else {}
        return Unrolled(self.readout(features), state, self._losses(maps), shown)

    def _parts(self, x: Tensor) -> Maps:
        return Maps(*x.split(self.sizes, dim=-1))

    def _calibrate_and_update(self, maps: Maps, keys: Tensor) -> tuple[Tensor, Tensor]:
        """C and U, (..., H, H), by keys (...)."""
        theta = self.thetas[self._drawn(keys)]
        return 1 + _outer(theta, maps.calibration).tanh(), _outer(maps.gate * maps.value, maps.key)

    def _drawn(self, keys: Tensor) -> Tensor:
        """Which θ each key draws."""
        return (uniform(keys, 1, torch.float64).squeeze(-1) * len(self.thetas)).long()

    def _losses(self, maps: Maps) -> dict[str, Tensor]:
        return {"write": self.write_penalty * maps.gate.squeeze(-1)} if self.write_penalty else {}


def _keys_of(x: Tensor, state: SHMState) -> Tensor:
    """The keys of a window's steps, (T, B)."""
    return state.key + torch.arange(len(x), device=state.key.device).unsqueeze(1)


def _features(maps: Maps, memory: Tensor) -> Tensor:
    """h and the skip, added up."""
    return (memory @ maps.query.unsqueeze(-1)).squeeze(-1) + maps.skip


def _trace(maps: Maps, memory: Tensor, calibration: Tensor) -> dict[str, Tensor]:
    return {"memory": memory, "calibration": calibration, "update_gate": maps.gate}


def _shares(values: Tensor) -> Tensor:
    """ReLUs divided by their sum, or zeros where none is positive."""
    positive = values.relu()
    return positive / (positive.sum(-1, keepdim=True) + _EPSILON)


def _outer(rows: Tensor, columns: Tensor) -> Tensor:
    """(..., H) and (..., H) to (..., H, H)."""
    return rows.unsqueeze(-1) * columns.unsqueeze(-2)
