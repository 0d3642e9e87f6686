"""A window on a CUDA GPU of a core with an LSTM and a memory: its buffers, and the order of its launches.

A step is four launches: cuBLAS for the gates, a kernel for the LSTM, cuBLAS for the interface, one kernel for the whole
memory. So is its backward. What runs it is in :mod:`memagents.kernels.cuda.workspace`.

For the backward the small quantities of every step stay on a tape, the matrices of the memory only every √T steps; they
are computed again from there, forward.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import torch
import triton
from torch import Tensor

from memagents.kernels.cuda.recurrent.lstm import UNITS, lstm, lstm_backward
from memagents.kernels.cuda.workspace import Constant, Kernel, Key, Workspace

_LARGEST_MATRIX = 1 << 14  # numbers of a row's memory, padded: a program holds it whole


class MemorySizes(Protocol):
    """Sizes of a core with a memory, those that a workspace looks at."""

    @property
    def slots(self) -> int: ...  # N

    @property
    def width(self) -> int: ...  # W

    @property
    def heads(self) -> int: ...  # R, those that read

    @property
    def hidden(self) -> int: ...  # H


M = TypeVar("M", bound=MemorySizes)


class Rows(NamedTuple):
    """Lengths of the rows of the buffers, one for each row of the batch."""

    interface: int  # I, what the controller says to the memory
    record: int  # what a step leaves on the tape
    carry: int  # the beginning of a record: the small part of the state
    scratch: int  # what the backward of a step writes and reads again


class Kernels(NamedTuple):
    """A core's own. Each also takes, of a workspace's constants, those that it names.

    ``access(starts, interface, tape, *matrices, *beginning, features, previous, t, batch)``
    ``rebuild(starts, interface, tape, *checkpoints, *before, *beginning, first, steps, batch)``
    ``access_backward(starts, interface, tape, *before, *beginning, grad_features, d_recurrent, *d_matrices, d_carry,
    *d_beginning, scratch, d_interface, t, of_chunk, batch)``
    """

    access: Kernel
    rebuild: Kernel
    access_backward: Kernel


class _Gradients(NamedTuple):
    """Buffers of the backward. What has a leading 2 is of two halves: step t reads one and writes half t % 2."""

    carry: Tensor  # (2, B, carry)
    cell: Tensor  # (2, B, H)
    recurrent: Tensor  # (B, H + R W), of the features as the next step's controller got them
    hidden: Tensor  # (B, H), of the hidden state as the interface got it
    gates: Tensor  # (T, B, 4H)
    interface: Tensor  # (T, B, I)
    scratch: Tensor  # (B, scratch)


def matrix_fits(rows: int, columns: int) -> bool:
    """Whether a program can hold a matrix of this shape."""
    return triton.next_power_of_2(rows) * triton.next_power_of_2(columns) <= _LARGEST_MATRIX


class MemoryWorkspace(Workspace[M]):
    """The buffers of a window of a core with a memory, and its forward and backward on them.

    A core sets its kernels, and adds to the constants what they are compiled for.

    :param key: what it is made for
    :param rows: how long the rows of its buffers are
    :param matrices: shapes of the large parts of the state, the memory (N, W) first
    """

    kernels: ClassVar[Kernels]

    def __init__(self, key: Key[M], rows: Rows, matrices: Sequence[tuple[int, int]]):
        sizes = key.sizes
        steps, batch, h = key.steps, key.batch, sizes.hidden
        features = h + sizes.heads * sizes.width
        super().__init__(key, features)
        # √T steps a chunk: then what is kept of all chunks and what is computed again of one are least together.
        self._every = max(1, round(math.sqrt(steps)))
        self._recurrent_weight = self._empty(4 * h, features)
        self._weight, self._bias = self._empty(rows.interface, h), self._empty(rows.interface)
        self._tape = self._empty(steps + 1, batch, rows.record)
        self._cell = self._empty(steps + 1, batch, h)
        self._matrices = [self._empty(2, batch, *shape) for shape in matrices]
        self._gates, self._interface = self._empty(steps, batch, 4 * h), self._empty(steps, batch, rows.interface)
        self._beginning: list[Tensor] = []  # the state that an episode begins with
        self._make_gradients(rows, matrices)
        self.constants = self._choose_constants(rows)
        # Compiled for sm_90, the DNC's kernels for 64 slots of 32 numbers keep to their registers with 8 warps, not
        # with 4.
        self._warps = 4 if max(math.prod(shape) for shape in matrices) <= 1 << 10 else 8

    def _make_gradients(self, rows: Rows, matrices: Sequence[tuple[int, int]]) -> None:
        """Make the gradients and what else a backward wants; of no rows if there will be none."""
        sizes, steps, batch = self._key.sizes, self._key.steps, self._kept
        h, features, chunks = sizes.hidden, sizes.hidden + sizes.heads * sizes.width, -(-steps // self._every)
        self._checkpoints = [self._empty(chunks, batch, *shape) for shape in matrices]
        self._before = [self._empty(self._every, batch, *shape) for shape in matrices]  # every step of one chunk
        self._d_matrices = [self._empty(2, batch, *shape) for shape in matrices]
        self._d_beginning: list[Tensor] = []  # row by row
        self._d = _Gradients(
            carry=self._empty(2, batch, rows.carry),
            cell=self._empty(2, batch, h),
            recurrent=self._empty(batch, features),
            hidden=self._empty(batch, h),
            gates=self._empty(steps, batch, 4 * h),
            interface=self._empty(steps, batch, rows.interface),
            scratch=self._empty(batch, rows.scratch),
        )

    def _choose_constants(self, rows: Rows) -> dict[str, Constant]:
        sizes = self._key.sizes
        n, w, r, h = sizes.slots, sizes.width, sizes.heads, sizes.hidden
        own: dict[str, Constant] = {"N": n, "W": w, "R": r, "H": h, "FEATURES": h + r * w, "INTERFACE": rows.interface}
        buffers = {"RECORD": rows.record, "CARRY": rows.carry, "SCRATCH": rows.scratch}
        blocks = {"PN": triton.next_power_of_2(n), "PW": triton.next_power_of_2(w), "BLOCK": UNITS}
        return own | buffers | blocks

    # --- the parts of a state ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _arrange(
        self, matrices: Sequence[Tensor], carry: Tensor, vectors: Tensor, hidden: Tensor, cell: Tensor
    ) -> list[Tensor]:
        """The leaves of a state, in order.

        :param matrices: (B, ...)
        :param carry: (B, carry)
        :param vectors: those read, (B, R, W)
        :param hidden: (B, H)
        :param cell: (B, H)
        """

    def _split_features(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Read vectors (B, R, W) and hidden state (B, H)."""
        sizes = self._key.sizes
        return features[:, sizes.hidden :].unflatten(1, (sizes.heads, sizes.width)), features[:, : sizes.hidden]

    def _weights(self) -> list[Tensor]:
        return [self._gates, self._recurrent_weight, self._weight, self._bias, *self._beginning_leaves()]

    def _leaves(self, t: int) -> list[Tensor]:
        features = self._previous[0] if t == 0 else self._features[t - 1]
        carry = self._tape[t, :, : self._d.carry.shape[2]]
        matrices = [matrix[t % 2] for matrix in self._matrices]
        return self._arrange(matrices, carry, *self._split_features(features), self._cell[t])

    def _gradient_leaves(self, t: int) -> list[Tensor]:
        d, half = self._d, t % 2
        matrices = [matrix[half] for matrix in self._d_matrices]
        return self._arrange(matrices, d.carry[half], *self._split_features(d.recurrent), d.cell[half])

    def _beginning_leaves(self) -> list[Tensor]:
        """Views of the state that an episode begins with, as the window's operands have it."""
        return []

    def _gradients_of_beginning(self) -> list[Tensor]:
        """Gradients of :meth:`_beginning_leaves`."""
        return []

    # --- forward ----------------------------------------------------------------------------------------------------

    def _forward_steps(self) -> None:
        batch, hidden = self._key.batch, self._key.sizes.hidden
        features, previous, units = self._features, self._previous, (triton.cdiv(batch * hidden, UNITS),)
        for t in range(self._key.steps):
            if self._key.keep and t % self._every == 0:
                for kept, matrix in zip(self._checkpoints, self._matrices, strict=True):
                    kept[t // self._every].copy_(matrix[t % 2])
            self._gates[t].addmm_(previous[t], self._recurrent_weight.t())
            self._launch(lstm, units, self._starts, self._gates, self._cell, features, previous, t, batch)
            torch.addmm(self._bias, features[t, :, :hidden], self._weight.t(), out=self._interface[t])
            self._launch(
                self.kernels.access, (batch,), self._starts, self._interface, self._tape, *self._matrices,
                *self._beginning, features, previous, t, batch,
            )  # fmt: skip

    # --- backward ---------------------------------------------------------------------------------------------------

    def run_backward(
        self, grad_features: Tensor | None, grad_leaves: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        for sums in self._d_beginning:
            sums.zero_()
        return super().run_backward(grad_features, grad_leaves, wanted)

    def _gradients(self, wanted: Sequence[bool]) -> list[Tensor | None]:
        d, hidden = self._d, self._key.sizes.hidden
        gates, interface = d.gates.flatten(0, 1), d.interface.flatten(0, 1)
        d_recurrent = gates.t() @ self._previous[:-1].flatten(0, 1)
        d_weight = interface.t() @ self._features[:, :, :hidden].flatten(0, 1)
        d.recurrent.masked_fill_(self._starts[0].bool().unsqueeze(1), 0.0)
        states = zip([*self._gradients_of_beginning(), *self._gradient_leaves(0)], wanted[4:], strict=True)
        d_states = [state.clone() if want else None for state, want in states]
        return [d.gates.clone(), d_recurrent, d_weight, interface.sum(0), *d_states]

    def _backward_steps(self) -> None:
        d, batch, starts = self._d, self._key.batch, self._starts
        units = (triton.cdiv(batch * self._key.sizes.hidden, UNITS),)
        for first in reversed(range(0, self._key.steps, self._every)):
            last = min(first + self._every, self._key.steps)
            self._rebuild(first, last - first)
            for t in reversed(range(first, last)):
                self._launch(
                    self.kernels.access_backward, (batch,), starts, self._interface, self._tape, *self._before,
                    *self._beginning, self._grad_features, d.recurrent, *self._d_matrices, d.carry, *self._d_beginning,
                    d.scratch, d.interface, t, t - first, batch,
                )  # fmt: skip
                torch.mm(d.interface[t], self._weight, out=d.hidden)
                self._launch(
                    lstm_backward, units, starts, self._gates, self._cell, self._grad_features, d.recurrent, d.cell,
                    d.gates, t, batch, d.hidden,
                )  # fmt: skip
                torch.mm(d.gates[t], self._recurrent_weight, out=d.recurrent)

    def _rebuild(self, first: int, steps: int) -> None:
        """The matrices before each step of a chunk."""
        checkpoints = [kept[first // self._every] for kept in self._checkpoints]
        rows = self.constants["ROWS"]
        assert isinstance(rows, int)
        blocks = triton.cdiv(self._key.sizes.slots, rows)
        self._launch(
            self.kernels.rebuild, (self._key.batch, blocks), self._starts, self._interface, self._tape, *checkpoints,
            *self._before, *self._beginning, first, steps, self._key.batch,
        )  # fmt: skip
