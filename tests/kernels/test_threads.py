"""Sharing tiles between threads."""

import pytest
import torch

from memagents.kernels.threads import run, thread_count


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("tiles", [1, 2, 3, 10])
def test_every_tile_once(three_threads, tiles):
    shares = []
    run(lambda first, last, thread: shares.append((first, last, thread)), tiles)
    assert sorted(tile for first, last, _ in shares for tile in range(first, last)) == list(range(tiles))
    assert sorted(thread for *_, thread in shares) == list(range(thread_count(tiles)))


def test_an_error_in_a_thread_is_raised(three_threads):
    def fail(first, last, thread):
        if thread == 2:
            raise KeyError("of thread 2")

    with pytest.raises(KeyError, match="thread 2"):
        run(fail, 3)
