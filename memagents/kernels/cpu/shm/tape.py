"""What the window of a Stable Hadamard Memory reads and gives: T steps, B batch rows, H width, L learned vectors θ.

Arrays are flat and C-contiguous. Lanes are neighbours in a row of M, H of them whole wide vectors.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

A = TypeVar("A")  # tensors, or flat arrays of their numbers


class Operands(NamedTuple, Generic[A]):
    """Operands of a window."""

    x: A  # (T, B, 5H + 1): q, k, v, v_c, η and the skip
    thetas: A  # (L, H)
    drawn: A  # (T, B), which of them, integers
    memory: A  # (B, H, H), before the window


class Gradients(NamedTuple, Generic[A]):
    """Gradients that the backward leaves."""

    x: A  # (T, B, 5H + 1)
    thetas: A  # (T, B, H), of those drawn
    memory: A  # (B, H, H): of the memory after the window, then before it
