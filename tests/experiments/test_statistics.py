"""Statistics over runs, against cases worked by hand and against another way to find them."""

import itertools

import numpy as np
import pytest
from scipy import stats

from memagents.experiments.statistics import (
    bootstrap,
    improvement,
    interquartile_mean,
    mean,
    probability_of_improvement,
)


def test_the_middle_half():
    assert interquartile_mean(np.array([[1.0], [2.0], [3.0], [100.0]])) == 2.5
    assert interquartile_mean(np.array([[0.0], [1.0], [2.0], [3.0], [9.0]])) == 2.0  # one of five is cut at each side
    assert interquartile_mean(np.array([[5.0], [1.0], [3.0]])) == 3.0  # none of three
    both = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 30.0], [3.0, 40.0]])  # of both tasks together
    assert interquartile_mean(both) == np.mean([2, 3, 10, 20])
    drawn = np.random.default_rng(0).normal(size=(13, 3))
    assert interquartile_mean(drawn) == pytest.approx(stats.trim_mean(drawn, 0.25, axis=None))


def test_who_is_better():
    ours, theirs = np.array([[1.0], [2.0], [3.0]]), np.array([[2.0], [0.0]])
    # 1 < 2, 1 > 0, 2 = 2, 2 > 0, 3 > 2, 3 > 0
    assert probability_of_improvement(ours, theirs) == pytest.approx((0 + 1 + 0.5 + 1 + 1 + 1) / 6)
    assert probability_of_improvement(ours, ours) == 0.5
    two = np.concatenate([ours, ours[::-1] - 10], axis=1), np.concatenate([theirs, theirs], axis=1)
    assert probability_of_improvement(*two) == pytest.approx((4.5 / 6 + 0) / 2)
    a, b = (np.random.default_rng(seed).integers(5, size=(7, 1)).astype(float) for seed in (1, 2))
    u = stats.mannwhitneyu(a[:, 0], b[:, 0]).statistic
    assert probability_of_improvement(a, b) == pytest.approx(u / 49)


def test_the_bootstrap_of_few_runs_is_that_of_all_ways_to_draw_them():
    """Of five runs there are 5⁵ equally probable draws."""
    scores = np.array([0.1, 0.4, 0.5, 0.9, 1.0])
    for statistic in (mean, interquartile_mean):
        every = [statistic(np.array(draw)[:, None]) for draw in itertools.product(scores, repeat=5)]
        low, high = np.quantile(every, (0.025, 0.975))
        found = bootstrap(statistic, scores)
        assert found.mean == pytest.approx(float(statistic(scores[:, None])))
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_tasks_are_drawn_apart():
    """Two tasks whose runs mirror one another: drawn together their mean never varies, drawn apart it does."""
    mirrored = np.stack([np.arange(6.0), -np.arange(6.0)], axis=1)
    found = bootstrap(mean, mirrored)
    expected = np.sqrt(np.var(np.arange(6.0)) / 6 / 2)  # of the mean of two independent means
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(expected, rel=0.05)


def test_both_sides_are_drawn():
    ours, theirs = np.arange(10.0) + 3, np.arange(8.0)
    found = bootstrap(probability_of_improvement, ours, theirs)
    rng = np.random.default_rng(1)
    again = [probability_of_improvement(rng.choice(ours, (10, 1)), rng.choice(theirs, (8, 1))) for _ in range(4000)]
    assert (found.low, found.high) == pytest.approx(np.quantile(again, (0.025, 0.975)), abs=0.02)
    assert bootstrap(probability_of_improvement, theirs + 100, theirs) == (1, 1, 1)


def test_it_is_the_same_in_every_call_whatever_else_is_drawn():
    scores = np.random.default_rng(0).normal(size=(6, 2))
    first = bootstrap(mean, scores)
    np.random.seed(3)  # noqa: NPY002
    assert bootstrap(mean, scores) == first != bootstrap(mean, scores, seed=1)


def test_few_runs_have_no_interval():
    assert bootstrap(mean, np.arange(4.0)) is None
    assert bootstrap(probability_of_improvement, np.arange(9.0), np.arange(4.0)) is None


def test_runs_of_other_tasks_are_not_compared():
    with pytest.raises(ValueError, match="scores must be of the same tasks, not of 1 and 2"):
        bootstrap(probability_of_improvement, np.zeros(5), np.zeros((5, 2)))


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], np.zeros((2, 2, 2)), 3.0])
def test_what_are_no_scores(scores):
    with pytest.raises(ValueError, match=r"scores must be finite numbers \(runs, tasks\)"):
        bootstrap(mean, scores)


def test_an_improvement_in_words():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(1, 1, size=(5, 2)), rng.normal(0, 1, size=(6, 2))
    interval = bootstrap(probability_of_improvement, ours, theirs)
    assert improvement(ours, theirs) == f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"
    assert improvement([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == "0.00 (0.00 to 0.00)"
    assert improvement(ours, theirs[:3]) == "3 seeds"
    assert improvement([1.0], [0, 0, 0, 0, 0]) == "1 seed"
