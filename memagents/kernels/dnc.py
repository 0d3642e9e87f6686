"""The DNC over a window on the CPU: one fused forward and one hand-derived backward, compiled by Numba.

:func:`dnc_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of
:class:`memagents.cores.dnc.DNC`, values and gradients. The batch is cut into tiles of one vector register's rows
(:mod:`memagents.kernels.simd`); a thread takes a tile through the whole window while its memory stays in cache, and a
row's results do not depend on the rows beside it or on where the window was cut.

For the backward the small quantities of every step are stored, the memory and link matrices only every 2√T steps; they
are computed again from there, forward, since inverting their updates would divide by almost zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels import dnc_backward, dnc_forward
from memagents.kernels.dnc_tape import Sizes, interface_rows, matrix_rows, record_rows
from memagents.kernels.simd import lanes, next_ticket
from memagents.kernels.threads import run, thread_count
from memagents.kernels.window import SOURCES, array, check_shapes, gradients_or_zeros, learning, scratch

_OPERANDS = (
    *("x", "recurrent_weight", "weight", "bias"),
    *("memory", "usage", "link", "precedence", "write_weights", "read_weights", "read_vectors", "hidden", "cell"),
)  # fmt: skip


@njit(nogil=True, cache=True)
def _forward(
    sizes, tiles, x, starts, weights, before, after, features, previous, tape, checkpoints, every, work, tickets,
    thread, sources=SOURCES,
):  # fmt: skip
    numbers = Sizes(sizes[0], sizes[1], sizes[2], sizes[3])
    own = dnc_forward.work_of(work[thread], numbers)
    dnc_forward.prepare(own, weights[0], weights[1])
    tile = next_ticket(tickets)
    while tile < tiles:
        block = tile if checkpoints.shape[1] > 0 else thread
        dnc_forward.forward_tile(
            tile, numbers, x, starts, weights[2], before, after, features, previous, tape[block], checkpoints[block],
            every, own,
        )  # fmt: skip
        tile = next_ticket(tickets)


@njit(nogil=True, cache=True)
def _backward(
    sizes, tiles, starts, columns, grad_features, grad_after, grad_before, d_gates, d_interface, tape, checkpoints,
    every, work, tickets, thread, sources=SOURCES,
):  # fmt: skip
    numbers = Sizes(sizes[0], sizes[1], sizes[2], sizes[3])
    own = dnc_backward.work_of(work[thread], numbers, every)
    dnc_backward.prepare(own, columns[0], columns[1], numbers)
    tile = next_ticket(tickets)
    while tile < tiles:
        dnc_backward.backward_tile(
            tile, numbers, starts, grad_features, grad_after, grad_before, d_gates, d_interface, tape[tile],
            checkpoints[tile], every, own,
        )  # fmt: skip
        tile = next_ticket(tickets)


def dnc_window(
    x: Tensor, starts: Tensor, recurrent_weight: Tensor, weight: Tensor, bias: Tensor, leaves: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The recurrence of a DNC over a window. Not differentiable twice.

    :param x: the inputs' share of the controller's gates, (T, B, 4H)
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
    if learning(operands):
        features, *after = _Window.apply(starts, *operands)
    else:
        features, after, _ = _run_forward(starts, *operands, keep=False)
    return features, after


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, starts: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        features, leaves, kept = _run_forward(starts, *operands, keep=True)
        _, recurrent_weight, weight, _, *before = operands
        ctx.set_materialize_grads(False)
        ctx.shapes = [leaf.shape for leaf in before]
        ctx.save_for_backward(starts, recurrent_weight, weight, features, *kept)
        return features, *leaves

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_features: Tensor | None, *grad_leaves: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, *_run_backward(ctx, grad_features, grad_leaves))


def _run_forward(
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
    sizes, width = _sizes(shapes), lanes(x.dtype)
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
    work = scratch(x, threads, dnc_forward.work_rows(sizes, width), width)
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
    run(partial(_forward, *arguments), threads)
    return features, after, [torch.from_numpy(tape), torch.from_numpy(checkpoints), previous]


def _run_backward(
    ctx: Any, grad_features: Tensor | None, grad_leaves: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    starts, recurrent_weight, weight, features, *kept, previous = ctx.saved_tensors
    tape, checkpoints = (tensor.numpy() for tensor in kept)
    steps, batch = starts.shape
    sizes, (tiles, _, _, width) = _sizes(ctx.shapes), checkpoints.shape
    wanted = ctx.needs_input_grad[5:]
    if grad_features is None:
        grad_features = torch.zeros_like(features)
    grad_after = gradients_or_zeros(grad_leaves, ctx.shapes, features)
    grad_before = [features.new_empty(shape) for shape in ctx.shapes] if any(wanted) else []
    d_gates = features.new_empty(steps, batch, 4 * sizes.hidden)
    d_interface = features.new_empty(steps, batch, interface_rows(sizes))
    every, threads = _chunk(steps), thread_count(tiles, steps)
    work = scratch(features, threads, dnc_backward.work_rows(sizes, every, width), width)
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
    run(partial(_backward, *arguments), threads)
    flat_gates, flat_interface = d_gates.flatten(0, 1), d_interface.flatten(0, 1)
    d_recurrent = flat_gates.t() @ previous.flatten(0, 1)
    d_weight = flat_interface.t() @ features.flatten(0, 1)[:, : sizes.hidden]
    d_leaves = [grad_before[i] if want else None for i, want in enumerate(wanted)]
    return d_gates, d_recurrent, d_weight, flat_interface.sum(0), *d_leaves


def check_operands(starts: Tensor, *operands: Tensor) -> None:
    steps, batch = starts.shape
    n, w, r, h = _sizes([operand.shape for operand in operands[4:]])
    interface = interface_rows(Sizes(n, w, r, h))
    weights = [(4 * h, h + r * w), (interface, h), (interface,)]
    state = [(n, w), (n,), (n, n), (n,), (n,), (r, n), (r, w), (h,), (h,)]
    expected = [(steps, batch, 4 * h), *weights, *((batch, *shape) for shape in state)]
    check_shapes(_OPERANDS, operands, expected)


def _sizes(shapes: Sequence[torch.Size]) -> Sizes:
    """Those of the DNC whose state has leaves of these shapes."""
    return Sizes(shapes[0][1], shapes[0][2], shapes[5][1], shapes[7][1])


def _chunk(steps: int) -> int:
    """After how many steps of a window memory and link matrices are kept.

    Kept are T / chunk for every tile, computed again chunk for every thread; of the latter there are fewer.
    """
    return max(1, round(2 * math.sqrt(steps)))
