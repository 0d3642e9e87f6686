"""The two figures of twins, against cases worked by hand."""

import numpy as np
import pytest

from memagents.inspection.twins import twins


def test_gap_and_bias():
    found = twins([1.0, 0.8, 0.9], [0.5, 0.7, 0.6], [1.0, 1.0, 1.0])
    assert np.isclose(found.gap.mean, 0.3)
    assert np.isclose(found.bias.mean, -0.1)
    # Two samples of three with standard deviation 0.1: a standard error of √(2/300), four degrees of freedom.
    assert np.isclose(found.gap.high - found.gap.mean, 2.776445 * np.sqrt(2 / 300), atol=1e-5)
    # One of them never varies: two degrees of freedom.
    assert np.isclose(found.bias.mean - found.bias.low, 4.302653 * np.sqrt(1 / 300), atol=1e-5)


def test_scores_that_never_vary_have_no_width():
    assert twins([1, 1], [0.5, 0.5], [1, 1]).gap == (0.5, 0.5, 0.5)


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="hidden must hold the scores of two seeds"):
        twins([1, 1], [1], [1, 1])


@pytest.mark.filterwarnings("error")
def test_agents_that_are_always_right_are_compared_without_a_warning():
    assert twins([0.9, 0.8, 0.7], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0]).bias.high < 0.1
    assert twins([0.1] * 3, [0.3] * 3, [0.7] * 3).gap == pytest.approx((-0.2,) * 3)
