"""Drawing by priority: as often as the exact probabilities say, and the same after saving."""

import math

import numpy as np
import pytest

from memagents.nec.priorities import Priorities, SumTree
from memagents.runs.trees import read_tree, write_tree
from tests.nec.support import assert_drawn_as

# --- the sum tree ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", [2, 3, 7, 8, 9, 100])
def test_rows_are_drawn_in_proportion_to_their_weights(leaves):
    rng = np.random.default_rng(leaves)
    weights = rng.random(leaves) * (rng.random(leaves) < 0.7)
    weights[:2] = 2, 3
    tree = SumTree(leaves)
    tree.set(np.arange(leaves), weights)
    assert tree.total == pytest.approx(weights.sum())
    assert_drawn_as(tree.sample(40_000, rng), weights / weights.sum())


def test_a_tree_of_one_leaf():
    tree = SumTree(1)
    tree.set(np.array([0]), 0.3)
    assert tree.total == 0.3
    assert tree.sample(3, np.random.default_rng(0)).tolist() == [0, 0, 0]


def test_the_tree_is_its_leaves_sums_whatever_was_written_before():
    rng, slow, tree = np.random.default_rng(0), np.zeros(37), SumTree(37)
    for _ in range(200):
        rows = rng.integers(37, size=rng.integers(0, 12))
        weights = rng.random(len(rows)) * 10.0 ** rng.integers(-9, 9)
        tree.set(rows, weights)
        for row, weight in zip(rows, weights, strict=True):
            slow[row] = weight  # the last of what is named twice
        assert np.array_equal(tree.get(np.arange(37)), slow)
    fresh = SumTree(37)
    fresh.set(np.arange(37), slow)
    assert np.array_equal(fresh._nodes, tree._nodes), "to the last bit: no rounding piles up"


class Rolls:
    """Instead of a generator: the numbers it is asked for."""

    def __init__(self, *values):
        self.values = np.array(values)

    def random(self, count):
        assert count == len(self.values)
        return self.values


def test_each_row_has_its_own_interval():
    tree = SumTree(4)
    tree.set(np.arange(4), np.array([1.0, 0.0, 2.0, 1.0]))
    before = [np.nextafter(x, 0) for x in (0.25, 0.75, 1.0)]
    assert tree.sample(6, Rolls(0.0, before[0], 0.25, before[1], 0.75, before[2])).tolist() == [0, 0, 2, 2, 3, 3]


def test_rounding_never_draws_a_row_of_weight_zero():
    rng = np.random.default_rng(0)
    last = np.nextafter(1.0, 0)
    for _ in range(2000):
        weights = rng.random(8) * 10.0 ** rng.integers(-17, 2, size=8) * (rng.random(8) < 0.5)
        weights[0] = 1
        tree = SumTree(8)
        tree.set(np.arange(8), weights)
        assert weights[tree.sample(3, Rolls(0.0, last, rng.random()))].all()


def test_more_left_over_than_a_subtree_has_stays_among_its_weights():
    tree = SumTree(4)
    tree.set(np.arange(4), np.array([1.0, 0.1, 0.3, 0.0]))
    tree._nodes[1] = np.nextafter(tree._nodes[1], 2)  # a sum that was rounded up
    assert tree.sample(1, Rolls(1.0)).tolist() == [2]


def test_nothing_can_be_drawn_from_nothing():
    with pytest.raises(ValueError, match="nothing to sample"):
        SumTree(5).sample(1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="leaves must be a positive integer, not 0"):
        SumTree(0)


# --- priorities -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0])
def test_rows_are_drawn_by_their_last_error_and_new_ones_by_the_largest_priority_so_far(exponent):
    rng = np.random.default_rng(1)
    priorities = Priorities(10, exponent)
    priorities.add(np.arange(8))
    priorities.update(np.array([0, 1, 2, 1]), np.array([-0.5, 9.0, 4.0, 2.0]))  # 9 is the largest, though not for long
    priorities.update(np.array([3]), np.array([0.0]))
    priorities.add(np.array([8, 0]))
    errors = np.array([9.0, 2, 4, 0, 1, 1, 1, 1, 9])
    expected = (errors + 1e-6) ** exponent
    expected[4:8] = 1.0  # the largest priority when nothing was known
    drawn = priorities.sample(200_000, rng)
    assert (drawn != 9).all()
    kept = np.ones(9, bool) if exponent < 1 else np.arange(9) != 3  # once in 28 million draws
    assert_drawn_as(drawn[kept[drawn]], expected * kept / (expected * kept).sum())


