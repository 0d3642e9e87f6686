"""The Stable Hadamard Memory over a window on the CPU: a fused forward and a backward by hand, compiled by Numba.

:func:`shm_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of
:class:`memagents.cores.shm.SHM`, values and gradients. A thread takes a row of the batch through the whole window, with
neighbours in a row of M in the lanes of its vectors; a row's results do not depend on the rows beside it, on where the
window was cut or on the number of threads.

A step's C, update and memory are H² numbers each, made of some 5 H. For the backward the memory is kept every √T steps
only, and computed again from there: clipping cannot be undone, and C may be 0.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, flat, scratch, widened
from memagents.kernels.cpu.shm.backward import backward
from memagents.kernels.cpu.shm.forward import forward
from memagents.kernels.cpu.shm.tape import Gradients, Operands
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.wide import wide_lanes
from memagents.kernels.operands import check_shm_operands

_STEP = 1 << 16  # numbers of memories that are worth as much as a step of a tile to thread_count


class _Context(Context):
    bound: float


def shm_window(
    x: Tensor, starts: Tensor, thetas: Tensor, drawn: Tensor, bound: float, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence of a Stable Hadamard Memory over a window. Not differentiable twice.

    :param x: q, k, v, v_c, η and the skip, (T, B, 5H + 1)
    :param starts: (T, B) booleans, where the memory becomes zero before the step
    :param thetas: (L, H)
    :param drawn: which of them a step takes, integers in [0, L), (T, B)
    :param bound: the largest magnitude of a number of the memory
    :param memory: before the window, (B, H, H)
    :return: what was read, and the skip, (T, B, H); the memory after the window
    :raises ValueError: if the shapes do not belong together, or what is drawn is none of the vectors
    """
    check_shm_operands(starts, x, thetas, drawn, memory)
    size = memory.shape[-1]
    more = -size % wide_lanes(x.dtype)
    if more:
        of_gate = 4 * size  # the only number of x that is not one of H
        parts = (x[..., :of_gate], x[..., of_gate : of_gate + 1], x[..., of_gate + 1 :])
        x = torch.cat([widened(parts[0], size, more), parts[1], widened(parts[2], size, more)], dim=-1)
        thetas, memory = (widened(operand, size, more) for operand in (thetas, memory))
        memory = widened(memory.transpose(1, 2), size, more).transpose(1, 2)
    operands = Operands(x, thetas, drawn, memory)
    if learning((x, thetas, memory)):
        features, memory = _Window.apply(starts, bound, *operands)
    else:
        features, memory, _ = _run_forward(starts, bound, operands, keep=False)
    return (features[..., :size], memory[..., :size, :size]) if more else (features, memory)


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, starts: Tensor, bound: float, *operands: Tensor) -> tuple[Tensor, Tensor]:
        features, memory, checkpoints = _run_forward(starts, bound, Operands(*operands), keep=True)
        ctx.bound = bound
        ctx.save_for_backward(starts, *operands, checkpoints)
        return features, memory

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        starts, *operands, checkpoints = ctx.saved_tensors
        d = _run_backward(starts, ctx.bound, Operands(*operands), checkpoints, grad, grad_after)
        return None, None, d.x, d.thetas, None, d.memory


def _run_forward(starts: Tensor, bound: float, operands: Operands[Tensor], keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Features, the memory after the window, and that before every so many steps."""
    (steps, batch), x, memory = starts.shape, operands.x, operands.memory
    size, every = memory.shape[-1], _chunk(steps)
    features, after = x.new_empty(steps, batch, size), x.new_empty(memory.shape)
    checkpoints = scratch(x, -(-steps // every) * memory.numel() if keep else 0)
    flat = (features.view(-1).numpy(), after.view(-1).numpy())
    arguments = (size, bound, array(starts), _arrays(operands), *flat, checkpoints, every)
    run(partial(forward, *arguments), _threads(starts, size))
    return features, after, torch.from_numpy(checkpoints)


def _run_backward(
    starts: Tensor, bound: float, operands: Operands[Tensor], checkpoints: Tensor, grad: Tensor, grad_after: Tensor
) -> Gradients[Tensor]:
    (steps, batch), x, memory = starts.shape, operands.x, operands.memory
    size, every = memory.shape[-1], _chunk(steps)
    threads = _threads(starts, size)
    d = Gradients(x.new_empty(x.shape), x.new_empty(steps * batch, size), x.new_empty(memory.shape))
    arguments = (
        size,
        bound,
        array(starts),
        _arrays(operands),
        checkpoints.numpy(),
        every,
        *(flat(tensor) for tensor in (grad, grad_after)),
        Gradients(*(gradient.view(-1).numpy() for gradient in d)),
        scratch(x, threads, (every + 1) * size * size),
        scratch(x, threads, every * size * size),
    )
    run(partial(backward, *arguments), threads)
    d_thetas = torch.zeros_like(operands.thetas).index_add_(0, operands.drawn.flatten(), d.thetas)
    return d._replace(thetas=d_thetas)


def _chunk(steps: int) -> int:
    """Return after how many steps of a window the memory is kept."""
    return max(1, round(math.sqrt(steps)))


def _threads(starts: Tensor, size: int) -> int:
    """Return how many threads are worth their while."""
    steps, batch = starts.shape
    return thread_count(batch, steps * size * size // _STEP)


def _arrays(operands: Operands[Tensor]) -> Operands[np.ndarray]:
    return Operands(*(flat(operand) for operand in operands))
