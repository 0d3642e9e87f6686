"""LSTM and GRU over a window on a CUDA GPU, equal to those of :mod:`memagents.kernels.cpu.recurrent.window`.

A step is two launches, forward and backward: of cuBLAS for the recurrent product, and one kernel for all that is
pointwise. The gradient of the weights is one product over the whole window. :mod:`memagents.kernels.cuda.workspace`
describes how a window on a GPU is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import triton
from torch import Tensor

from memagents.kernels.cuda.graph import Workspaces
from memagents.kernels.cuda.recurrent.gru import gru, gru_backward
from memagents.kernels.cuda.recurrent.lstm import UNITS, lstm, lstm_backward
from memagents.kernels.cuda.workspace import Key, Workspace, run_window
from memagents.kernels.operands import check_gru_operands, check_lstm_operands

_GATES = 4  # of a unit, in the buffers of either


class RecurrentSizes(NamedTuple):
    """Size of an LSTM or a GRU."""

    hidden: int


def lstm_window(
    x: Tensor, starts: Tensor, recurrent_weight: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The recurrence of an LSTM over a window. Not differentiable twice.

    :param x: the inputs' share of the gates, (T, B, 4H), in the order of ``torch.nn.LSTM``, float32 or float64
    :param starts: (T, B) booleans, where the state becomes zero before the step
    :param recurrent_weight: (4H, H)
    :param hidden: hidden state before the window, (B, H)
    :param cell: cell before the window, (B, H)
    :return: hidden states (T, B, H); hidden state and cell after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, hidden, cell)
    check_lstm_operands(starts, *operands)
    outputs, (hidden, cell) = run_window(_lstm_workspaces, RecurrentSizes(hidden.shape[-1]), starts, operands)
    return outputs, hidden, cell


def gru_window(
    x: Tensor, starts: Tensor, recurrent_weight: Tensor, recurrent_bias: Tensor, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence of a GRU over a window. Not differentiable twice.

    :param x: the inputs' share of the gates, (T, B, 3H), in the order of ``torch.nn.GRU``, float32 or float64
    :param starts: (T, B) booleans, where the state becomes zero before the step
    :param recurrent_weight: (3H, H)
    :param recurrent_bias: (3H,)
    :param hidden: hidden state before the window, (B, H)
    :return: hidden states (T, B, H); the hidden state after the window
    :raises ValueError: if the shapes do not belong together
    """
    check_gru_operands(starts, x, recurrent_weight, recurrent_bias, hidden)
    size = hidden.shape[-1]
    candidate_first = (recurrent_weight.roll(size, 0), recurrent_bias.roll(size))
    outputs, (hidden,) = run_window(_gru_workspaces, RecurrentSizes(size), starts, (x, *candidate_first, hidden))
    return outputs, hidden


class _Recurrent(Workspace[RecurrentSizes]):
    """Shared by the workspaces of LSTM and GRU.

    :param key: what it is made for
    """

    inputs: ClassVar[slice]  # of the gates, those that x has a share of
    products: ClassVar[slice]  # those that the recurrent product adds to

    def __init__(self, key: Key[RecurrentSizes]):
        size, steps, batch = key.sizes.hidden, key.steps, key.batch
        super().__init__(key, size)
        self._gates = self._empty(steps, batch, _GATES, size)
        self._d_gates = self._empty(steps, self._kept, _GATES, size)
        self._weight = self._empty(self._multiplied(self._gates).shape[-1], size)
        self._biases: list[Tensor] = []
        self._units = (triton.cdiv(batch * size, UNITS),)
        self.constants = {"H": size, "BLOCK": UNITS}

    def _multiplied(self, gates: Tensor) -> Tensor:
        """The gates that the recurrent product adds to: (..., 4, H) to a view (..., ·)."""
        return gates[..., self.products, :].flatten(-2)

    def _weights(self) -> list[Tensor]:
        return [self._gates[..., self.inputs, :].flatten(-2), self._weight, *self._biases]

    def _gradients(self, wanted: Sequence[bool]) -> list[Tensor | None]:
        d_x = self._d_gates[..., self.inputs, :].flatten(-2)
        d_products = self._multiplied(self._d_gates).flatten(0, 1)
        d_weight = d_products.t() @ self._previous[:-1].flatten(0, 1)
        gradients: list[Tensor | None] = [d_x.clone(), d_weight, *(d_products.sum(0) for _ in self._biases)]
        leaves = self._gradient_leaves(0)
        leaves[0].masked_fill_(self._starts[0].bool().unsqueeze(1), 0.0)
        states = zip(leaves, wanted[len(gradients) :], strict=True)
        return gradients + [leaf.clone() if want else None for leaf, want in states]


