"""Linear recurrences over a window, h_t = a_t ∘ h_{t-1} + b_t, whose steps need not wait for what is read from them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def linear_scan(
    decay: Tensor, inputs: Tensor, initial: Tensor, bound: float = math.inf, doubling: bool | None = None
) -> Tensor:
    """h_t = a_t ∘ h_{t-1} + b_t for all t, with a backward pass that is such a scan itself.

    Where an episode begins, the caller sets a_t to zero and adds what it begins with to b_t; see :func:`cut`.

    :param decay: a, (T, ...), real or complex
    :param inputs: b, (T, ...), of the same shape and dtype
    :param initial: h before the window, (...)
    :param bound: every h_t is clipped to ± this, and passes no gradient where it was; for real numbers only
    :param doubling: combine stretches of 1, 2, 4, … steps, which does more work in fewer operations, log2 T instead of
        T, and needs every product of successive a to be finite; not with a bound. By default on accelerators, where an
        operation costs more than what it computes
    :return: h, (T, ...)
    :raises ValueError: if there is a bound to be met by doubling
    """
    if doubling is None:
        doubling = decay.device.type != "cpu" and bound == math.inf
    if doubling and bound < math.inf:
        raise ValueError(f"bound must be inf with doubling, not {bound}")
    return _LinearScan.apply(decay, inputs, initial, bound, doubling)


def cut(starts: Tensor, decay: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and initial values of a scan in which episodes begin, at zero.

    The initial values are replaced where the first step begins one: zero times what is not finite is not zero.

    :param starts: (T, B) booleans
    :param decay: a, (T, B, ...), or of a shape that broadcasts to it
    :param initial: h before the window, (B, ...)
    """
    starts = starts.reshape(*starts.shape, *(1,) * (initial.dim() - 1))
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
    rows = starts.reshape(*starts.shape, *(1,) * (dim - 1)).unbind(0)
    some = starts.any(dim=1).tolist() if starts.device.type == "cpu" else [True] * len(rows)
    return [row if begun else None for row, begun in zip(rows, some, strict=True)]


def any_start(starts: Tensor) -> bool:
    """Whether an episode may begin in a window. On an accelerator always, since looking would wait for the device."""
    return starts.device.type != "cpu" or bool(starts.any())


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
    episodes = starts.cumsum(0).reshape(*starts.shape, *(1,) * (initial.dim() - 1))
    power, reach = transition.t(), 1
    first = inputs[0] + torch.where(episodes[0] == 0, initial, 0) @ power
    states = torch.cat([first.unsqueeze(0), inputs[1:]])
    while reach < len(states):
        before = torch.where(episodes[reach:] == episodes[:-reach], states[:-reach], 0)
        states = torch.cat([states[:reach], states[reach:] + before @ power])
        power, reach = power @ power, 2 * reach
    return states


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, initial: Tensor, bound: float, doubling: bool) -> Tensor:
        states = _doubled(decay, inputs, initial) if doubling else _stepped(decay, inputs, initial, bound)
        ctx.save_for_backward(decay, initial, states)
        ctx.bound, ctx.doubling = bound, doubling
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Follow the conjugates of the gradients, for which the decays serve as they are."""
        decay, initial, states = ctx.saved_tensors
        if ctx.doubling:
            later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])  # what leads back to t is a_{t+1}
            towards = _doubled(later.flip(0), grads[0].conj().flip(0), torch.zeros_like(initial)).flip(0)
        else:
            towards = _stepped_back(decay, grads[0].conj(), states, ctx.bound)
        for_decay = None
        if ctx.needs_input_grad[0]:
            for_decay = torch.empty_like(towards)
            torch.mul(towards[0], initial, out=for_decay[0])
            torch.mul(towards[1:], states[:-1], out=for_decay[1:])
            for_decay = for_decay.conj()
        return for_decay, towards.conj(), (decay[0] * towards[0]).conj(), None, None


def _stepped(decay: Tensor, inputs: Tensor, initial: Tensor, bound: float) -> Tensor:
    states = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    before = initial
    for a, b, h in zip(decay.unbind(0), inputs.unbind(0), states.unbind(0), strict=True):
        torch.addcmul(b, a, before, out=h)
        if bound < math.inf:
            h.clamp_(-bound, bound)
        before = h
    return states


def _stepped_back(decay: Tensor, grads: Tensor, states: Tensor, bound: float) -> Tensor:
    """The gradients of b_t, which are those of h_t, from those that reach h_t directly; of all, the conjugates."""
    towards = grads.resolve_conj().clone(memory_format=torch.contiguous_format)
    rows, decays, later = towards.unbind(0), decay.unbind(0), None
    for t in range(len(rows) - 1, -1, -1):
        if later is not None:
            rows[t].addcmul_(decays[t + 1], later)
        if bound < math.inf:
            rows[t].masked_fill_(states[t].abs() >= bound, 0)
        later = rows[t]
    return towards


def _doubled(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Hillis & Steele 1986: each pass reaches twice as far back, by the recurrence over twice as many steps."""
    states = torch.cat([torch.addcmul(inputs[:1], decay[:1], initial.unsqueeze(0)), inputs[1:]])
    reach = 1
    while reach < len(states):
        states = torch.cat([states[:reach], torch.addcmul(states[reach:], decay[reach:], states[:-reach])])
        decay = torch.cat([decay[:reach], decay[reach:] * decay[:-reach]])
        reach *= 2
    return states
