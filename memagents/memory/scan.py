"""Linear recurrences over a window, h_t = a_t ∘ h_{t-1} + b_t, whose steps need not wait for what is read from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memagents.memory.looking import may_look


def linear_scan(
    decay: Tensor,
    inputs: Tensor,
    initial: Tensor,
    bound: float = math.inf,
    doubling: bool | None = None,
    starts: Tensor | None = None,
) -> Tensor:
    """h_t = a_t ∘ h_{t-1} + b_t for all t, with a backward pass that is such a scan itself.

    :param decay: a, (T, B, ...), real or complex; or, if it stands still, of fewer dimensions than ``inputs`` and of a
        shape that broadcasts to (B, ...)
    :param inputs: b, (T, B, ...), of the same dtype
    :param initial: h before the window, (B, ...)
    :param bound: every h_t is clipped to ± this, and passes no gradient where it was; for real numbers only
    :param doubling: combine stretches of 1, 2, 4, … steps, which does more work in fewer operations, log2 T instead of
        T, and needs every product of successive a to be finite; not with a bound. By default on accelerators, where an
        operation costs more than what it computes
    :param starts: (T, B) booleans, where an episode begins: h is zero before the step, whatever it was; by default
        nowhere
    :return: h, (T, B, ...)
    :raises ValueError: if there is a bound to be met by doubling
    """
    if doubling is None:
        doubling = decay.device.type != "cpu" and bound == math.inf
    if doubling and bound < math.inf:
        raise ValueError(f"bound must be inf with doubling, not {bound}")
    if len(inputs) == 1 and bound == math.inf:  # as in acting
        begun = None if starts is None else begins(starts, initial.dim())[0]
        before = initial if begun is None else torch.where(begun, 0, initial)
        return torch.addcmul(inputs, decay, before.unsqueeze(0))
    if doubling:
        if starts is not None:
            decay, initial = cut(starts, decay, initial)
        return _DoubledScan.apply(decay.expand_as(inputs), inputs, initial)
    return _SteppedScan.apply(decay, inputs, initial, starts, bound)


def cut(starts: Tensor, decay: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and initial values of a scan in which episodes begin, at zero.

    The initial values are replaced where the first step begins one: zero times what is not finite is not zero.

    :param starts: (T, B) booleans
    :param decay: a, (T, B, ...), or of a shape that broadcasts to it
    :param initial: h before the window, (B, ...)
    """
    starts = _by_row(starts, initial.dim() + 1)
    return torch.where(starts, 0, decay), torch.where(starts[0], 0, initial)


def matrix_scan(
    transition: Tensor, inputs: Tensor, initial: Tensor, starts: Tensor, doubling: bool | None = None
) -> Tensor:
    """h_t = A h_{t-1} + b_t for all t, with an A that is not learned: it gets no gradient.

    :param transition: A, (N, N)
    :param inputs: b, (T, B, ..., N)
    :param initial: h before the window, (B, ..., N)
    :param starts: (T, B) booleans, where h is zero before the step
    :param doubling: as of :func:`linear_scan`
    :return: h, (T, B, ..., N)
    """
    if inputs.device.type != "cpu" if doubling is None else doubling:
        return _matrix_doubled(transition, inputs, initial, starts)
    return _MatrixScan.apply(transition, inputs, initial, starts)


def begins(starts: Tensor, dim: int) -> list[Tensor | None]:
    """Of each step the rows (B, 1, ...) in which an episode begins, or None where there is none.

    On an accelerator a tensor each, since looking would wait for the device.

    :param starts: (T, B) booleans
    :param dim: number of dimensions of the result
    """
    rows = _by_row(starts, dim + 1).unbind(0)
    return [row if begun else None for row, begun in zip(rows, reset_steps(starts), strict=True)]


def reset_steps(starts: Tensor) -> list[bool]:
    """Return, for each of T steps, whether any row may begin an episode there.

    Where they may not be looked at the answer is always yes, since a captured graph must not depend on the data.
    """
    if not may_look(starts):
        return [True] * len(starts)
    return starts.any(dim=1).tolist()


def any_start(starts: Tensor) -> bool:
    """Whether an episode may begin in a window; yes where that may not be looked at."""
    return not may_look(starts) or bool(starts.any())


class _MatrixScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, transition: Tensor, inputs: Tensor, initial: Tensor, starts: Tensor) -> Tensor:
        states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
        before, rows = initial, (-1, len(transition))
        for b, h, begun in zip(inputs.unbind(0), states.unbind(0), begins(starts, initial.dim()), strict=True):
            if begun is not None:
                before = before.masked_fill(begun, 0)
            torch.addmm(b.reshape(rows), before.reshape(rows), transition.t(), out=h.view(rows))
            before = h
        ctx.save_for_backward(transition, starts)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        transition, starts = ctx.saved_tensors
        towards, rows = grads[0].clone(memory_format=torch.contiguous_format), (-1, len(transition))
        later = None
        for g, begun in zip(reversed(towards.unbind(0)), reversed(begins(starts, towards.dim() - 1)), strict=True):
            if later is not None:
                g += later
            later = (g.view(rows) @ transition).view(g.shape)
            if begun is not None:
                later.masked_fill_(begun, 0)
        return None, towards, later, None


