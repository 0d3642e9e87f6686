"""The EntNet over a window on the CPU: a fused forward and a hand-derived backward, compiled by Numba.

:func:`entnet_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of
:class:`memagents.cores.entnet.EntNet`, values and gradients. A thread takes some rows of the batch through the whole
window, with neighbours in a slot in the lanes of its vectors; a row's results do not depend on the rows beside it, on
where the window was cut or on the number of threads.

For the backward the slots before every step and the sums of their candidates are kept: 2 N W numbers a step and row.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, flat, scratch, widened
from memagents.kernels.cpu.entnet.backward import backward
from memagents.kernels.cpu.entnet.forward import forward
from memagents.kernels.cpu.entnet.tape import Gradients, Operands, Results, Sizes, Tape
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.wide import wide_lanes
from memagents.kernels.operands import check_entnet_operands

_ROWS = 4  # of a tile: their slots, and what is made of them, stay in the first cache
_STEP = 1 << 19  # multiplications that are worth as much as a step of a tile to thread_count


def entnet_window(
    x: Tensor, starts: Tensor, keys: Tensor, key_rows: Tensor, weight: Tensor, slopes: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The recurrence of an EntNet over a window. Not differentiable twice.

    :param x: the encoding s, its share W s of the candidates and the query q, (T, B, 3W)
    :param starts: (T, B) booleans, where the slots become the keys before the step
    :param keys: (N, W)
    :param key_rows: the keys' share V w of the candidates, (N, W)
    :param weight: U, (W, W)
    :param slopes: of φ, (W,)
    :param memory: before the window, (B, N, W)
    :return: what was read, u, (T, B, W); the sum of a step's gates, (T, B); the memory after the window
    :raises ValueError: if the shapes do not belong together
    """
    check_entnet_operands(starts, x, keys, key_rows, weight, slopes, memory)
    size = len(slopes)
    more = -size % wide_lanes(x.dtype)
    operands = Operands(x, memory, keys, key_rows, weight, slopes)
    if more:
        operands = Operands(*(widened(operand, size, more) for operand in operands))
        operands = operands._replace(weight=widened(operands.weight.t(), size, more).t())
    if learning(operands):
        reads, written, memory = _Window.apply(starts, *operands)
    else:
        (reads, written, memory), _ = _run_forward(starts, operands, keep=False)
    return (reads[..., :size], written, memory[..., :size]) if more else (reads, written, memory)


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, starts: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        results, tape = _run_forward(starts, Operands(*operands), keep=True)
        ctx.save_for_backward(starts, *operands, *tape)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        starts, *saved = ctx.saved_tensors
        count = len(Operands._fields)
        return (None, *_run_backward(starts, Operands(*saved[:count]), Tape(*saved[count:]), Results(*grads)))


def _run_forward(starts: Tensor, operands: Operands[Tensor], keep: bool) -> tuple[Results[Tensor], Tape[Tensor]]:
    x, memory = operands.x, operands.memory
    (steps, batch), (slots, size), lanes = starts.shape, memory.shape[1:], wide_lanes(x.dtype)
    sizes = _sizes(memory)
    records, line = (steps if keep else 1) * batch, sizes.across * lanes
    widths = Tape(slots * size, slots * size, line, line, line)
    tape = Tape(*(scratch(x, records * width) for width in widths))
    results = Results(x.new_empty(steps, batch, size), x.new_empty(steps, batch), x.new_empty(batch, slots, size))
    threads = _threads(starts, memory)
    arguments = (
        tuple(sizes),
        _ROWS,
        array(starts),
        _arrays(operands),
        tape,
        Results(*(result.view(-1).numpy() for result in results)),
        keep,
        scratch(x, threads, size * size // lanes, lanes),
    )
    run(partial(forward, *arguments), threads)
    return results, Tape(*(torch.from_numpy(part) for part in tape))


def _run_backward(
    starts: Tensor, operands: Operands[Tensor], tape: Tape[Tensor], grads: Results[Tensor]
) -> Operands[Tensor]:
    x, memory = operands.x, operands.memory
    (steps, batch), (slots, size), lanes = starts.shape, memory.shape[1:], wide_lanes(x.dtype)
    sizes, threads = _sizes(memory), _threads(starts, memory)
    d = Gradients(
        x.new_empty(x.shape),
        x.new_empty(memory.shape),
        torch.from_numpy(scratch(x, steps * batch * slots, size)),
        x.new_empty(memory.shape),
        x.new_empty(batch, size),
    )
    arguments = (
        tuple(sizes),
        _ROWS,
        array(starts),
        _arrays(operands),
        Tape(*(part.numpy() for part in tape)),
        Results(*(flat(grad) for grad in grads)),
        Gradients(*(gradient.view(-1).numpy() for gradient in d)),
        scratch(x, threads, size * size // lanes, lanes),
        scratch(x, threads, slots * size + sizes.across * lanes),
    )
    run(partial(backward, *arguments), threads)
    d_weight = (tape.memory.view(-1, size).t() @ d.sums).t()  # this way around twice as fast
    d_key_rows = d.sums.view(steps * batch, slots, size).sum(0)
    return Operands(d.x, d.memory, d.keys.sum(0), d_key_rows, d_weight, d.slopes.sum(0))


def _sizes(memory: Tensor) -> Sizes:
    (batch, slots, size), lanes = memory.shape, wide_lanes(memory.dtype)
    return Sizes(batch, slots, size // lanes, -(-slots // lanes))


def _threads(starts: Tensor, memory: Tensor) -> int:
    """Return how many threads are worth their while."""
    (steps, batch), (slots, size) = starts.shape, memory.shape[1:]
    return thread_count(-(-batch // _ROWS), steps * _ROWS * slots * size * size // _STEP)


def _arrays(operands: Operands[Tensor]) -> Operands[np.ndarray]:
    """Flat arrays, but for the weight: (entries, lanes)."""
    lanes = wide_lanes(operands.x.dtype)
    shapes = Operands(-1, -1, -1, -1, (-1, lanes), -1)
    return Operands(*(array(operand).reshape(shape) for operand, shape in zip(operands, shapes, strict=True)))
