"""Arrays as torch takes them: with numbers in the order of bytes of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def native_type(dtype: Any) -> np.dtype:
    """Return a type in the order of bytes of this machine."""
    return np.dtype(dtype).newbyteorder("=")


def native(values: Any) -> np.ndarray:
    """Return values as an array in the order of bytes of this machine, itself where it is one."""
    array = np.asarray(values)
    return array if array.dtype.isnative else array.astype(native_type(array.dtype))


def tensor_of(values: Any, device: torch.device | None = None) -> torch.Tensor:
    """Return values as a tensor; of an array on the CPU that can be, it shares the memory."""
    return torch.as_tensor(values if isinstance(values, torch.Tensor) else native(values), device=device)
