"""Compiled work on several threads, as many as torch uses.

Plain threads around Numba functions that release the GIL, and not Numba's own parallel layers: its "workqueue" layer
aborts the process when two Python threads enter it at once, GNU OpenMP's threads spin between calls and do not survive
a fork, and neither follows ``torch.set_num_threads``. These wait without spinning, and a forked child starts its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def thread_count(tiles: int) -> int:
    """How many threads :func:`run` will use for so many tiles."""
    return max(1, min(torch.get_num_threads(), tiles))


def run(function: Callable[[int, int, int], None], tiles: int) -> None:
    """Call ``function(first, last, thread)`` for contiguous shares of ``range(tiles)``, one share a thread, and wait.

    :param function: compiled with ``nogil=True``; ``thread`` counts from 0 to ``thread_count(tiles) - 1``
    :param tiles: the number of independent pieces of work
    """
    threads = thread_count(tiles)
    edges = [tiles * thread // threads for thread in range(threads + 1)]
    others: list[Future[None]] = []
    if threads > 1:
        pool = _pool_of(threads - 1)
        others = [pool.submit(function, edges[i], edges[i + 1], i) for i in range(1, threads)]
    try:
        function(edges[0], edges[1], 0)
    finally:
        for other in others:
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
