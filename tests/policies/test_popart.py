"""PopArt: outputs stay when the statistics move."""

import math

import numpy as np
import pytest
import torch

from memagents.policies.popart import SMALLEST, STEP_SIZE, PopArt


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_outputs_are_kept_when_the_statistics_move(dtype, tolerance):
    """Over targets of very different sizes and places; relative to the largest of them."""
    torch.manual_seed(0)
    layer, features = PopArt(5, 2).to(dtype), torch.randn(40, 5, dtype=dtype)
    for place, size in ((0, 1), (300, 20), (-2, 1e-3), (5, 1e4), (0, 0)):
        before = layer(features)
        layer.update(place + size * torch.randn(7, 11))
        scale = max(1, layer.mean.abs().item(), layer.std.item())  # within which numbers are rounded
        assert (layer(features) - before).abs().max() / scale < tolerance
        assert layer(features).dtype == dtype


def test_the_statistics_are_those_of_all_windows_weighted_by_their_age():
    """Weights fall by 1 − β from window to window and add up to 1, so that the first window alone is its own."""
    rng, layer, windows = np.random.default_rng(0), PopArt(3, 1), []
    for number in range(1, 6):
        windows.append(rng.normal(10 * number, number, size=(6, 4)))
        layer.update(torch.from_numpy(windows[-1]))
        weights = (1 - STEP_SIZE) ** np.arange(number)[::-1]
        weights /= weights.sum()
        mean = sum(w * x.mean() for w, x in zip(weights, windows, strict=True))
        square = sum(w * np.square(x).mean() for w, x in zip(weights, windows, strict=True))
        assert layer.mean.item() == pytest.approx(mean, abs=1e-12)
        assert layer.std.item() == pytest.approx(math.sqrt(square - mean**2), rel=1e-12)


def test_equal_targets_have_a_smallest_deviation():
    layer = PopArt(3, 1)
    layer.update(torch.full((4, 2), 7.0))
    assert (layer.mean.item(), layer.std.item()) == (7, SMALLEST)
    assert layer.weight.isfinite().all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e200])
def test_targets_that_are_not_finite_change_nothing(wrong):
    layer = PopArt(3, 1)
    layer.update(torch.randn(4, 2))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    layer.update(torch.tensor([1.0, wrong], dtype=torch.float64))
    for name, tensor in layer.state_dict().items():
        assert torch.equal(tensor, before[name])
