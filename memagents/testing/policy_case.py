"""What the checks of a recurrent policy ask it about, and what can be seen of its answers."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memagents.cores.core import restart_state
from memagents.testing.observations import Observations, at
from memagents.testing.policy_probes import Probe, Seen, probe_of


class Played(NamedTuple):
    """What ``predict`` said of T steps."""

    seen: list[Seen]  # of each step, what can be compared: actions, log-probabilities, values; (B, ...)
    states: list[Any]  # before each step, and after the last one; as predict returned them
    actions: list[Any]  # as predict returned them
    kept: list[tuple[Any, Any]]  # copies of actions and states, made as they were returned


@dataclass
class PolicyCase:
    """A policy under examination.

    :param subject: has ``predict(observation, state, episode_start, deterministic)``
    :param observations: (T, B, ...)
    :param tolerance: relative and absolute, for numbers that are not integers
    """

    subject: Any
    observations: Observations
    tolerance: float
    probe: Probe | None = field(init=False)

    def __post_init__(self) -> None:
        self.probe = probe_of(getattr(self.subject, "policy", self.subject), self.subject.action_space)

    @property
    def steps(self) -> int:
        return len(any_entry(self.observations))

    @property
    def rows(self) -> int:
        return any_entry(self.observations).shape[1]

    @property
    def first(self) -> np.ndarray:
        """All rows begin at the first step: (T, B)."""
        starts = np.zeros((self.steps, self.rows), bool)
        starts[0] = True
        return starts

    def play(self, starts: np.ndarray, state: Any = None, observations: Observations | None = None) -> Played:
        """Act on observations, the last ``len(starts)`` of the case's own unless others are given.

        :param starts: (T, B) booleans, as ``episode_start``
        :param state: to begin with
        """
        if observations is None:
            begin = self.steps - len(starts)
            observations = at(self.observations, slice(begin, None))
        played = Played([], [state], [], [])
        for step, start in enumerate(starts):
            now = copy.deepcopy(at(observations, step))
            seen: Seen = self.probe(now, state, start) if self.probe else {}
            actions, state = self.subject.predict(now, state=state, episode_start=start.copy(), deterministic=True)
            played.seen.append(seen | {"actions": np.array(actions)})
            played.states.append(state)
            played.actions.append(actions)
            played.kept.append(copy.deepcopy((actions, state)))
        return played

    def fresh(self, state: Any) -> Any:
        """What to begin an episode with: None, or where the state has keys of random draws, which go on, those."""
        if not _has_key(state):
            return None
        policy = getattr(self.subject, "policy", self.subject)
        return restart_state(torch.ones(self.rows, dtype=torch.bool), policy.initial_state(self.rows), state)

    def differ(self, actual: Seen, expected: Seen, rows: Any, factor: float = 1) -> str:
        """The first difference in some rows between two steps, in words; "" if there is none.

        :param factor: of the tolerance
        """
        for name in expected:
            a, b = actual[name][rows], expected[name][rows]
            if a.shape != b.shape:
                return f"{name} have shape {a.shape} and {b.shape}"
            exact = not np.issubdtype(b.dtype, np.floating)
            tolerance = 0 if exact else factor * self.tolerance
            if not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
                worst = np.abs(a.astype(float) - b.astype(float)).max()
                return f"{name} by up to {worst:.3g}"
        return ""


def any_entry(observations: Observations) -> np.ndarray:
    return next(iter(observations.values())) if isinstance(observations, dict) else observations


def _has_key(state: Any) -> bool:
    fields = zip(getattr(state, "_fields", ()), state if isinstance(state, tuple) else (), strict=False)
    return any(name == "key" or _has_key(leaf) for name, leaf in fields)


def leaves_of(tree: Any) -> list[Any]:
    """The arrays, tensors and other leaves of nested tuples, lists and dicts, tensors as arrays."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, tuple | list):
        return [leaf for child in tree for leaf in leaves_of(child)]
    return [tree.detach().cpu().numpy() if isinstance(tree, Tensor) else tree]


def same_leaves(first: Any, second: Any) -> bool:
    """Whether two trees hold the same to the last bit."""
    pairs = zip(leaves_of(first), leaves_of(second), strict=True)
    return all(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind in "fc") for a, b in pairs)
