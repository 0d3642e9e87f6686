"""Adaptive computation time, beside loops over one position after the other."""

import doctest

import pytest
import torch

from memagents.memory import halting

POSITIONS = (5, 8)


def probabilities_of(steps, seed=0, scale=1.5):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(steps, *POSITIONS, generator=generator, dtype=torch.float64) - 0.7).sigmoid()


def run(probabilities, threshold):
    """All steps: weights (steps, ...), and where the positions stand after them."""
    pondering, weights = halting.start(probabilities[0]), []
    for number, probability in enumerate(probabilities, start=1):
        weight, pondering = halting.ponder(pondering, probability, threshold, last=number == len(probabilities))
        weights.append(weight)
    return torch.stack(weights), pondering


def test_the_example():
    found = doctest.testmod(halting)
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_each_position_by_itself(steps, threshold):
    probabilities = probabilities_of(steps)
    weights, pondering = run(probabilities, threshold)
    counts = set()
    for place in torch.cartesian_prod(*map(torch.arange, POSITIONS)).tolist():
        h = probabilities[(slice(None), *place)].tolist()
        count = next((n for n in range(1, steps + 1) if sum(h[:n]) >= threshold), steps)
        rest = 1 - sum(h[: count - 1])
        expected = [*h[: count - 1], rest, *[0.0] * (steps - count)]
        assert weights[(slice(None), *place)].tolist() == pytest.approx(expected, abs=1e-12)
        assert int(pondering.steps[tuple(place)]) == count
        assert float(halting.remainder(pondering)[tuple(place)]) == pytest.approx(rest, abs=1e-12)
        assert float(halting.ponder_cost(pondering)[tuple(place)]) == pytest.approx(count + rest, abs=1e-12)
        counts.add(count)
    assert len(counts) > 1 or steps < 6 or threshold == 0, "positions halt each at its own step"
    assert not pondering.running.any()


def test_a_sum_that_meets_the_threshold_is_enough():
    probabilities = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64).view(4, 1, 1)
    weights, pondering = run(probabilities, 0.75)
    assert weights.flatten().tolist() == [0.5, 0.5, 0, 0]
    assert pondering.steps.item() == 2


def test_weights_sum_to_one_even_if_no_threshold_is_reached():
    for seed in range(5):
        weights, _ = run(0.1 * probabilities_of(4, seed), 0.99)
        torch.testing.assert_close(weights.sum(0), torch.ones(POSITIONS).double())
        assert (weights > 0).all()


def test_a_halted_position_ignores_what_follows():
    probabilities = probabilities_of(6)
    weights, pondering = run(probabilities, 0.9)
    early = pondering.steps < 6
    assert early.any()
    changed = probabilities.clone()
    for number in range(6):
        changed[number] = torch.where(pondering.steps <= number, torch.nan, changed[number])
    again, after = run(changed, 0.9)
    assert torch.equal(again, weights)
    assert torch.equal(halting.ponder_cost(after), halting.ponder_cost(pondering))


def test_gradients_of_weights_and_cost():
    """Finite differences; the cost's gradient is −1 at each probability before the last step, since N has none."""
    probabilities = probabilities_of(5).requires_grad_()

    def outcome(h):
        weights, pondering = run(h, 0.99)
        return weights, halting.ponder_cost(pondering)

    assert torch.autograd.gradcheck(outcome, probabilities)
    _, pondering = run(probabilities, 0.99)
    (grad,) = torch.autograd.grad(halting.ponder_cost(pondering).sum(), probabilities)
    before_the_last = torch.arange(1, 6).view(5, 1, 1) < pondering.steps
    assert torch.equal(grad, -before_the_last.double())
    assert not pondering.steps.is_floating_point()
