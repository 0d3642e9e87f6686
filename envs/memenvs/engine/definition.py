"""The definition of an environment: a few compiled functions, the layout of their records, and two spaces."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from memenvs.engine.defaults import all_legal, always_sound, no_digest, no_metrics, no_oracle
from memenvs.engine.errors import DefinitionError
from memenvs.engine.layout import check_layout


@dataclass(frozen=True)
class Goals:
    """The goals of a navigation task, for goal-conditioned learning (:mod:`memenvs.goals`); all in plain Python.

    :param space: of a goal, wanted or achieved
    :param read: ``(state, level) -> (achieved, desired)``, two arrays of the space. The achieved
        goal must determine the reward of the step just made
    :param reward: ``(achieved, desired) -> rewards``, from goals (..., n) to float64 (...): for the goals after a step,
        the reward of that step
    :param hide: ``observation -> observation``, a copy that hides the desired goal; by default none shows it
    """

    space: gymnasium.Space
    read: Callable[[np.void, np.void], tuple[np.ndarray, np.ndarray]]
    reward: Callable[[np.ndarray, np.ndarray], np.ndarray]
    hide: Callable[[Any], Any] = lambda observation: observation


@dataclass(frozen=True)
class Definition:
    """An environment for one agent, from which the engine makes a batched one and a single one.

    All functions are decorated with :func:`memenvs.compilation.njit` and stand at the level of a module. ``level``,
    ``state`` and ``out`` are records; a function may be given the record of another episode, so it writes whatever it
    or a later function reads.

    :param name: its name in messages
    :param params: the parameters of ``generate``, one record in an array of shape (1,)
    :param level: dtype of a level, which does not change in an episode
    :param state: dtype of a state, which changes; it has a field ``key`` (uint64), set by the engine before ``reset``,
        for randomness in the dynamics
    :param out: dtype of an observation; one field gives an array, several give a dict or a tuple
    :param observation_space: the space of one observation; where ``out`` has several fields, a ``Dict`` of them or a
        ``Tuple`` with as many entries, in their order
    :param action_space: ``Discrete``, from 0; or ``MultiBinary(n)`` of up to 32 bits, which the functions see as one
        integer whose bit i is ``action[i]``; or ``MultiDiscrete(nvec)``, which they see as one integer whose digits are
        the entries, the first one the highest (with tens: as the number that is written so); or a ``Box`` of float32 or
        float64 with finite bounds, of which they see the array, converted to its dtype and finite, but not clipped
    :param generate: ``(params, key, level) -> bool`` draws a level; false asks for another draw
    :param reset: ``(state, level)`` begins an episode
    :param step: ``(state, level, action) -> (reward, terminated, truncated)``
    :param observe: ``(state, level, out)`` writes every field of ``out``
    :param oracle: ``(state, level) -> action``, the best one from full knowledge, or -1 where no action matters; an
        integer, so that ``Box`` actions have none
    :param decides: ``(state, level) -> bool``, whether an action matters now; by default where the oracle has one. An
        oracle that takes long is spared by it, since this is asked in every step
    :param legal: ``(state, level, mask)`` sets true the actions that do something, at least one; by default all.
        Asked of ``Discrete`` actions only, all others count as legal
    :param both_ends: report an episode that ``step`` says to be terminated and truncated as both; by default it is
        terminated then
    :param metrics: names of the measures of an episode
    :param measure: ``(state, level, out)`` writes the metrics of an ended episode into the float64 array ``out``
    :param digest: ``level -> uint64``, a hash that is equal for equal levels, which decides on the split of a level
    :param distinct_levels: number of levels with different digests; a split needs at least 100
    :param sound: ``(params, state, level) -> bool``, whether records from a snapshot are such that the other functions
        neither leave their arrays nor run for ever; needed where records hold indices, since snapshots lie in files
    :param draw: ``(state, level) -> (H, W, 3) uint8``, a picture, in plain Python
    :param text: ``(state, level) -> str``, a picture for the terminal, in plain Python
    :param frames_per_second: speed at which to show the pictures
    :param action_names: names of the actions of a ``Discrete`` space, one word or two each, for people
    :param goals: for navigation tasks, the goals that :class:`memenvs.goals.GoalView` shows
    :raises ValueError: for records, spaces or metrics that contradict one another
    :raises DefinitionError: a ``TypeError`` and ``ValueError``, for a function that is not compiled or takes other
        arguments. What the functions return is checked when the environment is made
    """

    name: str
    params: np.ndarray
    level: np.dtype
    state: np.dtype
    out: np.dtype
    observation_space: gymnasium.Space
    action_space: (
        gymnasium.spaces.Discrete | gymnasium.spaces.MultiBinary | gymnasium.spaces.MultiDiscrete | gymnasium.spaces.Box
    )
    generate: Callable[..., bool]
    reset: Callable[..., None]
    step: Callable[..., tuple[float, bool, bool]]
    observe: Callable[..., None]
    oracle: Callable[..., int] = no_oracle
    decides: Callable[..., bool] | None = None
    legal: Callable[..., None] = all_legal
    both_ends: bool = False
    metrics: tuple[str, ...] = ()
    measure: Callable[..., None] = no_metrics
    digest: Callable[..., int] = no_digest
    distinct_levels: float = math.inf
    sound: Callable[..., bool] = always_sound
    draw: Callable[[np.void, np.void], np.ndarray] | None = None
    text: Callable[[np.void, np.void], str] | None = None
    frames_per_second: int = 4
    action_names: tuple[str, ...] = ()
    goals: Goals | None = None

    def __post_init__(self) -> None:
        check_layout(self)


def defined(cls: Any, parameters: Mapping[str, Any]) -> Definition:
    """Return the definition of an environment's class with these parameters.

    :raises DefinitionError: for parameters that ``define`` does not have or lacks, and if it returns no definition
    """
    define, name = cls.define, cls.__name__
    known = inspect.signature(define).parameters
    try:
        inspect.signature(define).bind(**parameters)
    except TypeError as error:
        raise DefinitionError(f"parameters of {name} must be ({', '.join(known)}): {error}") from None
    try:
        definition = define(**parameters)
    except TypeError as error:
        fault = str(error)
        if not fault.startswith("Definition.__init__() "):
            raise
        raise DefinitionError(f"`define` of {name}: {fault.replace('.__init__()', '', 1)}") from None
    if not isinstance(definition, Definition):
        raise DefinitionError(f"`define` of {name} must return a Definition, not {definition!r}")
    return definition
