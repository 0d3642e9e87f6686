"""Algorithms that own their training state: all that an interrupted training needs beside the weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memagents import ranks
from memagents.algorithms.reporting import ReportingAlgorithm
from memagents.algorithms.state_checks import (
    check_counters,
    check_optimizer,
    check_past_episodes,
    check_present_episodes,
    threads_here,
)
from memagents.cores.core import State, state_leaves
from memagents.environments.snapshot import restore_env, snapshot_env
from memagents.policies.core_policy import CorePolicy
from memagents.runs.files import CheckpointError
from memagents.runs.random_states import random_states, set_random_states

_COUNTERS = (
    *("num_timesteps", "_total_timesteps", "_episode_num", "_n_updates"),
    *("iteration", "lesson", "_current_progress_remaining"),
)


class ResumableAlgorithm(ReportingAlgorithm):
    """Stable-Baselines3's algorithm with a training state that can be taken and put back."""

    policy: CorePolicy
    stats_window_size: int
    lesson: int  # of the curriculum, where there is one
    recent_accuracies: deque[float]  # of imitating the oracle, window by window
    _state: State | None  # of the core, where nobody asks for more than what acts: see memory_state
    others: Sequence[dict[str, Any]] = ()  # own parts of further processes, while a checkpoint of them all is made
    apart = False  # whether each of several processes has begun draws and episodes of its own
    _decisions: np.ndarray | None  # whether the action for that observation matters, (B,)

    def training_state(self) -> dict[str, Any]:
        """Return all that an interrupted training needs beside the weights, as a tree of arrays and plain values."""
        return {
            "optimizer": self.policy.optimizer.state_dict(),
            "counters": {name: getattr(self, name) for name in _COUNTERS},
            "threads": torch.get_num_threads(),
            "episodes": list(self.ep_info_buffer or []),
            "successes": list(self.ep_success_buffer or []),
            "accuracies": list(self.recent_accuracies),
            **self.own_part(),
            **({"others": self.others} if self.others else {}),
        }

    def own_part(self) -> dict[str, Any]:
        """Return the part of the training state that each of several processes has for itself."""
        state = self.memory_state()
        return {
            "random": random_states(),
            "env": None if self.env is None else snapshot_env(self.env),
            "last_obs": self._last_obs,
            "last_episode_starts": self._last_episode_starts,
            "decisions": self._decisions,
            "core_state": None if state is None else state_leaves(state),
            "own": self.own_state(),
        }

    def restore_training_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`training_state` returned, in the middle of the episodes where that is possible.

        Where the environment offers no snapshot (see :mod:`memagents.environments.snapshot`), its next episodes begin
        anew.

        :raises ValueError: if it is of another number of environments or another memory, or something in it is not what
            it should be; nothing of it is used then that torch or Stable-Baselines3 would not look at
        """
        check_optimizer(self.policy.optimizer, state["optimizer"])
        check_counters(state["counters"])
        check_past_episodes(state)
        part = part_of(state, ranks.rank(), ranks.size())
        threads = threads_here(state["threads"])
        self.policy.optimizer.load_state_dict(state["optimizer"])
        for name in _COUNTERS:
            setattr(self, name, state["counters"][name])
        self.ep_info_buffer = deque(state["episodes"], maxlen=self.stats_window_size)
        self.ep_success_buffer = deque(state["successes"], maxlen=self.stats_window_size)
        self.recent_accuracies.extend(state["accuracies"])
        if part["core_state"] is not None:
            self._restore_episodes(part)
        self.restore_own_state(part["own"])
        set_random_states(part["random"])
        self.apart = True
        torch.set_num_threads(threads)

    def memory_state(self) -> State | None:
        """The memory before the observation that comes next, leaves (B, ...); None before ``learn``.

        The next step may write over it: who keeps it takes a copy.
        """
        return self._state

    def own_state(self) -> dict[str, Any] | None:
        """Return what a training of this kind of agent needs beside what all need, as a tree of plain values."""
        return None

    def restore_own_state(self, tree: Any) -> None:
        """Put back what :meth:`own_state` returned; the environments may begin anew."""

    def _restore_episodes(self, state: dict[str, Any]) -> None:
        """Go on in the middle of the episodes, where the environment offers a snapshot."""
        assert self.env is not None
        before = len(state["last_episode_starts"])
        if before != self.n_envs:
            raise ValueError(f"the run had {before} environments, now there are {self.n_envs}")
        core_state = state_like(self.policy.initial_state(self.n_envs), state["core_state"])
        check_present_episodes(state, self.env.observation_space, self.n_envs)
        if restore_env(self.env, state["env"]):
            self._last_obs, self._decisions = state["last_obs"], state["decisions"]
            self._last_episode_starts, self._state = state["last_episode_starts"], core_state
        elif self.seed is not None:  # not the same episodes again
            self.env.seed(self.seed + self.num_timesteps)


def part_of(state: dict[str, Any], rank: int, size: int) -> dict[str, Any]:
    """Return the part of a training state that one of several processes had.

    :raises CheckpointError: if there were more or fewer processes
    """
    others = state.get("others", [])
    if not isinstance(others, list) or not all(isinstance(other, dict) for other in others):
        raise CheckpointError("others must hold the parts of further processes")
    if len(others) + 1 != size:
        count = len(others) + 1
        begin = f" (torchrun --nproc-per-node {count} …)" if count > 1 else ""
        raise CheckpointError(f"the training was one of {count} process{'es' * (count > 1)}{begin}, and not of {size}")
    return others[rank - 1] if rank else state


def state_like(like: State, leaves: list[Tensor]) -> State:
    """Put leaves back into the structure of ``like``."""
    remaining = list(leaves)

    def build(node: Any) -> Any:
        if isinstance(node, Tensor):
            leaf = remaining.pop(0)
            if leaf.shape != node.shape or leaf.dtype != node.dtype:
                theirs, ours = (f"{tuple(tensor.shape)} of {tensor.dtype}" for tensor in (leaf, node))
                raise ValueError(f"a leaf of the memory's state is {theirs}, not {ours}")
            # What was read from a file begins at any address, and on the CPU sums depend on that to the last bit.
            return leaf.to(node.device, copy=True)
        return type(node)(*(build(child) for child in node))

    return build(like)
