"""A bound on what is built by the word of a file, before its weights have shown that they are as many."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from memagents.runs.layout import beside

TIMES, BESIDE = 16, 256 << 20  # generous: an agent as saved is about once its weights


@contextlib.contextmanager
def bounded(weights: Path) -> Iterator[None]:
    """Refuse to make tensors of many times the size of a file of weights.

    :param weights: the file whose weights the tensors made within are to take; a missing one counts nothing
    :raises ValueError: at the first tensor that is too much, before it is made
    """
    size = max(path.stat().st_size if path.is_file() else 0 for path in (weights, beside(weights)))
    with _Bound(weights.name, size):
        yield


class _Bound(TorchDispatchMode):
    """Counts the bytes of the tensors that are made from nothing but their sizes.

    Zeros, as in the dictionaries of episodic control, do not count: the system gives their pages when they are used.
    """

    def __init__(self, name: str, size: int):
        super().__init__()
        self.name, self.size, self.most, self.made = name, size, BESIDE + TIMES * size, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if (
            func is not torch.ops.aten.zeros.default
            and args
            and isinstance(args[0], list | tuple | torch.Size)
            and all(isinstance(size, int) for size in args[0])
        ):
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            self.made += math.prod(args[0]) * dtype.itemsize
            if self.made > self.most:
                raise ValueError(
                    f"it would take more than {self.most:,} bytes, and its weights are to come from the "
                    f"{self.size:,} bytes of {self.name}"
                )
        return func(*args, **kwargs)
