"""Less memory for more time: a window in chunks, of which backward computes the inside once more (Chen et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from memagents.cores.core import MemoryCore, S, Unrolled


def unroll_in_chunks(core: MemoryCore[S], inputs: Tensor, state: S, starts: Tensor, steps: int) -> Unrolled[S]:
    """Equal ``core.unroll``, values and gradients, but keep what backward needs of a step for one chunk at a time.

    Between, only the states at the beginnings of chunks are kept. Best are about √T steps: then the memory grows as √T
    instead of T, for one more forward pass.

    :param inputs: (T, B, I)
    :param state: before the window, leaves (B, ...)
    :param starts: (T, B) booleans, true where an episode begins
    :param steps: of a chunk
    :return: as ``core.unroll``, without a trace
    """
    if not torch.is_grad_enabled() or steps >= len(inputs):
        return core.unroll(inputs, state, starts)
    core.check_window(inputs, starts)
    chunks = []
    for x, begins in zip(inputs.split(steps), starts.split(steps), strict=True):
        # A core's draws come from its state, not from torch's generator (which a CUDA graph could not be asked for).
        chunk = checkpoint(core.unroll, x, state, begins, use_reentrant=False, preserve_rng_state=False)
        state = chunk.state
        chunks.append(chunk)
    losses = {name: torch.cat([chunk.losses[name] for chunk in chunks]) for name in chunks[0].losses}
    return Unrolled(torch.cat([chunk.outputs for chunk in chunks]), state, losses, {})
