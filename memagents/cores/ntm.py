"""Neural Turing Machine (Graves, Wayne & Danihelka 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision, state_leaves
from memagents.cores.lstm import LSTMState, lstm_cell
from memagents.cores.none import NoState
from memagents.kernels import choice
from memagents.memory import access, addressing, location
from memagents.memory.scan import reset_steps

CONTROLLERS = ("lstm", "feedforward")
INITIAL_MEMORIES = ("constant", "learned")
_FIRST_SLOT = 8.0
"""Logit of the first slot in the weightings with which an episode begins; the others have zero."""


class NTMState(NamedTuple):
    """State of an NTM. B rows, N slots, W width, R read heads, V write heads, H controller units."""

    memory: Tensor  # (B, N, W)
    weights: Tensor  # (B, R + V, N), those of the read heads first
    read_vectors: Tensor  # (B, R, W)
    controller: LSTMState | NoState  # hidden and cell, (B, H), if there is an LSTM


class NTMInterface(NamedTuple):
    """Interface from the controller to the heads, K = R + V of them, read heads first."""

    keys: Tensor  # k, (B, K, W), tanh
    strengths: Tensor  # β, (B, K), softplus
    interpolation_gates: Tensor  # g, (B, K), sigmoid
    shifts: Tensor  # s, (B, K, 2 S + 1), softmax
    sharpening: Tensor  # γ, (B, K), oneplus
    erase: Tensor  # e, (B, V, W), sigmoid
    add: Tensor  # a, (B, V, W), tanh


@register_core("ntm")
class NTM(MemoryCore):
    """A controller with an external memory, whose heads look for slots by content and move along them.

    In a step all heads address M_{t-1}, the write heads erase, then add, and the read heads read M_t (equation 2); what
    they read is fed to the controller of the next step. ``readout`` is y = W_y h + W_r [r^1 … r^R] (+ a bias).

    The paper leaves open how its numbers are squashed and where an episode begins. Here keys and add vectors go through
    tanh, and weightings and read vectors begin as learned ones (Collier & Beel 2018): slots that are alike, looked at
    alike, would stay alike for ever. Untrained, all heads begin at the first slot.

    :param input_size: width I of one input
    :param slots: number of memory slots N
    :param width: width W of a slot
    :param read_heads: number of read heads R
    :param write_heads: number of write heads V
    :param shifts: how far S a head can move in a step, either way
    :param controller: ``"lstm"``, or ``"feedforward"``: one tanh layer of the input and what was read
    :param controller_size: units H of the controller
    :param initial_memory: ``"constant"``, 1e-6 everywhere, or ``"learned"``
    :param clip: bound on each number that the controller gives to the heads, before it is squashed, and so on strengths
        and sharpening; None for no bound
    :param output_size: width O of one output; by default ``controller_size``
    :param write_penalty: adds a loss ``"write"``, this times the mean of e + |a| over write heads and width, which is
        zero for a head that changes nothing
    """

    def __init__(
        self,
        input_size: int,
        slots: int = 128,
        width: int = 20,
        read_heads: int = 1,
        write_heads: int = 1,
        shifts: int = 1,
        controller: str = "lstm",
        controller_size: int = 100,
        initial_memory: str = "constant",
        clip: float | None = 20.0,
        output_size: int | None = None,
        write_penalty: float = 0.0,
    ):
        units = positive_int("controller_size", controller_size)
        super().__init__(input_size, units if output_size is None else output_size)
        if controller not in CONTROLLERS:
            raise ValueError(f"controller must be one of {CONTROLLERS}, not {controller!r}")
        if initial_memory not in INITIAL_MEMORIES:
            raise ValueError(f"initial_memory must be one of {INITIAL_MEMORIES}, not {initial_memory!r}")
        self.slots = positive_int("slots", slots)
        self.width = positive_int("width", width)
        self.read_heads = positive_int("read_heads", read_heads)
        self.write_heads = positive_int("write_heads", write_heads)
        self.heads = read_heads + write_heads
        self.shifts = positive_int("shifts", shifts)
        if 2 * shifts + 1 > slots:
            raise ValueError(f"shifts must be at most {(slots - 1) // 2}, so that 2 shifts + 1 <= slots, not {shifts}")
        self.recurrent = controller == "lstm"
        self.controller_size = units
        self.clip = None if clip is None else in_range("clip", clip, 0.0)
        self.write_penalty = in_range("write_penalty", write_penalty, 0.0)

        reads, recurrent = read_heads * width, self.recurrent
        k, v = self.heads, write_heads
        self.interface_sizes = (k * width, k, k, k * (2 * shifts + 1), k, v * width, v * width)
        self.input_gates = nn.Linear(input_size, 4 * units if recurrent else units)
        self.recurrent_gates = nn.Linear(reads + (units if recurrent else 0), self.input_gates.out_features, bias=False)
        self.interface = nn.Linear(units, sum(self.interface_sizes))
        self.output = nn.Linear(units + reads, self.output_size)
        self.initial_weight_logits = nn.Parameter(torch.zeros(self.heads, slots))
        self.initial_read_vectors = nn.Parameter(torch.randn(read_heads, width))
        self.initial_rows = nn.Parameter(torch.randn(slots, width)) if initial_memory == "learned" else None
        with torch.no_grad():
            self.initial_weight_logits[:, 0] = _FIRST_SLOT

    def initial_state(self, batch_size: int) -> NTMState:
        memory, weights, read_vectors = (leaf.repeat(batch_size, 1, 1) for leaf in self._beginning())
        hidden, cell = (memory.new_zeros(batch_size, self.controller_size if self.recurrent else 0) for _ in range(2))
        return NTMState(memory, weights, read_vectors, LSTMState(hidden, cell) if self.recurrent else NoState(hidden))

    def _beginning(self) -> tuple[Tensor, Tensor, Tensor]:
        """Memory (N, W), weightings (K, N) and read vectors (R, W) before an episode's first step."""
        logits, rows = self.initial_weight_logits, self.initial_rows
        memory = logits.new_full((self.slots, self.width), 1e-6) if rows is None else rows.tanh()
        return memory, logits.softmax(dim=-1), self.initial_read_vectors.tanh()

    def with_more_slots(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of an NTM with fewer slots, made to fit: an episode begins with practically no weight on the slots
        that were added at the end of the ring, and a learned memory with zeros there.

        Location shifts then do as before until they go around the ring. Content addressing shares its softmax with the
        new slots, as with any that are not written yet.

        :raises ValueError: if the weights are of more slots than this core has
        """
        logits = weights["initial_weight_logits"]
        added = self.slots - logits.shape[1]
        if added < 0:
            raise ValueError(
                f"slots must be at least {logits.shape[1]}, as many as the weights are of, not {self.slots}"
            )
        little = (logits.logsumexp(dim=1, keepdim=True) - 30).expand(-1, added)
        changed = {"initial_weight_logits": torch.cat([logits, little], dim=1)}
        if "initial_rows" in weights:
            changed["initial_rows"] = functional.pad(weights["initial_rows"], (0, 0, 0, added))
        return weights | changed

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the controller's gates: (..., I) to (..., 4H), or (..., H) without an LSTM."""
        return self.input_gates(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """y = W_y h + W_r r (+ a bias): (..., H + R W) to (..., O)."""
        return self.output(features)

    def recur(self, x: Tensor, state: NTMState, starts: Tensor, trace: bool = False) -> Unrolled:
        """Run a window of steps by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernels, of an NTM with an LSTM and one write head, equal the default loop, which runs for other NTMs, for a
        trace, a write penalty, and wherever there is no kernel. They cannot be differentiated twice.
        """
        leaves = state_leaves(state)
        fused = self.recurrent and self.write_heads == 1 and not (self.write_penalty or trace)
        sizes = {"slots": self.slots, "width": self.width, "shifts": self.shifts}
        window = choice.window_for("ntm", [x, *leaves], **sizes) if fused else None
        if window is None:
            return super().recur(x, state, starts, trace)
        weights = (self.recurrent_gates.weight, self.interface.weight, self.interface.bias)
        with torch.set_grad_enabled(torch.is_grad_enabled() and any(reset_steps(starts))):
            beginning = self._beginning()  # without a start it is not used
        features, leaves = window(x, starts, *weights, beginning, leaves, self.clip)
        return Unrolled(self.readout(features), NTMState._make([*leaves[:3], LSTMState(*leaves[3:])]), {}, {})

    def step(self, x: Tensor, state: NTMState) -> Step:
        reads = state.read_vectors.flatten(1)
        controller: LSTMState | NoState
        if isinstance(state.controller, LSTMState):
            gates = x + self.recurrent_gates(torch.cat([state.controller.hidden, reads], dim=1))
            controller = lstm_cell(gates, state.controller.cell)
            hidden = controller.hidden
        else:
            hidden, controller = (x + self.recurrent_gates(reads)).tanh(), state.controller
        interface = self.interface(hidden)
        with full_precision(x):
            interface = self._parse(interface.to(state.memory.dtype))
            memory, weights, read_vectors = self._access(interface, state)
        features = torch.cat([hidden, read_vectors.flatten(1).to(hidden.dtype)], dim=1)
        trace = {
            "read_weights": weights[:, : self.read_heads],
            "write_weights": weights[:, self.read_heads :],
            "strengths": interface.strengths,
            "interpolation_gates": interface.interpolation_gates,
            "shift_weights": interface.shifts,
            "sharpening": interface.sharpening,
            "erase": interface.erase,
            "add": interface.add,
            "read_vectors": read_vectors,
        }
        state = NTMState(memory, weights, read_vectors, controller)
        return Step(features, state, self._losses(interface), trace)

    def _access(self, interface: NTMInterface, state: NTMState) -> tuple[Tensor, Tensor, Tensor]:
        """The new memory, weightings and read vectors."""
        content = addressing.content_weighting(state.memory, interface.keys, interface.strengths)
        weights = location.interpolate(content, state.weights, interface.interpolation_gates)
        weights = location.sharpen(location.circular_shift(weights, interface.shifts), interface.sharpening)
        reading, writing = weights.split([self.read_heads, self.write_heads], dim=1)
        memory = access.erase_and_add(state.memory, writing, interface.erase, interface.add)
        return memory, weights, access.read(memory, reading)

    def _parse(self, interface: Tensor) -> NTMInterface:
        """Split the (B, ·) interface vector and squash its parts."""
        if self.clip is not None:
            interface = interface.clamp(-self.clip, self.clip)
        parts = interface.split(self.interface_sizes, dim=1)
        return NTMInterface(
            keys=parts[0].unflatten(1, (self.heads, -1)).tanh(),
            strengths=functional.softplus(parts[1]),
            interpolation_gates=parts[2].sigmoid(),
            shifts=parts[3].unflatten(1, (self.heads, -1)).softmax(dim=-1),
            sharpening=addressing.oneplus(parts[4]),
            erase=parts[5].unflatten(1, (self.write_heads, -1)).sigmoid(),
            add=parts[6].unflatten(1, (self.write_heads, -1)).tanh(),
        )

    def _losses(self, interface: NTMInterface) -> dict[str, Tensor]:
        if not self.write_penalty:
            return {}
        return {"write": self.write_penalty * (interface.erase + interface.add.abs()).mean(dim=(1, 2))}
