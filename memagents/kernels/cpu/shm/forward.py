"""The window of a Stable Hadamard Memory, forward: one row of the batch at a time."""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.shm.step import step
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.row_products import clear_entries, copy_entries
from memagents.kernels.cpu.vector.simd import next_ticket
from memagents.kernels.cpu.vector.wide import lanes_of


@njit
def forward(width, bound, starts, given, features, after, checkpoints, every, tickets, thread, sources=SOURCES):
    """Take rows of the batch through the window until there are no more.

    :param features: what is read, and the skip, (T, B, H)
    :param after: the memory after the window, (B, H, H)
    :param checkpoints: the memory before every so many steps, (B, ⌈T / every⌉, H, H), or nothing
    """
    steps, batch = starts.shape
    whole, chunks = width * width // lanes_of(after), (steps + every - 1) // every
    b = next_ticket(tickets)
    while b < batch:
        own = b * whole
        copy_entries(given.memory, own, after, own, whole)
        for t in range(steps):
            if len(checkpoints) > 0 and t % every == 0:
                copy_entries(after, own, checkpoints, (b * chunks + t // every) * whole, whole)
            if starts[t, b]:
                clear_entries(after, own, whole)
            step(width, given, t * batch + b, after, own, after, own, bound, features)
        b = next_ticket(tickets)
