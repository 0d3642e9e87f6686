"""Signs of health and sickness of a memory, each a figure with a sentence of advice where it looks wrong.

Everything is read off a window of experience that is run again. Letters in shapes: T steps, B rows, N slots, R heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memagents.algorithms.refresh import Past
from memagents.cores.core import State, state_leaves
from memagents.inspection.ablation import divergences
from memagents.inspection.axes import AGE, SLOT, UNIT, axes_of
from memagents.inspection.lags import gradients_by_lag
from memagents.inspection.provenance import Writes, surviving, writes_of
from memagents.inspection.replay import Named, replay
from memagents.policies.actor_critic import MemoryPolicy
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import map_observations

# Beyond these a figure looks wrong.
HUGE = 1e4  # numbers in a memory
LEAK = 1e-4  # of outputs after an episode's start, relative to their size
IDLE = 1e-3  # nats, by which a policy departs that is wiped in each step
FEW_SLOTS = 0.1  # slots for each write of an episode
UNWRITTEN = 0.9  # share of what is read that was never written
NEVER = 0.01  # writes a step
SATURATED = 0.98  # share of a gate's figures that are within 0.01 of 0 or 1
REACHING = 0.01  # of the largest gradient by what was given before, from which on one counts
SHORT = 4  # steps that gradients reach back
LONG = 16  # steps of an episode, from which on a short reach looks wrong
EXPLODING = 100  # times the gradients of lags 0 and 1
STALE = 0.05  # nats, between the policy by a stored state and by one that is found anew
NOTHING = 1e-6  # numbers that are read, from which on they count as written
WRITTEN = 0.05  # weight from which on a slot counts as written

_SAMPLED_READS = 64  # whose provenance is looked up: all would take long


class Sign(NamedTuple):
    """A figure of a memory.

    :param name: as it is logged
    :param value: the figure
    :param meaning: of the figure, in a few words
    :param advice: a sentence where it looks wrong, else None
    """

    name: str
    value: float
    meaning: str
    advice: str | None = None


GRADIENT_LAG = "gradient_lag_"  # with the lag in steps behind it, and critic_ before it where it is that memory's


class _Case(NamedTuple):
    """What the signs are read off."""

    policy: CorePolicy
    seen: Past
    outputs: Tensor  # (T, B, O)
    trace: Named  # (T, B, ...) of the actor's memory
    after: State
    axes: dict[str, tuple[str, ...]]


@torch.no_grad()
def signs_of(policy: CorePolicy, seen: Past) -> list[Sign]:
    """Examine a memory by a window of experience; what does not apply to it is left out.

    :param policy: whose memory it is
    :param seen: which must hold a step at least
    """
    again = replay(policy, seen.observations, seen.initial_state, seen.starts)
    case = _Case(policy, seen, again.outputs, again.trace, again.state, axes_of(policy.core, again.trace))
    return [sign for find in _SIGNS for sign in find(case)]


@torch.no_grad()
def staleness(policy: MemoryPolicy, before: Past, now: Past) -> Sign:
    """Compare the state that was stored at a window's start with the one that the present weights would come to.

    :param before: the window before
    :param now: the window, of which the first step is looked at
    """
    first, states = map_observations(lambda values: values[0], now.observations), before.refreshed(policy, now)
    own, other = (policy.look(first, state, now.starts[0]) for state in (states, now.initial_state))
    value = float(np.mean(divergences(policy, own, other)))
    advice = None
    if value > STALE:
        advice = (
            f"stored states are stale: the policy by them departs from that by fresh ones by {value:.2g} nats; learn "
            "more slowly (--learning-rate, --n-epochs) or from longer windows (--n-steps)"
        )
    return Sign("staleness", value, "divergence of the policy by stored states, nats", advice)


# --- signs of any memory --------------------------------------------------------------------------------------------


def _largest(case: _Case) -> Iterator[Sign]:
    floats = [leaf for leaf in state_leaves(case.after) if leaf.is_floating_point() or leaf.is_complex()]
    sizes = [float(leaf.abs().amax()) for leaf in floats if leaf.numel()]
    if not sizes:
        return
    value, advice = max(sizes), None
    if not all(np.isfinite(size) for size in sizes):
        value = float("inf")
        advice = (
            "the memory holds numbers that are not finite: lower --learning-rate or --max-grad-norm, and look whether "
            "observations or rewards are"
        )
    elif value > HUGE:
        advice = (
            f"the memory holds numbers up to {value:.2g}, which float32 soon cannot add to any more: normalise the "
            "observations (--normalize-observations) or lower --learning-rate"
        )
    yield Sign("largest_number", value, "largest absolute number in the state", advice)


def _leak(case: _Case) -> Iterator[Sign]:
    """What an episode's first step gives must not depend on what came before it."""
    steps, rows = torch.nonzero(case.seen.starts, as_tuple=True)
    later = steps > 0
    if not later.any():
        return
    steps, rows = steps[later][:_SAMPLED_READS], rows[later][:_SAMPLED_READS]
    alone = map_observations(lambda values: values[steps, rows][None], case.seen.observations)
    never = case.seen.starts.new_zeros(1, len(steps))
    fresh = replay(case.policy, alone, case.policy.initial_state(len(steps)), never)
    own = case.outputs[steps, rows]
    value = float((own - fresh.outputs[0]).abs().amax() / own.abs().amax().clamp(min=1e-6))
    advice = None
    if value > LEAK and not _draws(case.seen.initial_state):
        advice = (
            f"an episode begins with something of the one before: its first outputs differ by {value:.2g} of their "
            "size from those of a fresh memory; hold the core against memagents.testing.check_core"
        )
    yield Sign("leak", value, "dependence of an episode's first output on the episode before", advice)


