"""Memory-augmented neural network with least recently used access (Santoro et al. 2016, arXiv 1605.06065)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import boolean, in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision, state_leaves
from memagents.cores.lstm import LSTMState, lstm_cell
from memagents.kernels.choice import supported
from memagents.memory import access, addressing
from memagents.memory.least_used import least_used, update_usage, write, write_weighting
from memagents.memory.least_used_window import Sizes, least_used_window


class MANNState(NamedTuple):
    """B rows, N slots, W width, R heads, H controller units. All begin at zero."""

    memory: Tensor  # M, (B, N, W)
    usage: Tensor  # w^u, (B, N)
    read_weights: Tensor  # w^r, (B, R, N)
    read_vectors: Tensor  # r, (B, R, W)
    controller: LSTMState


@register_core("mann")
class MANN(MemoryCore[MANNState]):
    """An LSTM controller with an external memory that is addressed by content alone: each head writes its key to what
    it read in the step before or to the least used slot, and reads what is similar to the same key.

    With h the LSTM's output for [x; r_{t-1}], k = tanh(W_k h + b_k) and α = W_α h + b_α of each head, equations 2 to 8:

        w^w_t = σ(α) w^r_{t-1} + (1 − σ(α)) w^lu_{t-1},  M_t = M_{t-1} + w^w_t kᵀ,  the least used slot zeroed before
        w^r_t = softmax(cos(k, M_t)),  r_t = M_tᵀ w^r_t,  w^u_t = γ w^u_{t-1} + w^r_t + w^w_t

    ``readout`` is y = W_y [h; r¹ … r^R] (+ a bias). w^lu is 1 at the n slots used least, n the number of heads, and
    passes no gradient; of slots used alike those of the lowest indices count, or all of an empty memory would.

    Where the paper leaves things open: of the n slots each head takes its own, the first head the least used one (one
    head: the equations as they stand), and all of them are zeroed; α comes from the controller in every step; keys go
    through tanh. As the equations' indices say, a step reads what it has just written; a public version
    (snowkylin/ntm) weighs the slots as they were before the write. Cosines lie in [-1, 1], so that the published
    softmax over N slots is never sharp; ``key_strengths`` multiplies them by β = 1 + softplus(·), from the controller,
    as in the DNC. The equations, sizes and γ were read with third parties, not in the paper itself.

    :param input_size: width I of one input
    :param slots: number of memory slots N, at least ``heads``; no weight depends on it
    :param width: width W of a slot
    :param heads: number of heads R, each of which reads and writes
    :param controller_size: units H of the LSTM controller
    :param decay: γ, by which usage fades in a step, in [0, 1]
    :param key_strengths: multiply the cosines by a strength of at least 1
    :param output_size: width O of one output; by default ``controller_size``
    """

    def __init__(
        self,
        input_size: int,
        slots: int = 32,
        width: int = 24,
        heads: int = 1,
        controller_size: int = 64,
        decay: float = 0.95,
        key_strengths: bool = False,
        output_size: int | None = None,
    ):
        units = positive_int("controller_size", controller_size)
        super().__init__(input_size, units if output_size is None else output_size)
        self.slots = positive_int("slots", slots)
        self.width = positive_int("width", width)
        self.heads = positive_int("heads", heads)
        if heads > slots:
            raise ValueError(f"heads must be at most slots ({slots}), not {heads}")
        self.controller_size = units
        self.decay = in_range("decay", decay, 0, 1)
        self.key_strengths = boolean("key_strengths", key_strengths)
        reads = heads * width
        self.interface_sizes = (reads, heads, heads) if key_strengths else (reads, heads)
        self.input_gates = nn.Linear(input_size, 4 * units)
        self.recurrent_gates = nn.Linear(units + reads, 4 * units, bias=False)
        self.interface = nn.Linear(units, sum(self.interface_sizes))
        self.output = nn.Linear(units + reads, self.output_size)

    def initial_state(self, batch_size: int) -> MANNState:
        def zeros(*sizes: int) -> Tensor:
            return self.output.weight.new_zeros(batch_size, *sizes)

        return MANNState(
            zeros(self.slots, self.width),
            zeros(self.slots),
            zeros(self.heads, self.slots),
            zeros(self.heads, self.width),
            LSTMState(zeros(self.controller_size), zeros(self.controller_size)),
        )

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the controller's gates: (..., I) to (..., 4 H)."""
        return self.input_gates(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """y = W_y [h; r] (+ a bias): (..., H + R W) to (..., O)."""
        return self.output(features)

    def recur(self, x: Tensor, state: MANNState, starts: Tensor, trace: bool = False) -> Unrolled[MANNState]:
        """Run :meth:`MemoryCore.recur` with a backward pass derived by hand, see
        :mod:`memagents.memory.least_used_window`; it cannot be differentiated twice. Step by step for a trace and
        under autocast."""
        leaves = state_leaves(state)
        if trace or not supported([x, *leaves]):
            return super().recur(x, state, starts, trace)
        weights = (self.recurrent_gates.weight, self.interface.weight, self.interface.bias)
        sizes = Sizes(self.slots, self.width, self.heads, self.controller_size, self.decay, self.key_strengths)
        features, memory, usage, reading, vectors, *controller = least_used_window(x, starts, weights, leaves, sizes)
        state = MANNState(memory, usage, reading, vectors, LSTMState(*controller))
        return Unrolled(self.readout(features), state, {}, {})

    def step(self, x: Tensor, state: MANNState) -> Step[MANNState]:
        hidden, cell = state.controller
        past = torch.cat([hidden, state.read_vectors.flatten(1)], dim=1)
        controller = lstm_cell(torch.addmm(x, past, self.recurrent_gates.weight.T), cell)
        interface = self.interface(controller.hidden)
        with full_precision(x):
            keys, gates, *strengths = interface.to(state.memory.dtype).split(self.interface_sizes, dim=1)
            keys, gates = keys.tanh().unflatten(1, (self.heads, self.width)), gates.sigmoid()
            least = least_used(state.usage, self.heads)
            writing = write_weighting(state.read_weights, least, gates.unsqueeze(2))
            memory = write(state.memory, writing, keys, least)
            scores = addressing.cosine_similarity(memory, keys)
            if self.key_strengths:
                scores = scores * addressing.oneplus(strengths[0]).unsqueeze(2)
            reading = scores.softmax(dim=2)
            read_vectors = access.read(memory, reading)
            usage = update_usage(state.usage, reading, writing, self.decay)
        features = torch.cat([controller.hidden, read_vectors.flatten(1)], dim=1)
        trace = {
            "read_weights": reading,
            "write_weights": writing,
            "write_gate": gates,
            "usage": usage,
            "read_vectors": read_vectors,
        }
        return Step(features, MANNState(memory, usage, reading, read_vectors, controller), {}, trace)
