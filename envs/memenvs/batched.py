"""From functions that act on one environment to a Gymnasium ``VectorEnv``, and to a single ``Env``.

An environment is a function ``define(**parameters) -> Definition`` and two small classes::

    class MyEnv(SingleEnv):
        define = staticmethod(define)

    class MyVectorEnv(BatchedEnv):
        define = staticmethod(define)

    gymnasium.register("MyEnv-v0", entry_point=MyEnv, vector_entry_point=MyVectorEnv)

Both take the parameters of ``define`` and those documented at the classes. The same seed gives the same levels and the
same episodes: environment i of a batch depends on the seed and on i alone, and a single environment is environment 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from memenvs.checks import positive
from memenvs.engine.batch import Batch
from memenvs.engine.definition import Definition

__all__ = ["BatchedEnv", "Definition", "SingleEnv"]

RENDER_MODES = ["rgb_array", "human", "ansi"]


class BatchedEnv(gymnasium.vector.VectorEnv):
    """A batch of environments in one compiled loop, resetting in the step that ends an episode.

    ``infos`` has, from ``reset`` and ``step``, ``decision`` (B,) booleans: false where no action to the returned
    observation matters. In a step that ends episodes it also has ``final_obs``, the last observations of those,
    ``episode`` with their return ``r`` and length ``l``, and the metrics of the definition; rows are valid where the
    mask of the same name with an underscore before it (``_final_obs``, ``_episode``, ...) is true.

    An episode is either terminated or truncated, never both.

    :param num_envs: number of environments B
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param max_episode_steps: truncate episodes after so many steps; by default only as the environment itself does
    :param threads: how many threads share a step; what happens does not depend on it
    :param copy: return fresh arrays. If false, the arrays that ``step`` returns are overwritten by the next one
    :param render_mode: ``"rgb_array"`` or ``"ansi"``: ``render`` gives a tuple of one picture an environment
    :param parameters: those of ``define``
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array", "ansi"]}
    define: ClassVar[Callable[..., Definition]]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        split: str | None = None,
        max_episode_steps: int | None = None,
        threads: int = 1,
        copy: bool = True,
        render_mode: str | None = None,
        **parameters: Any,
    ):
        limit = 0 if max_episode_steps is None else positive("max_episode_steps", max_episode_steps)
        positive("num_envs", num_envs)
        positive("threads", threads)
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.definition = type(self).define(**parameters)
        self.batch = Batch(self.definition, num_envs, split, limit, autoreset=True, threads=threads)
        self.num_envs = num_envs
        self.copy = copy
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": self.definition.frames_per_second}
        self.single_observation_space = self.definition.observation_space
        self.single_action_space = self.definition.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._began = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode everywhere.

        :param seed: begins all streams of levels anew; without it they go on (from a random seed the first time)
        :param options: none are known
        :return: observations and infos
        """
        check_options(options)
        super().reset(seed=seed)
        if seed is not None or not self.batch.seeded:
            self.batch.seed(self.np_random.integers(0, 2**64, dtype=np.uint64))
        self.batch.reset()
        self._began = True
        return self._given(self.batch.observations), {"decision": self._given(self.batch.decision)}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step everywhere.

        :param actions: integers (B,), or (B, n) where the action space is ``MultiBinary(n)`` or ``MultiDiscrete``
        :return: observations, rewards (float64), terminations, truncations and infos
        :raises ValueError: for actions of a wrong shape, type or range; nothing has been stepped then
        """
        if not self._began:
            raise RuntimeError("reset() must be called before step()")
        batch, given = self.batch, self._given
        ended = batch.step(actions)
        infos: dict[str, Any] = {"decision": given(batch.decision)}
        if ended:
            done = given(batch.done)
            infos["final_obs"] = given(batch.final_observations)
            infos["episode"] = {"r": given(batch.returns), "l": given(batch.lengths), "_r": done, "_l": done}
            infos["_final_obs"] = infos["_episode"] = done
            for name, values in batch.metrics.items():
                infos[name], infos[f"_{name}"] = given(values), done
        return (
            given(batch.observations),
            given(batch.rewards),
            given(batch.terminated),
            given(batch.truncated),
            infos,
        )

    def oracle(self) -> np.ndarray:
        """The best actions to the current observations, int64 (B,); -1 where the action does not matter.

        Where an action is n bits or numbers: (B, n), with -1 in all n places.
        """
        return self.batch.oracle()

    def random_walk(self, rng: np.random.Generator) -> np.ndarray:
        """Actions drawn uniformly among those that do something, int64 (B,), or (B, n) where one has n entries."""
        return self.batch.random_walk(rng)

    def snapshot(self) -> dict[str, Any]:
        """All that is needed to go on exactly: a flat dict of plain arrays, strings and booleans."""
        return self.batch.snapshot() | {"began": self._began}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of the same environment with the same parameters and ``num_envs``.

        :raises ValueError: for a snapshot of something else; nothing has changed then
        """
        self.batch.restore(snapshot)
        self._began = self.batch.seeded and bool(snapshot.get("began"))

    def render(self) -> tuple[Any, ...] | None:
        """One picture an environment, in the render mode given at construction."""
        if self.render_mode is None:
            return None
        return tuple(picture(self.batch, row, self.render_mode) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads."""
        self.batch.close()

    def _given(self, arrays: Any) -> Any:
        """What may be handed out: an array or a dict of arrays, copied unless ``copy`` is false."""
        if not self.copy:
            return arrays
        return {name: array.copy() for name, array in arrays.items()} if isinstance(arrays, dict) else arrays.copy()


