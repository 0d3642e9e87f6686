"""How far back gradients reach: the derivative of what a memory gives by what it was given some steps before."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from memagents.algorithms.refresh import Past
from memagents.cores.core import MemoryCore, State, select_rows, state_leaves
from memagents.cores.pair import CRITIC, Pair
from memagents.cores.recompute import unroll_in_chunks
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import map_observations

QUESTIONS = 16  # rows whose derivatives are found


def gradients_by_lag(policy: MemoryPolicy, seen: Past, rows: int = QUESTIONS) -> dict[str, np.ndarray]:
    """Return the norms of the derivatives of each memory's output by its inputs of k steps before.

    The output is taken at the last step of the longest stretch of an episode in each row, and multiplied by a random
    vector of length 1, so that its derivative by an input is a vector; its Euclidean norm is averaged over the rows
    whose stretch is long enough, as a root mean square.

    :param policy: an actor and a critic over a memory, or over one each
    :param seen: a window of T steps
    :param rows: of the window that are looked at, at most
    :return: norms (K,), of lags 0 to K − 1, where K is the longest stretch: of the actor's memory, which may be the
        critic's too, as ``""``, of the critic's own as ``"critic_"``; without those that hold nothing
    """
    rows = min(rows, seen.starts.shape[1])
    starts = seen.starts[:, :rows]
    with torch.no_grad():
        inputs = policy.encode(map_observations(lambda values: values[:, :rows], seen.observations)).detach()
    core = policy.core
    state: Any = select_rows(seen.initial_state, list(range(rows)))
    memories: dict[str, tuple[MemoryCore, State]] = {"": (core, state)}
    if isinstance(core, Pair):
        memories = {"": (core.actor, state.actor), CRITIC: (core.critic, state.critic)}
    return {
        name: _by_lag(memory, inputs, before, starts, policy.recompute_steps or len(starts))
        for name, (memory, before) in memories.items()
        if any(leaf.numel() for leaf in state_leaves(before))
    }


@torch.enable_grad()
def _by_lag(core: MemoryCore, inputs: Tensor, state: State, starts: Tensor, chunk: int) -> np.ndarray:
    """Return the norms of one memory.

    :param inputs: (T, B, I)
    :param state: before the window, leaves (B, ...)
    :param starts: (T, B) booleans
    :param chunk: steps that backward keeps at a time
    """
    inputs = inputs.clone().requires_grad_()
    last, ages = longest_stretches(starts.cpu().numpy())
    outputs = unroll_in_chunks(core, inputs, state, starts, chunk).outputs
    drawn = torch.randn(outputs.shape[-1], generator=torch.Generator().manual_seed(0)).to(outputs)
    asked = torch.stack([outputs[step, row] for row, step in enumerate(last)]) @ (drawn / drawn.norm())
    (gradient,) = torch.autograd.grad(asked.sum(), inputs)
    squares = gradient.cpu().double().square().sum(-1).numpy()  # (T, B)
    by_lag = [
        np.mean(
            [squares[step - lag, row] for row, (step, age) in enumerate(zip(last, ages, strict=True)) if age >= lag]
        )
        for lag in range(max(ages) + 1)
    ]
    return np.sqrt(by_lag)


def longest_stretches(starts: np.ndarray) -> tuple[list[int], list[int]]:
    """Return where the longest stretch of an episode ends in each row, and how many steps before it began.

    :param starts: (T, B) booleans
    """
    begun = np.maximum.accumulate(np.where(starts, np.arange(len(starts))[:, None], 0), axis=0)
    ages = np.arange(len(starts))[:, None] - begun
    last = ages.argmax(0)
    return last.tolist(), ages.max(0).tolist()