def _draws(state: Any) -> bool:
    """Return whether a core draws random numbers, by which its outputs differ anyway."""
    fields = getattr(state, "_fields", ())
    return "key" in fields or any(_draws(part) for part in state if isinstance(part, tuple))


def _needed(case: _Case) -> Iterator[Sign]:
    remembers = any(leaf.numel() for leaf in state_leaves(case.seen.initial_state))
    if not (remembers and isinstance(case.policy, MemoryPolicy)):
        return
    whole = case.outputs.flatten(0, 1)
    starts = torch.ones_like(case.seen.starts)
    wiped = case.policy.unroll(case.seen.observations, case.seen.initial_state, starts)[0].flatten(0, 1)
    value, advice = float(np.mean(divergences(case.policy, whole, wiped))), None
    if value < IDLE:
        advice = (
            f"the memory is hardly used: wiped in every step, the policy departs by {value:.2g} nats only. Either the "
            "task needs none (--core none is faster), or it has not been learned yet (docs/training.md: recall_lag, "
            "--n-steps)"
        )
    yield Sign("use", value, "divergence of the policy when its memory is wiped in every step, nats", advice)


def _gradients(case: _Case) -> Iterator[Sign]:
    """How far back gradients reach, and whether they vanish or explode on the way (Bengio et al. 1994)."""
    if isinstance(case.policy, MemoryPolicy):
        for memory, norms in gradients_by_lag(case.policy, case.seen).items():
            if len(norms) > 1:
                yield from _gradients_of(memory, norms)


