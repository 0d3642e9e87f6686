"""Relational Memory Core (Santoro et al. 2018, "Relational recurrent neural networks", section 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.kernels import choice
from memagents.memory.attention import attention

GATE_STYLES = ("unit", "memory", None)


class RMCState(NamedTuple):
    """B rows, N slots, W width."""

    memory: Tensor  # (B, N, W)


@register_core("rmc")
class RMC(MemoryCore):
    """Slots that attend to each other and to the input, and are updated through gates as an LSTM's cell is.

    M̃ is what the slots become by attention over [M; x], a residual multi-layer perceptron row by row, and a LayerNorm
    after each of the two; M' = i ∘ tanh(M̃) + f ∘ M. The output is the whole memory: there is no output gate.

    Two things follow the authors' published program where the paper is silent: the LayerNorm over the queries, keys and
    values of a row, and the initial memory. That is the identity, padded with zeros or cut to the width, since slots
    that begin alike would stay alike for ever.

    :param input_size: width I of one input
    :param slots: number of slots N
    :param width: width W of a slot, a multiple of ``heads``
    :param heads: number of attention heads; each gives ``width / heads`` of a row's width
    :param key_size: width of a head's queries and keys; by default ``width / heads``
    :param blocks: how often a step attends; every block has its own queries, keys, values and LayerNorms, and all share
        the perceptron
    :param mlp_layers: layers of the perceptron, with a ReLU between two of them
    :param gate_style: ``"unit"``: a gate for every number of the memory; ``"memory"``: one for every slot; None: no
        gates, the new memory is M̃
    :param forget_bias: constant added to the forget gate's pre-activation
    :param input_bias: constant added to the input gate's pre-activation
    :param output_size: width O of one output, by a linear layer; by default the memory itself, N W wide
    """

    def __init__(
        self,
        input_size: int,
        slots: int = 8,
        width: int = 64,
        heads: int = 4,
        key_size: int | None = None,
        blocks: int = 1,
        mlp_layers: int = 2,
        gate_style: str | None = "unit",
        forget_bias: float = 1.0,
        input_bias: float = 0.0,
        output_size: int | None = None,
    ):
        memory_size = positive_int("slots", slots) * positive_int("width", width)
        super().__init__(input_size, memory_size if output_size is None else output_size)
        if width % positive_int("heads", heads):
            raise ValueError(f"width must be a multiple of heads ({heads}), not {width}")
        if gate_style not in GATE_STYLES:
            raise ValueError(f"gate_style must be one of {GATE_STYLES}, not {gate_style!r}")
        self.slots = slots
        self.width = width
        self.gate_biases = (float(input_bias), float(forget_bias))
        gate_size = {"unit": width, "memory": 1, None: 0}[gate_style]
        self.gated = gate_size > 0
        key_size = width // heads if key_size is None else positive_int("key_size", key_size)
        self.input_row = nn.Linear(input_size, width)
        self.blocks = nn.ModuleList(_Block(width, heads, key_size) for _ in range(positive_int("blocks", blocks)))
        self.mlp = _perceptron(width, positive_int("mlp_layers", mlp_layers))
        if self.gated:
            self.input_gates = nn.Linear(width, 2 * gate_size)
            self.memory_gates = nn.Linear(width, 2 * gate_size, bias=False)
        self.output = nn.Identity() if output_size is None else nn.Linear(memory_size, output_size)

    def initial_state(self, batch_size: int) -> RMCState:
        weight = self.input_row.weight
        identity = torch.eye(self.slots, self.width, dtype=weight.dtype, device=weight.device)
        return RMCState(identity.repeat(batch_size, 1, 1))

    def project(self, inputs: Tensor) -> Tensor:
        """The input as a row of the memory's width, and its share of the gates: (..., I) to (..., W + 2 G)."""
        row = self.input_row(inputs)
        return torch.cat([row, self.input_gates(row)], dim=-1) if self.gated else row

    def readout(self, features: Tensor) -> Tensor:
        """The flattened memory, or a linear layer of it: (..., N W) to (..., O)."""
        return self.output(features)

    def recur(self, x: Tensor, state: RMCState, starts: Tensor, trace: bool = False) -> Unrolled:
        """Run a window of steps by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernel, for the CPU, equals the default loop, which runs for a trace, with several blocks or without gates,
        if ``key_size`` or ``width / heads`` is no multiple of 8 or ``width`` or the queries, keys and values of all
        heads together are no multiple of 16 (in float64 of 4 and of 8), and wherever there is no kernel. It cannot be
        differentiated twice.
        """
        fused = self.gated and len(self.blocks) == 1 and not trace
        key, _, value = self._block.sizes
        tensors = [x, state.memory, self.input_row.weight]
        sizes = {"heads": self._block.heads, "key_size": key, "value_size": value}
        window = choice.window_for("rmc", tensors, **sizes) if fused else None
        if window is None:
            return super().recur(x, state, starts, trace)
        layers = [layer for layer in self.mlp if isinstance(layer, nn.Linear)]
        weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
        initial, operands = self.initial_state(1).memory[0], self._operands(x, state)
        memory = window(weights, biases, starts, initial, self._block.heads, self.gate_biases, **operands)
        after = RMCState(memory[-1].clone())  # neither the whole window nor a part of the outputs
        return Unrolled(self.readout(memory.flatten(2)), after, {}, {})

    @property
    def _block(self) -> _Block:
        return self.blocks[0]  # type: ignore[return-value]

    def _operands(self, x: Tensor, state: RMCState) -> dict[str, Tensor]:
        """The kernel's operands by name, but for the perceptron."""
        block, gate_weight = self._block, self.memory_gates.weight
        row, x_gates = x[..., : self.width], x[..., self.width :]
        if x_gates.shape[-1] == 2:  # a gate for a slot is one for each of its numbers, all alike
            x_gates = x_gates.repeat_interleave(self.width, dim=-1)
            gate_weight = gate_weight.repeat_interleave(self.width, dim=0)
        return {
            "x_qkv": block.qkv_norm(block.qkv(row)),
            "x_gates": x_gates,
            "memory": state.memory,
            "qkv_weight": block.qkv.weight,
            "qkv_bias": block.qkv.bias,
            "qkv_gain": block.qkv_norm.weight,
            "qkv_shift": block.qkv_norm.bias,
            "attention_gain": block.attention_norm.weight,
            "attention_shift": block.attention_norm.bias,
            "update_gain": block.mlp_norm.weight,
            "update_shift": block.mlp_norm.bias,
            "gate_weight": gate_weight,
        }

    def step(self, x: Tensor, state: RMCState) -> Step:
        memory = state.memory
        row, gates = x[:, : self.width], x[:, self.width :]
        rows = torch.cat([memory, row.unsqueeze(1).to(memory.dtype)], dim=1)  # (B, N + 1, W)
        trace = {}
        for number, block in enumerate(self.blocks, start=1):
            # What the input's row becomes matters to the next block only.
            kept = self.slots if number == len(self.blocks) else self.slots + 1
            rows, trace[f"block_{number}_weights"] = block(rows, kept, self.mlp)
        if self.gated:
            rows, trace["input_gate"], trace["forget_gate"] = self._gate(rows, gates, memory)
        return Step(rows.flatten(1), RMCState(rows), {}, trace)

    def _gate(self, candidate: Tensor, gates: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """M' = i ∘ tanh(M̃) + f ∘ M, and the two gates, (B, N, W) or (B, N, 1)."""
        gates = (self.memory_gates(memory.tanh()) + gates.unsqueeze(1)).to(memory.dtype)
        input_gate, forget_gate = gates.chunk(2, dim=-1)
        input_bias, forget_bias = self.gate_biases
        input_gate, forget_gate = (input_gate + input_bias).sigmoid(), (forget_gate + forget_bias).sigmoid()
        return input_gate * candidate.tanh() + forget_gate * memory, input_gate, forget_gate


class _Block(nn.Module):
    """Attention of rows over rows, then a perceptron on each row; a residual and a LayerNorm around both."""

    def __init__(self, width: int, heads: int, key_size: int):
        super().__init__()
        self.heads = heads
        self.sizes = (key_size, key_size, width // heads)
        self.qkv = nn.Linear(width, heads * sum(self.sizes))
        self.qkv_norm = nn.LayerNorm(heads * sum(self.sizes))
        self.attention_norm = nn.LayerNorm(width)
        self.mlp_norm = nn.LayerNorm(width)

    def forward(self, rows: Tensor, kept: int, mlp: nn.Module) -> tuple[Tensor, Tensor]:
        """
        :param rows: (B, M, W)
        :param kept: the first so many of them attend, to all of them
        :param mlp: the perceptron
        :return: (B, kept, W) and the attention's weights (B, heads, kept, M)
        """
        qkv = self.qkv(rows)
        with full_precision(rows):
            qkv = self.qkv_norm(qkv.to(rows.dtype)).unflatten(-1, (self.heads, -1))  # (B, M, heads, ·)
            queries, keys, values = qkv.transpose(1, 2).split(self.sizes, dim=-1)  # (B, heads, M, ·)
            attended, weights = attention(queries[:, :, :kept], keys, values)
            rows = self.attention_norm(rows[:, :kept] + attended.transpose(1, 2).flatten(2))
        update = mlp(rows)
        with full_precision(rows):
            return self.mlp_norm(rows + update.to(rows.dtype)), weights


def _perceptron(width: int, layers: int) -> nn.Sequential:
    """``layers`` linear layers with a ReLU between two of them and none after the last."""
    mlp = nn.Sequential(nn.Linear(width, width))
    for _ in range(layers - 1):
        mlp.extend([nn.ReLU(), nn.Linear(width, width)])
    return mlp
