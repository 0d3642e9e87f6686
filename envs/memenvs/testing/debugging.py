"""An environment run as plain Python, step by step, to find what compiled code would do in silence."""

from __future__ import annotations

import traceback
from types import FrameType
from typing import Any

import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.utils import seeding
from numba.core.errors import NumbaError

from memenvs.catalogue import find, has_oracle
from memenvs.engine.batch import Batch
from memenvs.engine.definition import Definition, defined
from memenvs.engine.layout import ARGUMENTS
from memenvs.engine.types import mapped
from memenvs.testing.comparison import shortened
from memenvs.testing.subject import not_batched


class DebugError(RuntimeError):
    """A mistake in a function of a definition. Its ``__cause__``, if any, has the traceback into the function.

    :param function: the name of the function, as in the definition; ``None`` where that is not known
    :param step: the number of the step, 0 for the first reset
    """

    def __init__(self, owner: str, function: str | None, step: int, said: str):
        self.function, self.step = function, step
        super().__init__(f"step {step}: {f'`{function}` of ' if function else ''}{owner}: {said}")


def debug(environment: str | Definition, steps: int = 100, seed: int = 0, **parameters: Any) -> dict[str, float]:
    """Run an environment in plain Python, and stop at the first mistake that compiled code makes in silence.

    Every index into an array is checked, and so is every number that is written into an array or a field of a record:
    it must come out as it went in. Rewards must be finite, observations in their space, the oracle's actions valid, and
    ``sound`` must accept the records. The levels are those of ``env.reset(seed=seed)`` and the following ``reset()``;
    the actions are drawn among the ``legal`` ones.

    :param environment: the id of an environment that stands on :mod:`memenvs.batched`, or a definition
    :param steps: number of steps; an episode that ends is followed by the next one
    :param seed: of the levels and the actions
    :param parameters: of the environment, for an id; one that is called as a parameter above goes into a definition
    :return: the number of ``steps`` and ``episodes``, and the sum of the rewards (``return``)
    :raises DebugError: at the first mistake; it names the function, the step and the line
    """
    definition = _definition(environment, parameters)
    number = 0
    total, episodes = 0.0, 0
    rng = np.random.default_rng(seed)
    try:
        batch = Batch(definition, 1, interpret=True)
        batch.seed(seeding.np_random(seed)[0].integers(0, 2**64, dtype=np.uint64))
        batch.reset()
        for number in range(1, steps + 1):
            _check_records(batch, number - 1)
            episodes += batch.step(batch.random_walk(rng))
            total += _reward(batch, number)
        _check_records(batch, number)
    except (NumbaError, ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError) as error:
        function, place = _place(error, definition)
        raise DebugError(
            definition.name, function, number, f"{type(error).__name__}: {shortened(error)}{place}"
        ) from error
    return {"steps": steps, "episodes": episodes, "return": total}


def _definition(environment: str | Definition, parameters: dict[str, Any]) -> Definition:
    if isinstance(environment, Definition):
        if parameters:
            raise ValueError(f"parameters must be empty for a definition, not {sorted(parameters)}")
        return environment
    spec = find(environment)
    entry = spec.entry_point
    cls: Any = load_env_creator(entry) if isinstance(entry, str) else entry
    if not hasattr(cls, "define"):
        raise ValueError(not_batched(spec.id))
    return defined(cls, spec.kwargs | parameters)


def _reward(batch: Batch, number: int) -> float:
    reward = float(batch.rewards[0])
    if not np.isfinite(reward):
        raise DebugError(batch.definition.name, "step", number, f"the reward is {reward}")
    return reward


def _check_records(batch: Batch, number: int) -> None:
    """Check what the functions say of the state in which the environment is."""
    definition = batch.definition
    name, space = definition.name, definition.observation_space
    observation = mapped(lambda array: array[0], batch.observations)
    if not space.contains(observation):
        raise DebugError(name, "observe", number, f"the observation {shortened(observation)} is not in {space}")
    if has_oracle(definition):
        action = batch.oracle()[0]
        if not np.all(action == -1) and not definition.action_space.contains(action):
            raise DebugError(name, "oracle", number, f"the action {action} is not in {definition.action_space}, nor -1")
    if not batch._loops.sound(batch.params, batch.rows):
        raise DebugError(name, "sound", number, "it refuses the records of an episode")


def _place(error: BaseException, definition: Definition) -> tuple[str | None, str]:
    """The function of the definition in which an error arose, and its innermost line of the definition's code."""
    codes = {getattr(f, "py_func", f).__code__: name for name in ARGUMENTS if (f := getattr(definition, name))}
    found, summary = None, None
    for frame, line in traceback.walk_tb(error.__traceback__):
        found = found or codes.get(frame.f_code)
        if found and not _is_guard(frame):
            summary = traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name)
    said = str(error)
    if found is None and said.startswith("`"):
        found = said[1:].partition("`")[0]
    return found, f" ({summary.filename}, line {summary.lineno}: {summary.line})" if summary else ""


def _is_guard(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") == "memenvs.engine.interpreted"
