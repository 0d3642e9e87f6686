"""The last C steps of experience in arrays that are allocated once: what both replay memories keep theirs in.

Letters in shapes: C capacity, N steps at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from memagents.checks import positive_int
from memagents.environments.spaces import check_observation_space
from memagents.policies.encoding import Observations
from memagents.runs.arrays import native_type


class Ring:
    """Steps in the order in which they came; the newest take the rows of the oldest.

    Memory is taken when it is written to: a ring that is never full costs what is in it.

    :param capacity: C, in steps
    :param fields: what a step consists of, by name: its shape and type
    """

    def __init__(self, capacity: int, fields: dict[str, tuple[tuple[int, ...], Any]]):
        self.capacity = positive_int("capacity", capacity)
        self.first, self.size = 0, 0
        self.fields = {name: np.zeros((capacity, *shape), dtype) for name, (shape, dtype) in fields.items()}

    def __len__(self) -> int:
        return self.size

    def rows(self, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Return the places of the steps from the ``begin``-th oldest on, int64 (N,)."""
        return (self.first + np.arange(begin, self.size if end is None else end)) % self.capacity

    def largest(self, name: str) -> float:
        """Return the largest magnitude in a field of the steps that are kept, 0 without any."""
        return float(np.abs(self.fields[name][self.rows()]).max(initial=0))

    def drop(self, count: int) -> None:
        """Forget the oldest ``count`` steps."""
        self.first, self.size = (self.first + count) % self.capacity, self.size - count

    def append(self, steps: dict[str, np.ndarray]) -> np.ndarray:
        """Write N steps, at most C; so many of the oldest as they need the rows of are forgotten.

        :param steps: as :meth:`checked` gives them, (N, ...) each
        :return: their rows, int64 (N,)
        """
        count = len(next(iter(steps.values())))
        self.drop(max(0, self.size + count - self.capacity))
        rows = self.rows(self.size, self.size + count)
        for name, values in steps.items():
            self.fields[name][rows] = values
        self.size += count
        return rows

    def checked(self, steps: dict[str, Any]) -> dict[str, np.ndarray]:
        """N steps as arrays, if they have the shapes and types of the fields.

        :raises ValueError: if one of them has not
        """
        arrays = {name: np.asarray(values) for name, values in steps.items()}
        if arrays.keys() != self.fields.keys():
            raise ValueError(f"steps must consist of {', '.join(self.fields)}, not of {', '.join(arrays)}")
        count = arrays[next(iter(self.fields))].shape[:1]
        for name, field in self.fields.items():
            values = arrays[name]
            if not values.ndim or values.shape != count + field.shape[1:]:
                raise ValueError(f"{name} must be (N, ...) = {(*count, *field.shape[1:])}, not {values.shape}")
            if not np.can_cast(values.dtype, field.dtype, "same_kind"):
                raise ValueError(f"{name} must be {field.dtype} or fit into it, not {values.dtype}")
        return arrays

    # --- saving ----------------------------------------------------------------------------------------------------

    def tree(self) -> dict[str, Any]:
        """The steps there are, oldest first, and where they lie."""
        rows = self.rows()
        steps = {name: values[rows] for name, values in self.fields.items()}
        return {"capacity": self.capacity, "first": self.first, "steps": steps}

    def restored(self, tree: dict[str, Any]) -> Ring:
        """A ring like this one that goes on from :meth:`tree`.

        :raises ValueError: if the tree is of another capacity, of other fields, or damaged
        """
        if tree["capacity"] != self.capacity:
            raise ValueError(f"capacity must be {tree['capacity']} as it was saved, not {self.capacity}")
        steps = self.checked(tree["steps"])
        kinds = {name: (values.shape[1:], values.dtype) for name, values in self.fields.items()}
        if any(steps[name].dtype != kind for name, (_, kind) in kinds.items()):
            raise ValueError(f"steps must be saved as {', '.join(f'{name} of {kinds[name][1]}' for name in kinds)}")
        if not 0 <= tree["first"] < self.capacity or len(next(iter(steps.values()))) > self.capacity:
            raise ValueError(f"a replay of capacity {self.capacity} cannot begin at row {tree['first']!r}, or has more")
        ring = Ring(self.capacity, kinds)
        ring.first = int(tree["first"])
        ring.append(steps)
        return ring


# --- observations ---------------------------------------------------------------------------------------------------


def observation_fields(space: spaces.Space) -> dict[str, tuple[tuple[int, ...], Any]]:
    """The fields of a ring in which observations lie in the space's own types, one for each entry of a Dict.

    :raises ValueError: for a space that the agents do not support
    """
    check_observation_space(space)
    entries = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    return {_field(name): (entry.shape or (), native_type(entry.dtype)) for name, entry in entries.items()}


def as_fields(observations: Any) -> dict[str, Any]:
    """Observations by the names of their fields."""
    entries = observations if isinstance(observations, dict) else {"": observations}
    return {_field(name): values for name, values in entries.items()}


def observations_at(ring: Ring, rows: np.ndarray, space: spaces.Space, device: torch.device | str) -> Observations:
    """Copies of the observations at some rows, (*rows.shape, ...), as tensors or a dict of them."""

    def at(name: str) -> torch.Tensor:
        return torch.from_numpy(ring.fields[_field(name)][rows]).to(device)

    return {name: at(name) for name in space.spaces} if isinstance(space, spaces.Dict) else at("")


def _field(name: str) -> str:
    return f"observations/{name}" if name else "observations"
