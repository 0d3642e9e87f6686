"""States of the memory made fresh: what a window began with is stale as soon as the weights have changed.

Kapturowski et al. 2019 (R2D2) replay some steps before those that they learn from, the burn-in, for the same reason.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from memagents.algorithms.rollout import Window
from memagents.algorithms.training_state import state_like
from memagents.cores.core import State, map_state, state_leaves, where_state
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.encoding import Observations, map_observations


class Past(NamedTuple):
    """A window as far as it can be lived through again: observations and starts (T, B, ...), the state before it."""

    observations: Observations
    starts: Tensor
    initial_state: State

    @classmethod
    def of(cls, window: Window, rows: int | None = None) -> Self:
        """Copy what will be written over.

        :param rows: how many environments, the first ones; by default all
        """
        return cls(
            map_observations(lambda values: values[:, :rows].clone(), window.observations),
            window.starts[:, :rows].clone(),
            map_state(lambda leaf: leaf[:rows].clone(), window.initial_state),
        )

    @torch.no_grad()
    def refreshed(self, policy: MemoryPolicy, window: Window | Self) -> State:
        """Return the state before the window that followed, leaves (B, ...), as the present weights make it.

        A row that begins an episode with that window keeps the state it has.
        """
        _, state, _ = policy.unroll(self.observations, self.initial_state, self.starts)
        return where_state(window.starts[0], window.initial_state, state)

    def to_tree(self) -> dict[str, Any]:
        """Return it as a tree of tensors, for a checkpoint."""
        return {**self._asdict(), "initial_state": state_leaves(self.initial_state)}

    @classmethod
    def of_tree(cls, tree: dict[str, Any], like: State, device: torch.device) -> Self:
        """Put together what :meth:`to_tree` took apart.

        :param like: a state of the memory, leaves (B, ...)
        :param device: of the policy
        :raises ValueError: for what does not fit
        """
        starts = tree["starts"].to(device)
        observations = map_observations(lambda values: values.to(device), tree["observations"])
        entries = list(observations.values()) if isinstance(observations, dict) else [observations]
        rows = {len(leaf) for leaf in state_leaves(like)} or {starts.shape[1]}
        if starts.dtype != torch.bool or rows != {starts.shape[1]} or any(e.shape[:2] != starts.shape for e in entries):
            raise ValueError("the window before the checkpoint is of other environments")
        return cls(observations, starts, state_like(like, tree["initial_state"]))
