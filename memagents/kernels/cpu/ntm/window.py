"""The NTM over a window on the CPU: one fused forward and one hand-derived backward, compiled by Numba.

:func:`ntm_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of
:class:`memagents.cores.ntm.NTM` with an LSTM and one write head, values and gradients. As in
:mod:`memagents.kernels.cpu.dnc.window`, a thread takes a tile of batch rows through the whole window. The memory of
every step is kept for the backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, gradients_or_zeros, scratch
from memagents.kernels.cpu.ntm import backward, forward
from memagents.kernels.cpu.ntm.tape import feature_rows, initial_rows, interface_rows, record_rows
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.simd import lanes
from memagents.kernels.operands import NTMSizes, check_ntm_operands


class _Context(Context):
    sizes: NTMSizes
    clip: float
    shapes: list[torch.Size]  # of the initial state, then of the state


def ntm_window(
    x: Tensor,
    starts: Tensor,
    recurrent_weight: Tensor,
    weight: Tensor,
    bias: Tensor,
    initial: Sequence[Tensor],
    leaves: Sequence[Tensor],
    clip: float | None,
) -> tuple[Tensor, list[Tensor]]:
    """The recurrence of an NTM over a window. Not differentiable twice.

    :param x: the inputs' share of the controller's gates, (T, B, 4H)
    :param starts: (T, B) booleans, where the state becomes the initial one before the step
    :param recurrent_weight: of hidden state and read vectors in the gates, (4H, H + R W)
    :param weight: of the interface, (I, H)
    :param bias: of the interface, (I,)
    :param initial: memory (N, W), weightings (R + 1, N) and read vectors (R, W) that an episode begins with; hidden
        state and cell are zero there
    :param leaves: memory (B, N, W), weightings (B, R + 1, N), read vectors (B, R, W), hidden state and cell, (B, H)
    :param clip: bound on the numbers of the interface, or None
    :return: features (T, B, H + R W) and the leaves after the window
    :raises ValueError: if the shapes do not belong together
    """
    operands = (x, recurrent_weight, weight, bias, *initial, *leaves)
    sizes = check_ntm_operands(starts, *operands)
    bound = float(torch.finfo(x.dtype).max) if clip is None else min(clip, torch.finfo(x.dtype).max)
    if learning(operands):
        features, *after = _Window.apply(starts, sizes, bound, *operands)
    else:
        features, after, _ = _run_forward(starts, sizes, bound, *operands, keep=False)
    return features, after


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, starts: Tensor, sizes: NTMSizes, clip: float, *operands: Tensor) -> tuple[Tensor, ...]:
        features, leaves, kept = _run_forward(starts, sizes, clip, *operands, keep=True)
        _, recurrent_weight, weight, *_ = operands
        ctx.set_materialize_grads(False)
        ctx.sizes, ctx.clip = sizes, clip
        ctx.shapes = [operand.shape for operand in operands[4:]]
        ctx.save_for_backward(starts, recurrent_weight, weight, features, *kept)
        return features, *leaves

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad_features: Tensor | None, *grad_leaves: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, None, *_run_backward(ctx, grad_features, grad_leaves))


def _run_forward(
    starts: Tensor, sizes: NTMSizes, clip: float, *operands: Tensor, keep: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Features, the leaves after the window, and what the backward needs: the tape (tiles, T + 1, entries of a record,
    lanes), the flat initial state, and the features that went into every step (T, B, H + R W).
    """
    x, recurrent_weight, weight, bias, *states = operands
    steps, batch = starts.shape
    width = lanes(x.dtype)
    tiles = -(-batch // width)
    threads = thread_count(tiles, steps)
    initial = array(torch.cat([leaf.detach().flatten() for leaf in states[:3]]))
    before = [leaf.contiguous() for leaf in states[3:]]
    after = [torch.empty_like(leaf) for leaf in before]
    features = x.new_empty(steps, batch, feature_rows(sizes))
    previous = x.new_empty(features.shape if keep else (0, 0, 0))
    blocks, records = (tiles, steps + 1) if keep else (threads, 2)
    tape = scratch(x, blocks, records, record_rows(sizes), width)
    arguments = (
        tuple(sizes),
        tiles,
        clip,
        array(x),
        array(starts),
        initial,
        (array(recurrent_weight), array(weight), array(bias)),
        tuple(leaf.data_ptr() for leaf in before),
        tuple(leaf.data_ptr() for leaf in after),
        features.numpy(),
        previous.numpy(),
        tape,
        scratch(x, threads, forward.work_rows(sizes, width), width),
    )
    run(partial(forward.forward, *arguments), threads)
    return features, after, [torch.from_numpy(tape), torch.from_numpy(initial), previous]


def _run_backward(
    ctx: _Context, grad_features: Tensor | None, grad_leaves: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    starts, recurrent_weight, weight, features, *kept, previous = ctx.saved_tensors
    tape, initial = (tensor.numpy() for tensor in kept)
    sizes, steps, (tiles, _, _, width) = ctx.sizes, len(starts), tape.shape
    begins, shapes = ctx.shapes[:3], ctx.shapes[3:]
    if grad_features is None:
        grad_features = torch.zeros_like(features)
    grad_after = gradients_or_zeros(grad_leaves, shapes, features)
    wanted = ctx.needs_input_grad[-len(shapes) :]
    grad_before = [features.new_empty(shape) for shape in shapes] if any(wanted) else []
    d_gates = features.new_empty(*starts.shape, 4 * sizes.hidden)
    d_interface = features.new_empty(*starts.shape, interface_rows(sizes))
    d_initial = features.new_empty(tiles, initial_rows(sizes), width)
    threads = thread_count(tiles, steps)
    nowhere = (0,) * len(shapes)
    arguments = (
        tuple(sizes),
        tiles,
        ctx.clip,
        array(starts),
        initial,
        (array(recurrent_weight.t()), array(weight.t())),
        array(grad_features),
        tuple(grad.data_ptr() for grad in grad_after) or nowhere,
        tuple(grad.data_ptr() for grad in grad_before) or nowhere,
        d_gates.numpy(),
        d_interface.numpy(),
        d_initial.numpy(),
        tape,
        scratch(features, threads, backward.work_rows(sizes, width), width),
    )
    run(partial(backward.backward, *arguments), threads)
    flat_gates, flat_interface = d_gates.flatten(0, 1), d_interface.flatten(0, 1)
    d_recurrent = flat_gates.t() @ previous.flatten(0, 1)
    d_weight = flat_interface.t() @ features.flatten(0, 1)[:, : sizes.hidden]
    begun = d_initial.sum(dim=(0, 2)).split([shape.numel() for shape in begins])
    d_begins = [part.view(shape) for part, shape in zip(begun, begins, strict=True)]
    d_leaves = [grad_before[i] if want else None for i, want in enumerate(wanted)]
    return d_gates, d_recurrent, d_weight, flat_interface.sum(0), *d_begins, *d_leaves
