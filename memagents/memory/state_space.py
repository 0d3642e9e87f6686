"""Linear systems as memories: how fast they forget, and how one in continuous time is followed in steps."""

from __future__ import annotations

import torch
from torch import Tensor


def half_lives(shortest: float, longest: float, count: int) -> Tensor:
    """Half-lives in steps, evenly spread over their logarithms, float64 (count,).

    :param shortest: the first, above 0
    :param longest: the last; of one alone the first counts
    """
    low, high = torch.tensor([shortest, longest], dtype=torch.float64).log2()
    return torch.linspace(float(low), float(high), count, dtype=torch.float64).exp2()


def remaining(lives: Tensor) -> Tensor:
    """2^(-1/τ), what a step leaves of a state whose half-life is τ steps, of any shape."""
    return torch.exp2(-1 / lives)


def zero_order_hold(real: Tensor, imaginary: Tensor, interval: Tensor) -> tuple[Tensor, Tensor]:
    """λ̄ = exp(λΔ) and (λ̄ - 1)/λ: one step of dx/dt = λx + u in which u stands still, x' = λ̄x + ((λ̄ - 1)/λ)u.

    Where |λΔ| is small the difference is computed without cancellation.

    :param real: Re λ, (N,)
    :param imaginary: Im λ, (N,); λ is nowhere 0
    :param interval: Δ, (N,)
    :return: both complex (N,)
    """
    shrunk, angles = real * interval, imaginary * interval
    size, half = shrunk.exp(), (angles / 2).sin()
    decay = torch.polar(size, angles)
    change = torch.complex(torch.expm1(shrunk) * angles.cos() - 2 * half * half, size * angles.sin())
    return decay, change / torch.complex(real, imaginary)


def hippo_normal(pairs: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of the normal part of HiPPO-LegS, of each conjugate pair that in the upper half.

    HiPPO's matrix of size 2 P is A_nk = -√((2n + 1)(2k + 1)) below the diagonal, -(n + 1) on it. With p_n = √(n + 1/2)
    the sum A + p pᵀ is normal, -1/2 plus a skew-symmetric matrix (Gu et al. 2022, arXiv:2206.11893; S5,
    arXiv:2208.04933). So every real part is -1/2 and the vectors are orthonormal.

    :param pairs: number P of conjugate pairs
    :return: eigenvalues (P,) by growing imaginary part and vectors (2 P, P), complex128
    """
    roots = (2 * torch.arange(2 * pairs, dtype=torch.float64) + 1).sqrt()
    skew = -torch.outer(roots, roots).tril(-1) / 2
    values, vectors = torch.linalg.eigh(-1j * (skew - skew.T))
    return torch.complex(torch.full((pairs,), -0.5, dtype=torch.float64), values[pairs:]), vectors[:, pairs:]
