"""Forks: an episode that goes on in the environment with a part of the memory changed, once for each place and step.

Letters in shapes: S steps at which something is changed, P places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from memagents.checks import in_range, one_of, positive_int
from memagents.cores.core import State, map_state
from memagents.environments.snapshot import join_snapshots, restore_env, snapshot_env
from memagents.inspection.ablation import Changes, Course, chosen, core_policy, observations_of
from memagents.inspection.places import places_of
from memagents.inspection.recording import RecordedEpisode
from memagents.inspection.replay import replay
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import Observations, map_observations, stack_steps
from memagents.runs.arrays import tensor_of
from memagents.runs.random_states import preserved_random_states

KINDS = ("erase", "noise", "swap")
MOST_STEPS = 10_000  # of an episode that is forked


class Forked(NamedTuple):
    """Returns of an episode that went on otherwise.

    :param kind: what was done to a place
    :param place: what a place is: a slot, an entry or a unit
    :param steps: before which it was done, (S,)
    :param places: numbers of the places, (P,)
    :param returns: of the whole episode, (S, P)
    :param whole: return of the episode as it was
    """

    kind: str
    place: str
    steps: np.ndarray
    places: np.ndarray
    returns: np.ndarray
    whole: float


class _Moment(NamedTuple):
    """Where an episode can be forked: before a step."""

    environment: dict[str, Any]
    observations: Observations  # (1, ...)
    state: State
    reward: float  # so far


@torch.no_grad()
def fork(
    policy: CorePolicy,
    make: Callable[[int], VecEnv],
    kind: str = "erase",
    *,
    episode: RecordedEpisode | None = None,
    steps: Sequence[int] | None = None,
    places: Sequence[int] | None = None,
    scale: float = 1.0,
    seed: int = 0,
    rows: int = 512,
) -> Forked:
    """Play an episode by the most likely actions, and again from each step on with each place of the memory changed.

    :param policy: that acts
    :param make: makes environments, by their number, wrapped as the policy needs them; they must offer ``snapshot`` and
        ``restore``, as those of memenvs do
    :param kind: ``"erase"``, ``"noise"`` or ``"swap"``, see :func:`memagents.inspection.ablation.ablate`
    :param episode: recorded one to fork, which the environments must play again with the same seed: the first of a
        recording, whose agent had no more environments than episodes were recorded. By default one is played anew
    :param steps: before which, all by default
    :param places: which, all by default
    :param scale: of the noise
    :param seed: of the environment and of the noise
    :param rows: of a batch at most
    :raises ValueError: if the memory has no places, a step or place is not there, or an environment cannot be forked
    """
    one_of("kind", kind, KINDS)
    in_range("scale", scale, 0)
    positive_int("rows", rows)
    known = places_of(core_policy(policy).initial_state(1))
    policy.set_training_mode(False)
    with preserved_random_states():
        set_random_seed(seed)
        moments, whole = _played(policy, make(1), seed, episode)
        at, of, batches = chosen(steps, len(moments), places, known, rows)
        changes = Changes(known, kind, scale, torch.Generator().manual_seed(seed))
        returns = [_went_on(policy, make(len(pairs)), moments, pairs, changes) for pairs in batches]
    return Forked(kind, known.kind, at, of, np.concatenate(returns).reshape(len(at), len(of)), whole)


def _played(
    policy: CorePolicy, env: VecEnv, seed: int, episode: RecordedEpisode | None = None
) -> tuple[list[_Moment], float]:
    """Play an episode, or one again, and return all of its moments and its return.

    :raises ValueError: if the environment does not play a recorded episode again, or it takes too long
    """
    env.seed(seed)
    observed, starts = env.reset(), np.ones(1, dtype=bool)
    state, reward = policy.initial_state(1), 0.0
    moments: list[_Moment] = []
    script = None if episode is None else _Script(policy, episode)
    while len(moments) < MOST_STEPS:
        observations, t = map_observations(torch.clone, policy.obs_to_tensor(observed)[0]), len(moments)
        if script is not None:
            state = script.before(t, observations, state)
        moments.append(_Moment(snapshot_env(env), observations, map_state(torch.clone, state), reward))
        begins = torch.as_tensor(starts, device=policy.device)
        action = policy(observations, state, begins, True).actions if script is None else script.actions[t]
        # By the plain loop, as a recording's trace: between it and the kernels slots that are alike may change places.
        state = replay(policy, map_observations(lambda values: values[None], observations), state, begins[None]).state
        observed, rewards, starts, _ = env.step(policy.to_env_actions(action))
        reward += float(rewards[0])
        if starts[0]:
            env.close()
            return moments, reward
    raise ValueError(f"an episode that is forked must end within {MOST_STEPS:,} steps")


class _Script:
    """What a recorded episode says of its steps, for an environment that plays it again."""

    def __init__(self, policy: CorePolicy, episode: RecordedEpisode):
        self.actions = tensor_of(episode.read("actions")["actions"][:, None], policy.device)  # (T, 1, ...)
        self.observations, self.course = observations_of(policy, episode), Course(policy, episode)

    def before(self, step: int, observations: Observations, rolled: State) -> State:
        """Return the state before a step, of one row.

        :param observations: that the environment gives, (1, ...)
        :param rolled: state that the steps before led to
        :raises ValueError: if they are not the recorded ones
        """
        more = step < len(self.actions)
        if not (more and _same(observations, map_observations(lambda values: values[step], self.observations))):
            raise ValueError(
                "episode is not played again by the environment: it must be the first of a recording with the same "
                "seed, of as many episodes at least as the agent had environments"
            )
        return self.course.at(step, rolled)


def _same(ours: Observations, theirs: Observations) -> bool:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(torch.equal(values, theirs[name]) for name, values in ours.items())
    return torch.equal(ours, theirs)  # type: ignore[arg-type]


def _went_on(
    policy: CorePolicy, env: VecEnv, moments: list[_Moment], pairs: np.ndarray, changes: Changes
) -> np.ndarray:
    """Return the returns of an episode that goes on, each row from another moment with another place changed, (K,)."""
    begun = [moments[step] for step in pairs[:, 0]]
    env.reset()
    snapshot = join_snapshots([moment.environment for moment in begun])
    if not restore_env(env, snapshot):
        raise ValueError("make must return environments that can be restored from those of one row")
    state = map_state(lambda *leaves: torch.cat(leaves), *(moment.state for moment in begun))
    changed = torch.as_tensor(pairs[:, 1], device=policy.device)
    state = changes.made(state, policy.initial_state(1), changed)
    starts = np.zeros(len(begun), dtype=bool)  # at an episode's beginning too: its fresh memory is the one changed
    returns, going_on = np.array([moment.reward for moment in begun]), np.ones(len(begun), dtype=bool)
    stacked = stack_steps([moment.observations for moment in begun])  # (K, 1, ...)
    observations = map_observations(lambda values: values.flatten(0, 1), stacked)
    while True:
        acted = policy(observations, state, torch.as_tensor(starts, device=policy.device), True)
        observed, rewards, starts, _ = env.step(policy.to_env_actions(acted.actions))
        returns += np.where(going_on, rewards, 0)
        going_on &= ~starts
        if not going_on.any():
            env.close()
            return returns
        observations, state = policy.obs_to_tensor(observed)[0], acted.state
