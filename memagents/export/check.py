"""An exported step held against the policy itself, over many steps of random observations and starts of episodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from memagents.cores.core import State
from memagents.export.names import EPISODE_START, NEXT, OBSERVATION, STATE
from memagents.export.programs import Runner
from memagents.export.step import PolicyStep, real_leaves
from memagents.policies.core_policy import Acted
from memagents.runs.arrays import native_type

STEPS = 200
TOLERANCE = 1e-5
ROWS = 4
_STARTS = 0.05  # how often an episode begins


class Difference(NamedTuple):
    """The largest difference of an output over all steps, as a share of its largest number where that is beyond ±1."""

    name: str
    size: float


@torch.no_grad()
def largest_difference(
    step: PolicyStep, run: Runner, steps: int = STEPS, rows: int = ROWS, seed: int = 0
) -> Difference:
    """Let an exported step and the policy see the same, each with its own memory.

    The policy acts as ever, by its kernels where it has any. A discrete action that differs counts by how much less
    likely it is to the policy, in nats, since rounding decides between two that are alike.

    :param step: of which the exported one was made
    :param run: the exported one
    :param steps: how many to take
    :param rows: environments
    :param seed: of the observations and starts
    """
    random, policy = np.random.default_rng(seed), step.policy
    state: State = policy.initial_state(rows)
    memory = {name: leaf.numpy() for name, leaf in step.initial_state(rows).items()}
    worst = Difference("", 0.0)
    for number in range(steps):
        entries = {name: _drawn(random, name, step, rows) for name in step.entries}
        starts = (random.random(rows) < _STARTS) | (number == 0)
        found = run({**entries, EPISODE_START: starts, **memory})
        memory = {name: found[NEXT + name.removeprefix(STATE)] for name in memory}
        acted = policy(_observations(step, entries), state, torch.from_numpy(starts), deterministic=True)
        state = acted.state
        sizes = [Difference(*one) for one in _differences(step, acted, found)]
        worst = max(worst, *sizes, key=lambda difference: difference.size)
    return worst


def _differences(step: PolicyStep, acted: Acted, found: dict[str, np.ndarray]) -> Iterator[tuple[str, float]]:
    """Of every output by its name."""
    policy = step.policy
    assert acted.outputs is not None
    made_of = {name: part for name, part in step.actions(acted.outputs).items() if name != "action"}
    expected = made_of | {"value": policy.values(acted.outputs)} | real_leaves(acted.state, NEXT)
    for name, tensor in expected.items():
        yield name, _relative(found[name], tensor.numpy())
    actions = policy.to_env_actions(acted.actions)
    if isinstance(policy.action_space, spaces.Box):
        yield "action", _relative(found["action"], actions)
    elif not np.array_equal(found["action"], actions):
        distribution: Any = policy.distribution(acted.outputs)
        theirs = acted.actions + torch.from_numpy(found["action"].astype(np.int64) - actions)
        likely, less = (distribution.log_prob(own.reshape(len(own), -1)) for own in (acted.actions, theirs))
        yield "action", float((likely - less).max())


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a share of the largest number where that is beyond ±1."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if not expected.size:
        return 0.0
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    size = np.abs(found - expected).max() / max(np.abs(expected).max(), 1)
    return float(size) if np.isfinite(size) else float("inf")


def _observations(step: PolicyStep, entries: dict[str, np.ndarray]) -> Tensor | dict[str, Tensor]:
    """What the policy sees of what the environment gives."""
    if step.normalization is not None:
        entries = step.normalization.of_arrays(entries)
    whole = isinstance(step.policy.observation_space, spaces.Dict)
    return step.policy.obs_to_tensor(entries if whole else entries[OBSERVATION])[0]


def _drawn(random: np.random.Generator, name: str, step: PolicyStep, rows: int) -> np.ndarray:
    """Draw a batch for an entry of the observation: numbers of usual size, any code."""
    space = step.entries[name]
    shape, dtype = (rows, *(space.shape or ())), native_type(space.dtype)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        count = space.n if isinstance(space, spaces.Discrete) else space.nvec
        return (space.start + random.integers(count, size=shape)).astype(dtype)
    if isinstance(space, spaces.MultiBinary) or dtype.kind == "b":
        return random.integers(2, size=shape).astype(dtype)
    assert isinstance(space, spaces.Box)
    if dtype.kind in "iu":
        low, high = (np.clip(bound.astype(np.float64), -(2**15), 2**15 - 1) for bound in (space.low, space.high))
        return random.integers(low, high, endpoint=True, size=shape).astype(dtype)
    numbers = random.standard_normal(shape)
    if step.normalization is not None and name in step.normalization.statistics:
        mean, std = step.normalization.statistics[name]
        return (mean + std * numbers).astype(dtype)
    return np.clip(numbers, space.low, space.high).astype(dtype)