def _matrix_doubled(transition: Tensor, inputs: Tensor, initial: Tensor, starts: Tensor) -> Tensor:
    """As :func:`_doubled`, with powers of A and a look at whether the same episode goes on."""
    episodes = _by_row(starts.cumsum(0), initial.dim() + 1)
    power, reach = transition.t(), 1
    first = inputs[0] + torch.where(episodes[0] == 0, initial, 0) @ power
    states = torch.cat([first.unsqueeze(0), inputs[1:]])
    while reach < len(states):
        before = torch.where(episodes[reach:] == episodes[:-reach], states[:-reach], 0)
        states = torch.cat([states[:reach], states[reach:] + before @ power])
        power, reach = power @ power, 2 * reach
    return states


class _DoubledScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        states = _doubled(decay, inputs, initial)
        ctx.save_for_backward(decay, initial, states)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Follow the conjugates of the gradients, for which the decays serve as they are."""
        decay, initial, states = ctx.saved_tensors
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])  # what leads back to t is a_{t+1}
        towards = _doubled(later.flip(0), grads[0].conj().flip(0), torch.zeros_like(initial)).flip(0)
        for_decay = _times_before(towards, states, initial).conj() if ctx.needs_input_grad[0] else None
        return for_decay, towards.conj(), (decay[0] * towards[0]).conj()


class _SteppedScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, decay: Tensor, inputs: Tensor, initial: Tensor, starts: Tensor | None, bound: float
    ) -> Tensor:
        states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
        before, steps = initial, (_each(decay, inputs), inputs.unbind(0), states.unbind(0), _begins(starts, inputs))
        for a, b, h, begun in zip(*steps, strict=True):
            torch.addcmul(b, a, before if begun is None else before.masked_fill(begun, 0), out=h)
            if bound < math.inf:
                h.clamp_(-bound, bound)
            before = h
        ctx.save_for_backward(decay, initial, states, starts)
        ctx.bound = bound
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Follow the conjugates of the gradients, for which the decays serve as they are.

        The gradient of b_t is that of h_t; at first it is what reaches h_t directly.
        """
        decay, initial, states, starts = ctx.saved_tensors
        towards = grads[0].resolve_conj().clone(memory_format=torch.contiguous_format)
        if towards.is_complex():
            towards.conj_physical_()
        decays, begun = _each(decay, states), _begins(starts, states)
        later = towards[-1]
        for t in range(len(towards) - 1, -1, -1):
            g, rows = towards[t], begun[t]
            if t + 1 < len(towards):
                g.addcmul_(decays[t + 1], later)
            if ctx.bound < math.inf:
                g.masked_fill_(states[t].abs() >= ctx.bound, 0)
            later = g if rows is None else g.masked_fill(rows, 0)  # as far as h_{t-1} led to it
        for_decay = None
        if ctx.needs_input_grad[0]:
            for_decay = _times_before(towards, states, initial)
            if starts is not None and any_start(starts):
                for_decay.masked_fill_(_by_row(starts, states.dim()), 0)
            for_decay = for_decay.sum_to_size(decay.shape).conj()
        return for_decay, towards.conj(), (decays[0] * later).conj(), None, None


def _each(decay: Tensor, states: Tensor) -> Sequence[Tensor]:
    """a_t of each step."""
    return decay.unbind(0) if decay.dim() == states.dim() else [decay] * len(states)


def _begins(starts: Tensor | None, states: Tensor) -> Sequence[Tensor | None]:
    return [None] * len(states) if starts is None else begins(starts, states.dim() - 1)


def _by_row(starts: Tensor, dim: int) -> Tensor:
    """(T, B) to (T, B, 1, ...)."""
    return starts.reshape(*starts.shape, *(1,) * (dim - 2))


def _times_before(towards: Tensor, states: Tensor, initial: Tensor) -> Tensor:
    """The product with h_{t-1}."""
    product = torch.empty_like(towards)
    torch.mul(towards[0], initial, out=product[0])
    torch.mul(towards[1:], states[:-1], out=product[1:])
    return product


def _doubled(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Hillis & Steele 1986: each pass reaches twice as far back, by the recurrence over twice as many steps."""
    states = torch.cat([torch.addcmul(inputs[:1], decay[:1], initial.unsqueeze(0)), inputs[1:]])
    reach = 1
    while reach < len(states):
        states = torch.cat([states[:reach], torch.addcmul(states[reach:], decay[reach:], states[:-reach])])
        decay = torch.cat([decay[:reach], decay[reach:] * decay[:-reach]])
        reach *= 2
    return states
