"""Passes over facts on the CPU: matrix products by torch, all between them by Numba, and a hand-derived backward.

A step of the window looks at as many facts as it sees and no more, see :mod:`memagents.memory.pairs`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cpu.arrays import flat
from memagents.kernels.cpu.dmn import step
from memagents.kernels.cpu.vector.simd import lanes
from memagents.memory.pairs import Pairs


def fits(dtype: torch.dtype, hidden_size: int) -> bool:
    """Whether the kernels can take rows of this size H: a multiple of a vector's lanes."""
    return hidden_size % lanes(dtype) == 0


def dmn_window(facts: Tensor, vectors: Tensor, pairs: Pairs) -> Tensor:
    """[f ∘ v; |f − v|] of every pair. Not differentiable twice.

    :param facts: f, (F, H)
    :param vectors: v, (N, H)
    :param pairs: of :func:`memagents.memory.pairs.pairs_of`
    :return: (M, 2H)
    """
    _check(facts.shape[1], facts, vectors, pairs)
    return _Compare.apply(facts, vectors, pairs)


def episode_window(of_facts: Tensor, gates: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
    """The last state of an attention GRU over the facts of every step. Not differentiable twice.

    :param of_facts: the facts' share of reset gate and candidate, (F, 2H)
    :param gates: g of every pair, (M,)
    :param weight: U_r and U, (2H, H)
    :param pairs: of :func:`memagents.memory.pairs.pairs_of`
    :return: (N, H)
    """
    size = weight.shape[1]
    _check(2 * size, of_facts, None, pairs)
    if weight.shape != (2 * size, size) or not fits(weight.dtype, size) or gates.shape != pairs.facts.shape:
        raise ValueError(
            f"weight and gates must be (2H, H) and {tuple(pairs.facts.shape)}, H a multiple of {lanes(weight.dtype)}, "
            f"not {tuple(weight.shape)} and {tuple(gates.shape)}"
        )
    return _Episode.apply(of_facts, gates, weight, pairs).index_select(0, pairs.states)


class _Context(Context):
    pairs: Pairs


class _Compare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, facts: Tensor, vectors: Tensor, pairs: Pairs) -> Tensor:
        size = facts.shape[1]
        out = facts.new_empty(len(pairs.facts), 2 * size)
        width = size // lanes(facts.dtype)
        step.compare(width, flat(facts), flat(vectors), flat(pairs.facts), flat(pairs.steps), flat(out))
        ctx.pairs = pairs
        ctx.save_for_backward(facts, vectors)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        facts, vectors = ctx.saved_tensors
        d_facts, d_vectors = (torch.zeros_like(of, memory_format=torch.contiguous_format) for of in (facts, vectors))
        width, pairs = facts.shape[1] // lanes(facts.dtype), ctx.pairs
        arrays = [flat(of) for of in (facts, vectors, pairs.facts, pairs.steps, grad, d_facts, d_vectors)]
        step.compare_back(width, *arrays)
        return d_facts, d_vectors, None


class _Episode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, of_facts: Tensor, gates: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
        size, many = weight.shape[1], len(gates)
        width = size // lanes(weight.dtype)
        h, by_columns = weight.new_zeros(len(pairs.states), size), weight.t().contiguous()
        sums = weight.new_empty(many, 2 * size)
        candidates, before = weight.new_empty(2, many, size)
        given = [flat(tensor) for tensor in (of_facts, pairs.facts, gates, sums, candidates, before, h)]
        begin = 0
        for count in pairs.counts:
            torch.mm(h[:count], by_columns, out=sums[begin : begin + count])
            step.attend(width, begin, count, *given)
            begin += count
        if learning((of_facts, gates, weight)) or any(ctx.needs_input_grad):
            ctx.pairs = pairs
            ctx.save_for_backward(of_facts, gates, weight, sums, candidates, before)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_facts, gates, weight, sums, candidates, before = ctx.saved_tensors
        pairs, count = ctx.pairs, lanes(weight.dtype)
        width = weight.shape[1] // count
        d_h = grad.clone(memory_format=torch.contiguous_format)
        d_of_facts = torch.zeros_like(of_facts, memory_format=torch.contiguous_format)
        d_gates, d_sums = gates.new_empty(len(gates), count), torch.empty_like(sums)
        given = [flat(tensor) for tensor in (pairs.facts, gates, sums, candidates, before)]
        made = [flat(tensor) for tensor in (d_h, d_of_facts, d_gates, d_sums)]
        begin = len(gates)
        for many in reversed(pairs.counts):
            begin -= many
            step.attend_back(width, begin, many, *given, *made)
            d_h[:many].addmm_(d_sums[begin : begin + many], weight)
        return d_of_facts, d_gates.sum(1), (before.t() @ d_sums).t(), None


def _check(width: int, facts: Tensor, vectors: Tensor | None, pairs: Pairs) -> None:
    """The kernels trust the pairs; a wrong one would have them read and write anywhere."""
    if vectors is not None and (vectors.shape != (len(pairs.states), width) or not fits(facts.dtype, width)):
        raise ValueError(
            f"vectors must be {(len(pairs.states), width)}, with a multiple of {lanes(facts.dtype)} for a width, not "
            f"{tuple(vectors.shape)}"
        )
    if len(pairs.facts) and not 0 <= int(pairs.facts.min()) <= int(pairs.facts.max()) < len(facts):
        raise ValueError(f"facts must be from 0 to {len(facts) - 1}")
