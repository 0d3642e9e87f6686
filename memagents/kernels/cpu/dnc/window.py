"""The DNC over a window on the CPU: one fused forward and one hand-derived backward, compiled by Numba.

:func:`dnc_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of
:class:`memagents.cores.dnc.DNC`, values and gradients. The batch is cut into tiles of one vector register's rows
(:mod:`memagents.kernels.cpu.vector.simd`); a thread takes a tile through the whole window while its memory stays in
cache, and a row's results do not depend on the rows beside it or on where the window was cut.

For the backward the small quantities of every step are stored, the memory and link matrices only every 2√T steps; they
are computed again from there, forward, since inverting their updates would divide by almost zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, gradients_or_zeros, scratch
from memagents.kernels.cpu.dnc import backward, forward
from memagents.kernels.cpu.dnc.tape import interface_rows, matrix_rows, record_rows
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.simd import lanes
from memagents.kernels.operands import PLAIN, DNCOptions, check_dnc_operands, dnc_sizes


class _Context(Context):
    shapes: list[torch.Size]  # of the leaves of the state
    options: DNCOptions


def dnc_window(
    x: Tensor,
    starts: Tensor,
    recurrent_weight: Tensor,
    weight: Tensor,
    bias: Tensor,
    leaves: Sequence[Tensor],
    options: DNCOptions = PLAIN,
) -> tuple[Tensor, list[Tensor]]:
    """The recurrence of a DNC over a window. Not differentiable twice.

    :param x: the inputs' share of the controller's gates, (T, B, 4H)
    :param starts: (T, B) booleans, where the state becomes zero before the step
    :param recurrent_weight: of hidden state and read vectors in the gates, (4H, H + R W)
    :param weight: of the interface, (I, H)
    :param bias: of the interface, (I,)
    :param leaves: the nine tensors of a :class:`~memagents.cores.dnc.DNCState`, in order
    :param options: what it does beside the plain DNC's steps
    :return: features (T, B, H + R W) and the leaves after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, weight, bias, *leaves)
    check_dnc_operands(starts, *operands, options=options)
    if learning(operands):
        features, *after = _Window.apply(options, starts, *operands)
    else:
        features, after, _ = _run_forward(options, starts, *operands, keep=False)
    return features, after


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, options: DNCOptions, starts: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        features, leaves, kept = _run_forward(options, starts, *operands, keep=True)
        _, recurrent_weight, weight, _, *before = operands
        ctx.set_materialize_grads(False)
        ctx.shapes, ctx.options = [leaf.shape for leaf in before], options
        ctx.save_for_backward(starts, recurrent_weight, weight, features, *kept)
        return features, *leaves

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad_features: Tensor | None, *grad_leaves: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, *_run_backward(ctx, grad_features, grad_leaves))


def _run_forward(
    options: DNCOptions,
    starts: Tensor,
    x: Tensor,
    recurrent_weight: Tensor,
    weight: Tensor,
    bias: Tensor,
    *leaves: Tensor,
    keep: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Features, the leaves after the window, and what the backward needs: the tape (tiles, T + 1, entries of a record,
    lanes), the checkpoints (tiles, chunks of steps, entries of memory and link, lanes), and the features that went into
    every step (T, B, H + R W).
    """
    steps, batch = starts.shape
    shapes = [leaf.shape for leaf in leaves]
    sizes, width = dnc_sizes(shapes, options), lanes(x.dtype)
    tiles = -(-batch // width)
    threads = thread_count(tiles, steps)
    every = _chunk(steps)
    before = [leaf.contiguous() for leaf in leaves]
    after = [torch.empty_like(leaf) for leaf in before]
    features = x.new_empty(steps, batch, sizes.hidden + sizes.heads * sizes.width)
    previous = x.new_empty(features.shape if keep else (0, 0, 0))
    blocks, records, chunks = (tiles, steps + 1, -(-steps // every)) if keep else (threads, 2, 0)
    tape = scratch(x, blocks, records, record_rows(sizes), width)
    checkpoints = scratch(x, blocks, chunks, matrix_rows(sizes), width)
    work = scratch(x, threads, forward.work_rows(sizes, width), width)
    arguments = (
        tuple(sizes),
        tiles,
        array(x),
        array(starts),
        (array(recurrent_weight), array(weight), array(bias)),
        tuple(leaf.data_ptr() for leaf in before),
        tuple(leaf.data_ptr() for leaf in after),
        features.numpy(),
        previous.numpy(),
        tape,
        checkpoints,
        every,
        work,
    )
    run(partial(forward.forward_with_options if any(options) else forward.forward, *arguments), threads)
    return features, after, [torch.from_numpy(tape), torch.from_numpy(checkpoints), previous]


def _run_backward(
    ctx: _Context, grad_features: Tensor | None, grad_leaves: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    starts, recurrent_weight, weight, features, *kept, previous = ctx.saved_tensors
    tape, checkpoints = (tensor.numpy() for tensor in kept)
    steps, batch = starts.shape
    sizes, (tiles, _, _, width) = dnc_sizes(ctx.shapes, ctx.options), checkpoints.shape
    wanted = ctx.needs_input_grad[6:]
    if grad_features is None:
        grad_features = torch.zeros_like(features)
    grad_after = gradients_or_zeros(grad_leaves, ctx.shapes, features)
    grad_before = [features.new_empty(shape) for shape in ctx.shapes] if any(wanted) else []
    d_gates = features.new_empty(steps, batch, 4 * sizes.hidden)
    d_interface = features.new_empty(steps, batch, interface_rows(sizes))
    every, threads = _chunk(steps), thread_count(tiles, steps)
    work = scratch(features, threads, backward.work_rows(sizes, every, width), width)
    nowhere = (0,) * len(ctx.shapes)
    arguments = (
        tuple(sizes),
        tiles,
        array(starts),
        (array(recurrent_weight.t()), array(weight.t())),
        array(grad_features),
        tuple(grad.data_ptr() for grad in grad_after) or nowhere,
        tuple(grad.data_ptr() for grad in grad_before) or nowhere,
        d_gates.numpy(),
        d_interface.numpy(),
        tape,
        checkpoints,
        every,
        work,
    )
    run(partial(backward.backward_with_options if any(ctx.options) else backward.backward, *arguments), threads)
    flat_gates, flat_interface = d_gates.flatten(0, 1), d_interface.flatten(0, 1)
    d_recurrent = flat_gates.t() @ previous.flatten(0, 1)
    d_weight = flat_interface.t() @ features.flatten(0, 1)[:, : sizes.hidden]
    d_leaves = [grad_before[i] if want else None for i, want in enumerate(wanted)]
    return d_gates, d_recurrent, d_weight, flat_interface.sum(0), *d_leaves


def _chunk(steps: int) -> int:
    """Return after how many steps of a window memory and link matrices are kept.

    Kept are T / chunk for every tile, computed again chunk for every thread; of the latter there are fewer.
    """
    return max(1, round(2 * math.sqrt(steps)))
