"""SAM and SDNC over a window on the CPU: one fused forward and one hand-derived backward, compiled by Numba.

:func:`sparse_window` equals the recurrence of the plain :meth:`memagents.cores.core.MemoryCore.recur` of
:class:`memagents.cores.sam.SAM` and :class:`memagents.cores.sdnc.SDNC` with the exact search, values and gradients,
where both choose the same slots (of several that are equally good, each chooses as it likes). A thread takes some rows
of the batch through the whole window and changes their memory in place; what a step read is kept on a tape, so that the
backward restores nothing. A row's results do not depend on the rows beside it, on where the window was cut or on the
number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import array, scratch
from memagents.kernels.cpu.sparse import backward, forward
from memagents.kernels.cpu.sparse.tape import SparseSizes, entries_of, places_of, source_row
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.row_products import ROWS
from memagents.kernels.cpu.vector.simd import lanes
from memagents.kernels.cpu.vector.wide import wide_lanes
from memagents.kernels.operands import check_sparse_operands, sparse_interface_size

_MOST_ROWS = 16  # of a tile
_CACHE = 3 << 18  # bytes that the memories of a tile's rows may take
_STEP = 1 << 19  # multiplications that are worth as much as a step of a tile to thread_count


class SparseOperands(NamedTuple):
    """What a window begins with: the weights, and the state with a gradient."""

    x: Tensor  # the inputs' share of the gates, (T, B, 4H)
    recurrent_weight: Tensor  # of hidden state and read vectors in the gates, (4H, H + R W)
    weight: Tensor  # of the interface, then of read modes and sharpness, (I, H)
    bias: Tensor  # (I,)
    memory: Tensor  # (B, N, W)
    read_weights: Tensor  # (B, R, S)
    read_vectors: Tensor  # (B, R, W)
    hidden: Tensor  # (B, H)
    cell: Tensor  # (B, H)


class SparseResults(NamedTuple):
    """What a window ends with."""

    features: Tensor  # hidden states and read vectors, (T, B, H + R W)
    written: Tensor  # the sum of each step's write weights, (T, B)
    memory: Tensor
    read_weights: Tensor
    read_vectors: Tensor
    hidden: Tensor
    cell: Tensor


def sparse_window(
    starts: Tensor,
    given: Sequence[Tensor],
    reads: int,
    tables: Sequence[Tensor],
    links: Sequence[Tensor] = (),
    sharpen_links: bool = False,
    overwrite: bool = False,
) -> SparseResults:
    """The recurrence of a sparse memory over a window. Not differentiable twice.

    :param starts: (T, B) booleans, where the state becomes the initial one before the step
    :param given: those of :class:`SparseOperands`
    :param reads: K, of a head by each of its modes
    :param tables: of the state without a gradient, changed in place: last access, clock and read indices, all int64
        and contiguous
    :param links: of an SDNC, the leaves of its :class:`memagents.memory.sparse_linkage.SparseLinks`, changed in place
    :param sharpen_links: whether the weightings that the links give are sharpened
    :param overwrite: change memory and read weights in place too, where no gradient is asked for and they are
        contiguous and of whole vectors
    :raises ValueError: if the shapes do not belong together, or an index of the state is no slot
    """
    operands = SparseOperands(*given)
    check_sparse_operands(starts, *operands, *tables, *links, reads=reads, sharpened=sharpen_links)
    width, size = operands.memory.shape[2], operands.hidden.shape[1]
    heads = operands.read_vectors.shape[1]
    wide, padded = wide_lanes(operands.x.dtype), _padded(width, lanes(operands.x.dtype))
    rows = sparse_interface_size(padded, heads, bool(links), sharpen_links)
    sizes = SparseSizes(
        slots=operands.memory.shape[1],
        width=padded,
        heads=heads,
        reads=reads,
        links=links[0].shape[2] if links else 0,
        sharpened=int(sharpen_links),
        hidden=_padded(size, wide),
        vectors=_padded(heads * padded, wide),
        face=_padded(rows, wide),
        rows=rows,
    )
    last_access, clock, indices = tables
    leaves = _Integers(starts, last_access, clock, indices, list(links))
    arguments = _padded_operands(operands, sizes)
    results: Sequence[Tensor]
    if learning(operands):
        results = _Window.apply(sizes, leaves, *arguments)
    else:
        results, _, _ = _run_forward(sizes, leaves, *arguments, keep=False, overwrite=overwrite)
    features, written, memory, read_weights, read_vectors, hidden, cell = results
    vectors = features[..., sizes.hidden : sizes.hidden + heads * sizes.width].unflatten(-1, (heads, sizes.width))
    if size < sizes.hidden or heads * width < sizes.vectors:
        features = torch.cat([features[..., :size], vectors[..., :width].flatten(-2)], dim=-1)
    return SparseResults(
        features,
        written,
        memory[..., :width],
        read_weights,
        read_vectors[:, : heads * sizes.width].unflatten(1, (heads, sizes.width))[..., :width],
        hidden[:, :size],
        cell[:, :size],
    )


class _Integers(NamedTuple):
    """What has no gradient."""

    starts: Tensor
    last_access: Tensor
    clock: Tensor
    read_indices: Tensor
    links: list[Tensor]


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _widened(tensor: Tensor, size: int) -> Tensor:
    """Append zeros in the last dimension."""
    return tensor if tensor.shape[-1] == size else functional.pad(tensor, (0, size - tensor.shape[-1]))


def _padded_operands(given: SparseOperands, sizes: SparseSizes) -> SparseOperands:
    """The operands with zeros where vectors are wider than what they hold."""
    size, heads, width = given.hidden.shape[1], sizes.heads, given.memory.shape[2]
    more, wider = sizes.hidden - size, sizes.width - width
    if more == wider == 0 and heads * width == sizes.vectors:
        return given._replace(read_vectors=given.read_vectors.flatten(1))
    of_hidden, of_vectors = given.recurrent_weight.unflatten(0, (4, size)).split([size, heads * width], dim=2)
    of_vectors = _widened(of_vectors.unflatten(2, (heads, width)), sizes.width).flatten(2)
    gates = torch.cat([_widened(of_hidden, sizes.hidden), _widened(of_vectors, sizes.vectors)], dim=2)
    queries, strengths, write, scalars = _widened(given.weight, sizes.hidden).split(
        [heads * width, heads, width, len(given.weight) - (heads + 1) * width - heads]
    )
    queries = functional.pad(queries.unflatten(0, (heads, width)), (0, 0, 0, wider)).flatten(0, 1)
    queries_bias, strengths_bias, write_bias, scalars_bias = given.bias.split(
        [heads * width, heads, width, len(scalars)]
    )
    queries_bias = _widened(queries_bias.unflatten(0, (heads, width)), sizes.width).flatten()
    return SparseOperands(
        _widened(given.x.unflatten(-1, (4, size)), sizes.hidden).flatten(-2),
        functional.pad(gates, (0, 0, 0, more)).flatten(0, 1),
        torch.cat([queries, strengths, functional.pad(write, (0, 0, 0, wider)), scalars]),
        torch.cat([queries_bias, strengths_bias, _widened(write_bias, sizes.width), scalars_bias]),
        _widened(given.memory, sizes.width),
        given.read_weights,
        _widened(_widened(given.read_vectors, sizes.width).flatten(1), sizes.vectors),
        _widened(given.hidden, sizes.hidden),
        _widened(given.cell, sizes.hidden),
    )


@functools.cache
def _places_in_face(sizes: SparseSizes) -> Tensor:
    """Where the rows of the core's interface are in the kernels'."""
    sources = [source_row(sizes, entry) for entry in range(sizes.rows)]
    return torch.tensor(sources).argsort()


class _Context(Context):
    sizes: SparseSizes


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, sizes: SparseSizes, leaves: _Integers, *operands: Tensor) -> tuple[Tensor, ...]:
        results, tape, indices = _run_forward(sizes, leaves, *operands, keep=True)
        ctx.set_materialize_grads(False)
        ctx.sizes = sizes
        ctx.save_for_backward(leaves.starts, operands[1], operands[2], results[0], tape, indices)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, *_run_backward(ctx, *grads))


def _run_forward(
    sizes: SparseSizes,
    leaves: _Integers,
    x: Tensor,
    recurrent_weight: Tensor,
    weight: Tensor,
    bias: Tensor,
    memory: Tensor,
    read_weights: Tensor,
    *controller: Tensor,
    keep: bool,
    overwrite: bool = False,
) -> tuple[list[Tensor], Tensor, Tensor]:
    (steps, batch), wide = leaves.starts.shape, wide_lanes(x.dtype)
    threads, rows = _shares(leaves.starts, sizes, x.itemsize)
    places = places_of(sizes, wide)
    features, written = x.new_empty(steps, batch, sizes.hidden + sizes.vectors), x.new_empty(steps, batch)
    memory, read_weights = (
        leaf.contiguous() if overwrite else leaf.clone(memory_format=torch.contiguous_format)
        for leaf in (memory, read_weights)
    )
    before = [leaf.contiguous() for leaf in controller]
    after = [torch.empty_like(leaf) for leaf in before]
    shared = [tensor.contiguous() for tensor in (x, features, recurrent_weight, weight, bias)]
    blocks, records, width = (1, max(1, steps) + 1, batch) if keep else (threads, 2, rows)
    tape = scratch(x, blocks, records * width * places.record)
    indices = torch.empty(blocks, records * width * places.indices, dtype=torch.int64)
    nothing, strange = leaves.clock.data_ptr(), np.zeros(1, np.int64)
    kept = [memory, read_weights, leaves.last_access, leaves.clock, leaves.read_indices, *leaves.links]
    addresses = [tensor.data_ptr() for tensor in kept] + [nothing] * (13 - len(kept))
    arguments = (
        tuple(sizes),
        rows,
        array(leaves.starts),
        tuple(tensor.data_ptr() for tensor in shared),
        tuple(leaf.data_ptr() for leaf in (*before, *after)),
        tuple(addresses),
        written.numpy(),
        tape,
        indices.numpy(),
        width,
        scratch(x, threads, forward.work_numbers(sizes, rows, lanes(x.dtype))),
        torch.empty(threads, forward.candidates(sizes), dtype=torch.int64).numpy(),
        strange,
    )
    run(partial(forward.forward, *arguments), threads)
    if strange[0]:
        raise ValueError(f"read_indices and links of the state name slots other than 0 to {sizes.slots - 1}")
    return [features, written, memory, read_weights, *after], torch.from_numpy(tape), indices


def _run_backward(
    ctx: _Context,
    grad_features: Tensor | None,
    grad_written: Tensor | None,
    grad_memory: Tensor | None,
    grad_weights: Tensor | None,
    *grad_controller: Tensor | None,
) -> tuple[Tensor | None, ...]:
    sizes, (starts, recurrent_weight, weight, features, tape, indices) = ctx.sizes, ctx.saved_tensors
    steps, batch = starts.shape
    threads, rows = _shares(starts, sizes, features.itemsize)
    if grad_features is None:
        grad_features = torch.zeros_like(features)
    if grad_written is None:
        grad_written = features.new_zeros(steps, batch)
    shapes = [(sizes.vectors,), (sizes.hidden,), (sizes.hidden,), (sizes.heads, entries_of(sizes))]
    d_after = [
        features.new_zeros(batch, *shape) if grad is None else grad.contiguous()
        for grad, shape in zip((*grad_controller, grad_weights), shapes, strict=True)
    ]
    d_state = [features.new_empty(batch, *shape) for shape in shapes]
    d_memory = (
        features.new_zeros(batch, sizes.slots, sizes.width)
        if grad_memory is None
        else grad_memory.clone(memory_format=torch.contiguous_format)
    )
    d_gates = features.new_empty(steps, batch, 4 * sizes.hidden)
    d_face = features.new_empty(steps, batch, sizes.face)
    shared = [tensor.contiguous() for tensor in (grad_features, recurrent_weight, weight)]
    arguments = (
        tuple(sizes),
        rows,
        array(starts),
        tuple(tensor.data_ptr() for tensor in shared),
        array(grad_written),
        tuple(grad.data_ptr() for grad in d_after),
        tuple(grad.data_ptr() for grad in d_state),
        d_memory.data_ptr(),
        d_gates.data_ptr(),
        d_face.data_ptr(),
        tape.numpy(),
        indices.numpy(),
        scratch(features, threads, backward.work_numbers(sizes, rows)),
    )
    run(partial(backward.backward, *arguments), threads)
    flat_gates, flat_face = d_gates.flatten(0, 1), d_face.flatten(0, 1)
    record = places_of(sizes, wide_lanes(features.dtype)).record
    previous = tape.view(-1, record)[: steps * batch, : sizes.vectors + sizes.hidden]
    previous = torch.cat([previous[:, sizes.vectors :], previous[:, : sizes.vectors]], dim=1)
    d_recurrent = (previous.t() @ flat_gates).t()
    d_weight = (features.flatten(0, 1)[:, : sizes.hidden].t() @ flat_face).t()
    order, (*d_controller, d_weights) = _places_in_face(sizes), d_state
    return d_gates, d_recurrent, d_weight[order], flat_face.sum(0)[order], d_memory, d_weights, *d_controller


def _shares(starts: Tensor, sizes: SparseSizes, itemsize: int) -> tuple[int, int]:
    """Return how many threads are worth their while, and the rows of a tile."""
    steps, batch = starts.shape
    products = 4 * sizes.hidden * (sizes.hidden + sizes.vectors) + sizes.face * sizes.hidden
    searched = sizes.slots * sizes.width * sizes.heads
    threads = thread_count(-(-batch // ROWS), steps * ROWS * (products + searched) // _STEP)
    fitting = max(1, _CACHE // (sizes.slots * sizes.width * itemsize))
    return threads, min(_MOST_ROWS, fitting, -(-batch // (threads * ROWS)) * ROWS)
