"""How far back gradients reach: the derivative of what a memory gives by what it was given some steps before."""

from __future__ import annotations

import numpy as np
import torch

from memagents.algorithms.refresh import Past
from memagents.cores.core import select_rows
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import map_observations

QUESTIONS = 16  # rows whose derivatives are found


@torch.enable_grad()
def gradient_by_lag(policy: MemoryPolicy, seen: Past, rows: int = QUESTIONS) -> np.ndarray:
    """Return the norms of the derivatives of a core's output by its inputs of k steps before.

    The output is taken at the last step of the longest stretch of an episode in each row, and multiplied by a random
    vector of length 1, so that its derivative by an input is a vector; its Euclidean norm is averaged over the rows
    whose stretch is long enough, as a root mean square.

    :param policy: an actor and a critic over a memory
    :param seen: a window of T steps
    :param rows: of the window that are looked at, at most
    :return: norms (K,), of lags 0 to K − 1, where K is the longest stretch
    """
    rows = min(rows, seen.starts.shape[1])
    starts = seen.starts[:, :rows]
    with torch.no_grad():
        inputs = policy.encode(map_observations(lambda values: values[:, :rows], seen.observations))
    inputs = inputs.detach().clone().requires_grad_()
    last, ages = longest_stretches(starts.cpu().numpy())
    outputs = policy.core.unroll(inputs, select_rows(seen.initial_state, list(range(rows))), starts).outputs
    drawn = torch.randn(outputs.shape[-1], generator=torch.Generator().manual_seed(0)).to(outputs)
    asked = torch.stack([outputs[step, row] for row, step in enumerate(last)]) @ (drawn / drawn.norm())
    (gradient,) = torch.autograd.grad(asked.sum(), inputs)
    squares = gradient.square().sum(-1).cpu().double().numpy()  # (T, rows)
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
