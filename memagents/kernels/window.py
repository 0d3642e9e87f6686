"""What the kernels of a window share on the side of Python: their sources' hash, checks, and arrays for them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _hash_of_sources() -> int:
    """Of all kernel files: Numba's cache looks at the file of the compiled function only, not at what it calls."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return int.from_bytes(hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()[:7], "little")


SOURCES = _hash_of_sources()
"""A default argument of every function that Python calls, so that a change anywhere in the kernels compiles it anew."""

_LARGE = 1 << 22  # bytes, from where on NumPy uses huge pages


def supported(tensors: Sequence[Tensor], device_type: str = "cpu") -> bool:
    """Whether a kernel can take these: on one device of the type, all float32 or all float64, outside of autocast."""
    device, dtype = tensors[0].device, tensors[0].dtype
    return (
        device.type == device_type
        and dtype in (torch.float32, torch.float64)
        and all(tensor.device == device and tensor.dtype == dtype for tensor in tensors)
        and not torch.is_autocast_enabled(device_type)
    )


def scratch(like: Tensor, *shape: int) -> np.ndarray:
    """An empty array that begins at a cache line. A large one is NumPy's, which asks for huge pages; torch does not."""
    size = math.prod(shape)
    if size * like.itemsize < _LARGE:
        return like.new_empty(shape).numpy()
    dtype, line = (np.float32 if like.itemsize == 4 else np.float64), 64
    raw = np.empty(size + line // like.itemsize, dtype)
    start = -raw.ctypes.data % line // like.itemsize
    return raw[start : start + size].reshape(shape)


def array(tensor: Tensor) -> Any:
    """A tensor's numbers, C-contiguous."""
    return tensor.detach().contiguous().numpy()


def learning(operands: Sequence[Tensor]) -> bool:
    """Whether a gradient may be asked for, so that the forward has to keep what the backward needs."""
    return torch.is_grad_enabled() and any(operand.requires_grad for operand in operands)


def check_shapes(names: Sequence[str], operands: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> None:
    """Kernels trust the shapes; a wrong one would have them read and write anywhere.

    :raises ValueError: naming the first operand that does not fit
    """
    for name, operand, shape in zip(names, operands, shapes, strict=True):
        if operand.shape != shape:
            raise ValueError(f"{name} must be {tuple(shape)} beside the others, not {tuple(operand.shape)}")


def gradients_or_zeros(gradients: Sequence[Tensor | None], shapes: Sequence[torch.Size], like: Tensor) -> list[Tensor]:
    """The gradients, contiguous, with zeros for those that are None; nothing if all are."""
    if all(gradient is None for gradient in gradients):
        return []
    pairs = zip(gradients, shapes, strict=True)
    return [like.new_zeros(shape) if gradient is None else gradient.contiguous() for gradient, shape in pairs]
