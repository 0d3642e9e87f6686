"""The window of a Stable Hadamard Memory, backward: one row of the batch at a time, from the last step to the first."""

from __future__ import annotations

from memagents.compilation import njit
from memagents.kernels.cpu.shm.step import step_again, step_back
from memagents.kernels.cpu.sources import SOURCES
from memagents.kernels.cpu.vector.row_products import clear_entries, copy_entries
from memagents.kernels.cpu.vector.simd import next_ticket
from memagents.kernels.cpu.vector.wide import lanes_of


@njit
def backward(
    width, bound, starts, given, checkpoints, every, grad, grad_after, d, memories, squashed, tickets, thread,
    sources=SOURCES,
):  # fmt: skip
    """Take rows of the batch back through the window until there are no more.

    :param grad: of what was read, (T, B, H)
    :param grad_after: of the memory after the window
    :param memories: room for the memory before each of ``every`` + 1 steps, of every thread
    :param squashed: likewise for tanh(θ ⊗ v_c) of ``every`` steps
    """
    steps, batch = starts.shape
    whole, chunks = width * width // lanes_of(grad), (steps + every - 1) // every
    memory, tangents = memories[thread], squashed[thread]
    b = next_ticket(tickets)
    while b < batch:
        own = b * whole
        copy_entries(grad_after, own, d.memory, own, whole)
        for chunk in range(chunks - 1, -1, -1):
            begin, end = chunk * every, min(chunk * every + every, steps)
            copy_entries(checkpoints, (b * chunks + chunk) * whole, memory, 0, whole)
            for t in range(begin, end):
                now = (t - begin) * whole
                if starts[t, b]:
                    clear_entries(memory, now, whole)
                step_again(width, given, t * batch + b, memory, now, now + whole, tangents, now, bound)
            for t in range(end - 1, begin - 1, -1):
                now = (t - begin) * whole
                step_back(width, given, t * batch + b, memory, now, tangents, now, bound, grad, d, own)
                if starts[t, b]:
                    clear_entries(d.memory, own, whole)
        b = next_ticket(tickets)
