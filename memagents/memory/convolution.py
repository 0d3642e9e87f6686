"""A short causal convolution of each channel by itself, whose last inputs are state, as Gated DeltaNet has it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from memagents.memory.scan import any_start

TAPS = 4
"""Inputs that an output depends on, the present one among them."""

PAST = TAPS - 1


def convolve_step(
    inputs: Tensor, recent: Tensor, weight: Tensor, bias: Tensor | None = None, begun: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """y_t = SiLU(Σ_j w_j ∘ x_{t-3+j} + b), one step.

    :param inputs: x_t, (B, X)
    :param recent: the three inputs before it in its episode, zeros where there are none, (B, 3, X), the oldest first
    :param weight: w, (4, X), of the oldest input first
    :param bias: b, (X,)
    :param begun: numbers of the rows that begin an episode, where nothing is recent
    :return: y_t, (B, X), and what is recent now
    """
    if begun is not None:
        recent = recent.index_fill(0, begun, 0)
    total = inputs * weight[PAST] if bias is None else torch.addcmul(bias, inputs, weight[PAST])
    for past, tap in zip(recent.unbind(1), weight, strict=False):
        total = torch.addcmul(total, past, tap)
    return functional.silu(total), torch.cat([recent[:, 1:], inputs.unsqueeze(1)], dim=1)


def convolve_window(
    inputs: Tensor, recent: Tensor, starts: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """All steps of a window; what would reach back over the start of an episode finds zeros.

    It cannot be differentiated twice.

    :param inputs: x, (T, B, X)
    :param recent: as of :func:`convolve_step`, before the window
    :param starts: (T, B) booleans
    :param weight: w, (4, X)
    :param bias: b, (X,)
    :return: y, (T, B, X), and what is recent after the window
    """
    padded = torch.cat([recent.transpose(0, 1), inputs])  # (3 + T, B, X)
    kept, episodes = padded[-PAST:], None
    if any_start(starts):
        episodes = functional.pad(starts.cumsum(0), (0, 0, PAST, 0)).unsqueeze(-1)
        kept = torch.where(episodes[-PAST:] == episodes[-1], kept, 0)
    total = _Taps.apply(padded, weight, episodes)
    return functional.silu(total if bias is None else total + bias), kept.transpose(0, 1).clone()


class _Taps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, episodes: Tensor | None) -> Tensor:
        ctx.save_for_backward(padded, weight, episodes)
        steps = len(padded) - PAST
        total = padded[PAST:] * weight[PAST]
        for tap in range(PAST):
            total.addcmul_(_within(padded[tap : tap + steps], episodes, tap), weight[tap])
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        padded, weight, episodes = ctx.saved_tensors
        grad, steps = grads[0], len(grads[0])
        towards, of_weight, product = torch.zeros_like(padded), torch.empty_like(weight), grad.new_empty(grad.shape)
        ones = grad.new_ones(grad.shape[:2].numel())
        for tap in reversed(range(TAPS)):  # what one tap does not reach, those before it do not either
            grad = _within(grad, episodes, tap, own=grad is not grads[0])
            towards[tap : tap + steps].addcmul_(grad, weight[tap])
            torch.mul(grad, padded[tap : tap + steps], out=product)
            of_weight[tap] = ones @ product.flatten(0, 1)
        return towards, of_weight, None


def _within(tensor: Tensor, episodes: Tensor | None, tap: int, own: bool = False) -> Tensor:
    """(T, B, X), with zeros at the steps at which the tap would look into another episode; in place of one's own."""
    if episodes is None or tap == PAST:
        return tensor
    beyond = episodes[tap : tap + len(tensor)] != episodes[PAST:]
    if tensor.device.type != "cpu":
        return torch.where(beyond, 0, tensor)
    rows = tensor if own else tensor.clone(memory_format=torch.contiguous_format)  # few of which are zeroed
    rows.flatten(0, 1).index_fill_(0, beyond.flatten().nonzero().squeeze(1), 0)
    return rows
