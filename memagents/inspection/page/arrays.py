"""Arrays as few bytes: quantised, compressed, and what it takes to read them again."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

U8, U16, F32 = "u8", "u16", "f32"
_CODES = {U8: (np.uint8, 255), U16: (np.uint16, 65535)}  # type and largest code


class Packed(NamedTuple):
    """An array as the page takes it.

    A code c of ``u8`` or ``u16`` means low + c · step, or nothing where it is the largest and ``gaps`` is true.

    :param kind: ``u8``, ``u16`` or ``f32``, little-endian
    :param shape: (T, ...)
    :param low: smallest finite value, 0 where there is none
    :param high: largest finite value, 0 where there is none
    :param step: between two codes
    :param gaps: whether there are places without a finite number
    :param numbers: whether there is any finite number
    :param data: compressed by zlib
    """

    kind: str
    shape: tuple[int, ...]
    low: float
    high: float
    step: float
    gaps: bool
    numbers: bool
    data: bytes

    def described(self) -> dict[str, Any]:
        """Return all but the data, as plain values."""
        return {**self._asdict(), "shape": list(self.shape), "data": None}


def pack(values: np.ndarray, kind: str) -> Packed:
    """Quantise an array and compress it. Integers whose codes suffice are kept exactly.

    :param values: (T, ...); of complex numbers the absolute values are packed
    :param kind: ``u8``, ``u16`` or ``f32``
    """
    whole = values.dtype.kind in "bui"
    numbers = np.abs(values) if values.dtype.kind == "c" else values
    numbers = numbers.astype(np.float64)
    finite = np.isfinite(numbers)
    gaps, some = not bool(finite.all()), bool(finite.any())
    low, high = (float(numbers[finite].min()), float(numbers[finite].max())) if some else (0.0, 0.0)
    if kind == F32:
        with np.errstate(over="ignore"):
            coded = np.where(finite, numbers, np.nan).astype("<f4")
        return Packed(kind, values.shape, low, high, 0.0, gaps, some, zlib.compress(coded.tobytes()))
    if whole and kind == U8 and high - low > 255:
        kind = U16
    dtype, largest = _CODES[kind]
    most = largest - gaps
    step = 1.0 if whole and high - low <= most else (high - low) / most or 1.0
    codes = np.rint((np.where(finite, numbers, low) - low) / step)
    coded = np.where(finite, codes, largest).astype(np.dtype(dtype).newbyteorder("<"))
    return Packed(kind, values.shape, low, high, step, gaps, some, zlib.compress(coded.tobytes(), 7))


def unpack(packed: Packed) -> np.ndarray:
    """Return the values of a packed array, float64, NaN for nothing."""
    dtype = np.dtype("<f4") if packed.kind == F32 else np.dtype(_CODES[packed.kind][0]).newbyteorder("<")
    coded = np.frombuffer(zlib.decompress(packed.data), dtype).reshape(packed.shape)
    if packed.kind == F32:
        return coded.astype(np.float64)
    values = packed.low + coded * packed.step
    return np.where(coded == _CODES[packed.kind][1], np.nan, values) if packed.gaps else values
