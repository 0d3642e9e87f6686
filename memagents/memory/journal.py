"""A memory changed in place, step after step of a window, and still differentiable (Rae et al. 2016, section 3.4).

The functions here equal those of :mod:`memagents.memory.sparse`, but change the memory they are given and cost the same
for any number of slots. One memory goes through them like a thread: each returns it, and only what the last one
returned may be used. :func:`release` ends the thread.

The paper restores overwritten rows during the backward pass, since it computes from the memory anew what was read. Here
the rows that were read are kept instead, as many as would be overwritten, and there is nothing to restore: the memory
after the window stays as it is. The gradient of the memory goes back through the thread as one tensor, which each step
changes at its own slots.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.memory.sparse import flat_rows


def write(memory: Tensor, indices: Tensor, weights: Tensor, vector: Tensor, erased: Tensor) -> Tensor:
    """:func:`memagents.memory.sparse.write`, in place."""
    return _Write.apply(memory, indices, weights, vector, erased)


def gather(memory: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`memagents.memory.sparse.gather` of a memory that is changed in place."""
    return _Gather.apply(memory, indices)


def restart(memory: Tensor, starts: Tensor, fresh: Tensor) -> Tensor:
    """The memory of some batch rows begins anew, in place, at the cost of those rows (on an accelerator, of all).

    :param memory: (B, N, W)
    :param starts: booleans (B,)
    :param fresh: the initial memory, (1, N, W), without a gradient
    """
    return _Restart.apply(memory, starts, fresh)


def release(memory: Tensor) -> Tensor:
    """The memory, for others to use: it must not be changed in place any more."""
    return _Release.apply(memory)


def put(table: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """:func:`memagents.memory.sparse.put`, in place, of a table without a gradient."""
    table.flatten(0, 1).index_copy_(0, flat_rows(indices, table.shape[1]), rows.flatten(0, 1))
    return table


def overwrite(table: Tensor, starts: Tensor, fresh: Tensor) -> Tensor:
    """:func:`restart`, of a table without a gradient."""
    if table.device.type == "cpu":
        table[starts] = fresh
    else:  # no waiting for the device
        table.copy_(torch.where(starts.view(-1, *(1,) * (table.dim() - 1)), fresh, table))
    return table


# The backward passes change the gradient they are given. Nobody else has it: it was made by the backward pass of the
# function that came next, for a memory that nothing else used.


class _Write(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, memory: Tensor, indices: Tensor, weights: Tensor, vector: Tensor, erased: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.mark_dirty(memory)
        slots = memory.shape[1]
        added, rows, zeroed = flat_rows(indices, slots), memory.flatten(0, 1), flat_rows(erased, slots)
        ctx.save_for_backward(added, weights, vector, zeroed)
        rows.index_fill_(0, zeroed, 0)
        rows.index_add_(0, added, (weights.unsqueeze(2) * vector.unsqueeze(1)).flatten(0, 1))
        return memory

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None, None
        added, weights, vector, zeroed = ctx.saved_tensors
        of_memory = grad.flatten(0, 1)
        rows = of_memory.index_select(0, added).unflatten(0, weights.shape)  # (B, M, W)
        of_weights = (rows @ vector.unsqueeze(2)).squeeze(2)
        of_vector = (weights.unsqueeze(1) @ rows).squeeze(1)
        of_memory.index_fill_(0, zeroed, 0)
        return grad, None, of_weights, of_vector, None


class _Gather(torch.autograd.Function):
    """Says that it changes the memory, so that it stands in the thread and its gradient goes through it."""

    @staticmethod
    def forward(ctx: Any, memory: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.mark_dirty(memory)
        ctx.shape = memory.shape
        read = flat_rows(indices, memory.shape[1])
        ctx.save_for_backward(read)
        return memory, memory.flatten(0, 1).index_select(0, read).unflatten(0, indices.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, of_rows: Tensor | None) -> tuple[Tensor | None, None]:
        if of_rows is not None:
            if grad is None:
                grad = of_rows.new_zeros(ctx.shape)
            (read,) = ctx.saved_tensors
            grad.flatten(0, 1).index_add_(0, read, of_rows.flatten(0, 1))
        return grad, None


class _Restart(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, memory: Tensor, starts: Tensor, fresh: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.mark_dirty(memory)
        ctx.save_for_backward(starts)
        return overwrite(memory, starts, fresh)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        (starts,) = ctx.saved_tensors
        return overwrite(grad, starts, grad.new_zeros(())), None, None


class _Release(torch.autograd.Function):
    """The one whose gradient somebody else may have."""

    @staticmethod
    def forward(ctx: Any, memory: Tensor) -> Tensor:
        ctx.mark_dirty(memory)
        return memory

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.clone(memory_format=torch.contiguous_format)
