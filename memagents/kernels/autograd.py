"""Shared by the fused windows of all devices: their place in autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx


class Context(FunctionCtx):
    """Type of the object that autograd hands from a window's forward to its backward; a window declares its own."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]


def learning(operands: Sequence[Tensor]) -> bool:
    """Whether a gradient may be asked for, so that the forward has to keep what the backward needs."""
    return torch.is_grad_enabled() and any(operand.requires_grad for operand in operands)
