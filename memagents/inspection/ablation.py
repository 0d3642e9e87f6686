"""Ablation: what an agent would have made of the same observations with a part of its memory changed.

An ablation changes one place of a memory before one step of a recorded episode. The policy then goes on over what was
recorded, and how far it departs from what it did says what it had of that place. All ablations are rows of one batch.

Letters in shapes: T steps, S steps at which something is changed, P places, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from memagents.algorithms.training_state import state_like
from memagents.checks import in_range, one_of, positive_int
from memagents.cores.core import State, map_state, select_rows, state_leaves
from memagents.inspection.places import Places, leaf_of, places_of, with_leaf
from memagents.inspection.recording import OBSERVATION, STATE, RecordedEpisode
from memagents.inspection.replay import Named, action_distribution
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import Observations
from memagents.runs.arrays import tensor_of

Kind = Literal["erase", "noise", "swap", "freeze"]
KINDS = get_args(Kind)


class Ablations(NamedTuple):
    """Effects of the ablations of an episode.

    :param kind: what was done to a place
    :param place: what a place is: a slot, an entry or a unit
    :param steps: before which it was done, (S,)
    :param places: numbers of the places, (P,)
    :param divergence: of the policy at each step from what it was, KL in nats, (S, P, T); NaN before the ablation
    :param values: by how much the critic's value differs, (S, P, T); NaN before
    """

    kind: str
    place: str
    steps: np.ndarray
    places: np.ndarray
    divergence: np.ndarray
    values: np.ndarray

    def worst(self) -> np.ndarray:
        """Return the largest divergence that each ablation leads to, (S, P)."""
        return np.nanmax(self.divergence, axis=2)


@torch.no_grad()
def ablate(
    policy: CorePolicy,
    episode: RecordedEpisode,
    kind: Kind = "erase",
    *,
    steps: Sequence[int] | None = None,
    places: Sequence[int] | None = None,
    scale: float = 1.0,
    seed: int = 0,
    rows: int = 2048,
) -> Ablations:
    """Change each place of a memory before each step, and go on over the recorded observations.

    - ``erase``: the place becomes what it is at an episode's beginning;
    - ``noise``: normal noise is added, of the standard deviation that the places have among themselves;
    - ``swap``: the place and the next one change their contents, the last one with the first;
    - ``freeze``: the place stays as it is from then on.

    :param policy: an actor and a critic
    :param episode: that it played
    :param kind: see above
    :param steps: before which, all by default
    :param places: which, all by default; see :func:`memagents.inspection.places.places_of`
    :param scale: of the noise
    :param seed: of the noise
    :param rows: of a batch at most
    :raises ValueError: if the memory has no places, a step or place is not there, or entries of a store, which move on
        with each step, are to be frozen
    """
    one_of("kind", kind, KINDS)
    positive_int("rows", rows)
    in_range("scale", scale, 0)
    policy, episode = with_memory(policy), recorded_episode(episode)
    known = places_of(policy.initial_state(1))
    if kind == "freeze" and known.kind == "entry":
        raise ValueError("kind freeze needs slots or units: entries of a store move on with each step")
    at, of, batches = chosen(steps, episode.length, places, known, rows)
    observations, course = observations_of(policy, episode), Course(policy, episode)
    changes = Changes(known, kind, scale, torch.Generator().manual_seed(seed))
    parts = [_roll(policy, observations, course, pairs, changes) for pairs in batches]
    divergence, values = (np.concatenate(part).reshape(len(at), len(of), -1) for part in zip(*parts, strict=True))
    return Ablations(kind, known.kind, at, of, divergence, values)


class Changes(NamedTuple):
    """How places are changed."""

    places: Places
    kind: str
    scale: float
    noise: torch.Generator

    def made(self, state: State, initial: State, which: Tensor) -> State:
        """Return the state (B, ...) with one place of each row changed.

        :param initial: state of one row
        :param which: number of the place of each row, (B,)
        """
        for path in self.places.leaves:
            leaf = leaf_of(state, path).movedim(self.places.axis, 1).clone()
            row = torch.arange(len(leaf), device=leaf.device)
            if self.kind == "erase":
                leaf[row, which] = leaf_of(initial, path).movedim(self.places.axis, 1)[0, which]
            elif self.kind == "noise":
                drawn = torch.randn(leaf[row, which].shape, generator=self.noise).to(leaf.device)
                spread = leaf.flatten(1).abs().std(1) if leaf.is_complex() else leaf.flatten(1).std(1)
                leaf[row, which] += self.scale * spread.view(-1, *(1,) * (drawn.dim() - 1)) * drawn
            elif self.kind == "swap":
                following = (which + 1) % self.places.number
                leaf[row, which], leaf[row, following] = leaf[row, following].clone(), leaf[row, which].clone()
            state = with_leaf(state, path, leaf.movedim(1, self.places.axis))
        return state

    def held(self, state: State, before: State, which: Tensor) -> State:
        """Return the state with one place of each row but the first as it was before the step, where it is frozen."""
        if self.kind != "freeze":
            return state
        for path in self.places.leaves:
            leaf = leaf_of(state, path).movedim(self.places.axis, 1).clone()
            row = torch.arange(1, len(leaf), device=leaf.device)
            leaf[row, which] = leaf_of(before, path).movedim(self.places.axis, 1)[row, which]
            state = with_leaf(state, path, leaf.movedim(1, self.places.axis))
        return state


def _roll(
    policy: MemoryPolicy, observations: Observations, course: Course, pairs: np.ndarray, changes: Changes
) -> tuple[np.ndarray, np.ndarray]:
    """Run through an episode, with one more row from the step of each ablation on.

    :param observations: (T, 1, ...)
    :param course: of the episode's states
    :param pairs: step and place of each ablation, (K, 2), by step
    :return: divergences and differences of values, (K, T)
    """
    projected = policy.project(observations)  # (T, 1, X)
    initial, changed = policy.initial_state(1), torch.as_tensor(pairs[:, 1], device=projected.device)
    divergence, values = (np.full((len(pairs), len(projected)), np.nan) for _ in range(2))
    begun = 0  # ablations so far; row 0 is the episode as it was
    state = course.first
    for t, now in enumerate(projected):
        state = course.at(t, state)
        following = int(np.searchsorted(pairs[:, 0], t, side="right"))
        if following > begun:
            fresh = changes.made(select_rows(state, [0] * (following - begun)), initial, changed[begun:following])
            state = map_state(lambda old, new: torch.cat([old, new]), state, fresh)
            begun = following
        starts = torch.zeros(1, 1 + begun, dtype=torch.bool, device=projected.device)
        # By the plain loop, as a recording's trace: between it and the kernels slots that are alike may change places.
        outputs, after, _, _ = policy.core.recur(now.expand(1, 1 + begun, -1).contiguous(), state, starts, trace=True)
        state = changes.held(after, state, changed[:begun])
        if begun:
            divergence[:begun, t] = divergences(policy, outputs[0, :1], outputs[0, 1:])
            found = policy.values(outputs[0])
            values[:begun, t] = (found[1:] - found[:1]).cpu().numpy()
    return divergence, values


class Course:
    """States of an episode as it was, from the recording where it has them.

    What is rolled anew may put what is remembered into other slots, where slots are alike: between the plain loop and
    the kernels, or batches of other sizes.

    :param policy: that played
    :param episode: that was recorded
    """

    def __init__(self, policy: CorePolicy, episode: RecordedEpisode):
        self.first = state_of(policy, episode)  # before the episode, of one row
        leaves = [tensor_of(values, policy.device) for values in episode.read(STATE).values()]
        self._recorded = leaves if len(leaves) == len(state_leaves(self.first)) else None

    def at(self, step: int, rolled: State) -> State:
        """Return states (B, ...) before a step, the first row of which is the episode as it was.

        :param rolled: those that the steps before led to
        """
        if self._recorded is None:
            return rolled
        own = iter(self._recorded)
        return map_state(lambda leaf: torch.cat([next(own)[step : step + 1], leaf[1:]]), rolled)


def divergences(policy: MemoryPolicy, own: Tensor, others: Tensor) -> np.ndarray:
    """Return KL(own ‖ other) of the policies for outputs of the core, in nats.

    :param own: (1, O), or (N, O) beside as many others
    :param others: (N, O)
    :return: (N,)
    """
    p, q = (action_distribution(policy, outputs) for outputs in (own, others))
    return _kl(p, q, policy.action_space).clamp(min=0).cpu().numpy()


def _kl(p: Named, q: Named, space: spaces.Space) -> Tensor:
    """Return the divergence of independent actions, summed: choices, bits, or Gaussians."""
    if "probabilities" not in p:
        variance, other = p["action_std"].square(), q["action_std"].square()
        ratio = variance / other
        return 0.5 * (ratio - 1 - ratio.log() + (p["action_mean"] - q["action_mean"]).square() / other).sum(1)
    chosen, other = p["probabilities"], q["probabilities"]
    terms = torch.xlogy(chosen, chosen) - torch.xlogy(chosen, other.clamp(min=1e-30))
    if isinstance(space, spaces.MultiBinary):
        zero, other_zero = 1 - chosen, 1 - other
        terms = terms + torch.xlogy(zero, zero) - torch.xlogy(zero, other_zero.clamp(min=1e-30))
    return terms.sum(1)


def with_memory(policy: Any) -> MemoryPolicy:
    """Return a policy that has an actor and a critic over a memory, and refuse any other."""
    if not isinstance(policy, MemoryPolicy):
        raise ValueError(
            "policy must have an actor and a critic over a memory core, as agent.policy of RecurrentPPO or Imitation "
            f"has, not {type(policy).__name__}"
        )
    return policy


def core_policy(policy: Any) -> CorePolicy:
    """Return an agent's policy, and refuse the agent itself."""
    if not isinstance(policy, CorePolicy):
        raise ValueError(f"policy must be that of an agent, as agent.policy, not {type(policy).__name__}")
    return policy


