"""Sharing tiles between threads."""

import threading

import numpy as np
import pytest
import torch
from numba import njit

from memagents.kernels.simd import next_ticket
from memagents.kernels.threads import run, thread_count


@njit(nogil=True)
def take(tickets, times_taken):
    tile = next_ticket(tickets)
    while tile < times_taken.size:
        times_taken[tile] += 1
        tile = next_ticket(tickets)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("tiles", [1, 2, 3, 10])
def test_every_tile_once(three_threads, tiles):
    times_taken = np.zeros((thread_count(tiles), tiles), np.int64)
    run(lambda tickets, thread: take(tickets, times_taken[thread]), tiles)
    assert (times_taken.sum(axis=0) == 1).all()


def test_an_error_in_a_thread_is_raised(three_threads):
    others_began = threading.Barrier(3)

    def fail(tickets, thread):
        others_began.wait(60)
        if thread == 2:
            raise KeyError("of thread 2")

    with pytest.raises(KeyError, match="thread 2"):
        run(fail, 3)
