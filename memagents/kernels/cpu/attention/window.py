"""Attention of a window's steps on the CPU, each to runs of positions: fused forward and hand-derived backward.

:func:`attention_window` equals :func:`memagents.memory.relative.relative_attention` with the mask and the skewing that
the runs stand for. Of the weights it computes those of what a query sees and no others, and keeps none: the backward
computes them anew, a batch row and a head at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import flat, scratch
from memagents.kernels.cpu.attention import backward, forward, rows, step
from memagents.kernels.cpu.attention.forward import RunSizes, columns_of, line_of
from memagents.kernels.cpu.attention.step import StepSizes, room_of
from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.simd import lanes

_STEP = 1 << 17  # multiplications that are worth as much as a step of a tile to thread_count


def fits(dtype: torch.dtype, key_size: int) -> bool:
    """Whether the kernel can take heads of this size K: a multiple of a vector's lanes."""
    return key_size % lanes(dtype) == 0


def attention_window(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    runs: Tensor,
    slots: int,
    heads: int,
    ages: Tensor | None = None,
    encodings: Tensor | None = None,
) -> Tensor:
    """softmax((q · k + a · r) / √K) v, of each query over what its runs say that it sees. Not differentiable twice.

    :param queries: q, (B, T, W), W of all ``heads`` side by side
    :param keys: k, (B, P, W)
    :param values: v, (B, P, W)
    :param runs: int64 (B, T, R, 3), of each query R runs of positions: begin, end (the first position after it), and
        the slot of the first. The slots of a query's runs lie one run after another and do not meet. A query that sees
        nothing finds zero
    :param slots: number of slots S
    :param heads: number of heads H
    :param ages: a, what the queries ask of slots, (B, T, W); None for nothing
    :param encodings: r, of the slots, (S, W)
    :return: what each query finds, (B, T, W)
    :raises ValueError: if the shapes do not belong together or runs leave positions or slots
    """
    sizes = _check(queries, keys, values, runs, slots, heads, ages, encodings)
    if ages is None or encodings is None:
        ages, encodings = queries.new_zeros(0), queries.new_zeros(0)
    operands = (queries, ages, keys, values, encodings)
    if learning(operands):
        return _Window.apply(sizes, runs, *operands)
    return _run_forward(sizes, runs, operands)


def look_window(
    store: Tensor,
    runs: Tensor,
    present: Tensor,
    queries: Tensor,
    by_slot: Tensor | None,
    slots: int,
    factor: float,
    normed: bool = False,
    after: Tensor | None = None,
) -> Tensor:
    """Σ w x over rows x as they were stored, w = softmax(factor (q · x + what belongs to slots)). Not differentiable.

    :param store: rows x, (B, P, W), each batch row's in one piece
    :param runs: int64 (B, R, 3), which of them each batch row sees, as in :func:`attention_window`
    :param present: one more row x, (B, W), in the last slot
    :param queries: q of the heads, (H, B, W)
    :param by_slot: (H, B, S), or None for nothing
    :param slots: number of slots S; the runs leave the last free
    :param factor: of the scores
    :param normed: x stands for (x − mean) / σ, as in a LayerNorm before its gain and shift
    :param after: becomes the last L rows seen, the present one among them, (B, L, W), zero before them
    :return: (H, B, W)
    :raises ValueError: if the shapes do not belong together or runs leave the store or slots
    """
    sizes = _check_step(store, runs, present, queries, by_slot, slots, normed, after)
    threads = _threads(sizes.batch, 2 * sizes.slots * sizes.heads * sizes.width)
    found = torch.empty_like(queries, memory_format=torch.contiguous_format)
    room = scratch(queries, threads, room_of(sizes, lanes(queries.dtype)))
    nothing = queries.new_zeros(0)
    flat_store, stride = _pieces(store)
    flat_after, after_stride, length = (flat(nothing), 0, 0) if after is None else (*_pieces(after), after.shape[1])
    given = [flat(tensor) for tensor in (runs, present, queries, nothing if by_slot is None else by_slot)]
    others = (float(factor), _lane(queries), flat(found), flat_after, after_stride, length, room)
    arguments = (tuple(sizes), flat_store, stride, *given, *others)
    run(partial(step.look, *arguments), threads)
    return found


