"""Attention of a window's steps on the CPU, each to runs of positions: fused forward and hand-derived backward.

:func:`attention_window` equals :func:`memagents.memory.relative.relative_attention` with the mask and the skewing that
the runs stand for. Of the weights it computes and keeps those of what a query sees and no others.
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
from memagents.kernels.cpu.arrays import scratch
from memagents.kernels.cpu.attention import runs as kernel
from memagents.kernels.cpu.attention.runs import RunSizes, columns_of, line_of
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
    return _run_forward(sizes, runs, operands, keep=False)[0]


class _Context(Context):
    sizes: RunSizes


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, sizes: RunSizes, runs: Tensor, *operands: Tensor) -> Tensor:
        found, weights = _run_forward(sizes, runs, operands, keep=True)
        ctx.sizes = sizes
        ctx.save_for_backward(runs, weights, *operands)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        runs, weights, *operands = ctx.saved_tensors
        return (None, None, *_run_backward(ctx.sizes, runs, weights, operands, grad))


def _run_forward(sizes: RunSizes, runs: Tensor, operands: Sequence[Tensor], keep: bool) -> tuple[Tensor, Tensor]:
    queries, ages, keys, values, encodings = operands
    threads, count = _threads(sizes), lanes(queries.dtype)
    codes = functional.pad(encodings.t(), (0, 2 * count)) if sizes.aged else encodings  # (W, S + 2 vectors)
    found = torch.empty_like(queries, memory_format=torch.contiguous_format)
    lines = sizes.batch * sizes.steps * sizes.heads if keep else threads
    weights = torch.from_numpy(scratch(queries, lines, line_of(sizes.slots, count)))
    arrays = [_flat(tensor) for tensor in (runs, queries, ages, keys, values, codes)]
    lane, room = _lane(queries), scratch(queries, threads, columns_of(sizes, count))
    run(partial(kernel.forward, tuple(sizes), keep, *arrays, lane, _flat(weights), _flat(found), room), threads)
    return found, weights


def _run_backward(
    sizes: RunSizes, runs: Tensor, weights: Tensor, operands: Sequence[Tensor], grad: Tensor
) -> tuple[Tensor | None, ...]:
    queries, ages, keys, values, encodings = operands
    threads, count = _threads(sizes), lanes(queries.dtype)
    d_queries, d_ages = (torch.empty_like(of, memory_format=torch.contiguous_format) for of in (queries, ages))
    d_keys, d_values = (torch.zeros_like(of, memory_format=torch.contiguous_format) for of in (keys, values))
    d_codes = encodings.new_zeros(sizes.batch, *encodings.shape)
    arrays = [_flat(tensor) for tensor in (runs, queries, ages, keys, values, encodings)]
    out = [_flat(tensor) for tensor in (weights, grad, d_queries, d_ages, d_keys, d_values, d_codes)]
    lane, room = _lane(queries), scratch(queries, threads, columns_of(sizes, count) + line_of(sizes.slots, count))
    run(partial(kernel.backward, tuple(sizes), *arrays, lane, *out, room), threads)
    if not sizes.aged:
        return d_queries, None, d_keys, d_values, None
    return d_queries, d_ages, d_keys, d_values, d_codes.sum(0)


def _threads(sizes: RunSizes) -> int:
    products = sizes.steps * sizes.slots * sizes.heads * sizes.key
    return thread_count(sizes.batch, products // _STEP)


def _lane(like: Tensor) -> np.ndarray:
    """The numbers of the lanes."""
    return torch.arange(lanes(like.dtype), dtype=like.dtype).numpy()


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().view(-1).numpy()


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
    begin, end, slot = runs.unbind(-1)
    inside = (begin >= 0) & (end <= positions) & (slot >= 0) & (slot + (end - begin).clamp(min=0) <= slots)
    if not inside.all():
        raise ValueError(f"runs must lie within {positions} positions and {slots} slots")
    return RunSizes(batch, steps, positions, heads, width // heads, slots, runs.shape[2], ages is not None)
