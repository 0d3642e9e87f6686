"""Random numbers that are a function of a key: SplitMix64 (Steele, Lea & Flood 2014, OOPSLA) on tensors.

A key is an int64; the next one is ``key + 1``. Whoever has the key draws the same numbers, on any device, alone or in a
batch, so that what was drawn while acting is drawn again while learning.
"""

from __future__ import annotations

import torch
from torch import Tensor

# As signed numbers, since torch has no arithmetic of unsigned ones; it wraps around all the same.
_GOLDEN, _STREAM = 0x9E3779B97F4A7C15 - 2**64, 0xD1B54A32D192ED03 - 2**64
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def uniform(keys: Tensor, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform numbers in [0, 1).

    :param keys: int64 (...)
    :param count: how many for each key
    :param dtype: floating; the numbers are multiples of 2^-24, which float32 holds exactly
    :return: (..., count)
    """
    bits = _mixed(_mixed(keys * _GOLDEN).unsqueeze(-1) + torch.arange(1, count + 1, device=keys.device) * _STREAM)
    return (_shifted(bits, 40)).to(dtype) * 2.0**-24


def gumbel(keys: Tensor, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers of the standard Gumbel distribution, −log(−log u), from about −2.9 to 16.7.

    :param keys: int64 (...)
    :param count: how many for each key
    :param dtype: floating
    :return: (..., count)
    """
    return -(-uniform(keys, count, dtype).clamp(min=2.0**-25).log()).log()


def dropout(values: Tensor, keys: Tensor, rate: float) -> Tensor:
    """A share ``rate`` of the numbers set to zero, the others divided by ``1 - rate`` (Srivastava et al. 2014).

    :param values: (..., W)
    :param keys: int64 (...), one for each row of values
    :param rate: in [0, 1)
    :return: (..., W)
    """
    kept = uniform(keys, values.shape[-1]) >= rate
    return torch.where(kept, values / (1 - rate), 0)


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser."""
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """To the right, filling with zeros."""
    return (bits >> places) & (2 ** (64 - places) - 1)
