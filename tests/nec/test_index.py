"""The index of situations (row of each, and the one least recently seen) against a dict and a list."""

import numpy as np
import pytest

from memagents.nec import index as module
from memagents.nec.index import Index, settle


class SlowIndex:
    """Index of one action: rows by id, and when each row was seen; ties go to the lower row."""

    def __init__(self, capacity):
        self.capacity, self.rows, self.seen, self.now = capacity, {}, {}, 0

    def place(self, name):
        self.now += 1
        fresh = name not in self.rows
        if fresh:
            row = len(self.rows)
            if row == self.capacity:
                row = min(self.seen, key=lambda r: (self.seen[r], r))
                del self.rows[next(n for n, r in self.rows.items() if r == row)]
            self.rows[name] = row
        self.seen[self.rows[name]] = self.now
        return self.rows[name], fresh

    def touch(self, rows):
        self.now += 1
        for row in rows:
            if row >= 0:
                self.seen[row] = self.now

    def order(self):
        return sorted(self.seen, key=lambda r: (self.seen[r], r))


def names_of(rng, count, size):
    """Ids of which many collide: multiples of large powers of two, negative ones and the extremes among them."""
    some = rng.integers(0, count, size)
    return np.where(some % 3 == 0, some << 40, np.where(some % 3 == 1, -some, np.int64(2**63 - 1) - some))


@pytest.mark.parametrize("capacity", [1, 2, 3, 16, 61])
def test_any_sequence_of_placing_and_touching_is_that_of_a_dict_and_a_list(capacity):
    rng = np.random.default_rng(capacity)
    index, slow = Index(2, capacity), [SlowIndex(capacity) for _ in range(2)]
    for _ in range(300):
        size = rng.integers(1, 9)
        actions, names = rng.integers(0, 2, size), names_of(rng, 3 * capacity, size)
        rows, fresh = index.place(actions, names)
        expected = [slow[a].place(n) for a, n in zip(actions.tolist(), names.tolist(), strict=True)]
        assert list(zip(rows.tolist(), fresh.tolist(), strict=True)) == expected
        for action in range(2):
            count = len(slow[action].rows)
            assert index.counts[action] == count
            if count:
                seen = rng.integers(-1, count, rng.integers(1, 12))
                index.touch(np.where(seen >= 0, action * capacity + seen, -1))
                slow[action].touch(seen.tolist())
            assert index.order(action).tolist() == slow[action].order()
            asked = names_of(rng, 3 * capacity, 20)
            assert index.find(action, asked).tolist() == [slow[action].rows.get(n, -1) for n in asked.tolist()]
            assert {n: r for r, n in enumerate(index.ids(action).tolist())} == slow[action].rows


def test_rows_of_several_actions_are_seen_at_once():
    index = Index(2, 4)
    index.place(np.repeat([0, 1], 4), np.tile(np.arange(4), 2))
    index.touch(np.array([4 + 2, 3, 4 + 0, 1, -1, 3]))
    assert index.order(0).tolist() == [0, 2, 1, 3]
    assert index.order(1).tolist() == [1, 3, 0, 2]


def test_a_table_is_as_good_after_a_hundred_thousand_removals_as_when_new():
    capacity = 512
    index = Index(1, capacity)
    for block in np.arange(200 * capacity).reshape(-1, capacity):
        index.place(np.zeros(capacity, np.int64), block)
        table = index._table[0]
        assert (table > 0).sum() == capacity
        assert sorted(table[table > 0] - 1) == list(range(capacity))
    mask = len(table) - 1
    homes = np.array([module._home(name, mask) for name in index.ids(0)])
    places = np.empty(capacity, np.int64)
    places[table[table > 0] - 1] = np.flatnonzero(table)
    fresh = Index(1, capacity)
    fresh.place(np.zeros(capacity, np.int64), index.ids(0))
    new_places = np.empty(capacity, np.int64)
    new_places[fresh._table[0][fresh._table[0] > 0] - 1] = np.flatnonzero(fresh._table[0])
    # With linear probing the sum of the ways from home is the same in any order of entering.
    assert ((places - homes) & mask).sum() == ((new_places - homes) & mask).sum()


def test_it_goes_on_from_what_was_saved():
    rng = np.random.default_rng(0)
    one, other = Index(1, 50), Index(1, 50)
    other.place(np.zeros(30, np.int64), np.arange(30))  # to be forgotten
    zeros = np.zeros(20, np.int64)
    for _ in range(20):
        one.place(zeros, rng.integers(0, 200, 20))
        one.touch(rng.integers(0, one.counts[0], 20))
    other.restore(0, one.ids(0), one.order(0))
    assert other.find(0, np.arange(200)).tolist() == one.find(0, np.arange(200)).tolist()
    for _ in range(20):
        names = rng.integers(0, 200, 20)
        assert [a.tolist() for a in one.place(zeros, names)] == [a.tolist() for a in other.place(zeros, names)]
        assert one.order(0).tolist() == other.order(0).tolist()


@pytest.mark.parametrize(
    ("ids", "order", "named"),
    [([1, 2, 3], [0, 1, 2], "capacity"), ([1, 1], [0, 1], "ids"), ([1, 2], [0, 0], "order"), ([1], [], "order")],
)
def test_what_is_damaged_is_refused_by_name(ids, order, named):
    index = Index(1, 2)
    with pytest.raises(ValueError, match=named):
        index.restore(0, np.array(ids, np.int64), np.array(order, np.int64))
    assert index.counts[0] == 0


def test_an_entry_takes_little_beside_a_key():
    assert Index(1, 500_000).nbytes < 0.1 * 500_000 * 4 * 65
    assert Index(1, 2**20).nbytes < 0.14 * 2**20 * 4 * 65


@pytest.mark.parametrize("largest", [False, True])
def test_values_settle_one_write_after_another(largest):
    rng = np.random.default_rng(1)
    before, values = rng.normal(size=5).astype(np.float32), rng.normal(size=40).astype(np.float32)
    places, fresh = rng.integers(0, 5, 40), rng.random(40) < 0.2
    slow = before.copy()
    for place, new, empty in zip(places, values, fresh, strict=True):
        old = slow[place]
        slow[place] = new if empty else max(old, new) if largest else old + np.float32(0.3) * (new - old)
    kept = before.copy()
    np.testing.assert_array_equal(settle(before, places, fresh, values, 0.3, largest), slow)
    np.testing.assert_array_equal(before, kept)
