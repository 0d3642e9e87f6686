"""Differentiable Neural Computer (Graves et al. 2016, Nature 538:471, Methods)."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from memagents.checks import boolean, in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision, state_leaves
from memagents.cores.lstm import LSTMState, lstm_cell
from memagents.kernels import choice
from memagents.kernels.operands import DNCOptions
from memagents.memory import access, addressing, allocation, linkage


class DNCState(NamedTuple):
    """State of a DNC. B rows, N slots, W width, R read heads, H controller units."""

    memory: Tensor  # (B, N, W)
    usage: Tensor  # (B, N)
    link: Tensor  # (B, N, N)
    precedence: Tensor  # (B, N)
    write_weights: Tensor  # (B, N)
    read_weights: Tensor  # (B, R, N)
    read_vectors: Tensor  # (B, R, W)
    controller: LSTMState  # hidden and cell, (B, H)


class DNCInterface(NamedTuple):
    """The interface vector ξ of the paper, parsed and squashed."""

    read_keys: Tensor  # (B, R, W)
    read_strengths: Tensor  # (B, R), oneplus
    write_key: Tensor  # (B, 1, W)
    write_strength: Tensor  # (B, 1), oneplus
    erase: Tensor  # (B, W), sigmoid
    write: Tensor  # (B, W)
    free_gates: Tensor  # (B, R), sigmoid
    allocation_gate: Tensor  # (B, 1), sigmoid
    write_gate: Tensor  # (B, 1), sigmoid
    read_modes: Tensor  # (B, R, 3), softmax: backward, content, forward
    read_masks: Tensor | None = None  # (B, R, W), sigmoid
    write_mask: Tensor | None = None  # (B, 1, W), sigmoid
    sharpness: Tensor | None = None  # (B, 2, R), oneplus: backward, forward


@register_core("dnc")
class DNC(MemoryCore):
    """An LSTM controller with an external memory, written by allocation or content and read by content or in the order
    of writing.

    The recurrence (interface → usage → allocation → write → link → read) is the paper's, with the reads of a step fed
    to the controller of the next. ``readout`` is y = W_y h + W_r [r^1 … r^R].

    Three options are the cures of Csordás and Schmidhuber (2019, arXiv 1904.10278, sections 3.1 to 3.3) for what they
    found wrong with it: ``masked_lookup`` ("M"), ``deallocate`` ("D") and ``sharpen_links`` ("S"). On a GPU these run
    in the plain loop.

    :param input_size: width I of one input
    :param slots: number of memory slots N; no weight depends on it
    :param width: width W of a slot
    :param read_heads: number of read heads R
    :param controller_size: units H of the LSTM controller
    :param output_size: width O of one output; by default ``controller_size``
    :param ready_to_record: begin with biases under which every step is written to a fresh slot and looked up sharply by
        content (the paper leaves the initial weights open); false for small random ones
    :param masked_lookup: let each head choose, by a mask in [0, 1], which parts of the slots its key is compared with
    :param deallocate: wipe what the free gates free; else it is still found by its content
    :param sharpen_links: raise the weightings that the links give to a power of at least 1, of each head and direction
    :param write_penalty: above 0, a loss "write" is added: so much times the sum of a step's write weighting. The plain
        loop runs then, since the fused kernel has no such loss
    """

    def __init__(
        self,
        input_size: int,
        slots: int = 32,
        width: int = 24,
        read_heads: int = 2,
        controller_size: int = 64,
        output_size: int | None = None,
        ready_to_record: bool = True,
        write_penalty: float = 0.0,
        masked_lookup: bool = False,
        deallocate: bool = False,
        sharpen_links: bool = False,
    ):
        controller_size = positive_int("controller_size", controller_size)
        super().__init__(input_size, controller_size if output_size is None else output_size)
        self.slots = positive_int("slots", slots)
        self.width = positive_int("width", width)
        self.read_heads = positive_int("read_heads", read_heads)
        self.controller_size = controller_size
        self.write_penalty = in_range("write_penalty", write_penalty, 0.0)
        if write_penalty:
            warnings.warn(
                "with a write_penalty the DNC runs without its fused kernel, several times slower", stacklevel=2
            )
        self.options = DNCOptions(
            boolean("masked_lookup", masked_lookup),
            boolean("deallocate", deallocate),
            boolean("sharpen_links", sharpen_links),
        )
        reads = read_heads * width
        masks = (reads, width) if masked_lookup else (0, 0)
        sharpness = 2 * read_heads if sharpen_links else 0
        plain = (reads, read_heads, width, 1, width, width, read_heads, 1, 1, 3 * read_heads)
        self.interface_sizes = (*plain, *masks, sharpness)
        self.input_gates = nn.Linear(input_size, 4 * controller_size)
        self.recurrent_gates = nn.Linear(controller_size + reads, 4 * controller_size, bias=False)
        self.interface = nn.Linear(controller_size, sum(self.interface_sizes))
        self.output = nn.Linear(controller_size + reads, self.output_size)
        if boolean("ready_to_record", ready_to_record):
            self._prepare_to_record()

    @torch.no_grad()
    def _prepare_to_record(self) -> None:
        """Biases of the interface that make a recorder of an untrained DNC.

        With small random ones, the gates are half open and the look-ups nearly uniform, and what was written hardly
        reaches what is read. Imitation on three stations of the Underground, 0.6M steps: 99% against 46% right.
        """
        parts = dict(zip(DNCInterface._fields, self.interface.bias.split(self.interface_sizes), strict=True))
        for name, bias in (("read_strengths", 8.0), ("write_strength", 4.0), ("write_gate", 3.0)):
            parts[name].fill_(bias)
        parts["allocation_gate"].fill_(3.0)
        parts["free_gates"].fill_(-3.0)
        parts["read_modes"].view(-1, 3).copy_(torch.tensor([-1.0, 2.0, -1.0]))  # backward, content, forward

    def initial_state(self, batch_size: int) -> DNCState:
        n, w, r, h = self.slots, self.width, self.read_heads, self.controller_size
        weight = self.output.weight
        shapes = [(n, w), (n,), (n, n), (n,), (n,), (r, n), (r, w)]
        controller = LSTMState(weight.new_zeros(batch_size, h), weight.new_zeros(batch_size, h))
        return DNCState._make([*(weight.new_zeros(batch_size, *shape) for shape in shapes), controller])

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the controller's gates: (..., I) to (..., 4H)."""
        return self.input_gates(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """y = W_y h + W_r r (+ a bias): (..., H + R W) to (..., O)."""
        return self.output(features)

    def recur(self, x: Tensor, state: DNCState, starts: Tensor, trace: bool = False) -> Unrolled:
        """Run a window of steps by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernels equal the default loop, which runs for a trace, a write penalty, and wherever there is no kernel.
        They cannot be differentiated twice.
        """
        leaves = state_leaves(state)
        fused, sizes = not (trace or self.write_penalty), {"slots": self.slots, "width": self.width}
        if any(self.options) and x.device.type != "cpu":
            fused = False
        window = choice.window_for("dnc", [x, *leaves], **sizes) if fused else None
        if window is None:
            return super().recur(x, state, starts, trace)
        interface, options = self.interface, {"options": self.options} if any(self.options) else {}
        features, leaves = window(
            x, starts, self.recurrent_gates.weight, interface.weight, interface.bias, leaves, **options
        )
        return Unrolled(self.readout(features), DNCState._make([*leaves[:7], LSTMState(*leaves[7:])]), {}, {})

    def step(self, x: Tensor, state: DNCState) -> Step:
        recurrent = torch.cat([state.controller.hidden, state.read_vectors.flatten(1)], dim=1)
        controller = lstm_cell(x + self.recurrent_gates(recurrent), state.controller.cell)
        interface = self.interface(controller.hidden)
        with full_precision(x):
            return self._access(self._parse(interface.to(state.memory.dtype)), controller, state)

    def _access(self, interface: DNCInterface, controller: LSTMState, state: DNCState) -> Step:
        """One step of the memory, in the paper's order."""
        usage = allocation.update_usage(state.usage, state.write_weights, state.read_weights, interface.free_gates)
        free = allocation.allocation_weighting(usage)
        like_key = addressing.content_weighting(
            state.memory, interface.write_key, interface.write_strength, interface.write_mask
        ).squeeze(1)
        write_weights = access.write_weighting(like_key, free, interface.allocation_gate, interface.write_gate)
        memory = state.memory
        if self.options.deallocate:
            memory = memory * allocation.retention(state.read_weights, interface.free_gates).unsqueeze(2)
        memory = access.erase_and_add(memory, write_weights, interface.erase, interface.write)

        link = linkage.update_link(state.link, state.precedence, write_weights)
        precedence = linkage.update_precedence(state.precedence, write_weights)
        backward = linkage.backward_weighting(link, state.read_weights)
        forward = linkage.forward_weighting(link, state.read_weights)
        if interface.sharpness is not None:
            of_backward, of_forward = interface.sharpness.unbind(1)
            backward, forward = linkage.sharpened(backward, of_backward), linkage.sharpened(forward, of_forward)
        content = addressing.content_weighting(
            memory, interface.read_keys, interface.read_strengths, interface.read_masks
        )
        read_weights = access.read_weighting(backward, content, forward, interface.read_modes)
        read_vectors = access.read(memory, read_weights)

        state = DNCState(memory, usage, link, precedence, write_weights, read_weights, read_vectors, controller)
        trace = {
            "write_weights": write_weights,
            "read_weights": read_weights,
            "usage": usage,
            "allocation": free,
            "write_gate": interface.write_gate,
            "allocation_gate": interface.allocation_gate,
            "free_gates": interface.free_gates,
            "read_modes": interface.read_modes,
            "erase": interface.erase,
            "add": interface.write,
        }
        if interface.read_masks is not None and interface.write_mask is not None:
            trace["read_masks"], trace["write_mask"] = interface.read_masks, interface.write_mask.squeeze(1)
        if interface.sharpness is not None:
            trace["sharpness"] = interface.sharpness
        features = torch.cat([controller.hidden, read_vectors.flatten(1).to(controller.hidden.dtype)], dim=1)
        losses = {"write": self.write_penalty * write_weights.sum(1)} if self.write_penalty else {}
        return Step(features, state, losses, trace)

    def _parse(self, interface: Tensor) -> DNCInterface:
        """Split the (B, ·) interface vector and squash its parts."""
        parts = interface.split(self.interface_sizes, dim=1)
        heads = (-1, self.read_heads, self.width)
        return DNCInterface(
            read_keys=parts[0].reshape(heads),
            read_strengths=addressing.oneplus(parts[1]),
            write_key=parts[2].unsqueeze(1),
            write_strength=addressing.oneplus(parts[3]),
            erase=parts[4].sigmoid(),
            write=parts[5],
            free_gates=parts[6].sigmoid(),
            allocation_gate=parts[7].sigmoid(),
            write_gate=parts[8].sigmoid(),
            read_modes=parts[9].reshape(-1, self.read_heads, 3).softmax(dim=-1),
            read_masks=parts[10].reshape(heads).sigmoid() if self.options.masked_lookup else None,
            write_mask=parts[11].unsqueeze(1).sigmoid() if self.options.masked_lookup else None,
            sharpness=addressing.oneplus(parts[12].unflatten(1, (2, -1))) if self.options.sharpen_links else None,
        )
