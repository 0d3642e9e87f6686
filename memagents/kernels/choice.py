"""The one door to the kernels: which fused window, if any, a core's tensors go through.

Numba is imported when a window on the CPU is first chosen, Triton when one on a GPU is.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

Window = Callable[..., Any]
"""A fused window; its operands and results are those of the core's, e.g. ``kernels.cpu.dnc.window.dnc_window``."""

_PACKAGES = {
    "cpu": {"dnc": "dnc", "ntm": "ntm", "rmc": "rmc", "lstm": "recurrent", "gru": "recurrent"}
    | {"entnet": "entnet", "shm": "shm", "sparse": "sparse"}
    | dict.fromkeys(("attention", "look", "gate"), "attention")
    | dict.fromkeys(("dmn", "episode"), "dmn"),
    "cuda": {"dnc": "dnc", "ntm": "ntm", "lstm": "recurrent", "gru": "recurrent"},
}  # fmt: skip
"""For every type of device the cores that have kernels there, and the package of these."""

_LOOP_LEARNS_A_STEP_FASTER = frozenset({"lstm", "gru"})
"""On the CPU; of a single step, there is no loop to save."""


def window_for(core: str, tensors: Sequence[Tensor], **sizes: int) -> Window | None:
    """Return the fused window for a core's tensors, or None where the core has to run its plain loop.

    There is none under autocast, for tensors that are not all float32 or all float64, on other devices than CPU and
    CUDA, while a step is exported as a graph, which knows torch's own operations alone, for sizes that the kernels
    cannot take, on CUDA without Triton, and on the CPU where the loop is faster. On CUDA, where the loop is slow, a
    missing Triton and sizes that are too large are warned of once.

    :param core: name of the core, such as ``"dnc"``
    :param tensors: x, (T, B, ·), the state and what else must be of one device and type
    :param sizes: sizes of the core by which its kernels decide whether it fits
    """
    device_type, dtype = tensors[0].device.type, tensors[0].dtype
    if core not in _PACKAGES.get(device_type, ()) or not supported(tensors):
        return None
    if device_type == "cuda":
        return _cuda_window(core, dtype, **sizes)
    if core in _LOOP_LEARNS_A_STEP_FASTER and torch.is_grad_enabled() and len(tensors[0]) == 1:
        return None
    return _cpu_window(core, dtype, **sizes)


def supported(tensors: Sequence[Tensor]) -> bool:
    """Whether kernels take these: all float32 or all float64 on one device, outside of autocast and of an export."""
    device, dtype = tensors[0].device, tensors[0].dtype
    return (
        dtype in (torch.float32, torch.float64)
        and all(tensor.device == device and tensor.dtype == dtype for tensor in tensors)
        and not torch.compiler.is_exporting()
        and not (torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type))
    )


@functools.cache
def _cpu_window(core: str, dtype: torch.dtype, **sizes: int) -> Window | None:
    module = _window_module("cpu", core)
    return getattr(module, f"{core}_window") if _fits(module, dtype, sizes) else None


@functools.cache  # warns once
def _cuda_window(core: str, dtype: torch.dtype, **sizes: int) -> Window | None:
    name, slowly = core.upper(), "on a GPU it runs step by step, slowly"
    try:
        module = _window_module("cuda", core)
    except ImportError:
        _warn(f"the {name}'s GPU kernels need Triton (pip install triton): {slowly}")
        return None
    if not _fits(module, dtype, sizes):
        given = ", ".join(f"{size}={number}" for size, number in sizes.items())
        _warn(f"{given} is too much for the {name}'s GPU kernels: {slowly}")
        return None
    return getattr(module, f"{core}_window")


def _window_module(device_type: str, core: str) -> ModuleType:
    return importlib.import_module(f"memagents.kernels.{device_type}.{_PACKAGES[device_type][core]}.window")


def _fits(module: ModuleType, dtype: torch.dtype, sizes: dict[str, int]) -> bool:
    """Ask the module's ``fits``; one without takes every size."""
    fits = getattr(module, "fits", None)
    return fits is None or fits(dtype, **sizes)


def _warn(message: str) -> None:
    """Warn at the line that called into this library, through however many of its modules."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _is_ours(module: str) -> bool:
    """Whether the module is of memagents, or of torch, whose ``Module.__call__`` lies between."""
    return module.partition(".")[0] in ("memagents", "torch")