class LSTMWorkspace(_Recurrent):
    """The buffers of an LSTM's window of one shape, and its forward and backward on them.

    :param key: what it is made for
    """

    kernels = (lstm, lstm_backward)
    inputs = products = slice(0, 4)

    def __init__(self, key: Key[RecurrentSizes]):
        super().__init__(key)
        size, batch = key.sizes.hidden, key.batch
        self._cell = self._empty(key.steps + 1, batch, size)
        self._d_hidden, self._d_cell = self._empty(self._kept, size), self._empty(2, self._kept, size)
        self.constants |= {"FEATURES": size, "d_hidden": None}

    def _leaves(self, t: int) -> list[Tensor]:
        return [self._previous[t], self._cell[t]]

    def _gradient_leaves(self, t: int) -> list[Tensor]:
        return [self._d_hidden, self._d_cell[t % 2]]

    def _forward_steps(self) -> None:
        previous, gates, weight = self._previous, self._gates, self._weight.t()
        for t in range(self._key.steps):
            self._multiplied(gates[t]).addmm_(previous[t], weight)
            self._launch(
                lstm, self._units, self._starts, gates, self._cell, self._features, previous, t, self._key.batch
            )

    def _backward_steps(self) -> None:
        for t in reversed(range(self._key.steps)):
            self._launch(
                lstm_backward, self._units, self._starts, self._gates, self._cell, self._grad_features, self._d_hidden,
                self._d_cell, self._d_gates, t, self._key.batch,
            )  # fmt: skip
            torch.mm(self._multiplied(self._d_gates[t]), self._weight, out=self._d_hidden)


class GRUWorkspace(_Recurrent):
    """The buffers of a GRU's window of one shape, and its forward and backward on them.

    :param key: what it is made for
    """

    kernels = (gru, gru_backward)
    inputs, products = slice(1, 4), slice(0, 3)  # the reset acts between the candidate's product and its share of x

    def __init__(self, key: Key[RecurrentSizes]):
        super().__init__(key)
        self._biases = [self._empty(len(self._weight))]
        self._d_hidden = self._empty(2, self._kept, key.sizes.hidden)

    def _leaves(self, t: int) -> list[Tensor]:
        return [self._previous[t]]

    def _gradient_leaves(self, t: int) -> list[Tensor]:
        return [self._d_hidden[t % 2]]

    def _begin(self) -> None:
        super()._begin()
        candidate, *others = self._biases[0].unflatten(0, (3, -1))
        self._gates[:, :, 0] = candidate
        for gate, bias in enumerate(others, start=1):
            self._gates[:, :, gate] += bias

    def _forward_steps(self) -> None:
        previous, gates, weight = self._previous, self._gates, self._weight.t()
        for t in range(self._key.steps):
            self._multiplied(gates[t]).addmm_(previous[t], weight)
            self._launch(gru, self._units, self._starts, gates, self._features, previous, t, self._key.batch)

    def _backward_steps(self) -> None:
        for t in reversed(range(self._key.steps)):
            self._launch(
                gru_backward, self._units, self._starts, self._gates, self._previous, self._grad_features,
                self._d_hidden, self._d_gates, t, self._key.batch,
            )  # fmt: skip
            self._d_hidden[t % 2].addmm_(self._multiplied(self._d_gates[t]), self._weight)


_lstm_workspaces: Workspaces[LSTMWorkspace] = Workspaces(LSTMWorkspace)
_gru_workspaces: Workspaces[GRUWorkspace] = Workspaces(GRUWorkspace)
