"""The DNC over a window on a CUDA GPU: :func:`dnc_window` equals that of :mod:`memagents.kernels.dnc`.

A step is four launches: cuBLAS for the gates, a kernel for the LSTM, cuBLAS for the interface, one kernel for the whole
memory (:mod:`memagents.kernels.triton.dnc_forward`). So is its backward. All of it works on the preallocated buffers of
a :class:`Workspace`, so that a window becomes one CUDA graph (:mod:`memagents.kernels.triton.graph`).

For the backward the small quantities of every step stay on a tape, the memory and link matrices only every √T steps;
they are computed again from there, forward.

In Triton's interpreter (``TRITON_INTERPRET=1``) the same code runs on the CPU, slowly, for tests.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.dnc import check_operands
from memagents.kernels.dnc_tape import Sizes, interface_rows
from memagents.kernels.triton.dnc_backward import access_backward, scratch_rows
from memagents.kernels.triton.dnc_forward import access, rebuild
from memagents.kernels.triton.graph import Captured, Workspaces
from memagents.kernels.triton.lstm import lstm, lstm_backward
from memagents.kernels.triton.parts import carry_rows, record_rows
from memagents.kernels.window import learning

_LARGEST_MEMORY = 1 << 14  # numbers of a row's memory, padded: a program holds it whole
_LARGEST_SLOTS = 1 << 10
_TILE = 1 << 12  # numbers of a matrix of slots by slots that a program works on at once
_UNITS = 128  # of the LSTM in a program


class Key(NamedTuple):
    """What a workspace is made for."""

    sizes: Sizes
    steps: int
    batch: int
    keep: bool  # what a backward needs
    dtype: torch.dtype
    device: torch.device
    stream: int  # whose work is done in order, so that a workspace may be used again at once


def fits(slots: int, width: int) -> bool:
    """Whether the kernels can hold a memory of so many slots of this width."""
    padded = triton.next_power_of_2(slots)
    return padded <= _LARGEST_SLOTS and padded * triton.next_power_of_2(width) <= _LARGEST_MEMORY


def dnc_window(
    x: Tensor, starts: Tensor, recurrent_weight: Tensor, weight: Tensor, bias: Tensor, leaves: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The recurrence of a DNC over a window. Not differentiable twice.

    :param x: the inputs' share of the controller's gates, (T, B, 4H), float32 or float64
    :param starts: (T, B) booleans, where the state becomes zero before the step
    :param recurrent_weight: of hidden state and read vectors in the gates, (4H, H + R W)
    :param weight: of the interface, (I, H)
    :param bias: of the interface, (I,)
    :param leaves: the nine tensors of a :class:`~memagents.cores.dnc.DNCState`, in order
    :return: features (T, B, H + R W) and the leaves after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, weight, bias, *leaves)
    check_operands(starts, *operands)
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        if learning(operands):
            features, *after = _Window.apply(starts, *operands)
        else:
            workspace, _token = _borrow(_key(starts, operands, keep=False))
            features, after = workspace.run_forward(starts, *operands)
    return features, after


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, starts: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        ctx.workspace, token = _borrow(_key(starts, operands, keep=True))
        features, leaves = ctx.workspace.run_forward(starts, *operands)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(token)
        return features, *leaves

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_features: Tensor | None, *grad_leaves: Tensor | None) -> tuple[Tensor | None, ...]:
        (_token,) = ctx.saved_tensors  # raises if it was freed: the workspace may be somebody else's now
        return (None, *ctx.workspace.run_backward(grad_features, grad_leaves, ctx.needs_input_grad[5:]))


def _key(starts: Tensor, operands: Sequence[Tensor], keep: bool) -> Key:
    x, memory, read_weights, hidden = operands[0], operands[4], operands[9], operands[11]
    sizes = Sizes(memory.shape[1], memory.shape[2], read_weights.shape[1], hidden.shape[1])
    stream = torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0
    return Key(sizes, starts.shape[0], starts.shape[1], keep, x.dtype, x.device, stream)


class _Gradients(NamedTuple):
    """Buffers of the backward. What has a leading 2 is of two halves: step t reads one and writes half t % 2."""

    memories: Tensor  # (steps of a chunk, B, N, W): the memory before every step of a chunk
    links: Tensor  # (steps of a chunk, B, N, N)
    features: Tensor  # (T, B, H + R W), from outside
    memory: Tensor  # (2, B, N, W)
    link: Tensor  # (2, B, N, N)
    carry: Tensor  # (2, B, (3 + R) N)
    cell: Tensor  # (2, B, H)
    recurrent: Tensor  # (B, H + R W), of the features as the next step's controller got them
    hidden: Tensor  # (B, H), of the hidden state as the interface got it
    gates: Tensor  # (T, B, 4H)
    interface: Tensor  # (T, B, I)
    scratch: Tensor  # (B, (2 + 2R) N)


class Workspace:
    """The buffers of a window of one shape, and its forward and backward on them.

    :param key: what it is made for
    """

    def __init__(self, key: Key):
        self._key = key
        (n, w, r, h), steps, batch = key.sizes, key.steps, key.batch
        features, interface = h + r * w, interface_rows(key.sizes)
        # √T steps a chunk: then what is kept of all chunks and what is computed again of one are least together.
        self._every = max(1, round(math.sqrt(steps)))
        chunks = -(-steps // self._every) if key.keep else 0
        self._starts = self._empty(steps + 1, batch, dtype=torch.uint8)
        self._starts[-1].zero_()
        self._recurrent_weight = self._empty(4 * h, features)
        self._weight, self._bias = self._empty(interface, h), self._empty(interface)
        self._tape = self._empty(steps + 1, batch, record_rows(n, r))
        self._cell = self._empty(steps + 1, batch, h)
        self._memory, self._link = self._empty(2, batch, n, w), self._empty(2, batch, n, n)
        self._gates, self._interface = self._empty(steps, batch, 4 * h), self._empty(steps, batch, interface)
        self._features, self._previous = self._empty(steps, batch, features), self._empty(steps + 1, batch, features)
        self._memory_checkpoints = self._empty(chunks, batch, n, w)
        self._link_checkpoints = self._empty(chunks, batch, n, n)
        self._gradients: _Gradients | None = None
        self._forward = Captured(key.device)
        self._backward = Captured(key.device)
        self.constants = self._choose_constants()
        # Compiled for sm_90, the kernels for 64 slots of 32 numbers keep to their registers with 8 warps, not with 4.
        self._warps = 4 if max(n * n, n * w) <= 1 << 10 else 8

    def _empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        with torch.inference_mode(False):  # a tensor that is made inside cannot be written outside
            return torch.empty(shape, dtype=dtype or self._key.dtype, device=self._key.device)

    def _choose_constants(self) -> dict[str, int]:
        """What the kernels are compiled for, by the names of their arguments."""
        n, w, r, h = self._key.sizes
        slots, width = triton.next_power_of_2(n), triton.next_power_of_2(w)
        rows = max(1, min(slots, _TILE // slots))
        sizes = {"N": n, "W": w, "R": r, "H": h, "FEATURES": h + r * w, "INTERFACE": interface_rows(self._key.sizes)}
        records = {"RECORD": record_rows(n, r), "CARRY": carry_rows(n, r), "SCRATCH": scratch_rows(n, r)}
        blocks = {"PN": slots, "PW": width, "PR": triton.next_power_of_2(r), "ROWS": rows, "BLOCK": _UNITS}
        return sizes | records | blocks

    def _launch(self, kernel: Any, grid: tuple[int, ...], *arguments: Tensor | int) -> None:
        own = {name: self.constants[name] for name in kernel.arg_names if name in self.constants}
        kernel[grid](*arguments, **own, num_warps=self._warps)

    # --- forward ----------------------------------------------------------------------------------------------------

    def run_forward(self, starts: Tensor, *operands: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Copies of what :func:`dnc_window` returns."""
        x, recurrent_weight, weight, bias, *leaves = operands
        self._starts[:-1].copy_(starts)
        self._gates.copy_(x)
        self._recurrent_weight.copy_(recurrent_weight)
        self._weight.copy_(weight)
        self._bias.copy_(bias)
        for own, leaf in zip(self._leaves(0), leaves, strict=True):
            own.copy_(leaf)
        self._previous[0].masked_fill_(starts[0].unsqueeze(1), 0.0)
        self._forward(self._forward_steps)
        return self._features.clone(), [leaf.clone() for leaf in self._leaves(self._key.steps)]

    def _leaves(self, t: int) -> list[Tensor]:
        """Views of the state before step t, where t is 0, or after all steps."""
        features = self._previous[0] if t == 0 else self._features[t - 1]
        vectors, hidden = self._split_features(features)
        return self._arrange(self._memory[t % 2], self._link[t % 2], self._tape[t], vectors, hidden, self._cell[t])

    def _arrange(
        self, memory: Tensor, link: Tensor, record: Tensor, vectors: Tensor, hidden: Tensor, cell: Tensor
    ) -> list[Tensor]:
        """The leaves of a state, in order, the carry being the beginning of a record."""
        n, _, r, _ = self._key.sizes
        usage, write_weights, precedence, reads = record[:, : carry_rows(n, r)].split([n, n, n, r * n], dim=1)
        return [memory, usage, link, precedence, write_weights, reads.unflatten(1, (r, n)), vectors, hidden, cell]

    def _split_features(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Read vectors (B, R, W) and hidden state (B, H)."""
        _, w, r, h = self._key.sizes
        return features[:, h:].unflatten(1, (r, w)), features[:, :h]

    def _forward_steps(self) -> None:
        batch, hidden = self._key.batch, self._key.sizes.hidden
        features, previous, units = self._features, self._previous, (triton.cdiv(batch * hidden, _UNITS),)
        for t in range(self._key.steps):
            if self._key.keep and t % self._every == 0:
                self._memory_checkpoints[t // self._every].copy_(self._memory[t % 2])
                self._link_checkpoints[t // self._every].copy_(self._link[t % 2])
            self._gates[t].addmm_(previous[t], self._recurrent_weight.t())
            self._launch(lstm, units, self._starts, self._gates, self._cell, features, previous, t, batch)
            torch.addmm(self._bias, features[t, :, :hidden], self._weight.t(), out=self._interface[t])
            self._launch(
                access, (batch,), self._starts, self._interface, self._tape, self._memory, self._link, features,
                previous, t, batch,
            )  # fmt: skip

    # --- backward ---------------------------------------------------------------------------------------------------

    def run_backward(
        self, grad_features: Tensor | None, grad_leaves: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """The gradients of x, the three weights and, where wanted, of the leaves."""
        if self._gradients is None:
            self._gradients = self._new_gradients()
        d, hidden = self._gradients, self._key.sizes.hidden
        own_grads = [d.features, *self._gradient_leaves(d, self._key.steps)]
        for own, grad in zip(own_grads, [grad_features, *grad_leaves], strict=True):
            if grad is None:
                own.zero_()
            else:
                own.copy_(grad)
        self._backward(self._backward_steps)
        gates, interface = d.gates.flatten(0, 1), d.interface.flatten(0, 1)
        d_recurrent = gates.t() @ self._previous[:-1].flatten(0, 1)
        d_weight = interface.t() @ self._features[:, :, :hidden].flatten(0, 1)
        d.recurrent.masked_fill_(self._starts[0].bool().unsqueeze(1), 0.0)
        leaves = zip(self._gradient_leaves(d, 0), wanted, strict=True)
        d_leaves = [leaf.clone() if want else None for leaf, want in leaves]
        return [d.gates.clone(), d_recurrent, d_weight, interface.sum(0), *d_leaves]

    def _new_gradients(self) -> _Gradients:
        (n, w, r, h), steps, batch = self._key.sizes, self._key.steps, self._key.batch
        features, chunk = h + r * w, min(self._every, steps)
        return _Gradients(
            memories=self._empty(chunk, batch, n, w),
            links=self._empty(chunk, batch, n, n),
            features=self._empty(steps, batch, features),
            memory=self._empty(2, batch, n, w),
            link=self._empty(2, batch, n, n),
            carry=self._empty(2, batch, carry_rows(n, r)),
            cell=self._empty(2, batch, h),
            recurrent=self._empty(batch, features),
            hidden=self._empty(batch, h),
            gates=self._empty(steps, batch, 4 * h),
            interface=self._empty(steps, batch, interface_rows(self._key.sizes)),
            scratch=self._empty(batch, scratch_rows(n, r)),
        )

    def _gradient_leaves(self, d: _Gradients, t: int) -> list[Tensor]:
        """Views of the gradients of the state before step t."""
        half = t % 2
        vectors, hidden = self._split_features(d.recurrent)
        return self._arrange(d.memory[half], d.link[half], d.carry[half], vectors, hidden, d.cell[half])

    def _backward_steps(self) -> None:
        d, batch, starts = self._gradients, self._key.batch, self._starts
        assert d is not None
        units = (triton.cdiv(batch * self._key.sizes.hidden, _UNITS),)
        for first in reversed(range(0, self._key.steps, self._every)):
            last = min(first + self._every, self._key.steps)
            self._rebuild(d, first, last - first)
            for t in reversed(range(first, last)):
                self._launch(
                    access_backward, (batch,), starts, self._interface, self._tape, d.memories, d.links, d.features,
                    d.recurrent, d.memory, d.link, d.carry, d.scratch, d.interface, t, t - first, batch,
                )  # fmt: skip
                torch.mm(d.interface[t], self._weight, out=d.hidden)
                self._launch(
                    lstm_backward, units, starts, self._gates, self._cell, d.features, d.recurrent, d.hidden, d.cell,
                    d.gates, t, batch,
                )  # fmt: skip
                torch.mm(d.gates[t], self._recurrent_weight, out=d.recurrent)

    def _rebuild(self, d: _Gradients, first: int, steps: int) -> None:
        """The memory and link matrices before each step of a chunk."""
        chunk = first // self._every
        blocks = triton.cdiv(self._key.sizes.slots, self.constants["ROWS"])
        self._launch(
            rebuild, (self._key.batch, blocks), self._starts, self._interface, self._tape,
            self._memory_checkpoints[chunk], self._link_checkpoints[chunk], d.memories, d.links, first, steps,
            self._key.batch,
        )  # fmt: skip


_workspaces: Workspaces[Workspace] = Workspaces(Workspace)


def _borrow(key: Key) -> tuple[Workspace, Tensor]:
    """A workspace and its token. Somebody else's graph gets its own, which its replays may overwrite at any time."""
    if key.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return Workspace(key), torch.empty(0)
    return _workspaces.borrow(key)
