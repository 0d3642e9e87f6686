"""Replay of what was experienced, with the returns it was found to have: single steps, or whole episodes.

Neural Episodic Control (Pritzel et al. 2017, section 3.3) learns from (observation, action, N-step return) drawn from
the last 1e5 steps. An agent with a recurrent core needs the whole history, so there whole episodes are kept. Both can
draw by priority (Schaul et al. 2016, arXiv:1511.05952).

Letters in shapes: B batch, T steps of the longest episode of a batch, N steps that are added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from memagents.checks import positive_int
from memagents.nec.priorities import Priorities
from memagents.nec.ring import Ring, as_fields, observation_fields, observations_at
from memagents.policies.encoding import Observations


class Batch(NamedTuple):
    """B steps: observations (B, ...), actions int64 (B,), returns (B,), importance weights (B,), rows int64 (B,)."""

    observations: Observations
    actions: Tensor
    returns: Tensor
    weights: Tensor
    rows: np.ndarray


class Replay:
    """The last ``capacity`` steps, each drawn by itself.

    :param capacity: in steps
    :param observation_space: observations are kept in its own types, bytes as bytes
    :param priority_exponent: α, in [0, 1]; 0 makes every step equally likely
    :raises ValueError: for another exponent or capacity, or a space that the agents do not support
    """

    def __init__(self, capacity: int, observation_space: spaces.Space, priority_exponent: float = 0.0):
        self._space = observation_space
        self._ring = Ring(capacity, _fields(observation_space))
        self._priorities = Priorities(capacity, priority_exponent)

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def largest_return(self) -> float:
        """Magnitude of the largest return that is kept."""
        return self._ring.largest("returns")

    def add(self, observations: Any, actions: np.ndarray, returns: np.ndarray) -> None:
        """Keep N steps, in order, with the largest priority so far; the oldest make room.

        :param observations: (N, ...), or a dict of such
        :param actions: int (N,)
        :param returns: (N,)
        :raises ValueError: for other shapes or types
        """
        steps = self._ring.checked({**as_fields(observations), "actions": actions, "returns": returns})
        for begin in range(0, len(steps["actions"]), self._ring.capacity):
            part = slice(begin, begin + self._ring.capacity)
            self._priorities.add(self._ring.append({name: values[part] for name, values in steps.items()}))

    def sample(
        self,
        batch_size: int,
        rng: np.random.Generator,
        importance_exponent: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> Batch:
        """Steps drawn with replacement: i with probability P(i) ∝ p_i = (|error_i| + 1e-6)^α.

        :param batch_size: B
        :param rng: draws them
        :param importance_exponent: β, in [0, 1]: the weights are (N P(i))^-β over their largest
        :param device: of the tensors
        :raises ValueError: if nothing is kept
        """
        rows = self._priorities.sample(positive_int("batch_size", batch_size), rng)
        fields, weights = self._ring.fields, self._priorities.weights(rows, importance_exponent)
        observations = observations_at(self._ring, rows, self._space, device)
        arrays = fields["actions"][rows], fields["returns"][rows], weights
        actions, returns, importance = (torch.from_numpy(values).to(device) for values in arrays)
        return Batch(observations, actions, returns, importance, rows)

    def update(self, rows: np.ndarray, errors: np.ndarray) -> None:
        """Priorities from the errors that rows of a batch were found to have since; nothing is added in between.

        :param rows: int (B,); what is named twice has the last error
        :param errors: (B,)
        :raises ValueError: for errors that are not finite
        """
        self._priorities.update(rows, errors)

    def tree(self) -> dict[str, Any]:
        """Everything there is, for :func:`memagents.runs.trees.write_tree`; goes on exactly after :meth:`restore`."""
        return {"ring": self._ring.tree(), "priorities": self._priorities.tree(self._ring.rows())}

    def restore(self, tree: dict[str, Any]) -> None:
        """Go on from :meth:`tree`.

        :raises ValueError: if it is of another capacity, priority exponent or observation space
        """
        with _whole_tree():
            ring = self._ring.restored(tree["ring"])
            self._priorities = self._priorities.restored(ring.rows(), tree["priorities"])
            self._ring = ring


# --- whole episodes -------------------------------------------------------------------------------------------------


class EpisodeBatch(NamedTuple):
    """B episodes side by side, of which some steps are to be learned from.

    Observations are (T, B, ...), actions int64 (T, B), returns (T, B), importance weights (B,), rows int64 (B,).
    ``starts`` (T, B) is true in row 0 alone. ``asked`` (T, B) is true at the steps that were chosen. What is after the
    end of an episode repeats its last step, so that it is within the spaces, and is never asked for.
    """

    observations: Observations
    actions: Tensor
    returns: Tensor
    starts: Tensor
    asked: Tensor
    weights: Tensor
    rows: np.ndarray


class EpisodeReplay:
    """The last episodes, as many as have at most ``capacity`` steps together; the oldest leave whole.

    An episode has one priority for all its steps, and is drawn in proportion to it and to the number of its steps that
    can be asked for: without priorities, every such step is in a chosen episode equally often.

    :param capacity: in steps
    :param observation_space: observations are kept in its own types, bytes as bytes
    :param priority_exponent: α, in [0, 1]; 0 for no priorities
    :raises ValueError: for another exponent or capacity, or a space that the agents do not support
    """

    def __init__(self, capacity: int, observation_space: spaces.Space, priority_exponent: float = 0.0):
        self._space = observation_space
        self._ring = Ring(capacity, {**_fields(observation_space), "asked": ((), bool), "begins": ((), bool)})
        self._lengths = np.zeros(capacity, np.int64)  # in the row of an episode's first step; elsewhere anything
        self._priorities = Priorities(capacity, priority_exponent)

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def largest_return(self) -> float:
        """Magnitude of the largest return that is kept."""
        return self._ring.largest("returns")

    @property
    def episodes(self) -> int:
        """Number of steps that are kept."""
        return len(self._first_rows(self._ring))

    def add(self, observations: Any, actions: np.ndarray, returns: np.ndarray, asked: np.ndarray) -> None:
        """Keep one episode of N steps, with the largest priority so far; the oldest make room.

        :param observations: (N, ...), or a dict of such
        :param actions: int (N,)
        :param returns: (N,)
        :param asked: which steps can be learned from, booleans (N,)
        :raises ValueError: for other shapes or types, or an episode that is empty or longer than the capacity
        """
        entries = {"actions": actions, "returns": returns, "asked": asked}
        steps = self._ring.checked({**as_fields(observations), **entries, "begins": np.arange(np.size(actions)) == 0})
        count = len(steps["actions"])
        if not 0 < count <= self._ring.capacity:
            raise ValueError(f"an episode must have 1 to {self._ring.capacity} steps, the capacity, not {count}")
        while len(self) + count > self._ring.capacity:
            oldest = self._ring.rows(0, 1)
            self._priorities.remove(oldest)
            self._ring.drop(int(self._lengths[oldest[0]]))
        first = self._ring.append(steps)[:1]
        self._lengths[first] = count
        self._priorities.add(first, int(steps["asked"].sum()))

    def sample(
        self,
        n_episodes: int,
        n_steps: int,
        rng: np.random.Generator,
        importance_exponent: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> EpisodeBatch:
        """Episodes drawn with replacement, and in them ``n_steps`` steps to learn from, or all if there are fewer.

        The steps are dealt out: one of every episode, then a second, and so on; which ones is random.

        :param n_episodes: B
        :param n_steps: how many of their steps are asked for
        :param rng: draws them
        :param importance_exponent: β, in [0, 1]: the weights are (p̄ / p_i)^β over their largest, where p̄ is the mean
            priority of a step: with 1, every step counts as it would without priorities
        :param device: of the tensors
        :raises ValueError: if no step is kept that can be asked for
        """
        rows = self._priorities.sample(positive_int("n_episodes", n_episodes), rng)
        lengths, t = self._lengths[rows], np.arange(self._lengths[rows].max())[:, None]  # (B,), (T, 1)
        at = (rows + np.minimum(t, lengths - 1)) % self._ring.capacity  # (T, B)
        fields, weights = self._ring.fields, self._priorities.weights(rows, importance_exponent)
        chosen = dealt(fields["asked"][at] & (t < lengths), positive_int("n_steps", n_steps), rng)
        observations = observations_at(self._ring, at, self._space, device)
        starts = np.broadcast_to(t == 0, at.shape).copy()
        arrays = fields["actions"][at], fields["returns"][at], starts, chosen, weights
        actions, returns, begins, asked, importance = (torch.from_numpy(values).to(device) for values in arrays)
        return EpisodeBatch(observations, actions, returns, begins, asked, importance, rows)

    def update(self, rows: np.ndarray, errors: np.ndarray) -> None:
        """Priorities from the errors of the episodes of a batch, one each; nothing is added in between.

        :param rows: int (B,); what is named twice has the last error
        :param errors: (B,), such as the mean over the steps that were asked for
        :raises ValueError: for errors that are not finite
        """
        self._priorities.update(rows, errors)

    def tree(self) -> dict[str, Any]:
        """Everything there is, for :func:`memagents.runs.trees.write_tree`; goes on exactly after :meth:`restore`."""
        return {"ring": self._ring.tree(), "priorities": self._priorities.tree(self._first_rows(self._ring))}

    def restore(self, tree: dict[str, Any]) -> None:
        """Go on from :meth:`tree`.

        :raises ValueError: if it is of another capacity, priority exponent or observation space
        """
        with _whole_tree():
            ring = self._ring.restored(tree["ring"])
            begins = np.flatnonzero(ring.fields["begins"][ring.rows()])
            if len(ring) and begins[:1].tolist() != [0]:
                raise ValueError("an episode replay must begin with the first step of an episode")
            self._priorities = self._priorities.restored(self._first_rows(ring), tree["priorities"])
            self._ring = ring
        self._lengths[self._first_rows(ring)] = np.diff(begins, append=len(ring))

    @staticmethod
    def _first_rows(ring: Ring) -> np.ndarray:
        """Return where the episodes begin, from the oldest on."""
        rows = ring.rows()
        return rows[ring.fields["begins"][rows]]


def dealt(askable: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of the true entries, or all if there are fewer, as evenly from all columns as they allow.

    :param askable: booleans (T, B)
    :param count: how many
    :param rng: draws which
    :return: booleans (T, B)
    """
    t, column = np.nonzero(askable)
    order = np.lexsort((rng.random(len(t)), column))
    t, column = t[order], column[order]  # column by column, shuffled within each
    rounds = np.arange(len(t)) - np.searchsorted(column, column)  # in which round each would be dealt
    chosen = np.lexsort((rng.random(len(t)), rounds))[:count]
    result = np.zeros_like(askable)
    result[t[chosen], column[chosen]] = True
    return result


@contextlib.contextmanager
def _whole_tree() -> Iterator[None]:
    """Turn what is missing in a tree, or of another kind altogether, into a ValueError too."""
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"this is not the tree of such a replay: {error!r}") from error


def _fields(space: spaces.Space) -> dict[str, tuple[tuple[int, ...], Any]]:
    return {**observation_fields(space), "actions": ((), np.int64), "returns": ((), np.float32)}
