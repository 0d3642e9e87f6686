"""Checks of what memenvs promises beyond Gymnasium: seeds, snapshots, oracles and splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from gymnasium.vector import VectorEnv

from memenvs.catalogue import has_oracle, has_split
from memenvs.testing.comparison import ConformanceError, Step, copied, row, want_leaves, want_same
from memenvs.testing.subject import LONGEST, ROWS, SEED, Subject, inner, levels

PLAYED = 64  # rows whose first episodes are compared between the oracle and random play
EPISODES = 2  # in each of them
DRAWN = 256  # rows from which the levels of a split are collected
TIMES = 8  # that they are reset for it


def check_seeds(subject: Subject) -> None:
    """Row i depends on the seed and on i alone."""
    largest = subject.many(ROWS)
    wanted = list(subject.rollout(largest))
    hint = partial(_not_from_the_seed, subject)
    for num_envs in (1, 3, ROWS):
        envs = subject.many(num_envs)
        for turn in ("first", "second"):
            seen = list(subject.rollout(envs))
            compared = f"of {num_envs} environments, seeded for the {turn} time, as among {ROWS}"
            _want_same_rows("seeds", compared, wanted, seen, hint)
        same = {"levels": levels(largest)[:num_envs]}, {"levels": levels(envs)}
        want_leaves("seeds", f"of {num_envs} environments the", *same, hint)
    if has_split(subject.definition):
        first, other = (_digests(subject, subject.many(ROWS), 1, seed) for seed in (SEED, SEED + 1))
        if len(first) == 1 or first == other:
            raise ConformanceError("seeds", "the levels of other rows and of another seed", "others", "the same")


def _not_from_the_seed(subject: Subject) -> str:
    """What the same seed leaves to chance: the fields of the records that differ where an environment begins again."""
    envs = subject.many(1)
    envs.reset(seed=SEED)
    first = inner(envs).batch.rows.copy()
    for _ in subject.play(envs):
        pass
    envs.reset(seed=SEED)
    again = inner(envs).batch.rows
    differ = [
        f"`{record}.{field}`"
        for record in ("level", "state")
        for field in again.dtype[record].names or ()
        if first[record][field].tobytes() != again[record][field].tobytes()
    ]
    seen = f"Two resets with the same seed differ in {', '.join(differ)}: " if differ else ""
    return f"{seen}does `reset` leave a field unwritten, or a function draw from np.random, not memenvs.random?"


def _want_same_rows(
    check: str, compared: str, wanted: Sequence[Step], seen: Sequence[Step], hint: Callable[[], str] = str
) -> None:
    """Raise an error unless the rows of one batch went as the same rows of a larger one."""
    for number, (first, second) in enumerate(zip(wanted, seen, strict=True)):
        for index in range(len(second[1])):
            subject = f"row {index} {compared}, step {number}:"
            want_leaves(check, subject, row(first, index), row(second, index), hint)


def check_snapshots(subject: Subject) -> None:
    """A snapshot goes on as the original did."""
    envs = subject.many(ROWS)
    for _ in subject.rollout(envs):
        pass
    snapshot = inner(envs).snapshot()
    kept = copied(snapshot)
    wanted = [*subject.play(envs), *subject.rollout(envs, seed=None)]
    want_leaves("snapshots", "a snapshot, looked at after further steps,", kept, copied(snapshot))
    for name, other in (("the same environment", envs), ("a new environment", subject.many(ROWS))):
        inner(other).restore(snapshot)
        seen = [*subject.play(other), *subject.rollout(other, seed=None)]
        _want_same_rows("snapshots", f"restored in {name}", wanted, seen)


def check_oracle(subject: Subject) -> str | None:
    """Its actions are valid, and it is not beaten by random play."""
    if not has_oracle(subject.definition):
        return "the definition has no oracle"
    rng = np.random.default_rng(SEED)
    best = _returns(subject, _checked_oracle)
    random = _returns(subject, lambda envs, decision: inner(envs).random_walk(rng))
    ahead = best - random
    error = ahead.std(ddof=1) / np.sqrt(ahead.size)
    if ahead.mean() + 3 * error < 0:
        wanted = f"at least {random.mean():.3g}, that of random play (three standard errors are {3 * error:.2g})"
        raise ConformanceError("oracle", "its mean return", wanted, f"{best.mean():.3g}")
    return None


def _checked_oracle(envs: VectorEnv, decision: np.ndarray) -> np.ndarray:
    """The oracle's actions, 0 where it has none."""
    actions, space = inner(envs).oracle(), envs.single_action_space
    none = (actions == -1).reshape(len(actions), -1).all(axis=1)
    for index in np.flatnonzero(~none):
        if not space.contains(actions[index]):
            raise ConformanceError("oracle", f"the action of row {index}", f"in {space}, or -1", actions[index])
    want_same("oracle", "-1 for the action (no action matters)", ~decision, none)
    return np.maximum(actions, 0)


def _returns(subject: Subject, act: Callable[[VectorEnv, np.ndarray], np.ndarray]) -> np.ndarray:
    """The returns (rows, episodes) of the first episodes of each row, which have the same levels for all agents."""
    envs = subject.many(PLAYED)
    returns, episode = np.zeros((PLAYED, EPISODES)), np.zeros(PLAYED, int)
    _, infos = envs.reset(seed=SEED)
    for _ in range(LONGEST):
        _, rewards, terminated, truncated, infos = envs.step(act(envs, infos["decision"]))
        counted = np.flatnonzero(episode < EPISODES)
        returns[counted, episode[counted]] += rewards[counted]
        episode += terminated | truncated
        if (episode >= EPISODES).all():
            return returns
    raise ConformanceError("oracle", f"the steps of {EPISODES} episodes", f"at most {LONGEST}", "more")


def check_splits(subject: Subject) -> str | None:
    """``train`` and ``test`` share no level."""
    definition = subject.definition
    every = _digests(subject, subject.many(DRAWN), TIMES)
    if len(every) > definition.distinct_levels:
        raise ConformanceError("splits", "distinct_levels", f"at least {len(every)}", definition.distinct_levels)
    if not has_split(definition):
        return "the definition has no digest, or too few distinct levels"
    train, test = (_digests(subject, subject.many(DRAWN, split=split), TIMES) for split in ("train", "test"))
    if train & test:
        seen = f"{len(train & test)} of {len(train)} in train and {len(test)} in test"
        raise ConformanceError("splits", "the number of levels in both train and test", 0, seen)
    return None


def _digests(subject: Subject, envs: VectorEnv, times: int, seed: int = SEED) -> set[int]:
    """The digests of the levels of some resets."""
    found: set[int] = set()
    for time in range(times):
        envs.reset(seed=None if time else seed)
        found |= {int(subject.definition.digest(level)) for level in levels(envs)}
    return found
