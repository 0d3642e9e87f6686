"""Observations that come again: what is found for each by itself is found once.

In a world of symbols an agent sees much the same all the time: of 2,048 observations in MiniGrid's MemoryS7, a hundred
differ. Looking for them costs one part in a hundred where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from memagents.environments.conditioning import CONDITION_ENTRIES
from memagents.policies.encoding import Observations, any_entry, bytes_of, is_picture, map_observations
from memagents.policies.row_set import RowSet

MOST_KEPT = 1 << 12  # observations
LEAST_SEARCHED = 16  # observations of one call, in which it pays to look for some that come again


def may_repeat(space: spaces.Space) -> bool:
    """Return whether observations of a space are symbols: measured numbers, and pictures, hardly come twice."""
    if isinstance(space, spaces.Dict):
        return all(name in CONDITION_ENTRIES or may_repeat(entry) for name, entry in space.spaces.items())
    return np.issubdtype(space.dtype, np.integer) and not is_picture(space)


class _Kept(NamedTuple):
    """Observations that were met, under which weights, and their results: in order, with room for more."""

    version: tuple[object, ...]
    met: RowSet
    results: Tensor


class Repetition:
    """A function of observations, each by itself, that takes those alone that differ.

    Only on the CPU: to look at them, a GPU would have to be waited for.

    :param function: from (N, ...) to (N, X)
    :param weights: all that the function depends on besides
    :param search: whether to look for observations that come again
    """

    def __init__(
        self, function: Callable[[Observations], Tensor], weights: Callable[[], Iterable[Tensor]], search: bool = True
    ):
        self.function, self.weights, self.search = function, weights, search
        self._keeping: list[Tensor] | None = None  # the weights, while results are kept
        self._kept: _Kept | None = None

    def __call__(self, observations: Observations) -> Tensor:
        """Observations (T, B, ...) to (T, B, X)."""
        entry = any_entry(observations)
        steps, rows = entry.shape[:2]
        flat = map_observations(lambda values: values.flatten(0, 1), observations)
        there = entry.device.type == "cpu" and not torch.compiler.is_exporting()  # numbers that can be looked at
        search, keep = self.search and there, not torch.is_grad_enabled()
        if search and keep and self._keeping is not None:
            results = self._kept_results(flat, _rows_of_bytes(flat), self._keeping)
        elif not search or steps * rows < LEAST_SEARCHED:
            results = self.function(flat)
        else:
            given = _rows_of_bytes(flat)
            numbers, new = RowSet(given.shape[1], len(given)).add(given)
            results = self._results(flat, new).index_select(0, torch.from_numpy(numbers))
        return results.view(steps, rows, -1)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Within, results without gradients are kept for later calls."""
        before = self._keeping, self._kept
        self._keeping = list(self.weights())
        try:
            yield
        finally:
            self._keeping, self._kept = before

    def _kept_results(self, flat: Observations, given: np.ndarray, weights: list[Tensor]) -> Tensor:
        kept, version = self._kept, _version(weights)
        if kept is None or kept.version != version or not kept.met.has_room(len(given)):
            met = RowSet(given.shape[1], max(MOST_KEPT, len(given)))
            kept = _Kept(version, met, torch.empty(0))
        before = kept.met.count
        numbers, new = kept.met.add(given)
        if len(new):
            results = self._results(flat, new)
            if not before:
                kept = kept._replace(results=results.new_empty(kept.met.capacity, *results.shape[1:]))
            kept.results[before : kept.met.count] = results
        self._kept = kept
        return kept.results.index_select(0, torch.from_numpy(numbers))

    def _results(self, flat: Observations, rows: np.ndarray) -> Tensor:
        some = torch.from_numpy(rows)
        return self.function(map_observations(lambda values: values.index_select(0, some), flat))


def _version(weights: list[Tensor]) -> tuple[object, ...]:
    """Changes with the weights, and with those of torch's modes that change what they give."""
    modes = torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()
    return *modes, weights[0].dtype, *(weight._version for weight in weights)


def _rows_of_bytes(observations: Observations) -> np.ndarray:
    """Observations (N, ...) as (N, bytes)."""
    entries = observations.values() if isinstance(observations, dict) else [observations]
    parts = [bytes_of(entry.reshape(len(entry), -1)).numpy() for entry in entries if entry.numel()]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
