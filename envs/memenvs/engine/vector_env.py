"""A Gymnasium ``VectorEnv`` of a definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike

from memenvs.checks import positive
from memenvs.engine.batch import Batch
from memenvs.engine.definition import Definition, defined
from memenvs.engine.pictures import check_render_mode, picture
from memenvs.engine.single_env import check_options
from memenvs.engine.types import Given, Observation, Snapped, Snapshot, mapped


class BatchedEnv(gymnasium.vector.VectorEnv):
    """A batch of environments in one compiled loop, resetting in the step that ends an episode.

    ``infos`` has, from ``reset`` and ``step``, ``decision`` (B,) booleans: false where no action to the returned
    observation matters. In a step that ends episodes it also has ``final_obs``, the last observations of those,
    ``episode`` with their return ``r`` and length ``l``, and the metrics of the definition; rows are valid where the
    mask of the same name with an underscore before it (``_final_obs``, ``_episode``, ...) is true.

    An episode is either terminated or truncated, never both unless the definition says so (``both_ends``).

    :param num_envs: number of environments B
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param max_episode_steps: truncate episodes after so many steps; by default only as the environment itself does
    :param threads: number of threads that share a step; results do not depend on it
    :param copy: return fresh arrays. If false, the arrays that ``step`` returns are overwritten by the next one
    :param render_mode: ``"rgb_array"`` or ``"ansi"``: ``render`` gives a tuple of one picture an environment
    :param parameters: the parameters of ``define``
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
        self.definition = defined(type(self), parameters)
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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a new episode everywhere.

        :param seed: begins all streams of levels anew; without it they go on (from a random seed the first time)
        :param options: must be empty
        :return: observations and infos
        """
        check_options(options)
        super().reset(seed=seed)
        if seed is not None or not self.batch.seeded:
            self.batch.seed(self.np_random.integers(0, 2**64, dtype=np.uint64))
        self.batch.reset()
        self._began = True
        return self._given(self.batch.observations), {"decision": self._given(self.batch.decision)}

    def step(self, actions: ArrayLike) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step everywhere.

        :param actions: integers (B,); (B, n) where the action space is ``MultiBinary(n)`` or ``MultiDiscrete``; real
            numbers (B, ...) where it is a ``Box``
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
        """Return the best actions for the current observations, int64 (B,); -1 where the action does not matter.

        Where an action is n bits or numbers: (B, n), with -1 in all n places.
        """
        return self.batch.oracle()

    def random_walk(self, rng: np.random.Generator) -> np.ndarray:
        """Draw actions uniformly among those that do something: int64 (B,), or (B, n) where one has n entries.

        Of a ``Box`` they are (B, ...) of its dtype.
        """
        return self.batch.random_walk(rng)

    def snapshot(self) -> Snapshot:
        """Return everything needed to go on exactly: a flat dict of plain arrays, strings and booleans."""
        return self.batch.snapshot() | {"began": self._began}

    def restore(self, snapshot: Mapping[str, Snapped]) -> None:
        """Go on from a snapshot of the same environment with the same parameters and ``num_envs``.

        :raises ValueError: for a snapshot of something else; nothing has changed then
        """
        self.batch.restore(snapshot)
        self._began = self.batch.seeded and bool(snapshot.get("began"))

    def render(self) -> tuple[np.ndarray | str, ...] | None:
        """Return a picture of each environment, in the render mode given at construction."""
        if self.render_mode is None:
            return None
        return tuple(picture(self.batch, row, self.render_mode) for row in range(self.num_envs))

    def texts(self) -> list[str]:
        """Return the text of each environment, as render_mode ``"ansi"`` shows it, whatever the render mode is.

        :raises NotImplementedError: if there is none
        """
        return [str(picture(self.batch, row, "ansi")) for row in range(self.num_envs)]

    def close_extras(self, **kwargs: object) -> None:
        """Stop the threads."""
        self.batch.close()

    def _given(self, arrays: Given) -> Given:
        """Return an array, a dict or a tuple of arrays, copied unless ``copy`` is false."""
        return mapped(np.ndarray.copy, arrays) if self.copy else arrays