def recorded_episode(episode: Any) -> RecordedEpisode:
    """Return an episode of a recording, and refuse the whole recording."""
    if not isinstance(episode, RecordedEpisode):
        raise ValueError(f"episode must be one of a recording, as recording.episodes[0], not {type(episode).__name__}")
    return episode


def observations_of(policy: CorePolicy, episode: RecordedEpisode) -> Observations:
    """Return what was seen in an episode, (T, 1, ...), on the policy's device."""
    arrays = {
        name.removeprefix(OBSERVATION).removeprefix("."): tensor_of(values[:, None], policy.device)
        for name, values in episode.read(OBSERVATION).items()
    }
    return arrays.get("", arrays)


def state_of(policy: CorePolicy, episode: RecordedEpisode) -> State:
    """Return the state of the core before an episode, of one row."""
    return state_like(policy.initial_state(1), next(episode.windows(STATE)).state)


def chosen(
    steps: Sequence[int] | None, length: int, places: Sequence[int] | None, known: Places, rows: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return the steps and places that are meant, (S,) and (P,), and all pairs of them by step, in batches (·, 2).

    :param length: of the episode
    :param known: places of the memory
    :param rows: pairs in a batch at most
    :raises ValueError: for a step or a place that there is not
    """
    at, of = _numbers("steps", steps, length), _numbers("places", places, known.number)
    pairs = np.stack(np.meshgrid(at, of, indexing="ij"), -1).reshape(-1, 2)
    return at, of, [pairs[begin : begin + rows] for begin in range(0, len(pairs), rows)]


def _numbers(name: str, given: Sequence[int] | None, count: int) -> np.ndarray:
    """Return which of 0 to count − 1 are meant, in order.

    :raises ValueError: for any other
    """
    if given is None:
        return np.arange(count)
    meant = np.unique(np.asarray(given, dtype=np.int64))
    if meant.size == 0 or meant[0] < 0 or meant[-1] >= count:
        raise ValueError(f"{name} must be numbers from 0 to {count - 1}, not {list(given)}")
    return meant
