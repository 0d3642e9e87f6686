"""A Gymnasium ``Env`` of a definition."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike

from memenvs.engine.batch import Batch
from memenvs.engine.definition import Definition, defined
from memenvs.engine.pictures import check_render_mode, picture
from memenvs.engine.types import Observation, Snapped, Snapshot, mapped

RENDER_MODES = ["rgb_array", "human", "ansi"]


class SingleEnv(gymnasium.Env):
    """A single environment: environment 0 of a batch with the same seed, step for step.

    ``info`` has ``decision``, false where no action to the returned observation matters, and in the step that ends an
    episode the metrics of the definition.

    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    :param parameters: the parameters of ``define``
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 4}
    define: ClassVar[Callable[..., Definition]]

    def __init__(self, *, split: str | None = None, render_mode: str | None = None, **parameters: Any):
        check_render_mode(render_mode, RENDER_MODES)
        self.definition = defined(type(self), parameters)
        self.batch = Batch(self.definition, 1, split, autoreset=False)
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": self.definition.frames_per_second}
        self.observation_space = self.definition.observation_space
        self.action_space = self.definition.action_space
        self._boxes = isinstance(self.definition.action_space, Box)
        self._one = (1,) * len(self.definition.action_space.shape or ())
        # Most of a single step is Python, so that whatever can be is made beforehand.
        self._coded = self.batch.coding.number
        self._number = self.batch.coding.room(1)
        self._step: Callable[[], int] | None = None  # compiled with the first step
        self._read = reader(self.batch.observations)
        self._running = False
        self._shown = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a new episode.

        :param seed: begins the stream of levels anew; without it it goes on (from a random seed the first time)
        :param options: must be empty
        :return: observation and info
        """
        check_options(options)
        super().reset(seed=seed)
        if seed is not None or not self.batch.seeded:
            self.batch.seed(self.np_random.integers(0, 2**64, dtype=np.uint64))
        self.batch.reset()
        self._running = True
        self._show()
        return self._observation(), {"decision": bool(self.batch.decision[0])}

    def step(self, action: ArrayLike) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Step once.

        :param action: an integer; (n,) where the action space is ``MultiBinary(n)`` or ``MultiDiscrete``; of a ``Box``
            real numbers in its shape
        :return: observation, reward, terminated, truncated and info
        :raises ValueError: for an action of a wrong type or range; nothing has been stepped then
        """
        if not self._running:
            raise RuntimeError("reset() must be called before step(), and after the end of an episode")
        number: Any = self._coded(action)
        if number < 0:
            given = np.asarray(action)
            number = self.batch.coding.numbers(given[None] if self._boxes else given.reshape(*self._one, -1), 1)[0]
        self._number[0] = number
        if self._step is None:
            self._step = self.batch.stepper(self._number)
        batch, terminated, truncated = self.batch, False, False
        info: dict[str, Any]
        if self._step():
            self._running = False
            info = {name: values.item() for name, values in batch.metrics.items()}
            terminated, truncated = batch.terminated.item(), batch.truncated.item()
        else:
            info = {}
        info["decision"] = batch.decision.item()
        self._show()
        return self._observation(), batch.rewards.item(), terminated, truncated, info

    def oracle(self) -> int | np.ndarray:
        """Return the best action for the current observation; -1 where the action does not matter.

        Where an action is n bits or numbers: int64 (n,), with -1 in all n places.
        """
        return self._action(self.batch.oracle())

    def random_walk(self, rng: np.random.Generator) -> int | np.ndarray:
        """Draw an action uniformly among those that do something; int64 (n,) where it has n entries; of a ``Box``."""
        return self._action(self.batch.random_walk(rng))

    def snapshot(self) -> Snapshot:
        """Return everything needed to go on exactly: a flat dict of plain arrays, strings and booleans."""
        return self.batch.snapshot() | {"began": self._running}

    def restore(self, snapshot: Mapping[str, Snapped]) -> None:
        """Go on from a snapshot of the same environment with the same parameters.

        :raises ValueError: for a snapshot of something else; nothing has changed then
        """
        self.batch.restore(snapshot)
        self._running = self.batch.seeded and bool(snapshot.get("began"))

    def render(self) -> np.ndarray | str | None:
        """Return a picture in the render mode given at construction; ``"human"`` shows it at every step."""
        if self.render_mode in ("rgb_array", "ansi"):
            return picture(self.batch, 0, self.render_mode)
        return None

    def close(self) -> None:
        """Close the window."""
        if self._shown:
            from memenvs.render import close

            close()
            self._shown = False

    def _action(self, actions: np.ndarray) -> int | np.ndarray:
        """The action of the one environment."""
        return actions[0] if actions.ndim > 1 else int(actions[0])

    def _observation(self) -> Observation:
        return self._read()

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        from memenvs.render import show

        show(np.asarray(picture(self.batch, 0, "rgb_array")), self.definition.name)
        self._shown = True


def reader(observations: Observation) -> Callable[[], Observation]:
    """Return a function that copies the first of the observations (B, ...), as they are when it is called."""
    copies: Any = mapped(_first, observations)
    call: Any = operator.call
    return copies if callable(copies) else lambda: mapped(call, copies)


def _first(array: np.ndarray) -> Any:
    """Return a function that copies the first of an array's entries."""
    return array[0].copy if array.ndim > 1 else partial(array.__getitem__, 0)


def check_options(options: dict[str, Any] | None) -> None:
    """Refuse options of ``reset``: there are none."""
    if options:
        raise ValueError(f"options of reset must be None or empty: none are known, not {sorted(options)}")