def test_chances_multiply_and_removed_rows_are_gone():
    priorities = Priorities(4, 0.5)
    priorities.add(np.arange(4), np.array([1, 2, 3, 4]))
    priorities.update(np.array([0, 2]), np.array([4.0, 0.25]))
    priorities.remove(np.array([3]))
    weights = np.array([1 * 2.0, 2 * 1.0, 3 * 0.5, 0])
    assert_drawn_as(priorities.sample(50_000, np.random.default_rng(0)), weights / weights.sum())


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_importance_weights_are_those_of_the_paper(beta):
    priorities, errors = Priorities(6, 0.7), np.array([0.1, 3.0, 0.5, 0.01, 2.0])
    priorities.add(np.arange(5))
    priorities.update(np.arange(5), errors)
    p = (errors + 1e-6) ** 0.7
    for rows in ([0, 1, 2, 3, 4], [1, 4, 4], [2]):
        slow = (5 * p[rows] / p.sum()) ** -beta
        np.testing.assert_allclose(priorities.weights(np.array(rows), beta), slow / slow.max(), rtol=1e-6)


def test_with_full_correction_the_mean_is_that_of_uniform_draws():
    """Σ w x / Σ w, drawn by priority with β = 1, is the plain mean of x."""
    rng = np.random.default_rng(0)
    priorities, x = Priorities(20, 0.8), rng.normal(size=20)
    priorities.add(np.arange(20))
    priorities.update(np.arange(20), np.exp(x))  # as biased as can be
    rows = priorities.sample(400_000, rng)
    weights = priorities.weights(rows, 1.0).astype(float)
    assert abs(x[rows].mean() - x.mean()) > 0.1
    assert (weights * x[rows]).sum() / weights.sum() == pytest.approx(x.mean(), abs=0.01)


def test_without_an_exponent_all_weights_are_one():
    priorities = Priorities(5, 0.0)
    priorities.add(np.arange(5), np.array([3, 1, 7, 2, 5]))
    priorities.update(np.arange(5), np.arange(5.0))
    assert (priorities.weights(np.arange(5), 1.0) == 1).all()


@pytest.mark.parametrize("error", [math.nan, math.inf])
def test_errors_that_are_no_numbers_are_refused_and_change_nothing(error):
    priorities = Priorities(3, 1.0)
    priorities.add(np.arange(3))
    before = priorities.tree(np.arange(3))
    with pytest.raises(ValueError, match="errors must be finite"):
        priorities.update(np.array([0, 1]), np.array([2.0, error]))
    with pytest.raises(ValueError, match="errors must be finite numbers, one for each of the 2 rows"):
        priorities.update(np.array([0, 1]), np.array([2.0]))
    after = priorities.tree(np.arange(3))
    assert before["largest"] == after["largest"]
    assert np.array_equal(before["weights"], after["weights"])


def test_what_cannot_be_drawn_has_no_error():
    priorities = Priorities(3, 1.0)
    priorities.add(np.arange(2))
    with pytest.raises(ValueError, match="rows must be of what is kept"):
        priorities.update(np.array([0, 2]), np.ones(2))


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.5"])
def test_exponents_are_checked(value):
    with pytest.raises(ValueError, match="priority_exponent must be a number in"):
        Priorities(3, value)
    priorities = Priorities(3, 1.0)
    priorities.add(np.arange(3))
    with pytest.raises(ValueError, match="importance_exponent must be a number in"):
        priorities.weights(np.arange(3), value)


def test_saved_priorities_go_on_exactly(tmp_path):
    rng, rows = np.random.default_rng(0), np.arange(11)
    priorities = Priorities(16, 0.6)
    priorities.add(rows, rng.integers(1, 5, size=11))
    priorities.update(rows[::2], rng.normal(size=6) * 7)
    write_tree(tmp_path / "tree", priorities.tree(rows))
    other = Priorities(16, 0.6).restored(rows, read_tree(tmp_path / "tree"))
    for one in (priorities, other):
        one.add(np.array([12, 3]))
        one.update(np.array([12]), np.array([0.3]))
    assert np.array_equal(other._tree._nodes, priorities._tree._nodes)
    drawn = [one.sample(100, np.random.default_rng(5)) for one in (priorities, other)]
    assert np.array_equal(*drawn)


def test_foreign_or_damaged_priorities_are_refused():
    rows = np.arange(3)
    priorities = Priorities(4, 0.5)
    priorities.add(rows)
    tree = priorities.tree(rows)
    for change, message in (
        ({"exponent": 0.25}, "priority_exponent must be 0.25 as it was saved"),
        ({"weights": np.ones(2)}, "priorities must be of 3 rows"),
        ({"weights": np.array([1, math.nan, 1])}, "finite and positive"),
        ({"weights": np.array([1, -1.0, 1])}, "finite and positive"),
        ({"largest": math.nan}, "finite and positive"),
    ):
        with pytest.raises(ValueError, match=message):
            priorities.restored(rows, {**tree, **change})
