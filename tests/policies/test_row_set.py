"""A set of rows of bytes, against a dictionary."""

import numpy as np
import pytest

from memagents.policies import row_set
from memagents.policies.row_set import RowSet


@pytest.mark.parametrize("hashes", ["different", "equal"])
@pytest.mark.parametrize("size", [1, 3, 147])
def test_rows_get_numbers_as_they_first_come(size, hashes, monkeypatch):
    if hashes == "equal":
        monkeypatch.setattr(row_set, "_weights", lambda size: np.zeros(size, np.uint64))
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (90, size), dtype=np.uint8)[rng.integers(90, size=500)]
    rows[:, : size - 1] //= 128  # some differ in a single byte
    found, expected = RowSet(size, 500), {}
    for batch in np.split(rows, [1, 40, 400]):
        before = found.count
        numbers, new = found.add(batch)
        assert numbers.tolist() == [expected.setdefault(row.tobytes(), len(expected)) for row in batch]
        assert [row.tobytes() for row in batch[new]] == list(expected)[before:]
    assert found.count == len(expected) < 500


def test_room():
    rows = RowSet(2, 4)
    rows.add(np.array([[1, 2], [3, 4], [1, 2]], np.uint8))
    assert rows.has_room(2) and not rows.has_room(3)