def _gradients_of(memory: str, norms: np.ndarray) -> Iterator[Sign]:
    """Return the signs of one memory.

    :param memory: before the names, as that of :func:`memagents.inspection.lags.gradients_by_lag`
    :param norms: by lag, (K,)
    """
    whose = " of the critic's memory" if memory else ""
    largest, recent = float(norms[1:].max()), float(norms[:2].max())
    finite = bool(np.isfinite(norms).all())
    growth, advice = (largest / max(recent, 1e-30) if finite else float("inf")), None
    if growth > EXPLODING:
        told = f"{growth:.2g} times those of the present one" if finite else "not finite"
        advice = (
            f"gradients{whose} explode: those of earlier steps are {told}; lower --learning-rate or --max-grad-norm, "
            "or learn from shorter windows (--n-steps)"
        )
    yield Sign(
        f"{memory}gradient_growth", growth, "largest gradient by an earlier input over that by the last two", advice
    )
    if not finite:
        return
    for lag in _doublings(len(norms)):
        value = float(norms[lag] / norms[0]) if norms[0] else 0.0
        meaning = f"gradient by the input {lag} steps before over that by the present"
        yield Sign(f"{memory}{GRADIENT_LAG}{lag}", value, meaning)
    reach, short = int(np.flatnonzero(norms[1:] >= REACHING * largest)[-1]) + 1 if largest else 0, None
    if reach < SHORT and len(norms) > LONG:
        short = (
            f"gradients{whose} vanish: they reach {reach} steps back in episodes of {len(norms)} and more, so that "
            "nothing older is learned to be kept; begin with longer time scales (--core-kwargs horizon=50 of LSTM and "
            "GRU), or ask the memory for the past (recall_lag, docs/training.md)"
        )
    yield Sign(f"{memory}gradient_reach", reach, "steps back to which gradients are 1% or more of their largest", short)


def _doublings(end: int) -> Iterator[int]:
    """Yield 1, 2, 4, ... below a number."""
    lag = 1
    while lag < end:
        yield lag
        lag *= 2


# --- signs of slots -------------------------------------------------------------------------------------------------


def _slots(case: _Case) -> Iterator[Sign]:
    if case.axes.get("write_weights", ())[-1:] != (SLOT,):
        return
    weights = case.trace["write_weights"]
    weights = weights if weights.dim() == 3 else weights.amax(2)  # (T, B, N)
    per_step, advice = float(weights.sum(2).mean()), None
    if per_step < NEVER:
        advice = (
            f"hardly anything is written ({per_step:.2g} writes a step): the write gate is shut; raise "
            "--memory-learning-rate, or begin with a core that is ready to record"
        )
    yield Sign("writes_per_step", per_step, "sum of write weights in a step", advice)
    largest = weights.amax(2)
    done = largest > WRITTEN
    if done.any():
        sharp = float((largest / weights.sum(2).clamp(min=1e-12))[done].mean())
        yield Sign("write_sharpness", sharp, "largest weight of a write over their sum")
    number = weights.shape[2]
    written, writes = _longest_episode(case, weights > WRITTEN)
    yield Sign("slots_written", written / number, "share of slots written in the longest episode")
    advice, most = None, min(number, writes)
    if most >= 1 / FEW_SLOTS and written <= FEW_SLOTS * most:
        advice = (
            f"of {number} slots {written} took all {writes} writes of an episode: what is new falls on what is there; "
            "raise --memory-learning-rate, or give the memory something to recall (recall_lag, docs/training.md)"
        )
    yield Sign(
        "slots_per_write", written / max(most, 1), "share of an episode's writes that found a slot of their own", advice
    )


def _longest_episode(case: _Case, written: Tensor) -> tuple[int, int]:
    """Return how many slots were written in the longest stretch of an episode, and in how many steps.

    :param written: (T, B, N) booleans
    """
    starts = case.seen.starts.cpu().numpy()
    first, end, row = max(
        ((begin, stop, row) for row in range(starts.shape[1]) for begin, stop in _stretches(starts[:, row])),
        key=lambda stretch: stretch[1] - stretch[0],
    )
    part = written[first:end, row]
    return int(part.any(0).sum()), int(part.any(1).sum())


