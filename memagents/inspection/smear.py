"""How much of each past observation a present value or action hangs on, by gradients.

POPGym Arcade's recall density (arXiv:2503.01450), with an actor and a critic in the place of action values: d[t, s] is
the sum of the absolute derivatives of what is estimated at step t by the encoded observation of step s, each number in
units of its standard deviation over the episode, divided by the sum over s. Where no number varies in the episode, as
where it has one step only, each counts as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from memagents.checks import one_of, positive_int
from memagents.cores.core import map_state
from memagents.cores.pair import Pair
from memagents.inspection.ablation import observations_of, recorded_episode, state_of, with_memory
from memagents.inspection.recording import RecordedEpisode
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import CorePolicy

Of = Literal["value", "action"]


def smear(policy: CorePolicy, episode: RecordedEpisode, of: Of = "value", rows: int = 64) -> np.ndarray:
    """Return what the value, or the action taken, of each step hangs on.

    :param policy: an actor and a critic
    :param episode: that it played
    :param of: ``"value"``, or ``"action"`` for the log-probability of the action taken
    :param rows: steps whose derivatives are found at once
    :return: shares (T, T) of past observations (second axis) for each step, of sum 1, or 0 where nothing counts
    """
    one_of("of", of, get_args(Of))
    positive_int("rows", rows)
    policy, episode = with_memory(policy), recorded_episode(episode)
    with torch.no_grad():
        encoded = policy.encode(observations_of(policy, episode))  # (T, 1, I)
    actions = torch.as_tensor(episode.read("actions")["actions"], device=policy.device)
    spread = encoded.std(0, correction=0)  # (1, I)
    if not spread.any():  # as in an episode of one step, where no number has a unit to be told in
        spread = torch.ones_like(spread)
    state = state_of(policy, episode)
    shares = np.zeros((episode.length, episode.length))
    for begin in range(0, episode.length, rows):
        asked = torch.arange(begin, min(begin + rows, episode.length), device=encoded.device)
        inputs = encoded[: asked[-1] + 1].expand(-1, len(asked), -1).clone().requires_grad_()
        starts = torch.zeros(inputs.shape[:2], dtype=torch.bool, device=encoded.device)
        rows_state = map_state(lambda leaf: leaf.expand(len(asked), *leaf.shape[1:]).clone(), state)  # noqa: B023
        with _whole_gradient(policy):
            outputs = policy.core.unroll(inputs, rows_state, starts).outputs[asked, torch.arange(len(asked))]
            (gradient,) = torch.autograd.grad(_asked(policy, outputs, actions[asked], of).sum(), inputs)
        density = (gradient.abs() * spread).sum(-1).T  # (rows, T)
        total = density.sum(1, keepdim=True)
        shares[begin : begin + len(asked), : density.shape[1]] = (density / total.where(total > 0, 1)).cpu().numpy()
    return shares


@contextlib.contextmanager
def _whole_gradient(policy: MemoryPolicy) -> Iterator[None]:
    """Let derivatives of the value reach the inputs also where ``critic_gradient`` keeps them out of the learning."""
    parts = [part for part in (policy, policy.core) if isinstance(part, MemoryPolicy | Pair)]
    before = [part.critic_gradient for part in parts]
    try:
        for part in parts:
            part.critic_gradient = True
        yield
    finally:
        for part, kept in zip(parts, before, strict=True):
            part.critic_gradient = kept


def _asked(policy: MemoryPolicy, outputs: Tensor, actions: Tensor, of: Of) -> Tensor:
    """Return the value of each row, or the log-probability of its action, (N,)."""
    return policy.values(outputs) if of == "value" else policy.distribution(outputs).log_prob(actions)
