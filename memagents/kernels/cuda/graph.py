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

from memagents.kernels.cuda.streams import side_stream

S = TypeVar("S")


class Captured:
    """A piece of work that launches kernels on buffers that stay where they are, and does nothing else.

    The first call launches one by one, which also compiles what there is to compile. On CUDA the second captures the
    work, and from then on it is one launch; a shape that comes only once is never captured. Inside somebody else's
    capture, on other devices, and where capturing failed (which is said once) every call launches one by one.

    :param device: where the buffers are
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._may_capture = device.type == "cuda"
        self._warm = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Do the work.

        :param work: the same in every call; it must not look at the data, nor wait for the device
        """
        if self._warm and self._may_capture and self._graph is None and not torch.cuda.is_current_stream_capturing():
            self._capture(work)
        if self._graph is None:
            work()
            self._warm = True
        else:
            self._graph.replay()

    def _capture(self, work: Callable[[], None]) -> None:
        try:
            graph = torch.cuda.CUDAGraph()
            # Of this thread alone the calls that a capture forbids are refused: another may be loading data.
            with torch.cuda.graph(graph, stream=side_stream(self._device), capture_error_mode="thread_local"):
                work()
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
        self.make = make
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
                number, workspace = self._made, self.make(key)
                self._made += 1
            else:
                workspace = self._all.pop(number)[1]
            self._all[number] = (key, workspace, weakref.ref(token))
        return workspace, token

    def _let_go(self) -> None:
        free = [number for number, entry in self._all.items() if entry[2]() is None]
        for number in free[: max(0, len(free) - self._spare + 1)]:
            del self._all[number]
