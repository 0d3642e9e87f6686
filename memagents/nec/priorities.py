"""Proportional prioritisation (Schaul et al. 2016, arXiv:1511.05952, section 3.3): a sum tree over NumPy arrays.

Letters in shapes: N leaves, B rows at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from memagents.checks import in_range, positive_int

SMALLEST_ERROR = 1e-6  # ε of the paper: what was predicted exactly is drawn now and then


class SumTree:
    """N weights, drawn in proportion in O(log N).

    Every node is the sum of its two children, computed anew and not by differences: equal leaves make equal trees, to
    the last bit, in whatever order they came.

    :param leaves: N
    """

    def __init__(self, leaves: int):
        self.leaves = positive_int("leaves", leaves)
        self._base = 1 << (leaves - 1).bit_length()  # where the leaves begin; the root is node 1
        self._nodes = np.zeros(2 * self._base)

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self._nodes[1])

    def get(self, rows: np.ndarray) -> np.ndarray:
        """The weights of some rows, float64 (B,)."""
        return self._nodes[self._base + rows]

    def set(self, rows: np.ndarray, weights: np.ndarray | float) -> None:
        """Give rows other weights; a row that is named twice has the last one.

        :param rows: int (B,)
        :param weights: non-negative, (B,) or one for all
        """
        nodes = self._base + np.asarray(rows, np.int64)
        self._nodes[nodes] = weights
        while len(nodes) and nodes[0] > 1:
            nodes = nodes >> 1
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Rows drawn in proportion to their weights, with replacement: int64 (count,).

        :raises ValueError: if all weights are zero
        """
        if not self.total > 0:
            raise ValueError("there is nothing to sample from: all weights are zero")
        left_over, nodes = rng.random(count) * self.total, np.ones(count, np.int64)
        for _ in range(self._base.bit_length() - 1):
            nodes = 2 * nodes
            left = self._nodes[nodes]
            # Rounding may leave more than the whole subtree has: a row of weight zero must not come out of that.
            goes_right = (left_over >= left) & (self._nodes[nodes + 1] > 0)
            left_over = np.where(goes_right, left_over - left, left_over)
            nodes = nodes + goes_right
        return nodes - self._base


class Priorities:
    """Return priorities: P(i) ∝ c_i p_i, where p_i = (|error| + 1e-6)^exponent and c_i counts the chances of i.

    A new row has the largest priority so far, at first 1 (algorithm 1, line 6).

    :param rows: N
    :param exponent: α, in [0, 1]; 0 for P(i) ∝ c_i
    """

    def __init__(self, rows: int, exponent: float):
        self.exponent = in_range("priority_exponent", exponent, 0, 1)
        self.largest = 1.0
        self._tree = SumTree(rows)
        self._chances = np.zeros(rows, np.int64)

    def add(self, rows: np.ndarray, chances: np.ndarray | int = 1) -> None:
        """Put rows in, in place of what was there.

        :param rows: int (B,)
        :param chances: c, (B,) or one for all
        """
        self._chances[rows] = chances
        self._tree.set(rows, self._chances[rows] * self.largest)

    def remove(self, rows: np.ndarray) -> None:
        """Rows that are not drawn any more, int (B,)."""
        self._chances[rows] = 0
        self._tree.set(rows, 0.0)

    def update(self, rows: np.ndarray, errors: np.ndarray) -> None:
        """Priorities from new errors; a row that is named twice has the last one.

        :param rows: int (B,)
        :param errors: finite, (B,)
        :raises ValueError: for errors that are not finite, or not as many as rows, or for rows that are not kept
        """
        errors = np.abs(np.asarray(errors, np.float64))
        if errors.shape != np.shape(rows) or not np.isfinite(errors).all():
            raise ValueError(f"errors must be finite numbers, one for each of the {len(rows)} rows, not {errors!r}")
        if not (self._chances[rows] > 0).all():
            raise ValueError(f"rows must be of what is kept and can be drawn, not {rows!r}")
        if not len(errors):
            return
        priorities = (errors + SMALLEST_ERROR) ** self.exponent
        self.largest = max(self.largest, float(priorities.max()))
        self._tree.set(rows, self._chances[rows] * priorities)

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Rows drawn with replacement, int64 (count,).

        :raises ValueError: if no row has a chance
        """
        return self._tree.sample(count, rng)

    def weights(self, rows: np.ndarray, importance_exponent: float) -> np.ndarray:
        """Importance weights (C P(i) / c_i)^-β over their largest (section 3.4), where C is the sum of all c.

        Where every c is 1 this is (N P(i))^-β. All are 1 if the exponent of either kind is 0.

        :param rows: int (B,)
        :param importance_exponent: β, in [0, 1]
        :return: float32 (B,)
        """
        beta = in_range("importance_exponent", importance_exponent, 0, 1)
        priorities = self._tree.get(rows) / self._chances[rows]
        return ((priorities / priorities.min()) ** -beta).astype(np.float32)

    # --- saving ----------------------------------------------------------------------------------------------------

    def tree(self, rows: np.ndarray) -> dict[str, Any]:
        """Everything of these rows, for :meth:`restored`."""
        kept = {"weights": self._tree.get(rows), "chances": self._chances[rows]}
        return {"exponent": self.exponent, "largest": self.largest, **kept}

    def restored(self, rows: np.ndarray, tree: dict[str, Any]) -> Priorities:
        """Priorities like these that go on from :meth:`tree`; other rows are not drawn.

        :raises ValueError: if the tree is of another exponent, of another number of rows, or damaged
        """
        if tree["exponent"] != self.exponent:
            raise ValueError(f"priority_exponent must be {tree['exponent']} as it was saved, not {self.exponent}")
        weights, chances = np.asarray(tree["weights"]), np.asarray(tree["chances"])
        if weights.shape != rows.shape or chances.shape != rows.shape:
            raise ValueError(f"priorities must be of {len(rows)} rows, not {len(weights)}")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and tree["largest"] >= 1):
            raise ValueError("priorities must be finite and positive, and the largest of them at least 1")
        result = Priorities(self._tree.leaves, self.exponent)
        result.largest = float(tree["largest"])
        result._chances[rows] = chances
        result._tree.set(rows, weights)
        return result
