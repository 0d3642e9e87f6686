"""Cores that keep the last steps of the episode as they were, and look at them anew in every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from memagents.checks import positive_int
from memagents.cores.core import Step, fall_back
from memagents.cores.window import WindowCore
from memagents.memory import history


class StoreState(NamedTuple):
    """B rows, L length of the memory, W width of what it keeps of a step; see :mod:`memagents.memory.history`."""

    rows: Tensor  # (B, L, W), oldest first; zero where nothing was stored in this episode
    filled: Tensor  # int64 (B,): how many were, the last so many


class MemN2NState(NamedTuple):
    """The same with a key for random draws. B rows, L length of the memory, I width of an input."""

    rows: Tensor  # (B, L, I): the last inputs, oldest first; zero where there was none in this episode
    filled: Tensor  # int64 (B,): how many there were, the last so many
    key: Tensor  # int64 (B,): of the draws of "sampled"


class HCAMState(NamedTuple):
    """The same with where the chunks begin. B rows, L length of the memory, W width."""

    rows: Tensor  # (B, L, W): the last embedded inputs, oldest first; zero where there was none in this episode
    filled: Tensor  # int64 (B,): how many there were, the last so many
    phase: Tensor  # int64 (B,): how many of them belong to the chunk being filled, 0 to C − 1


Store = TypeVar("Store", StoreState, MemN2NState, HCAMState)
"""The state of such a core: rows, how many of them are filled, and what else it has."""


class EpisodeStore(WindowCore[Store]):
    """A FIFO of the last L steps of the episode, to which every step appends itself before it looks.

    What is stored does not depend on what was read, so that all steps of a window look at once: the window's rows
    follow those of the state on one timeline, and a mask says which of them each step sees. One step is a window of
    one. A subclass defines :meth:`look`.

    :param input_size: width I of one input
    :param output_size: width O of one output
    :param length: L
    :param row_size: width W of what is kept of a step; by default the input
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fall_back(cls, "find", ("look",), EpisodeStore)

    def __init__(self, input_size: int, output_size: int, length: int, row_size: int | None = None):
        super().__init__(input_size, output_size)
        self.length = positive_int("length", length)
        self.row_size = input_size if row_size is None else row_size

    def initial_state(self, batch_size: int) -> Store:
        """An empty store; a core with more in its state adds that."""
        parameter = next(self.parameters())
        rows = parameter.new_zeros(batch_size, self.length, self.row_size)
        filled = torch.zeros(batch_size, dtype=torch.int64, device=parameter.device)
        return StoreState(rows, filled)  # type: ignore[return-value]

    def store(self, x: Tensor, state: Store, starts: Tensor) -> Tensor:
        """Return the rows to keep of the window's steps: by default the inputs.

        :param x: (T, B, X)
        :param state: before the window
        :param starts: (T, B) booleans
        :return: (T, B, W)
        """
        return x

    def look(self, x: Tensor, whole: Tensor, first: Tensor, state: Store) -> tuple[Tensor, dict[str, Tensor]]:
        """Look into the memory in all steps of a window.

        :param x: (T, B, X)
        :param whole: the timeline, (B, L' + T, W), of the last L' rows before the window, which are all that any step
            sees; from 1 to L, see :func:`memagents.memory.history.trimmed`
        :param first: where on it each step's episode begins, (B, T)
        :param state: before the window
        :return: features (B, T, F), and the trace, (B, T, ...)
        """
        raise NotImplementedError

    def find(self, x: Tensor, whole: Tensor, first: Tensor, state: Store) -> Tensor:
        """Run :meth:`look` for the features alone, (B, T, F); a subclass overrides this only to be faster."""
        return self.look(x, whole, first, state)[0]

    def untraced(self, x: Tensor, state: Store, starts: Tensor) -> Step[Store]:
        return self._window(x, state, starts, lambda *seen: (self.find(*seen), {}))

    def window(self, x: Tensor, state: Store, starts: Tensor) -> Step[Store]:
        return self._window(x, state, starts, self.look)

    def _window(
        self, x: Tensor, state: Store, starts: Tensor, look: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    ) -> Step[Store]:
        first = history.first_positions(state.filled, starts, self.length)
        filled = history.filled_after(first, self.length)
        rows, first = history.trimmed(state.rows, first)
        whole = history.timeline(rows, self.store(x, state, starts).transpose(0, 1), first)
        features, trace = look(x, whole, first, state)
        state = state._replace(rows=history.newest(whole, first, self.length), filled=filled)
        return Step(features.transpose(0, 1), state, {}, {name: shown.transpose(0, 1) for name, shown in trace.items()})
