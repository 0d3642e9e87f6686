"""Compiled work on several threads, as many as torch uses.

Plain threads around Numba functions that release the GIL, and not Numba's own parallel layers: its "workqueue" layer
aborts the process when two Python threads enter it at once, GNU OpenMP's threads spin between calls and do not survive
a fork, and neither follows ``torch.set_num_threads``. These wait without spinning, and a forked child starts its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_LEAST_STEPS = 8  # of a tile, 0.1-0.5 ms, for every thread: waking one takes 0.02-0.05 ms


def thread_count(tiles: int, steps: int) -> int:
    """Return how many of torch's threads are worth their while for so many tiles of so many steps each."""
    return max(1, min(torch.get_num_threads(), tiles, tiles * steps // _LEAST_STEPS))


def run(function: Callable[[np.ndarray, int], None], threads: int) -> None:
    """Call ``function(tickets, thread)`` on so many threads and wait until all are done.

    :param function: compiled with ``nogil=True``; takes tiles by :func:`memagents.kernels.cpu.vector.simd.next_ticket`
        until there are no more, so that a thread that gets less of a processor does fewer
    :param threads: the calling one, which is thread 0, included
    """
    tickets = np.zeros(1, np.int64)
    others: list[Future[None]] = []
    if threads > 1:
        pool = _pool_of(threads - 1)
        others = [pool.submit(function, tickets, thread) for thread in range(1, threads)]
    try:
        function(tickets, 0)
    finally:
        for other in others:
            if not other.cancel():  # one that has not even begun is not needed any more
                other.result()


def _pool_of(size: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < size:
        _pool, _pool_size = ThreadPoolExecutor(size, thread_name_prefix="memagents"), size
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