def _stretches(starts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield where the episodes of a row begin and end in the window, (T,)."""
    bounds = sorted({0, *np.flatnonzero(starts).tolist(), len(starts)})
    yield from pairwise(bounds)


def _reads(case: _Case) -> Iterator[Sign]:
    if case.axes.get("read_weights", ())[-1:] != (SLOT,):
        return
    reads = case.trace["read_weights"]
    reads = reads if reads.dim() == 4 else reads.unsqueeze(2)  # (T, B, R, N)
    total = reads.sum(3)
    sharp = float((reads.amax(3) / total.clamp(min=1e-12)).mean())
    yield Sign("read_sharpness", sharp, "largest weight of a read over their sum")
    if "write_weights" not in case.trace:
        return
    unwritten, ages = _read_provenance(case, reads)
    advice = None
    if unwritten > UNWRITTEN:
        advice = (
            f"{unwritten:.0%} of what is read was never written in its episode: the reads are dead; raise "
            "--memory-learning-rate, or give the memory something to recall (recall_lag, docs/training.md)"
        )
    yield Sign("read_unwritten", unwritten, "share of reads of what was never written", advice)
    if np.isfinite(ages):
        yield Sign("read_age", ages, "mean age of what is read, steps")


def _read_provenance(case: _Case, reads: Tensor) -> tuple[float, float]:
    """Return the share of sampled reads that fall on what was never written, and the mean age of the others."""
    rng = np.random.default_rng(0)
    steps, rows = case.seen.starts.shape
    begun = _beginnings(case.seen.starts.cpu().numpy())
    known: dict[tuple[int, int], Writes] = {}
    weight, empty, old, found = 0.0, 0.0, 0.0, 0.0
    for _ in range(_SAMPLED_READS):
        row, step, head = (int(rng.integers(size)) for size in (rows, steps, reads.shape[2]))
        first = begun[step, row]
        if first < 0:  # the episode began before the window
            continue
        if (row, first) not in known:
            following = np.flatnonzero(begun[:, row] > first)
            end = int(following[0]) if len(following) else steps
            part = {name: values[first:end, row].cpu().numpy() for name, values in case.trace.items()}
            known[row, first] = writes_of(part)
        own = reads[step, row, head].cpu().numpy()
        slots = np.flatnonzero(own)
        amounts = surviving(known[row, first], step - first, slots) @ own[slots]
        total = float(own.sum())
        weight += total
        if amounts.sum() < NOTHING:
            empty += total
        else:
            old += total * float(amounts @ np.arange(len(amounts))[::-1]) / float(amounts.sum())
            found += total
    return (empty / weight if weight else 0.0), (old / found if found else float("nan"))


def _beginnings(starts: np.ndarray) -> np.ndarray:
    """Return the step at which the episode of each step began, (T, B); −1 where that was before the window."""
    places = np.where(starts, np.arange(len(starts))[:, None], -1)
    return np.maximum.accumulate(places, axis=0)


# --- signs of stores and of gates -----------------------------------------------------------------------------------


def _attention(case: _Case) -> Iterator[Sign]:
    found = [values for name, values in case.trace.items() if case.axes[name][-1:] == (AGE,)]
    if not found:
        return
    ages, sharp = [], []
    for weights in found:
        size = weights.shape[-1]
        total = weights.sum(-1)
        age = (weights * torch.arange(size - 1, -1, -1, device=weights.device)).sum(-1) / total.clamp(min=1e-12)
        ages.append(float(age[total > 0].mean()) if (total > 0).any() else 0.0)
        sharp.append(float((weights.amax(-1) / total.clamp(min=1e-12)).mean()))
    yield Sign("read_age", float(np.mean(ages)), "mean age of what is attended to, steps")
    yield Sign("read_sharpness", float(np.mean(sharp)), "largest weight of attention over their sum")


def _gates(case: _Case) -> Iterator[Sign]:
    for name, values in case.trace.items():
        if not (name.endswith("_gate") and case.axes[name][-1:] == (UNIT,)):
            continue
        shut, open_ = (float(part.float().mean()) for part in (values < 0.01, values > 0.99))
        advice, called = None, name.replace("_", " ")
        if shut + open_ > SATURATED:
            state = "open" if open_ > shut else "shut"
            advice = (
                f"the {called} is {state} in {max(shut, open_):.0%} of all steps and units, where it learns nothing: "
                "lower --learning-rate or normalise the observations (--normalize-observations)"
            )
        yield Sign(f"{name}_saturated", shut + open_, f"share of the {called}'s figures near 0 or 1", advice)


_SIGNS: tuple[Callable[[_Case], Iterator[Sign]], ...] = (
    *(_largest, _leak, _needed, _gradients, _slots, _reads, _attention, _gates),
)
