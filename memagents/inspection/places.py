"""Places of a memory: the slots, entries or units of a core's state, so that one of them can be changed.

Letters in shapes: B batch rows, P places.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from memagents.cores.core import S, State, state_leaves

# By the name of a leaf: what its places are called, and on which axis they lie.
_PLACES: tuple[tuple[tuple[str, ...], str, int], ...] = (
    (("memory",), "slot", 1),
    (("rows",), "entry", -2),  # the last one is the latest
    (("hidden", "cell"), "unit", 1),
)
_INNER = ("actor", "first", "core")  # the part of a state that is a memory's own; of a stack, the first


class Places(NamedTuple):
    """Where the content of a memory is.

    :param kind: ``"slot"``, ``"entry"`` of a store, oldest first, or ``"unit"``
    :param leaves: their paths in the state
    :param axis: on which the places lie in each
    :param number: P
    """

    kind: str
    leaves: tuple[tuple[str, ...], ...]
    axis: int
    number: int


def places_of(state: State) -> Places:
    """Find the places of a core's state; of an actor's and a critic's own memories, the actor's.

    :raises ValueError: if there are none that are known
    """
    path: tuple[str, ...] = ()
    while True:
        fields = getattr(state, "_fields", ())
        for names, kind, axis in _PLACES:
            if names[0] in fields:
                leaves = tuple((*path, name) for name in names if name in fields)
                return Places(kind, leaves, axis, leaf_of(state, names[:1]).shape[axis])
        inner = next((name for name in _INNER if name in fields), None)
        if inner is None:
            if not any(leaf.numel() for leaf in state_leaves(state)):
                raise ValueError("there is no memory whose places could be changed: the state of its core is empty")
            there = ", ".join(fields) or "a leaf without a name"
            raise ValueError(
                "a memory must hold its content in a leaf memory (B, slots, ...), rows (B, entries, ...) or hidden "
                f"(B, units) of its state for places of it to be changed; this one has {there}"
            )
        path, state = (*path, inner), getattr(state, inner)


def leaf_of(state: State, path: tuple[str, ...]) -> Tensor:
    """Return the leaf at a path of names."""
    for name in path:
        state = getattr(state, name)
    assert isinstance(state, Tensor)
    return state


def with_leaf(state: S, path: tuple[str, ...], leaf: Tensor) -> S:
    """Return the state with another leaf at a path of names."""
    if not path:
        return leaf  # type: ignore[return-value]
    inner = with_leaf(getattr(state, path[0]), path[1:], leaf)
    return state._replace(**{path[0]: inner})  # type: ignore[union-attr]
