"""Names of what goes into an exported step and comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gymnasium import spaces
from torch import Tensor

from memagents.cores.core import State

OBSERVATION = "observation"  # where it has no entries
EPISODE_START = "episode_start"
STATE, NEXT = "state", "next"  # before the paths of the leaves of a state


def observation_entries(space: spaces.Space) -> dict[str, spaces.Space]:
    """Return the entries of an observation by the names of the inputs that take them.

    :raises ValueError: for an entry that has the name of another input
    """
    if not isinstance(space, spaces.Dict):
        return {OBSERVATION: space}
    for name in space:
        if name in (EPISODE_START, STATE) or name.startswith(f"{STATE}."):
            raise ValueError(f"an entry of the observation is called {name!r}, as another input of an exported step is")
    return dict(space.items())


def check_distinct(entries: Iterable[str], outputs: Iterable[str]) -> None:
    """Refuse what ONNX cannot tell apart.

    :param entries: names of the observation's entries
    :param outputs: names of the outputs
    :raises ValueError: for an entry that has the name of an output
    """
    both = set(outputs).intersection(entries)
    if both:
        raise ValueError(
            f"an entry of the observation is called {min(both)!r}, as an output of an exported step is, which an .onnx "
            "file cannot tell apart; a path that ends in .pt2 will do"
        )


def leaves_by_path(state: State, root: str) -> dict[str, Tensor]:
    """Return the tensors of a state by their paths, as ``state.controller.hidden``."""
    return dict(_leaves(state, root))


def _leaves(state: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        yield path, state
        return
    for name, child in zip(state._fields, state, strict=True):
        yield from _leaves(child, f"{path}.{name}")
