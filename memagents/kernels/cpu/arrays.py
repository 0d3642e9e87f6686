"""Arrays for the CPU kernels, of tensors and beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_LARGE = 1 << 22  # bytes, from where on NumPy uses huge pages


def scratch(like: Tensor, *shape: int) -> np.ndarray:
    """An empty array that begins at a cache line. A large one is NumPy's, which asks for huge pages; torch does not."""
    size = math.prod(shape)
    if size * like.itemsize < _LARGE:
        return like.new_empty(shape).numpy()
    dtype, line = (np.float32 if like.itemsize == 4 else np.float64), 64
    raw = np.empty(size + line // like.itemsize, dtype)
    start = -raw.ctypes.data % line // like.itemsize
    return raw[start : start + size].reshape(shape)


def array(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers, C-contiguous."""
    return tensor.detach().contiguous().numpy()


def flat(tensor: Tensor) -> np.ndarray:
    """The same in one dimension."""
    return array(tensor).reshape(-1)


def widened(tensor: Tensor, size: int, more: int) -> Tensor:
    """Append so many zeros to every ``size`` numbers of the last dimension: units that stay zero."""
    return functional.pad(tensor.unflatten(-1, (-1, size)), (0, more)).flatten(-2)


def gradients_or_zeros(gradients: Sequence[Tensor | None], shapes: Sequence[torch.Size], like: Tensor) -> list[Tensor]:
    """The gradients, contiguous, with zeros for those that are None; nothing if all are."""
    if all(gradient is None for gradient in gradients):
        return []
    pairs = zip(gradients, shapes, strict=True)
    return [like.new_zeros(shape) if gradient is None else gradient.contiguous() for gradient, shape in pairs]
