"""Sharing tiles between threads."""

import threading

import numpy as np
import pytest
import torch
from numba import njit

from memagents.kernels.cpu.threads import run, thread_count
from memagents.kernels.cpu.vector.simd import next_ticket


@njit(nogil=True)
def take(tickets, times_taken):
    tile = next_ticket(tickets)
    while tile < times_taken.size:
        times_taken[tile] += 1
        tile = next_ticket(tickets)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("tiles", [1, 3, 10])
def test_every_tile_once(threads, tiles):
    times_taken = np.zeros((threads, tiles), np.int64)
    run(lambda tickets, thread: take(tickets, times_taken[thread]), threads)
    assert (times_taken.sum(axis=0) == 1).all()


def test_no_more_threads_than_torch_or_tiles_or_work():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert thread_count(tiles=100, steps=100) == 3
        assert thread_count(tiles=2, steps=100) == 2
        assert thread_count(tiles=1, steps=1) == thread_count(tiles=3, steps=1) == 1
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_thread_is_raised():
    others_began = threading.Barrier(3)

    def fail(tickets, thread):
        others_began.wait(60)
        if thread == 2:
            raise KeyError("of thread 2")

    with pytest.raises(KeyError, match="thread 2"):
        run(fail, 3)
