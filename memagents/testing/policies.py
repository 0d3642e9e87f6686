"""The conformance kit of recurrent policies: acting as Stable-Baselines3 does, by ``predict`` alone."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import numpy as np

from memagents.testing.conformance import Check, Difference, check, require, run_checks
from memagents.testing.observations import at, map_observations, observations_of
from memagents.testing.policy_case import Played, PolicyCase, same_leaves


@check(
    "predict returns new arrays and a new state in every call and changes none that it is given: no buffer that is "
    "reused, no update in place."
)
def arrays(case: PolicyCase) -> None:
    """Actions and states that ``predict`` returned are not changed by later calls, nor is what it is given."""
    played = case.play(case.first)
    for step, (actions, state) in enumerate(played.kept):
        seen = f"what predict returned at step {step} as {{}} was changed by a later call"
        require(same_leaves(played.actions[step], actions), seen.format("actions"))
        require(same_leaves(played.states[step + 1], state), seen.format("state"))
    observation = at(case.observations, 0)
    given = (observation, played.states[-1], case.first[0])
    before = copy.deepcopy(given)
    case.subject.predict(given[0], state=given[1], episode_start=given[2], deterministic=True)
    for name, now, then in zip(("observation", "state", "episode_start"), given, before, strict=True):
        require(same_leaves(now, then), f"predict changes the {name} that it is given")


@check("Carry all that is remembered in the state that predict takes and returns, nothing on the policy.")
def replay(case: PolicyCase) -> None:
    """A sequence played again gives the same, from its beginning and from a state in its middle."""
    first, again = case.play(case.first), case.play(case.first)
    _agree(case, "a sequence played twice", again, first)
    middle = case.steps // 2
    rest = case.play(case.first[middle:] & False, first.states[middle])
    _agree(case, f"a sequence played again from the state before step {middle}", rest, first, skip=middle)


@check(
    "Nothing could be compared. Ask with more rows and steps, a smaller tolerance or observations of env, train the "
    "policy first (a new one may choose one action everywhere), or skip 'memory' for one meant to remember nothing."
)
def memory(case: PolicyCase) -> None:
    """What is seen of the policy depends on what came before, by far more than the tolerance, so that leaks show."""
    carried = case.play(case.first)
    state = case.fresh(carried.states[1])
    alone = [
        case.play(case.first[:1], state, at(case.observations, slice(t, t + 1))).seen[0] for t in range(case.steps)
    ]
    changed = any(case.differ(carried.seen[t], alone[t], slice(None), 5) for t in range(1, case.steps))
    seen = " and ".join(carried.seen[0])
    require(changed, f"no step differs, whether the state is carried or not: no memory is seen in {seen}")


@check("A row is an environment of its own: nothing in predict may look along the batch (BatchNorm in training does).")
def rows(case: PolicyCase) -> None:
    """Other observations in all other rows leave a row as it was."""
    before = case.play(case.first)
    for row in range(case.rows):
        others = np.arange(case.rows) != row

        def shifted(values: np.ndarray, others: np.ndarray = others) -> np.ndarray:
            changed = values.copy()
            changed[:, others] = np.roll(values[::-1], 1, axis=1)[:, others]
            return changed

        after = case.play(case.first, observations=map_observations(shifted, case.observations))
        _agree(case, f"with other observations in the other rows, row {row}", after, before, rows=[row])


_LATE = (
    "The reset comes one step late: where episode_start is true, clear the row's state before the policy acts on that "
    "observation. A trainer must pass the flags that belong to the observation, not those of the step before."
)
_NEVER = "episode_start is ignored: where it is true, set the row's state to what predict uses for state=None."


@check(
    "Something of the earlier episode survives: where episode_start is true, set the row's whole state (of all layers, "
    "of actor and critic, frames and earlier actions too) to what predict uses for state=None."
)
def starts(case: PolicyCase) -> None:
    """From ``episode_start`` on, at any step, all is as from a fresh state; other rows stay as they were."""
    undisturbed = case.play(case.first)
    begins = np.arange(case.rows) % 2 == 0
    for step in range(1, case.steps):
        flags = case.first
        flags[step] = begins
        played = case.play(flags)
        fresh = case.play(case.first[: case.steps - step], case.fresh(undisturbed.states[step]))
        what = f"rows with episode_start at step {step} and with a fresh state"
        try:
            _agree(case, what, played, fresh, begins, step)
        except Difference as difference:
            raise Difference(str(difference), _cause(case, played, undisturbed, begins, step)) from None
        _agree(case, f"rows without episode_start, where others have it at step {step},", played, undisturbed, ~begins)
    same = case.play(case.first & False)
    _agree(case, "state=None with episode_start true and false", same, undisturbed)


def _cause(case: PolicyCase, played: Played, undisturbed: Played, begins: np.ndarray, step: int) -> str | None:
    """Advice for two causes that show in what is seen; None for any other."""
    if _agrees(case, played, undisturbed, begins):
        return _NEVER
    if step + 1 < case.steps:
        never = np.zeros((case.steps - step - 1, case.rows), bool)  # or the fresh sequence would be reset late as well
        late = case.play(never, case.fresh(undisturbed.states[step + 1]))
        if _agrees(case, played, late, begins, step + 1):
            return _LATE
    return None


@check(
    "What is learned from is not what was done: evaluate the window from the state and with the episode starts that "
    "acting had, each reset before its step, in the same order of rows and steps."
)
def window(case: PolicyCase) -> None:
    """Log-probabilities and values of a whole window are those of acting, with episodes that begin within it.

    Asked where the policy can evaluate a window and is of a kind that is known.
    """
    if case.probe is None:
        return
    flags = case.first
    for step in range(1, case.steps):
        flags[step, step % case.rows] = True
    for name, begins in (("without episodes that begin in it", case.first), ("with episodes that begin in it", flags)):
        acted, learned = case.probe.acting_and_learning(case.observations, begins)
        for step in range(case.steps):
            now = {key: values[step] for key, values in acted.items()}
            difference = case.differ({key: values[step] for key, values in learned.items()}, now, slice(None))
            require(not difference, f"acting and a window {name} differ at step {step} in {difference}")


POLICY_CHECKS: tuple[Check[PolicyCase], ...] = (arrays, replay, memory, rows, starts, window)
"""All checks of a recurrent policy, in the order in which :func:`check_recurrent_policy` runs them."""


def check_recurrent_policy(
    policy_or_model: Any,
    env: Any = None,
    *,
    rows: int = 8,
    steps: int = 8,
    tolerance: float = 3e-6,
    seed: int = 0,
    skip: Collection[str] = (),
) -> None:
    """Hold a recurrent policy against what acting and learning rely on: memory is carried, and reset in time.

    For any policy or model with ``predict(observation, state, episode_start, deterministic)`` as in Stable-Baselines3:
    ours, sb3-contrib's ``RecurrentPPO``, your own. It is asked through ``predict`` for deterministic actions; of ours
    and sb3-contrib's, log-probabilities and values are compared as well, in which much smaller differences show. The
    checks, in their order, with their cost in calls of ``predict`` on a batch of ``rows``:

    - ``arrays`` (T): what ``predict`` returned stays as it is, and so does what it is given.
    - ``replay`` (2.5 T): a sequence played again, from its beginning or its middle, gives the same.
    - ``memory`` (2 T): memory shows in what is compared; otherwise nothing below could fail.
    - ``rows`` ((B + 1) T): rows of the batch do not mix.
    - ``starts`` (1.5 T²): ``episode_start`` gives what a fresh state gives; late and missing resets are named.
    - ``window`` (4 T): log-probabilities and values of a window, as learning sees it, are those of acting.

    Where a state has a leaf named ``key``, from which random draws are made, the key goes on over the starts of
    episodes, in the fresh state as well.

    :param policy_or_model: the policy, or a model with ``predict`` and ``policy``
    :param env: a gymnasium environment or an SB3 ``VecEnv`` whose observations are used; None: random ones of the space
    :param rows: B, at least 2
    :param steps: T, at least 4
    :param tolerance: relative and absolute, for all but integers
    :param seed: of the observations
    :param skip: names of checks left out
    :raises ConformanceError: by the first check that fails, with its name, the difference seen, and advice
    :raises ValueError: for arguments that are not allowed
    """
    case = policy_case(policy_or_model, env, rows=rows, steps=steps, tolerance=tolerance, seed=seed)
    run_checks(POLICY_CHECKS, case, skip)


def policy_case(
    policy_or_model: Any, env: Any = None, *, rows: int = 8, steps: int = 8, tolerance: float = 3e-6, seed: int = 0
) -> PolicyCase:
    """What a single check of :data:`POLICY_CHECKS` takes; parameters as of :func:`check_recurrent_policy`."""
    for name in ("predict", "observation_space", "action_space"):
        if not hasattr(policy_or_model, name):
            raise ValueError(f"policy_or_model must have {name}, which {type(policy_or_model).__name__} lacks")
    for name, value, least in (("rows", rows, 2), ("steps", steps, 4)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, not {value!r}")
    observations = observations_of(policy_or_model.observation_space, env, steps, rows, seed)
    return PolicyCase(policy_or_model, observations, tolerance)


# --- comparisons ------------------------------------------------------------------------------------------------------


def _agree(
    case: PolicyCase, what: str, actual: Played, expected: Played, rows: Any = slice(None), skip: int = 0
) -> None:
    """Require two sequences to agree in some rows; ``skip`` steps of the longer one come before the shorter begins."""
    shift = len(actual.seen) - len(expected.seen)
    for step in range(skip, case.steps):
        first = actual.seen[step - max(0, -shift)]
        second = expected.seen[step - max(0, shift)]
        difference = case.differ(first, second, rows)
        require(not difference, f"{what} differ at step {step} in {difference}")


def _agrees(case: PolicyCase, actual: Played, expected: Played, rows: Any, skip: int = 0) -> bool:
    try:
        _agree(case, "", actual, expected, rows, skip)
    except Difference:
        return False
    return True
