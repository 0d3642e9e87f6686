"""Provenance: which writes the present content of a slot is made of, and which reads saw a write.

A step with write weightings w_i, erase vectors e_i and write vectors v_i of its heads changes slot n to

    M[n] ← M[n] ∘ Π_i (1 − w_i[n] e_i) + Σ_i w_i[n] v_i

(Graves et al. 2014, equations 3 and 4; one head: Graves et al. 2016). What a slot holds at step t is therefore a sum
over the steps s that wrote it, each what later steps left of its write, and its share is the sum of absolute numbers of
its part over that of all parts. A core that empties a slot before it writes tells so by ``cleared``.

Letters in shapes: T steps, N slots, W width of a slot, V write heads, R read heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from memagents.checks import index


class Writes(NamedTuple):
    """What the steps of an episode did to a memory."""

    amounts: np.ndarray  # (T, N, W): absolute numbers written
    keeps: np.ndarray  # (T, N, W): share of what was there before that is left
    sizes: np.ndarray  # (T,): sum of the absolute numbers that a write of weight 1 writes


def writes_of(trace: Mapping[str, np.ndarray]) -> Writes:
    """Read the writes off a trace.

    :param trace: by name: ``write_weights`` (T, N) or (T, V, N), and where the core has them ``erase`` and ``add``
        (T, W) or (T, V, W), ``cleared`` (T, N). Without ``erase`` a write of weight 1 leaves nothing of what was there;
        without ``add`` all writes are alike but for their weights
    :raises ValueError: if it has no ``write_weights``
    """
    if "write_weights" not in trace:
        there = ", ".join(trace) or "nothing"
        raise ValueError(f"provenance needs a memory that writes into slots: the trace has {there}, no write_weights")
    weights = _of_heads(trace["write_weights"])[..., None]  # (T, V, N, 1)
    erase, add = (_of_heads(trace[name])[:, :, None] if name in trace else 1.0 for name in ("erase", "add"))
    amounts = np.abs(_weighted(weights, add).sum(1))
    keeps = (1 - _weighted(weights, erase)).prod(1)
    if "cleared" in trace:
        keeps = keeps * (1 - trace["cleared"])[..., None]
    amounts, keeps = np.broadcast_arrays(amounts, keeps)
    most = np.abs(np.broadcast_to(add, (*weights.shape[:3], amounts.shape[2]))).max(axis=(1, 2))  # (T, W)
    return Writes(amounts, keeps, most.sum(1))


def origins(writes: Writes, step: int, slot: int) -> np.ndarray:
    """Return the share of each step in what a slot holds after a step.

    :return: (step + 1,), of sum 1; zeros if nothing was written, NaN if something that was is no number
    :raises ValueError: if there is no such step or slot
    """
    _check(writes, step, slot)
    return _shares(surviving(writes, step, np.array([slot]))[:, 0])


def read_origins(writes: Writes, read_weights: np.ndarray, step: int) -> np.ndarray:
    """Return the share of each step in what was read in a step.

    :param read_weights: of one head in that step, (N,)
    :return: (step + 1,), of sum 1; zeros if nothing was read
    :raises ValueError: if there is no such step, or the weights are not those of one head
    """
    _check(writes, step, read_weights=read_weights, shapes=("N",))
    slots = np.flatnonzero(read_weights)
    return _shares(surviving(writes, step, slots) @ read_weights[slots])


def read_sources(writes: Writes, read_weights: np.ndarray, step: int) -> np.ndarray:
    """Return the weight of each step in what each head reads in a step.

    That is its share, as of :func:`read_origins`, times how much is read at all: Σ_s c_s, at most 1, where the read is
    Σ_s c_s v_s. What reads slots that were hardly written reads hardly anything.

    :param read_weights: of all heads in that step, (R, N), or (N,) of one
    :return: (R, step + 1), each row of a sum of 1 at most
    :raises ValueError: if there is no such step, or the weights have another shape
    """
    _check(writes, step, read_weights=read_weights, shapes=("N", "R, N"))
    reads = np.atleast_2d(read_weights)
    slots = np.flatnonzero(reads.any(0))
    amounts = reads[:, slots] @ surviving(writes, step, slots).T
    sizes = writes.sizes[: step + 1]
    parts = np.divide(amounts, sizes, out=np.zeros_like(amounts), where=sizes > 0)
    return np.stack([_shares(own) * min(1.0, part.sum()) for own, part in zip(amounts, parts, strict=True)])


def later_reads(writes: Writes, read_weights: np.ndarray, step: int, slot: int) -> np.ndarray:
    """Return the share of one write into one slot in what was read from then on.

    :param read_weights: (T, R, N), or (T, N) of one head
    :return: (T, R); zeros before the step, NaN where what is read is no number
    :raises ValueError: if there is no such step or slot, or the weights have another shape
    """
    _check(writes, step, slot, read_weights, ("T, N", "T, R, N"))
    reads = _of_heads(read_weights)
    shares = np.zeros(reads.shape[:2])
    own, whole = writes.amounts[step, slot], _contents(writes, step)
    for t in range(step, len(shares)):
        if t > step:
            own = own * writes.keeps[t, slot]
            whole = whole * writes.keeps[t] + writes.amounts[t]
        read = _weighted(reads[t], whole.sum(-1)).sum(-1)
        shares[t] = np.divide(reads[t, :, slot] * own.sum(), read, out=np.zeros_like(read), where=read != 0)
    return shares


def surviving(writes: Writes, step: int, slots: np.ndarray) -> np.ndarray:
    """Return how much of each write is left in some slots after a step, (step + 1, K)."""
    left = np.ones_like(writes.keeps[0, slots])
    amounts = np.zeros((step + 1, len(slots)))
    for s in range(step, -1, -1):
        amounts[s] = (writes.amounts[s, slots] * left).sum(-1)
        left = left * writes.keeps[s, slots]
    return amounts


def _check(
    writes: Writes, step: int, slot: int = 0, read_weights: np.ndarray | None = None, shapes: Sequence[str] = ()
) -> None:
    """:raises ValueError: if there is no such step or slot, or the weights have none of the shapes"""
    steps, slots = writes.amounts.shape[:2]
    index("step", step, steps)
    index("slot", slot, slots)
    if read_weights is None:
        return
    known = {"T": steps, "N": slots}
    for letters in (shape.split(", ") for shape in shapes):
        if read_weights.ndim == len(letters) and all(
            known.get(letter, size) == size for letter, size in zip(letters, read_weights.shape, strict=True)
        ):
            return
    allowed = " or ".join(f"({shape}{',' * (len(shape) == 1)})" for shape in shapes)
    sizes = f"T is {steps} and N is {slots}" if "T" in shapes[0] else f"N is {slots}"
    raise ValueError(f"read_weights must have the shape {allowed}, where {sizes}, not {read_weights.shape}")


def _contents(writes: Writes, step: int) -> np.ndarray:
    """Return the amounts of all writes that are left after a step, (N, W)."""
    whole = np.zeros_like(writes.amounts[0])
    for keeps, amounts in zip(writes.keeps[: step + 1], writes.amounts[: step + 1], strict=True):
        whole = whole * keeps + amounts
    return whole


def _of_heads(values: np.ndarray) -> np.ndarray:
    """Return values (T, ...) with an axis of heads, (T, V, ...)."""
    return values[:, None] if values.ndim == 2 else values


def _weighted(weights: np.ndarray, numbers: np.ndarray | float) -> np.ndarray:
    """Return numbers times weights; those of a weight of 0 are 0, also where they are no numbers."""
    return np.where(weights == 0, 0.0, weights * numbers)


def _shares(amounts: np.ndarray) -> np.ndarray:
    return np.zeros_like(amounts) if amounts.sum() == 0 else amounts / amounts.sum()
