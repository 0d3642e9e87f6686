"""Recurrent Entity Network (Henaff et al. 2017, "Tracking the world state with recurrent entity networks", part 2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.kernels import choice
from memagents.memory import access
from memagents.memory.writes import gated_add, normalise


class EntNetState(NamedTuple):
    """B rows, N slots, W width."""

    memory: Tensor  # h, (B, N, W)


@register_core("entnet")
class EntNet(MemoryCore[EntNetState]):
    """Slots with learned keys that are written side by side, each as far as the input concerns it.

    With s the encoding of the input, w_j the key of slot j and h_j what it holds, equations 2 to 5 are

        g_j = σ(s·h_j + s·w_j),  h̃_j = φ(U h_j + V w_j + W s),  h_j ← h_j + g_j h̃_j,  h_j ← h_j / ‖h_j‖

    The slots share all weights and do not see each other: only the keys make them differ. They begin as the keys, and
    the norm is how they forget. The answer to a query q is y = R φ(q + H u), u = Σ_j p_j h_j, p = softmax(q·h_j).

    The paper reads once, after a story, with a question; here every step asks with a query of its own, which a linear
    layer makes of the input. As in the paper nothing has a bias but the encoders, which stand for its embeddings (so
    the gate has none, which some implementations add). φ is a PReLU with a slope for each unit; the slopes begin at 1,
    where φ is the identity, and those of the memory and of the answer are two sets.

    :param input_size: width I of one input
    :param slots: number of slots N
    :param width: width W of a slot, of the encoding and of the query
    :param output_size: width O of one output; by default ``width``
    :param write_penalty: weight of the loss "write", the sum of a step's gates Σ_j g_j; 0 for no such loss
    """

    def __init__(
        self,
        input_size: int,
        slots: int = 20,
        width: int = 32,
        output_size: int | None = None,
        write_penalty: float = 0.0,
    ):
        width = positive_int("width", width)
        super().__init__(input_size, width if output_size is None else output_size)
        self.width = width
        self.write_penalty = in_range("write_penalty", write_penalty, 0)
        # Of length 1 on average, as the slots that begin as them are after a step.
        self.keys = nn.Parameter(torch.randn(positive_int("slots", slots), width) * width**-0.5)
        self.encoding = nn.Linear(input_size, width)
        self.query = nn.Linear(input_size, width)
        self.from_memory = nn.Linear(width, width, bias=False)  # U
        self.from_key = nn.Linear(width, width, bias=False)  # V
        self.from_encoding = nn.Linear(width, width, bias=False)  # W
        self.memory_slopes = nn.Parameter(torch.ones(width))
        self.from_read = nn.Linear(width, width, bias=False)  # H
        self.output_slopes = nn.Parameter(torch.ones(width))
        self.output = nn.Linear(width, self.output_size, bias=False)  # R

    def initial_state(self, batch_size: int) -> EntNetState:
        return EntNetState(self.keys.repeat(batch_size, 1, 1))

    def project(self, inputs: Tensor) -> Tensor:
        """s, W s and q side by side: (..., I) to (..., 3 W)."""
        encoding = self.encoding(inputs)
        return torch.cat([encoding, self.from_encoding(encoding), self.query(inputs)], dim=-1)

    def readout(self, features: Tensor) -> Tensor:
        """y = R φ(q + H u) of q and u: (..., 2 W) to (..., O)."""
        query, read = features.chunk(2, dim=-1)
        return self.output(_prelu(query + self.from_read(read), self.output_slopes))

    def recur(self, x: Tensor, state: EntNetState, starts: Tensor, trace: bool = False) -> Unrolled[EntNetState]:
        """Run a window of steps by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernel, for the CPU, equals the default loop, which runs for a trace, and cannot be differentiated twice.
        """
        window = None if trace else choice.window_for("entnet", [x, state.memory, self.keys])
        if window is None:
            return super().recur(x, state, starts, trace)
        shared = self.from_key(self.keys)
        read, written, memory = window(
            x, starts, self.keys, shared, self.from_memory.weight, self.memory_slopes, state.memory
        )
        outputs = self.readout(torch.cat([x[..., 2 * self.width :], read], dim=-1))
        losses = {"write": self.write_penalty * written} if self.write_penalty else {}
        return Unrolled(outputs, EntNetState(memory), losses, {})

    def step(self, x: Tensor, state: EntNetState) -> Step[EntNetState]:
        memory = state.memory
        with full_precision(x):
            encoding, from_encoding, query = x.to(memory.dtype).chunk(3, dim=1)
            gates = ((memory + self.keys) @ encoding.unsqueeze(2)).sigmoid()  # (B, N, 1)
            shared = self.from_key(self.keys) + from_encoding.unsqueeze(1)  # (B, N, W)
            candidates = _prelu(self.from_memory(memory) + shared, self.memory_slopes)
            memory = normalise(gated_add(memory, gates, candidates))
            weights = (query.unsqueeze(1) @ memory.transpose(1, 2)).softmax(dim=-1)  # (B, 1, N)
            features = torch.cat([query, access.read(memory, weights).squeeze(1)], dim=1)
            gates = gates.squeeze(2)
            losses = {"write": self.write_penalty * gates.sum(dim=1)} if self.write_penalty else {}
        return Step(features, EntNetState(memory), losses, {"write_gates": gates, "read_weights": weights.squeeze(1)})


def _prelu(x: Tensor, slopes: Tensor) -> Tensor:
    """x where it is positive, elsewhere x times the slope of its place in the last dimension."""
    return torch.where(x > 0, x, slopes * x)
