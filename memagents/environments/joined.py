"""Several environments with the same spaces as one, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from memagents.environments.guidance import decision_mask, oracle_actions
from memagents.environments.snapshot import restore_env, snapshot_env
from memagents.environments.spaces import ArrayObservations


class JoinedVecEnv(VecEnv):
    """The rows of several VecEnvs, in their order: those of a lesson, and then those that review earlier lessons.

    The infos of all rows but the first environment's have an entry ``review``, which is true: they do not count as
    success in the lesson.

    :param parts: environments with the same spaces, without wrappers
    :raises ValueError: if the spaces differ
    """

    def __init__(self, parts: Sequence[VecEnv]):
        self.parts = list(parts)
        first = self.parts[0]
        for part in self.parts:
            if (part.observation_space, part.action_space) != (first.observation_space, first.action_space):
                raise ValueError("parts must have the same spaces")
        sizes = [part.num_envs for part in self.parts]
        self.ranges = [slice(*pair) for pair in pairwise(np.cumsum([0, *sizes]).tolist())]
        self.render_mode = first.render_mode
        super().__init__(sum(sizes), first.observation_space, first.action_space)
        self.reviewing = np.arange(self.num_envs) >= first.num_envs
        self.decision = np.ones(self.num_envs, dtype=bool)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed every part, each by a number of its own."""
        for number, part in enumerate(self.parts):
            part.seed(None if seed is None else part_seed(seed, number))
        return [seed] * self.num_envs

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        super().set_options(options)
        for part, rows in zip(self.parts, self.ranges, strict=True):
            part.set_options(self._options[rows])
        self._reset_options()  # they are kept by the parts, whose resets use them up

    def reset(self) -> VecEnvObs:
        observations = [part.reset() for part in self.parts]
        self._note([None] * len(self.parts), [None] * len(self.parts))
        return _joined(observations)

    def step_async(self, actions: np.ndarray) -> None:
        for part, rows in zip(self.parts, self.ranges, strict=True):
            part.step_async(actions[rows])

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = zip(*(part.step_wait() for part in self.parts), strict=True)
        for reviewed in infos[1:]:
            for info in reviewed:
                info["review"] = True
        self._note(infos, dones)
        rows = [info for part in infos for info in part]
        return _joined(observations), np.concatenate(rewards), np.concatenate(dones), rows

    def _note(self, infos: Sequence[list[dict] | None], dones: Sequence[np.ndarray | None]) -> None:
        """Note what belongs to the observations just returned: infos of resets, and where actions matter."""
        self.reset_infos = [info for part in self.parts for info in part.reset_infos]
        parts = zip(self.parts, infos, dones, strict=True)
        self.decision = np.concatenate([decision_mask(part, info, done) for part, info, done in parts])

    def oracle(self) -> np.ndarray:
        """The best action of every environment; −1 where it does not matter."""
        return np.concatenate([oracle_actions(part) for part in self.parts])

    def random_walk(self, rng: np.random.Generator) -> np.ndarray:
        """Random actions among those that do something."""
        return np.concatenate([part.random_walk(rng) for part in self.parts])  # type: ignore[attr-defined]

    def snapshot(self) -> dict[str, Any] | None:
        """Return the whole state of all parts; None if one of them offers none."""
        parts = [snapshot_env(part) for part in self.parts]
        return {"parts": parts, "decision": self.decision.copy()} if all(saved["base"] for saved in parts) else None

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on exactly from a snapshot."""
        for part, saved in zip(self.parts, snapshot["parts"], strict=True):
            restore_env(part, saved)
        self.decision = snapshot["decision"]

    def close(self) -> None:
        for part in self.parts:
            part.close()

    def has_attr(self, attr_name: str) -> bool:
        return all(part.has_attr(attr_name) for part in self.parts)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return self._asked(indices, lambda part, own: part.get_attr(attr_name, own))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        for part, own, _ in self._per_part(indices):
            part.set_attr(attr_name, value, own)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        return self._asked(indices, lambda part, own: part.env_method(method_name, *args, indices=own, **kwargs))

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        return self._asked(indices, lambda part, own: part.env_is_wrapped(wrapper_class, own))

    def get_images(self) -> Sequence[np.ndarray | None]:
        return [image for part in self.parts for image in part.get_images()]

    def _asked(self, indices: VecEnvIndices, ask: Callable[[VecEnv, list[int]], Sequence[Any]]) -> list[Any]:
        """Return what the parts answer, row by row as the indices have them."""
        answers: dict[int, Any] = {}
        for part, own, places in self._per_part(indices):
            answers.update(zip(places, ask(part, own), strict=True))
        return [answers[place] for place in sorted(answers)]

    def _per_part(self, indices: VecEnvIndices) -> list[tuple[VecEnv, list[int], list[int]]]:
        """The parts that have any of these rows, with the rows as they count them, and their places in the indices."""
        wanted = list(enumerate(self._get_indices(indices)))
        found = []
        for part, rows in zip(self.parts, self.ranges, strict=True):
            own = [(i - rows.start, place) for place, i in wanted if rows.start <= i < rows.stop]
            if own:
                found.append((part, [i for i, _ in own], [place for _, place in own]))
        return found


def part_seed(seed: int, part: int) -> int:
    """Return the seed of a part, far from those of the rows of the other parts, which count on from theirs."""
    return seed + 10_007 * part


def _joined(observations: Sequence[Any]) -> ArrayObservations:
    """Batches, or dicts of batches, one after another."""
    first = observations[0]
    if isinstance(first, dict):
        return {name: np.concatenate([batch[name] for batch in observations]) for name in first}
    return np.concatenate(observations)
