"""Actions between Gymnasium's arrays and what an environment's functions see of each: an integer, or of a Box a row."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import ArrayLike

from memenvs.compilation import njit

MOST_BITS = 32
MOST_NUMBERS = 2**31


class Coding:
    """How actions reach the functions of an environment: but for a Box, as one integer each."""

    def number(self, action: Any) -> int:
        """Return the integer of a single action, or -1 for one of which ``numbers`` has to find out what it is.

        In plain Python, since NumPy and a compiled function take longer over one action than all the rest of a step.
        """
        return -1

    def room(self, size: int) -> np.ndarray:
        """Return an array for the actions of so many environments, as the compiled loops take them."""
        return np.zeros(size, np.int64)


class Numbers(Coding):
    """``Discrete(n)`` actions, from 0: the number is the integer."""

    def __init__(self, space: Discrete, name: str):
        self.n = int(space.n)
        self.name = name

    def number(self, action: Any) -> int:
        if type(action) is not int:
            action = int(action) if isinstance(action, np.integer) else -1
        return action if 0 <= action < self.n else -1

    def numbers(self, actions: ArrayLike, size: int) -> np.ndarray:
        """Return the actions as contiguous int64 (B,), or raise a ``ValueError`` that names the allowed ones."""
        array = np.asarray(actions)
        if array.shape != (size,) or array.dtype.kind not in "iu":
            raise ValueError(f"actions must be integers of shape ({size},), not {array.dtype} {array.shape}")
        numbers = np.ascontiguousarray(array, dtype=np.int64)
        if not all_within(numbers, self.n):
            wrong = array[(array < 0) | (array >= self.n)][0]
            raise ValueError(f"an action of {self.name} must be from 0 to {self.n - 1}, not {wrong}")
        return numbers

    def actions(self, numbers: np.ndarray) -> np.ndarray:
        """The actions (B,) that numbers (B,) stand for, -1 for none."""
        return numbers


class Bits(Coding):
    """``MultiBinary(n)`` actions: bit i of the integer is ``action[i]``."""

    def __init__(self, space: MultiBinary, name: str):
        if len(space.shape) != 1 or not 1 <= space.shape[0] <= MOST_BITS:
            raise ValueError(f"action_space must be MultiBinary(n) with n from 1 to {MOST_BITS}, not {space}")
        self.n = int(space.shape[0])
        self.name = name

    def number(self, action: Any) -> int:
        number = 0
        for place, bit in enumerate(_entries(action, self.n)):
            if bit != 0 and bit != 1:
                return -1
            number |= bit << place
        return number

    def numbers(self, actions: ArrayLike, size: int) -> np.ndarray:
        """Return the actions (B, n) packed into int64 (B,), or raise a ``ValueError`` that names the allowed ones."""
        array = np.asarray(actions)
        if array.shape != (size, self.n) or array.dtype.kind not in "biu":
            raise ValueError(
                f"actions must be integers or booleans of shape ({size}, {self.n}), not {array.dtype} {array.shape}"
            )
        # In two types only, since each is compiled for; what is no bit in one of one byte is none as an unsigned one.
        bits = np.ascontiguousarray(array)
        bits = bits.view(np.uint8) if bits.dtype.itemsize == 1 else bits.astype(np.int64, copy=False)
        numbers = np.empty(size, np.int64)
        if not pack(bits, numbers):
            wrong = array[(bits < 0) | (bits > 1)][0]
            raise ValueError(f"an action of {self.name} must be {self.n} values 0 or 1, not {wrong}")
        return numbers

    def actions(self, numbers: np.ndarray) -> np.ndarray:
        """The actions (B, n), int64, that numbers (B,) stand for; rows of -1 for -1."""
        actions = np.empty((numbers.size, self.n), np.int64)
        unpack(numbers, actions)
        return actions


class Digits(Coding):
    """``MultiDiscrete(nvec)`` actions: the entries are the digits of the integer, the first one the highest.

    With ``nvec`` of tens the integer is the number that the digits are written as.
    """

    def __init__(self, space: MultiDiscrete, name: str):
        sizes = [int(size) for size in space.nvec.reshape(-1)]
        if space.nvec.ndim != 1 or np.any(space.start) or math.prod(sizes) > MOST_NUMBERS:
            raise ValueError(
                f"action_space must be MultiDiscrete from 0, one row of at most 2^31 actions in all, not {space}"
            )
        self.sizes, self._sizes = np.array(sizes, np.int64), sizes
        self.n = math.prod(sizes)
        self.name = name

    def number(self, action: Any) -> int:
        number = 0
        for digit, size in zip(_entries(action, len(self._sizes)), self._sizes, strict=True):
            if not 0 <= digit < size:
                return -1
            number = number * size + digit
        return number

    def numbers(self, actions: ArrayLike, size: int) -> np.ndarray:
        """Return the actions (B, n) as integers (B,), or raise a ``ValueError`` that names the allowed ones."""
        array, digits = np.asarray(actions), self.sizes.size
        if array.shape != (size, digits) or array.dtype.kind not in "iu":
            raise ValueError(f"actions must be integers of shape ({size}, {digits}), not {array.dtype} {array.shape}")
        numbers = np.empty(size, np.int64)
        if not join(np.ascontiguousarray(array, dtype=np.int64), self.sizes, numbers):
            row, place = np.argwhere((array < 0) | (array >= self.sizes))[0]
            raise ValueError(
                f"entry {place} of an action of {self.name} must be from 0 to {self.sizes[place] - 1}, "
                f"not {array[row, place]}"
            )
        return numbers

    def actions(self, numbers: np.ndarray) -> np.ndarray:
        """The actions (B, n), int64, that numbers (B,) stand for; rows of -1 for -1."""
        actions = np.empty((numbers.size, self.sizes.size), np.int64)
        divide(numbers, self.sizes, actions)
        return actions


def _entries(action: Any, count: int) -> list[int]:
    """The integers of an array of so many, or as many that are none."""
    known = isinstance(action, np.ndarray) and action.shape == (count,) and action.dtype.kind in "iu"
    return action.tolist() if known else [-1] * count


class Reals(Coding):
    """``Box`` actions: arrays of the space's shape and dtype, as they are."""

    def __init__(self, space: Box, name: str):
        bounded = np.isfinite(space.low).all() and np.isfinite(space.high).all()
        if space.dtype not in (np.float32, np.float64) or not space.shape or not bounded:
            raise ValueError(
                "action_space must be a Box of float32 or float64 with finite bounds and one axis or more, "
                f"not {space!r}"
            )
        self.low, self.high, self.shape = space.low, space.high, space.shape
        self.dtype = space.low.dtype
        self.name = name

    def room(self, size: int) -> np.ndarray:
        """Return an array for the actions of so many environments, as the compiled loops take them."""
        return np.zeros((size, *self.shape), self.dtype)

    def numbers(self, actions: ArrayLike, size: int) -> np.ndarray:
        """Return the actions (B, ...) as a fresh array of the space's dtype, or raise a ``ValueError`` about them.

        Those beyond the bounds stay as they are.
        """
        array, shape = np.asarray(actions), (size, *self.shape)
        if array.shape != shape or array.dtype.kind not in "iuf":
            raise ValueError(f"actions must be real numbers of shape {shape}, not {array.dtype} {array.shape}")
        with np.errstate(over="ignore") if array.dtype != self.dtype else contextlib.nullcontext():
            numbers = array.astype(self.dtype, order="C")  # a copy: for a read-only array all would be compiled anew
        if not all_finite(numbers.reshape(-1)):
            wrong = array[~np.isfinite(numbers)][0]
            raise ValueError(f"an action of {self.name} must be finite numbers of {self.dtype}, not {wrong}")
        return numbers

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draw actions (B, ...) uniformly within the bounds."""
        return rng.uniform(self.low, self.high, (size, *self.shape)).astype(self.dtype)


def coding(space: gymnasium.Space, name: str) -> Numbers | Bits | Digits | Reals:
    """Return the coding of a space's actions for the compiled functions.

    :param space: ``Discrete``, ``MultiDiscrete``, ``MultiBinary(n)`` of up to 32 bits, or a bounded ``Box`` of floats
    :param name: of the environment, for messages
    """
    if isinstance(space, Box):
        return Reals(space, name)
    if isinstance(space, MultiDiscrete):
        return Digits(space, name)
    if isinstance(space, MultiBinary):
        return Bits(space, name)
    if isinstance(space, Discrete) and space.start == 0:
        return Numbers(space, name)
    raise ValueError(f"action_space must be Discrete, from 0, MultiDiscrete, MultiBinary or Box, not {space}")


@njit
def all_within(actions, n):
    """Return whether every action is one of 0 to n - 1."""
    within = True
    for i in range(actions.size):
        within &= (actions[i] >= 0) & (actions[i] < n)
    return within


@njit
def all_finite(values):
    """Return whether no value is infinite or none at all."""
    finite = True
    for i in range(values.size):
        finite &= abs(values[i]) < np.inf
    return finite


@njit
def pack(bits, numbers):
    """Write the rows of bits (B, n) as integers, the first bit the lowest.

    :return: whether all bits were 0 or 1
    """
    bad = False
    for i in range(bits.shape[0]):
        number = np.int64(0)
        for j in range(bits.shape[1]):
            bit = np.int64(bits[i, j])
            bad |= (bit & ~1) != 0
            number |= bit << j
        numbers[i] = number
    return not bad


@njit
def unpack(numbers, bits):
    """Undo :func:`pack`; a negative number gives a row of -1."""
    for i in range(bits.shape[0]):
        number, none = numbers[i], numbers[i] < 0
        for j in range(bits.shape[1]):
            bits[i, j] = -1 if none else (number >> j) & 1


@njit
def join(digits, sizes, numbers):
    """Write the rows of digits (B, n) as integers, the first digit the highest.

    :return: whether every digit was below its size
    """
    within = True
    numbers[:] = 0
    for j in range(digits.shape[1]):
        size = sizes[j]
        for i in range(digits.shape[0]):
            digit = digits[i, j]
            within &= (digit >= 0) & (digit < size)
            numbers[i] = numbers[i] * size + digit
    return within


@njit
def divide(numbers, sizes, digits):
    """Undo :func:`join`; a negative number gives a row of -1."""
    for i in range(digits.shape[0]):
        number, none = numbers[i], numbers[i] < 0
        for j in range(digits.shape[1] - 1, -1, -1):
            digits[i, j] = -1 if none else number % sizes[j]
            number //= sizes[j]
