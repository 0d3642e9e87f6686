"""Linear systems against formulas and integrals."""

import numpy as np
import pytest
import torch

from memagents.memory import state_space

DOUBLE = {"dtype": torch.float64}


def test_half_lives_are_evenly_spread_over_their_logarithms():
    torch.testing.assert_close(state_space.half_lives(2, 16, 4), torch.tensor([2.0, 4, 8, 16], **DOUBLE))
    assert state_space.half_lives(3, 50, 1).tolist() == pytest.approx([3])


def test_half_is_left_after_the_half_life():
    lives = torch.tensor([0.5, 1, 7, 1000], **DOUBLE)
    torch.testing.assert_close(state_space.remaining(lives) ** lives, torch.full((4,), 0.5, **DOUBLE))


@pytest.mark.parametrize("interval", [1e-6, 1e-3, 0.1, 2.0])
def test_zero_order_hold_is_the_integral(interval):
    """x' = exp(λΔ) x + ∫₀^Δ exp(λs) ds u, the integral by Gauss and Legendre; in float32 too."""
    real, imaginary = torch.tensor([-0.5, -1e-3, -3.0], **DOUBLE), torch.tensor([0.0, 2.0, -9.0], **DOUBLE)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    rates = torch.complex(real, imaginary).numpy()
    integral = interval / 2 * (np.exp(np.outer(rates, interval * (nodes + 1) / 2)) @ weights)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        intervals = torch.full((3,), interval, dtype=dtype)
        decay, gain = state_space.zero_order_hold(real.to(dtype), imaginary.to(dtype), intervals)
        np.testing.assert_allclose(decay.numpy(), np.exp(rates * interval), rtol=tolerance)
        np.testing.assert_allclose(gain.numpy(), integral, rtol=tolerance)


@pytest.mark.parametrize("pairs", [1, 3, 16])
def test_hippo_with_its_normal_part_diagonal(pairs):
    size = 2 * pairs
    matrix = np.zeros((size, size))
    for n in range(size):
        for k in range(n + 1):
            matrix[n, k] = -(n + 1) if n == k else -np.sqrt((2 * n + 1) * (2 * k + 1))
    low = np.sqrt(np.arange(size) + 0.5)
    values, vectors = (x.numpy() for x in state_space.hippo_normal(pairs))
    assert values.shape == (pairs,)
    assert (values.imag > 0).all()
    assert (np.diff(values.imag) > 0).all()
    both = np.concatenate([vectors, vectors.conj()], axis=1)
    normal = both @ np.diag(np.concatenate([values, values.conj()])) @ both.conj().T
    np.testing.assert_allclose(normal, matrix + np.outer(low, low), atol=1e-10)
    np.testing.assert_allclose(both.conj().T @ both, np.eye(size), atol=1e-12)