def gate_window(stream: Tensor, of_update: Tensor, of_stream: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A :class:`memagents.cores.transformer.GRUGate` from its first products on. Not differentiable twice.

    :param stream: x, (..., W)
    :param of_update: the update's share of r, z and ĥ, (..., 3W)
    :param of_stream: the stream's of r and z, (..., 2W)
    :param weight: U_g, (W, W)
    :param bias: b_g, (W,)
    :return: (..., W)
    :raises ValueError: if the shapes do not belong together
    """
    width, leading = len(bias), tuple(stream.shape[:-1])
    for name, operand, last in (("stream", stream, 1), ("of_update", of_update, 3), ("of_stream", of_stream, 2)):
        if operand.shape != (*leading, last * width):
            raise ValueError(f"{name} must be (..., {last * width}) beside the others, not {tuple(operand.shape)}")
    if weight.shape != (width, width) or not fits(weight.dtype, width):
        raise ValueError(f"weight must be square, a multiple of {lanes(weight.dtype)} wide, not {tuple(weight.shape)}")
    return _Gate.apply(stream, of_update, of_stream, weight, bias)


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, stream: Tensor, *operands: Tensor) -> Tensor:
        of_update, of_stream, weight, bias = operands
        resets, openings, given, out = (
            torch.empty_like(stream, memory_format=torch.contiguous_format) for _ in range(4)
        )
        count, threads = stream.numel() // len(bias), _threads(1, 4 * stream.numel())
        x, update, b = flat(stream), flat(of_update), flat(bias)
        filled = [flat(tensor) for tensor in (resets, openings, given)]
        run(partial(rows.squash, count, update, flat(of_stream), x, b, *filled), threads)
        candidates = torch.mm(given.view(count, -1), weight.t())
        new = flat(candidates)
        run(partial(rows.mix, count, update, new, x, b, filled[1], new, flat(out)), threads)
        ctx.save_for_backward(stream, weight, bias, resets, openings, candidates)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        stream, weight, bias, resets, openings, candidates = ctx.saved_tensors
        width = len(bias)
        count, threads = stream.numel() // width, _threads(1, 4 * stream.numel())
        d_update, d_stream = stream.new_empty(count, 3 * width), torch.empty_like(openings)
        x, b, update, own = flat(stream), flat(bias), flat(d_update), flat(d_stream)
        run(partial(rows.mix_back, count, flat(grad), x, b, flat(openings), flat(candidates), update, own), threads)
        d_candidates = d_update[:, 2 * width :]
        d_given, given = torch.mm(d_candidates, weight), torch.empty_like(candidates)
        run(partial(rows.squash_back, count, flat(d_given), x, b, flat(resets), update, own, flat(given)), threads)
        d_weight = torch.mm(given.t(), d_candidates).t()
        d_bias = -d_update[:, width : 2 * width].sum(0)
        d_update = d_update.view(*stream.shape[:-1], -1)
        return d_stream, d_update, d_update[..., : 2 * width], d_weight, d_bias


class _Context(Context):
    sizes: RunSizes


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, sizes: RunSizes, runs: Tensor, *operands: Tensor) -> Tensor:
        ctx.sizes = sizes
        ctx.save_for_backward(runs, *operands)
        return _run_forward(sizes, runs, operands)

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        runs, *operands = ctx.saved_tensors
        return (None, None, *_run_backward(ctx.sizes, runs, operands, grad))


def _run_forward(sizes: RunSizes, runs: Tensor, operands: Sequence[Tensor]) -> Tensor:
    queries, *_, encodings = operands
    threads, count = _threads_of(sizes), lanes(queries.dtype)
    found = torch.empty_like(queries, memory_format=torch.contiguous_format)
    arrays = [flat(tensor) for tensor in (runs, *operands[:-1], _codes(sizes, encodings))]
    room = scratch(queries, threads, columns_of(sizes, count) + line_of(sizes.slots, count))
    arguments = (tuple(sizes), *arrays, _lane(queries), flat(found), room)
    run(partial(forward.forward, *arguments), threads)
    return found


def _run_backward(sizes: RunSizes, runs: Tensor, operands: Sequence[Tensor], grad: Tensor) -> tuple[Tensor | None, ...]:
    queries, ages, keys, values, encodings = operands
    threads, count = _threads_of(sizes), lanes(queries.dtype)
    d_queries, d_ages = (torch.empty_like(of, memory_format=torch.contiguous_format) for of in (queries, ages))
    d_keys, d_values = (torch.zeros_like(of, memory_format=torch.contiguous_format) for of in (keys, values))
    d_codes = encodings.new_zeros(sizes.batch, *encodings.shape)
    arrays = [flat(tensor) for tensor in (runs, *operands[:-1], _codes(sizes, encodings), encodings)]
    out = [flat(tensor) for tensor in (grad, d_queries, d_ages, d_keys, d_values, d_codes)]
    lines = (sizes.steps + 1) * line_of(sizes.slots, count)
    room = scratch(queries, threads, columns_of(sizes, count) + lines)
    arguments = (tuple(sizes), *arrays, _lane(queries), *out, room)
    run(partial(backward.backward, *arguments), threads)
    if not sizes.aged:
        return d_queries, None, d_keys, d_values, None
    return d_queries, d_ages, d_keys, d_values, d_codes.sum(0)


def _codes(sizes: RunSizes, encodings: Tensor) -> Tensor:
    """Encodings of the slots by column, (W, S + 2 vectors)."""
    return functional.pad(encodings.t(), (0, 2 * lanes(encodings.dtype))) if sizes.aged else encodings


def _threads_of(sizes: RunSizes) -> int:
    return _threads(sizes.batch, sizes.steps * sizes.slots * sizes.heads * sizes.key)


def _threads(tiles: int, multiplications: int) -> int:
    """How many threads are worth their while for so many tiles, of so many multiplications each."""
    return thread_count(tiles * multiplications // _STEP, 1)


def _pieces(tensor: Tensor) -> tuple[np.ndarray, int]:
    """The numbers of (B, M, W) from its first on, which may be those of a view, and from one batch row to the next."""
    batch, rows, width = tensor.shape
    stride = tensor.stride(0) if batch > 1 else rows * width
    return tensor.detach().as_strided(((batch - 1) * stride + rows * width,), (1,)).numpy(), stride


def _check_step(
    store: Tensor,
    runs: Tensor,
    present: Tensor,
    queries: Tensor,
    by_slot: Tensor | None,
    slots: int,
    normed: bool,
    after: Tensor | None,
) -> StepSizes:
    heads, batch, width = queries.shape
    if not fits(queries.dtype, width):
        raise ValueError(f"queries must be a multiple of {lanes(queries.dtype)} wide, not {width}")
    expected = {
        "store": (store, (batch, store.shape[1], width)),
        "present": (present, (batch, width)),
        "by_slot": (by_slot, (heads, batch, slots)),
        "after": (after, None if after is None else (batch, after.shape[1], width)),
    }
    for name, (operand, shape) in expected.items():
        if operand is not None and operand.shape != shape:
            raise ValueError(f"{name} must be {shape} beside the others, not {tuple(operand.shape)}")
    for name, piece in {"store": store, "after": after}.items():
        if piece is not None and not piece[:1].is_contiguous():
            raise ValueError(f"{name} must hold each batch row in one piece")
    if runs.shape[:1] != (batch,) or runs.shape[2:] != (3,) or runs.dtype != torch.int64:
        raise ValueError(f"runs must be int64 ({batch}, R, 3), not {runs.dtype} {tuple(runs.shape)}")
    _check_runs(runs, store.shape[1], slots - 1)
    return StepSizes(batch, heads, width, slots, runs.shape[1], by_slot is not None, normed)


def _check_runs(runs: Tensor, positions: int, slots: int) -> None:
    """Refuse runs that leave positions or slots, or that take more slots together than there are."""
    if not forward.runs_fit(flat(runs), runs.shape[-2], positions, slots):
        raise ValueError(f"runs must lie within {positions} positions and {slots} slots")


def _lane(like: Tensor) -> np.ndarray:
    """The numbers of the lanes."""
    return torch.arange(lanes(like.dtype), dtype=like.dtype).numpy()


def _check(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    runs: Tensor,
    slots: int,
    heads: int,
    ages: Tensor | None,
    encodings: Tensor | None,
) -> RunSizes:
    """The kernels trust shapes and runs; a wrong one would have them read and write anywhere."""
    batch, steps, width = queries.shape
    positions, count = keys.shape[1], lanes(queries.dtype)
    if width % heads or not fits(queries.dtype, width // heads):
        raise ValueError(f"queries must be of {heads} heads of multiples of {count} numbers, not {width} wide")
    expected = {
        "keys": (keys, (batch, positions, width)),
        "values": (values, (batch, positions, width)),
        "ages": (ages, (batch, steps, width)),
        "encodings": (encodings, (slots, width)),
    }
    for name, (operand, shape) in expected.items():
        if operand is not None and operand.shape != shape:
            raise ValueError(f"{name} must be {shape} beside the others, not {tuple(operand.shape)}")
    if (ages is None) != (encodings is None):
        raise ValueError("ages and encodings must be given together")
    if runs.shape[:2] != (batch, steps) or runs.shape[3:] != (3,) or runs.dtype != torch.int64:
        raise ValueError(f"runs must be int64 ({batch}, {steps}, R, 3), not {runs.dtype} {tuple(runs.shape)}")
    _check_runs(runs, positions, slots)
    return RunSizes(batch, steps, positions, heads, width // heads, slots, runs.shape[2], ages is not None)
