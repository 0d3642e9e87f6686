"""LSTM and GRU over a window on the CPU: fused forwards and hand-derived backwards, compiled by Numba.

:func:`lstm_window` and :func:`gru_window` equal the recurrence of the plain
:meth:`memagents.cores.core.MemoryCore.recur` of :class:`memagents.cores.lstm.LSTM` and
:class:`memagents.cores.gru.GRU`, values and gradients. A reset costs nothing. A thread takes some rows of the batch
through the whole window, with units in the lanes of its vectors; a row's results do not depend on the rows beside it,
on where the window was cut or on the number of threads.

Forward and backward, the plain loop takes 5 to 40 times as long for up to 8 rows, 1.4 to 9 times for 16 to 64 and 1 to
2 times for 256; torch's fused LSTM, from each reset to the next, 0.8 to 2 times without a reset and else 1.5 to 12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, scratch, widened
from memagents.kernels.cpu.recurrent import gru, lstm
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.row_products import ROWS
from memagents.kernels.cpu.vector.wide import wide_lanes
from memagents.kernels.operands import check_gru_operands, check_lstm_operands

_MOST_ROWS = 16  # of a tile: more would take their records out of the second cache
_STEP = 1 << 19  # multiplications that are worth as much as a step of a tile to thread_count


class _Kind(NamedTuple):
    """Differences between LSTM and GRU."""

    forward: Callable[..., None]
    backward: Callable[..., None]
    gates: int
    record: int  # entries of a record, in units
    biases: int  # 1 if the recurrent product has one


_LSTM = _Kind(lstm.forward, lstm.backward, lstm.GATES, lstm.RECORD, 0)
_GRU = _Kind(gru.forward, gru.backward, gru.GATES, gru.RECORD, 1)


def lstm_window(
    x: Tensor, starts: Tensor, recurrent_weight: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The recurrence of an LSTM over a window. Not differentiable twice.

    :param x: the inputs' share of the gates, (T, B, 4H), in the order of ``torch.nn.LSTM``
    :param starts: (T, B) booleans, where the state becomes zero before the step
    :param recurrent_weight: (4H, H)
    :param hidden: hidden state before the window, (B, H)
    :param cell: cell before the window, (B, H)
    :return: hidden states (T, B, H); hidden state and cell after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, hidden, cell)
    check_lstm_operands(starts, *operands)
    outputs, hidden, cell = _window(_LSTM, starts, operands)
    return outputs, hidden, cell


def gru_window(
    x: Tensor, starts: Tensor, recurrent_weight: Tensor, recurrent_bias: Tensor, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence of a GRU over a window. Not differentiable twice.

    :param x: the inputs' share of the gates, (T, B, 3H), in the order of ``torch.nn.GRU``
    :param starts: (T, B) booleans, where the state becomes zero before the step
    :param recurrent_weight: (3H, H)
    :param recurrent_bias: (3H,)
    :param hidden: hidden state before the window, (B, H)
    :return: hidden states (T, B, H); the hidden state after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, recurrent_bias, hidden)
    check_gru_operands(starts, *operands)
    outputs, hidden = _window(_GRU, starts, operands)
    return outputs, hidden


def _window(kind: _Kind, starts: Tensor, operands: Sequence[Tensor]) -> Sequence[Tensor]:
    x, weight, *others = operands
    size = weight.shape[1]
    more = -size % wide_lanes(x.dtype)
    if more:
        weight = widened(widened(weight, size, more).t(), size, more).t()
        x, *others = (widened(operand, size, more) for operand in (x, *others))
    results: Sequence[Tensor]
    if learning((x, weight, *others)):
        results = _Window.apply(kind, starts, x, weight, *others)
    else:
        results, _ = _run_forward(kind, starts, x, weight, *others, keep=False)
    return [result[..., :size] for result in results] if more else results


class _Context(Context):
    kind: _Kind


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, kind: _Kind, starts: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        results, tape = _run_forward(kind, starts, *operands, keep=True)
        ctx.kind = kind
        ctx.save_for_backward(starts, operands[1], tape)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *_run_backward(ctx.kind, *ctx.saved_tensors, *grads))


def _run_forward(
    kind: _Kind, starts: Tensor, x: Tensor, weight: Tensor, *others: Tensor, keep: bool
) -> tuple[list[Tensor], Tensor]:
    (steps, batch), size, lanes = starts.shape, weight.shape[1], wide_lanes(x.dtype)
    units, (threads, rows) = size // lanes, _shares(starts, weight)
    hidden = x.new_empty(steps, batch, size)
    shared = [operand.contiguous() for operand in (x, hidden, weight, *others[: kind.biases])]
    before = [leaf.contiguous() for leaf in others[kind.biases :]]
    after = [torch.empty_like(leaf) for leaf in before]
    blocks, records, width = (1, max(1, steps) + 1, batch) if keep else (threads, 1, rows)
    tape = scratch(x, blocks, records * width * kind.record * units, lanes)
    arguments = (
        units,
        rows,
        array(starts),
        tuple(operand.data_ptr() for operand in shared),
        tuple(leaf.data_ptr() for leaf in before),
        tuple(leaf.data_ptr() for leaf in after),
        tape,
        width,
        scratch(x, threads, kind.gates * units * size, lanes),
    )
    run(partial(kind.forward, *arguments), threads)
    return [hidden, *after], torch.from_numpy(tape)


def _run_backward(
    kind: _Kind, starts: Tensor, weight: Tensor, tape: Tensor, grad_hidden: Tensor, *grad_after: Tensor
) -> tuple[Tensor, ...]:
    (steps, batch), size, lanes = starts.shape, weight.shape[1], tape.shape[-1]
    units, (threads, rows) = size // lanes, _shares(starts, weight)
    weight, grad_hidden = weight.contiguous(), grad_hidden.contiguous()
    d_state = [grad.clone(memory_format=torch.contiguous_format) for grad in grad_after]
    d_gates = [grad_hidden.new_empty(steps, batch, kind.gates * size) for _ in range(1 + kind.biases)]
    arguments = (
        units,
        rows,
        array(starts),
        weight.data_ptr(),
        grad_hidden.data_ptr(),
        tuple(leaf.data_ptr() for leaf in d_state),
        tuple(gates.data_ptr() for gates in d_gates),
        tape[0].numpy(),
        scratch(weight, threads, kind.gates * units * size, lanes),
    )
    run(partial(kind.backward, *arguments), threads)
    d_products = d_gates[-1].flatten(0, 1)
    previous = tape.view(-1, kind.record * size)[: steps * batch, :size]
    d_weight = (previous.contiguous().t() @ d_products).t()  # this way around twice as fast
    d_biases = [d_products.sum(0)] * kind.biases
    return d_gates[0], d_weight, *d_biases, *d_state


def _shares(starts: Tensor, weight: Tensor) -> tuple[int, int]:
    """Return how many threads are worth their while, and the rows of a tile."""
    steps, batch = starts.shape
    threads = thread_count(-(-batch // ROWS), steps * ROWS * weight.numel() // _STEP)
    return threads, min(_MOST_ROWS, -(-batch // (threads * ROWS)) * ROWS)
