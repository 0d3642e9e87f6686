"""What the EntNet's window reads and keeps: T steps, B batch rows, N slots, W width of a slot.

Arrays are flat and C-contiguous. Lanes are neighbours in a slot, W of them ``units`` wide vectors; where there is one
number a slot, the N of them are padded to P, whole vectors.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

A = TypeVar("A")  # tensors, or flat arrays of their numbers


class Sizes(NamedTuple):
    """Sizes of a window."""

    batch: int
    slots: int
    units: int  # vectors of a slot
    across: int  # vectors of P


class Operands(NamedTuple, Generic[A]):
    """Operands of a window."""

    x: A  # (T, B, 3W): s, W s and q
    memory: A  # (B, N, W), before the window
    keys: A  # (N, W), also what an episode begins with
    key_rows: A  # (N, W), V w of each key w
    weight: A  # (W, W), U
    slopes: A  # (W,), of φ


class Tape(NamedTuple, Generic[A]):
    """Tape of all steps for their backward; or, without one, room for a single step."""

    memory: A  # (T, B, N, W), before the step, the keys where an episode begins
    sums: A  # (T, B, N, W), U h + V w + W s
    gates: A  # (T, B, P)
    scales: A  # (T, B, P), 1 / ‖h‖ of the new slots
    weights: A  # (T, B, P), with which they are read


class Results(NamedTuple, Generic[A]):
    """What a window gives."""

    reads: A  # (T, B, W), u
    written: A  # (T, B), the sum of a step's gates
    memory: A  # (B, N, W), after the window


class Gradients(NamedTuple, Generic[A]):
    """Gradients that the backward leaves; those of the weights are sums of these."""

    x: A  # (T, B, 3W)
    memory: A  # (B, N, W): of the memory after the window, then before it
    sums: A  # (T, B, N, W)
    keys: A  # (B, N, W), over all steps
    slopes: A  # (B, W), over all steps
