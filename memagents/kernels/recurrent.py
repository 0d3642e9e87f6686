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
from typing import Any, NamedTuple

import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from memagents.kernels import gru_step, lstm_step
from memagents.kernels.row_products import ROWS, pack, pack_columns
from memagents.kernels.simd import array_at, next_ticket, part
from memagents.kernels.threads import run, thread_count
from memagents.kernels.wide import lanes_of, wide_lanes
from memagents.kernels.window import SOURCES, array, check_shapes, learning, scratch

_MOST_ROWS = 16  # of a tile: more would take their records out of the second cache
_STEP = 1 << 19  # multiplications that are worth as much as a step of a tile to thread_count


@part
def _numbers(address, entries, work):
    """So many vectors at an address: a tensor goes to compiled code ten times faster as one than as an array."""
    return array_at(address, entries, lanes_of(work), work)


@njit(nogil=True, cache=True)
def _lstm_forward(units, rows, starts, shared, before, after, tape, width, work, tickets, thread, sources=SOURCES):
    (steps, batch), gates = starts.shape, lstm_step.GATES * units
    x, hidden = _numbers(shared[0], steps * batch * gates, work), _numbers(shared[1], steps * batch * units, work)
    hidden_before, hidden_after = _numbers(before[0], batch * units, work), _numbers(after[0], batch * units, work)
    cell_before, cell_after = _numbers(before[1], batch * units, work), _numbers(after[1], batch * units, work)
    packed, own_tape = work[thread], tape[thread % len(tape)]
    pack(_numbers(shared[2], gates * packed.shape[1] * units, work), units, packed)
    first = rows * next_ticket(tickets)
    while first < batch:
        lstm_step.forward(
            first, min(first + rows, batch), units, starts, x, packed, (hidden_before, cell_before),
            (hidden_after, cell_after), hidden, own_tape, width,
        )  # fmt: skip
        first = rows * next_ticket(tickets)


@njit(nogil=True, cache=True)
def _gru_forward(units, rows, starts, shared, before, after, tape, width, work, tickets, thread, sources=SOURCES):
    (steps, batch), gates = starts.shape, gru_step.GATES * units
    x, hidden = _numbers(shared[0], steps * batch * gates, work), _numbers(shared[1], steps * batch * units, work)
    own, then = _numbers(before[0], batch * units, work), _numbers(after[0], batch * units, work)
    packed, own_tape = work[thread], tape[thread % len(tape)]
    pack(_numbers(shared[2], gates * packed.shape[1] * units, work), units, packed)
    bias = _numbers(shared[3], gates, work)
    first = rows * next_ticket(tickets)
    while first < batch:
        last = min(first + rows, batch)
        gru_step.forward(first, last, units, starts, x, packed, bias, own, then, hidden, own_tape, width)
        first = rows * next_ticket(tickets)


@njit(nogil=True, cache=True)
def _lstm_backward(units, rows, starts, weight, grads, d_state, d_gates, tape, work, tickets, thread, sources=SOURCES):
    (steps, batch), gates = starts.shape, lstm_step.GATES * units
    d_hidden, d_cell = _numbers(d_state[0], batch * units, work), _numbers(d_state[1], batch * units, work)
    grad_hidden, d_x = _numbers(grads, steps * batch * units, work), _numbers(d_gates[0], steps * batch * gates, work)
    packed = work[thread]
    pack_columns(_numbers(weight, gates * packed.shape[1] * units, work), units, packed)
    first = rows * next_ticket(tickets)
    while first < batch:
        last = min(first + rows, batch)
        lstm_step.backward(first, last, units, starts, packed, grad_hidden, d_hidden, d_cell, d_x, tape)
        first = rows * next_ticket(tickets)


@njit(nogil=True, cache=True)
def _gru_backward(units, rows, starts, weight, grads, d_state, d_gates, tape, work, tickets, thread, sources=SOURCES):
    (steps, batch), gates = starts.shape, gru_step.GATES * units
    d_hidden, grad_hidden = _numbers(d_state[0], batch * units, work), _numbers(grads, steps * batch * units, work)
    d_x, d_products = (
        _numbers(d_gates[0], steps * batch * gates, work),
        _numbers(d_gates[1], steps * batch * gates, work),
    )
    packed = work[thread]
    pack_columns(_numbers(weight, gates * packed.shape[1] * units, work), units, packed)
    first = rows * next_ticket(tickets)
    while first < batch:
        last = min(first + rows, batch)
        gru_step.backward(first, last, units, starts, packed, grad_hidden, d_hidden, d_x, d_products, tape)
        first = rows * next_ticket(tickets)


class _Kind(NamedTuple):
    """What tells the two apart here."""

    forward: Callable
    backward: Callable
    gates: int
    record: int  # entries of a record, in units
    biases: int  # 1 if the recurrent product has one


_LSTM = _Kind(_lstm_forward, _lstm_backward, lstm_step.GATES, lstm_step.RECORD, 0)
_GRU = _Kind(_gru_forward, _gru_backward, gru_step.GATES, gru_step.RECORD, 1)


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


def check_lstm_operands(starts: Tensor, x: Tensor, recurrent_weight: Tensor, hidden: Tensor, cell: Tensor) -> None:
    """Refuse those of :func:`lstm_window` whose shapes do not belong together."""
    size, batch = hidden.shape[-1], starts.shape[1]
    shapes = [(*starts.shape, 4 * size), (4 * size, size), (batch, size), (batch, size)]
    check_shapes(("x", "recurrent_weight", "hidden", "cell"), (x, recurrent_weight, hidden, cell), shapes)


def check_gru_operands(
    starts: Tensor, x: Tensor, recurrent_weight: Tensor, recurrent_bias: Tensor, hidden: Tensor
) -> None:
    """Refuse those of :func:`gru_window` whose shapes do not belong together."""
    size = hidden.shape[-1]
    shapes = [(*starts.shape, 3 * size), (3 * size, size), (3 * size,), (starts.shape[1], size)]
    names = ("x", "recurrent_weight", "recurrent_bias", "hidden")
    check_shapes(names, (x, recurrent_weight, recurrent_bias, hidden), shapes)


def _window(kind: _Kind, starts: Tensor, operands: Sequence[Tensor]) -> Sequence[Tensor]:
    x, weight, *others = operands
    size = weight.shape[1]
    more = -size % wide_lanes(x.dtype)
    if more:
        weight = _widened(_widened(weight, size, more).t(), size, more).t()
        x, *others = (_widened(operand, size, more) for operand in (x, *others))
    results: Sequence[Tensor]
    if learning((x, weight, *others)):
        results = _Window.apply(kind, starts, x, weight, *others)
    else:
        results, _ = _run_forward(kind, starts, x, weight, *others, keep=False)
    return [result[..., :size] for result in results] if more else results


def _widened(tensor: Tensor, size: int, more: int) -> Tensor:
    """With so many units more in the last dimension: their weights and states are zero, and stay it."""
    return functional.pad(tensor.unflatten(-1, (-1, size)), (0, more)).flatten(-2)


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: _Kind, starts: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        results, tape = _run_forward(kind, starts, *operands, keep=True)
        ctx.kind = kind
        ctx.save_for_backward(starts, operands[1], tape)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
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
    """How many threads are worth their while, and the rows of a tile."""
    steps, batch = starts.shape
    threads = thread_count(-(-batch // ROWS), steps * ROWS * weight.numel() // _STEP)
    return threads, min(_MOST_ROWS, -(-batch // (threads * ROWS)) * ROWS)
