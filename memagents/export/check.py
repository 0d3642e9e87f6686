"""An exported step held against the policy itself, over many steps of random observations and starts of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from memagents.cores.core import State, map_state
from memagents.export.names import EPISODE_START, NEXT, OBSERVATION, STATE
from memagents.export.programs import Runner
from memagents.export.step import PolicyStep, real_leaves
from memagents.policies.core_policy import Acted
from memagents.runs.arrays import native_type

STEPS = 200
TOLERANCE = 1e-5
ROWS = 4
MOST_TIES = 0.25  # of all steps
_STARTS = 0.05  # how often an episode begins
_TRIES = 16  # memories beside the policy's own, by which a tie is told


class Difference(NamedTuple):
    """The largest difference of an output over all steps, as a share of its largest number where that is beyond ±1.

    ``ties`` counts the steps that it leaves out, each of one environment, since rounding decides what comes of them.
    """

    name: str
    size: float
    ties: int = 0


@torch.no_grad()
def largest_difference(
    step: PolicyStep, run: Runner, steps: int = STEPS, rows: int = ROWS, seed: int = 0
) -> Difference:
    """Let an exported step and the policy see the same, each with its own memory.

    The policy acts as ever, by its kernels where it has any. A discrete action that differs counts by how much less
    likely it is to the policy, in nats. Where a memory chooses between slots that are alike to a rounding, the exported
    one may choose another and be as right: such a step is known by the policy's own, which departs as far from itself
    if its memory is changed by :data:`TOLERANCE`. There the exported one goes on with the policy's memory.

    :param step: of which the exported one was made
    :param run: the exported one
    :param steps: how many to take
    :param rows: environments
    :param seed: of the observations and starts
    """
    random, policy = np.random.default_rng(seed), step.policy
    noise = torch.Generator().manual_seed(seed)
    state: State = policy.initial_state(rows)
    memory = {name: leaf.numpy() for name, leaf in step.initial_state(rows).items()}
    worst, ties = Difference("", 0.0), 0
    for number in range(steps):
        entries = {name: _drawn(random, name, step, rows) for name in step.entries}
        starts = (random.random(rows) < _STARTS) | (number == 0)
        found = run({**entries, EPISODE_START: starts, **memory})
        seen, begins = _observations(step, entries), torch.from_numpy(starts)
        acted = policy(seen, state, begins, deterministic=True)
        sizes = _differences(step, acted, found)
        wrong = np.any([size > TOLERANCE for size in sizes.values()], axis=0)
        memory = {name: found[NEXT + name.removeprefix(STATE)] for name in memory}
        if wrong.any():
            others = [policy(seen, _moved(state, noise), begins, deterministic=True) for _ in range(_TRIES)]
            tied = wrong & _departs_as_far(step, acted, others, sizes)
            own = real_leaves(acted.state, STATE)
            memory = {name: _with_rows(leaf, tied, own[name].numpy()) for name, leaf in memory.items()}
            sizes = {name: np.where(tied, 0, size) for name, size in sizes.items()}
            ties += int(tied.sum())
        state = acted.state
        name, size = max(((name, float(size.max())) for name, size in sizes.items()), key=lambda pair: pair[1])
        worst = Difference(name, size) if size > worst.size else worst
    return worst._replace(ties=ties)


def _differences(step: PolicyStep, acted: Acted, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of every output by its name, (B,)."""
    policy = step.policy
    expected = _outputs(step, acted)
    sizes = {name: _relative(found[name], values) for name, values in expected.items()}
    actions = policy.to_env_actions(acted.actions)
    if isinstance(policy.action_space, spaces.Box):
        return sizes | {"action": _relative(found["action"], actions)}
    assert acted.outputs is not None
    distribution: Any = policy.distribution(acted.outputs)
    theirs = acted.actions + torch.from_numpy(found["action"].astype(np.int64) - actions)
    likely, less = (distribution.log_prob(own.reshape(len(own), -1)) for own in (acted.actions, theirs))
    return sizes | {"action": (likely - less).numpy()}


def _outputs(step: PolicyStep, acted: Acted) -> dict[str, np.ndarray]:
    """The policy's own outputs by name, but for the action."""
    assert acted.outputs is not None
    made_of = {name: part for name, part in step.actions(acted.outputs).items() if name != "action"}
    outputs = made_of | {"value": step.policy.values(acted.outputs)} | real_leaves(acted.state, NEXT)
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _relative(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The largest difference of each row, as a share of the largest number of all where that is beyond ±1."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return np.full(len(expected), np.inf)
    ours, theirs = (values.astype(np.float64).reshape(len(values), -1) for values in (found, expected))
    size = np.abs(ours - theirs).max(axis=1, initial=0) / max(np.abs(theirs).max(initial=0), 1)
    return np.where(np.isfinite(size), size, np.inf)


def _moved(state: State, noise: torch.Generator) -> State:
    """A state whose numbers are other ones, by :data:`TOLERANCE` of the largest at most."""

    def moved(leaf: Tensor) -> Tensor:
        if not (leaf.is_floating_point() or leaf.is_complex()) or not leaf.numel():
            return leaf
        numbers = torch.view_as_real(leaf) if leaf.is_complex() else leaf
        by = (2 * torch.rand(numbers.shape, generator=noise) - 1).to(numbers) * numbers.abs().max() * TOLERANCE
        return leaf + (torch.view_as_complex(by) if leaf.is_complex() else by)

    return map_state(moved, state)


def _departs_as_far(
    step: PolicyStep, acted: Acted, others: Sequence[Acted], sizes: dict[str, np.ndarray]
) -> np.ndarray:
    """Whether one of the policy's own steps with other memories departs as far as some sizes, to a half, (B,)."""
    own = _outputs(step, acted)
    departs = [_relative(values, own[name]) for other in others for name, values in _outputs(step, other).items()]
    return np.max(departs, axis=0) >= np.max(list(sizes.values()), axis=0) / 2


def _with_rows(values: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The values, in some rows the other ones."""
    return np.where(rows.reshape(-1, *(1,) * (values.ndim - 1)), others, values)


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
        low, high = (np.clip(bound.astype(float), -(2**15), 2**15).astype(int) for bound in (space.low, space.high))
        return random.integers(low, high, endpoint=True, size=shape).astype(dtype)
    numbers = random.standard_normal(shape)
    if step.normalization is not None and name in step.normalization.statistics:
        mean, std = step.normalization.statistics[name]
        return (mean + std * numbers).astype(dtype)
    return np.clip(numbers, space.low, space.high).astype(dtype)
