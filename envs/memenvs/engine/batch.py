"""A batch of environments: the arrays that the compiled loops work on, and the calls of those loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium
import numba
import numpy as np
from gymnasium.spaces import Tuple
from numpy.typing import ArrayLike

from memenvs.compilation import is_cached, is_compiled, is_disabled
from memenvs.engine.actions import Bits, Digits, Reals, coding
from memenvs.engine.defaults import no_digest, no_oracle
from memenvs.engine.definition import Definition
from memenvs.engine.functions import compile_functions
from memenvs.engine.interpreted import interpreted
from memenvs.engine.loops import FEWEST_LEVELS, SPLITS, loops, row_dtype
from memenvs.engine.types import Observation, Snapped, Snapshot


class Batch:
    """``size`` environments of one definition, side by side in arrays that every step overwrites.

    After a step ``rewards``, ``terminated``, ``truncated``, ``done``, ``decision`` and ``observations`` hold what it
    gave; rows that are ``done`` also have ``final_observations``, ``returns``, ``lengths`` and ``metrics``.

    :param definition: the environment
    :param size: number of environments B
    :param split: ``None``, ``"train"`` or ``"test"``
    :param limit: truncate episodes after so many steps; 0 for never
    :param autoreset: begin the next episode in the step that ends one
    :param threads: number of threads that share a step
    :param interpret: run the functions as plain Python, slowly; by default where Numba has been disabled
    """

    def __init__(
        self,
        definition: Definition,
        size: int,
        split: str | None = None,
        limit: int = 0,
        autoreset: bool = True,
        threads: int = 1,
        interpret: bool | None = None,
    ):
        self.definition = definition
        self.size = size
        self.split = check_split(definition, split)
        self.limit = limit or np.iinfo(np.int64).max
        self.autoreset = autoreset
        self.params = definition.params
        self.rows = np.zeros(size, row_dtype(definition.level, definition.state))
        self.outs = np.zeros(size, definition.out)
        self.finals = np.zeros(size, definition.out)
        self.flags = np.zeros((4, size), np.bool_)
        self.terminated, self.truncated, self.done, self.decision = self.flags
        self.values = np.zeros((2 + len(definition.metrics), size))
        self.rewards, self.returns, *metrics = self.values
        self.metrics = dict(zip(definition.metrics, metrics, strict=True))
        self.lengths = np.zeros(size, np.int64)
        self.observations, self.final_observations = (
            fields(records, definition.observation_space) for records in (self.outs, self.finals)
        )
        self.seeded = False
        self.coding = coding(definition.action_space, definition.name)
        interpret = is_disabled() if interpret is None else interpret
        self._loops = interpreted(loops(definition)) if interpret else loops(definition)
        bounds = np.linspace(0, size, min(threads, size) + 1).astype(int).tolist()
        self._ranges = list(pairwise(bounds))
        self._pool = ThreadPoolExecutor(len(self._ranges)) if len(self._ranges) > 1 else None
        if not interpret:
            self._check_functions()
        # Refused here, or a compiled loop would look for a level for ever.
        if not self._loops.possible(self.params, np.zeros(1, self.rows.dtype)[0]):
            raise ValueError(f"no level of {definition.name} can be drawn: its parameters contradict each other")

    def seed(self, key: int | np.integer) -> None:
        """Give every row its stream of levels; row i's depends on the key and on i alone."""
        self._loops.seed(self.rows, np.uint64(key))
        self.seeded = True

    def reset(self) -> None:
        """Begin a new episode in every row."""
        self._run(self._loops.reset, self.params, self.rows, self.outs, self.flags, self.split)

    def step(self, actions: ArrayLike) -> int:
        """Step every row.

        :param actions: integers (B,), or (B, n) where actions are n bits or numbers; of a Box real numbers (B, ...)
        :return: the number of episodes that ended
        :raises ValueError: for actions of a wrong shape, type or range; nothing has been stepped then
        """
        return self._run(self._loops.step, *self._step_arguments(self.coding.numbers(actions, self.size)))

    def stepper(self, numbers: np.ndarray) -> Callable[[], int]:
        """Return a function that steps every row by whatever numbers are in an array then, unchecked: see :meth:`step`.

        It looks at the types of its many arguments now and not in every step, where that is more than half of a call.

        :param numbers: contiguous, as the loop takes them, of a batch without threads
        """
        arguments, signature = self._whole_step(numbers)
        loop: Any = self._loops.step
        return partial(loop.compile(signature) if is_compiled(loop) else loop, *arguments)

    def oracle(self) -> np.ndarray:
        """Return the best actions, int64 (B,) or (B, n); -1 where the action does not matter."""
        if self.definition.oracle is no_oracle or isinstance(self.coding, Reals):
            raise NotImplementedError(f"{self.definition.name} has no oracle")
        numbers = np.empty(self.size, np.int64)
        self._run(self._loops.oracle, self.rows, numbers)
        return self.coding.actions(numbers)

    def random_walk(self, rng: np.random.Generator) -> np.ndarray:
        """Draw actions, int64 (B,) or (B, n), or of a Box, uniformly among those that do something."""
        if isinstance(self.coding, Reals):
            return self.coding.draw(rng, self.size)
        n = self.coding.n
        if isinstance(self.coding, Bits):
            return rng.integers(0, 2, (self.size, n))
        if isinstance(self.coding, Digits):
            return rng.integers(0, self.coding.sizes, (self.size, self.coding.sizes.size))
        actions = np.zeros(self.size, np.int64)
        keys = rng.integers(0, 2**64, self.size, dtype=np.uint64)
        self._loops.walk(self.rows, keys, np.zeros(n, np.bool_), actions, 0, self.size)
        return actions

    def snapshot(self) -> Snapshot:
        """Return everything needed to go on exactly, as plain arrays and strings."""
        return {"name": self.definition.name, "seeded": self.seeded, "rows": as_bytes(self.rows).copy()}

    def restore(self, snapshot: Mapping[str, Snapped]) -> None:
        """Go on from a snapshot of a batch with the same definition and size; anything else changes nothing."""
        if snapshot.get("name") != self.definition.name:
            raise ValueError(f"snapshot is of {snapshot.get('name')!r}, this is {self.definition.name!r}")
        rows, stored = as_bytes(self.rows), snapshot.get("rows")
        if not isinstance(stored, np.ndarray) or stored.dtype != np.uint8 or stored.shape != rows.shape:
            found = f"{stored.dtype} {stored.shape}" if isinstance(stored, np.ndarray) else type(stored).__name__
            raise ValueError(f"snapshot['rows'] must be uint8 of shape {rows.shape}, not {found}")
        seeded = bool(snapshot.get("seeded"))
        restored = stored.copy().view(self.rows.dtype)[:, 0]
        if seeded and not self._loops.sound(self.params, restored):
            raise ValueError("snapshot['rows'] is damaged: it holds no episodes of this environment")
        self.rows[:] = restored
        self.seeded = seeded
        if seeded:
            self._run(self._loops.observe, self.rows, self.outs, self.flags)

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _step_arguments(self, numbers: np.ndarray) -> tuple[Any, ...]:
        """The arguments of the loop that steps, but for the range of rows."""
        batch = (self.params, self.rows, self.outs, self.finals, numbers, self.values, self.lengths, self.flags)
        return *batch, self.limit, self.split, self.autoreset

    def _whole_step(self, numbers: np.ndarray) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The arguments of the loop that steps, for all rows, and Numba's types of them."""
        arguments = (*self._step_arguments(numbers), 0, self.size)
        return arguments, tuple(numba.typeof(argument) for argument in arguments)

    def _check_functions(self) -> None:
        """Compile each function of the definition alone, unless the loop around it has been compiled before."""
        _, signature = self._whole_step(self.coding.room(self.size))
        stepped = is_cached(self._loops.step, signature)
        compile_functions(self.definition, numba.typeof(self.rows).dtype, stepped)

    def _run(self, loop: Callable[..., int | None], *arguments: object) -> int:
        """Call a loop on all rows, shared between the threads, and return the sum of what it counts."""
        if self._pool is None:
            return loop(*arguments, 0, self.size) or 0
        parts = [self._pool.submit(loop, *arguments, start, stop) for start, stop in self._ranges]
        return sum(part.result() or 0 for part in parts)


def fields(records: np.ndarray, space: gymnasium.Space) -> Observation:
    """Return observation records (B,) as the space has them, in the same memory: arrays (B, ...)."""
    names = records.dtype.names or ()
    if isinstance(space, Tuple):
        return tuple(records[name] for name in names)
    return {name: records[name] for name in names} if len(names) > 1 else records[names[0]]


def as_bytes(records: np.ndarray) -> np.ndarray:
    """Return records (B,) as bytes (B, itemsize), the same memory."""
    return records.view(np.uint8).reshape(records.size, records.itemsize)


def check_split(definition: Definition, split: str | None) -> int:
    """Return the number of a split, or raise a ``ValueError`` that lists the splits."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, not {split!r}")
    if split is not None and definition.distinct_levels < FEWEST_LEVELS:
        raise ValueError(
            f"split must be None, as by default: {definition.name} with these parameters has "
            f"{definition.distinct_levels} distinct level(s), too few to hold some of them out"
        )
    if split is not None and definition.digest is no_digest:
        raise ValueError(f"split must be None, as by default: {definition.name} has no digest to tell levels apart")
    return SPLITS[split]
