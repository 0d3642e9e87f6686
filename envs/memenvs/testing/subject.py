"""The environment under test, in batches of any size and alone, and play in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from memenvs.batched import BatchedEnv, SingleEnv
from memenvs.catalogue import find
from memenvs.engine.definition import Definition
from memenvs.testing.comparison import Step

SEED = 7
ROWS = 8  # of a batch
STEPS = 100  # of a short rollout
LONGEST = 20_000  # steps within which an episode has to end
SET_HERE = ("copy", "num_envs", "render_mode", "split")


class Subject:
    """Make the environment under test: ``many(num_envs, ...)`` in a batch, ``one(...)`` alone.

    :param environment: an id, or a definition
    :param parameters: of the environment, for an id
    :raises ValueError: if there is no such environment, or it does not stand on :mod:`memenvs.batched`
    """

    def __init__(self, environment: str | Definition, parameters: dict[str, Any]):
        taken = sorted(parameters.keys() & set(SET_HERE))
        if taken:
            raise ValueError(f"parameters must leave out {', '.join(SET_HERE)}, which the checks set; not {taken[0]}")
        self.many: Callable[..., VectorEnv]
        self.one: Callable[..., gymnasium.Env]
        if isinstance(environment, Definition):
            if parameters:
                raise ValueError(f"parameters must be empty for a definition, not {sorted(parameters)}")
            define = {"define": staticmethod(lambda: environment)}
            self.many, self.one = type("Batched", (BatchedEnv,), define), type("Single", (SingleEnv,), define)
        else:
            spec = find(environment)
            if spec.vector_entry_point is None:
                raise ValueError(not_batched(spec.id))
            self.many = lambda num_envs, **more: gymnasium.make_vec(spec.id, num_envs=num_envs, **parameters, **more)
            self.one = lambda **more: gymnasium.make(spec.id, disable_env_checker=True, **parameters, **more)
        self.definition = inner(self.many(1)).definition
        space = self.definition.action_space
        space.seed(SEED)
        self.actions = np.array([[space.sample() for _ in range(ROWS)] for _ in range(STEPS)])

    def rollout(self, envs: VectorEnv, seed: int | None = SEED) -> Iterator[Step]:
        """Reset, then play the same random actions in every batch; the reset is reported as a step without reward."""
        observations, infos = envs.reset(seed=seed)
        nothing = np.zeros(envs.num_envs)
        yield observations, nothing, nothing > 0, nothing > 0, infos
        yield from self.play(envs)

    def play(self, envs: VectorEnv) -> Iterator[Step]:
        """Go on from where a batch stands with the random actions."""
        for actions in self.actions:
            yield envs.step(actions[: envs.num_envs])


def inner(envs: VectorEnv) -> BatchedEnv:
    """The batched environment inside any wrappers."""
    found = envs.unwrapped
    if not isinstance(found, BatchedEnv):
        raise ValueError(not_batched(envs.spec.id if envs.spec else type(found).__name__))
    return found


def not_batched(name: str) -> str:
    """Return the message for an environment that the checks are not for."""
    return (
        f"environment must be built on memenvs.batched, which {name} is not; any other of Gymnasium's is checked by "
        "gymnasium.utils.env_checker.check_env(gymnasium.make(id).unwrapped)"
    )


def levels(envs: VectorEnv) -> np.ndarray:
    """The level records (B,) of the episodes that are under way."""
    return inner(envs).batch.rows["level"].copy()