class SingleEnv(gymnasium.Env):
    """One environment: environment 0 of a batch with the same seed, step for step.

    ``info`` has ``decision``, false where no action to the returned observation matters, and in the step that ends an
    episode the metrics of the definition.

    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    :param parameters: those of ``define``
    """

    metadata = {"render_modes": RENDER_MODES, "render_fps": 4}
    define: ClassVar[Callable[..., Definition]]

    def __init__(self, *, split: str | None = None, render_mode: str | None = None, **parameters: Any):
        check_render_mode(render_mode, RENDER_MODES)
        self.definition = type(self).define(**parameters)
        self.batch = Batch(self.definition, 1, split, autoreset=False)
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": self.definition.frames_per_second}
        self.observation_space = self.definition.observation_space
        self.action_space = self.definition.action_space
        self._one = (1,) * len(self.definition.action_space.shape or ())
        self._running = False
        self._shown = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode.

        :param seed: begins the stream of levels anew; without it it goes on (from a random seed the first time)
        :param options: none are known
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

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step once.

        :param action: an integer, or (n,) where the action space is ``MultiBinary(n)`` or ``MultiDiscrete``
        :return: observation, reward, terminated, truncated and info
        :raises ValueError: for an action of a wrong type or range; nothing has been stepped then
        """
        if not self._running:
            raise RuntimeError("reset() must be called before step(), and after the end of an episode")
        ended = self.batch.step(np.asarray(action).reshape(*self._one, -1))
        self._running = not ended
        batch = self.batch
        info: dict[str, Any] = {"decision": bool(batch.decision[0])}
        if ended:
            info |= {name: float(values[0]) for name, values in batch.metrics.items()}
        self._show()
        return (
            self._observation(),
            float(batch.rewards[0]),
            bool(batch.terminated[0]),
            bool(batch.truncated[0]),
            info,
        )

    def oracle(self) -> int | np.ndarray:
        """The best action to the current observation; -1 where the action does not matter.

        Where an action is n bits or numbers: int64 (n,), with -1 in all n places.
        """
        return self._action(self.batch.oracle())

    def random_walk(self, rng: np.random.Generator) -> int | np.ndarray:
        """An action drawn uniformly among those that do something; int64 (n,) where it has n entries."""
        return self._action(self.batch.random_walk(rng))

    def snapshot(self) -> dict[str, Any]:
        """All that is needed to go on exactly: a flat dict of plain arrays, strings and booleans."""
        return self.batch.snapshot() | {"began": self._running}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of the same environment with the same parameters.

        :raises ValueError: for a snapshot of something else; nothing has changed then
        """
        self.batch.restore(snapshot)
        self._running = self.batch.seeded and bool(snapshot.get("began"))

    def render(self) -> Any:
        """A picture in the render mode given at construction; ``"human"`` shows it by itself at every step."""
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

    def _observation(self) -> Any:
        arrays = self.batch.observations
        return {name: a[0].copy() for name, a in arrays.items()} if isinstance(arrays, dict) else arrays[0].copy()

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        from memenvs.render import show

        show(picture(self.batch, 0, "rgb_array"), self.definition.name)
        self._shown = True


def picture(batch: Batch, row: int, mode: str) -> Any:
    """What the environment in a row looks like: an image (H, W, 3), or a text for ``"ansi"``."""
    function = batch.definition.text if mode == "ansi" else batch.definition.draw
    if function is None:
        raise NotImplementedError(f"{batch.definition.name} has no picture for render_mode {mode!r}")
    return function(batch.rows["state"][row], batch.rows["level"][row])


def check_render_mode(mode: str | None, modes: list[str]) -> None:
    """Refuse a render mode that is not among ``modes``."""
    if mode is not None and mode not in modes:
        raise ValueError(f"render_mode must be None or one of {modes}, not {mode!r}")


def check_options(options: dict[str, Any] | None) -> None:
    """Refuse options of ``reset``: there are none."""
    if options:
        raise ValueError(f"options of reset must be None or empty: none are known, not {sorted(options)}")
