"""Work on fixed buffers, captured as a CUDA graph; and workspaces of such buffers, one for each window in flight.

A window of T steps launches several small kernels a step, each of which costs the host longer than the device. Captured
once, the window is one launch.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import torch
from torch import Tensor

S = TypeVar("S")


class Captured:
    """A function of no arguments that only launches work on buffers that stay where they are.

    The first call launches piece by piece, which also compiles what there is to compile. On CUDA the second captures
    the work, and from then on it is one launch; a shape that comes only once is never captured. Inside somebody else's
    capture, on other devices, and where capturing failed (which is said once) every call goes piece by piece.

    :param work: what to do; it must not look at the data, nor wait for the device
    :param device: where its buffers are
    """

    def __init__(self, work: Callable[[], None], device: torch.device):
        self._work = work
        self._graph: torch.cuda.CUDAGraph | None = None
        self._may_capture = device.type == "cuda"
        self._warm = False

    def __call__(self) -> None:
        if self._warm and self._graph is None and self._may_capture and not torch.cuda.is_current_stream_capturing():
            self._capture()
        if self._graph is None:
            self._work()
            self._warm = True
        else:
            self._graph.replay()

    def _capture(self) -> None:
        try:
            graph = torch.cuda.CUDAGraph()
            # Only this thread's calls are refused meanwhile: others may load data.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._work()
        except RuntimeError as error:
            self._may_capture = False
            warnings.warn(f"no CUDA graph, a window is launched kernel by kernel: {error}", stacklevel=2)
        else:
            self._graph = graph


class Workspaces(Generic[S]):
    """Workspaces by key, made when one is wanted and none is free, and used again.

    A window borrows one until the token that it got with it is gone. Kept with what autograd saves, the token lives as
    long as a backward may still come.

    :param make: a workspace for a key
    :param spare: how many are kept when they are free, the least recently used being let go first
    """

    def __init__(self, make: Callable[..., S], spare: int = 8):
        self._make = make
        self._spare = spare
        self._lock = threading.Lock()
        self._all: OrderedDict[int, tuple[Hashable, S, weakref.ref[Tensor]]] = OrderedDict()
        self._made = 0

    def __len__(self) -> int:
        return len(self._all)

    def borrow(self, key: Hashable) -> tuple[S, Tensor]:
        """A workspace that nobody uses, and the token that keeps it from others."""
        token = torch.empty(0)
        with self._lock:
            number = next((n for n, entry in self._all.items() if entry[0] == key and entry[2]() is None), None)
            if number is None:
                self._let_go()
                number, workspace = self._made, self._make(key)
                self._made += 1
            else:
                workspace = self._all.pop(number)[1]
            self._all[number] = (key, workspace, weakref.ref(token))
        return workspace, token

    def _let_go(self) -> None:
        free = [number for number, entry in self._all.items() if entry[2]() is None]
        for number in free[: max(0, len(free) - self._spare + 1)]:
            del self._all[number]
