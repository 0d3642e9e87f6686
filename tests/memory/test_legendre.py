"""The delay line and the window of a Legendre memory unit."""

import numpy as np
import pytest
import torch

from memagents.memory.legendre import delay_window, legendre_delay
from tests.reference.lmu import discretised


@pytest.mark.parametrize(("order", "theta"), [(1, 3.0), (6, 10.0), (32, 64.0)])
def test_matrices_are_those_of_zero_order_hold(order, theta):
    for found, expected in zip(legendre_delay(order, theta), discretised(order, theta), strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_a_signal_is_read_off_with_a_delay():
    """u of r θ steps ago is Σ_i P_i(2r - 1) m_i."""
    order, theta, steps = 16, 50, 400
    transition, injection = (x.numpy() for x in legendre_delay(order, theta))
    signal, memory = np.sin(np.arange(steps) / 9), np.zeros(order)
    for u in signal:
        memory = transition @ memory + injection * u
    for lag in (5, 25, 50):
        polynomials = np.polynomial.legendre.legvander(np.array([2 * lag / theta - 1]), order - 1)[0]
        # A signal that stands still for a step lies half a step behind.
        assert polynomials @ memory == pytest.approx((signal[-lag] + signal[-lag - 1]) / 2, abs=0.02)


@pytest.mark.parametrize(("order", "radius"), [(32, 0.87), (64, 0.84), (256, 0.74)])
def test_nothing_lasts_for_long(order, radius):
    transition = legendre_delay(order, 64)[0]
    assert torch.linalg.eigvals(transition).abs().max().item() == pytest.approx(radius, abs=0.01)
    for dtype in (torch.float32, torch.float64):  # of the largest number that theta steps can make of one
        left = torch.linalg.matrix_power(transition.to(dtype), 64 * 4).abs().max()
        assert left < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_window_is_step_after_step(steps):
    """Values and gradients, with episodes that begin, also where the state before was no number."""
    rows, memory_size, width = 3, 4, 2
    generator = torch.Generator().manual_seed(steps)

    def random(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) / 2).requires_grad_()

    drive, inputs = random(steps, rows, memory_size), random(steps, rows, width)
    maps = tuple(random(*shape) for shape in [(4, 4), (4, 2), (2, 4), (2, 2)])
    state = (random(rows, memory_size), random(rows, width))
    starts = torch.rand(steps, rows, generator=generator) < 0.3
    starts[0, 1] = True
    with torch.no_grad():
        state[0][1], state[1][1] = torch.nan, torch.nan
    expected, (m, h) = [], state
    for d, x, start in zip(drive, inputs, starts.unsqueeze(-1), strict=True):
        m, h = torch.where(start, 0, m), torch.where(start, 0, h)
        m = m @ maps[0].T + h @ maps[1].T + d
        h = (m @ maps[2].T + h @ maps[3].T + x).tanh()
        expected.append((m, h))
    ways = [delay_window(drive, inputs, maps, state, starts), tuple(map(torch.stack, zip(*expected, strict=True)))]
    torch.testing.assert_close(*ways, rtol=1e-10, atol=1e-12)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in ways[0]]
    arguments = [drive, inputs, *maps, *state]
    grads = [
        torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, way, strict=True)), arguments) for way in ways
    ]
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)
