"""Whether a core's window fits the kernels of a GPU. Triton is not imported before a core on a GPU asks."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable


@functools.cache  # says once what is missing
def window_for(core: str, module: str | None = None, **sizes: int) -> Callable | None:
    """The fused window of a core, if Triton is there and the core not too large for its kernels.

    :param core: the core's name
    :param module: the module here that has its window; by default named as the core
    :param sizes: what the module's ``fits`` is asked; without any, nothing is too large
    """
    name, slowly = core.upper(), "on a GPU it runs step by step, slowly"
    try:
        kernel = importlib.import_module(f"memagents.kernels.triton.{module or core}")
    except ImportError:
        warnings.warn(f"the {name}'s GPU kernels need Triton (pip install triton): {slowly}", stacklevel=4)
        return None
    if sizes and not kernel.fits(**sizes):
        given = ", ".join(f"{size}={number}" for size, number in sizes.items())
        warnings.warn(f"{given} is too much for the {name}'s GPU kernels: {slowly}", stacklevel=4)
        return None
    return getattr(kernel, f"{core}_window")
