"""Index of an action's dictionary: the row of each situation, and the row that was seen least recently.

Per row: the situation's id (8 bytes), the rows seen before and after it (a doubly linked list, 8 bytes), and one and a
half to three places of a hash table (4 bytes each). Every operation on a row takes constant time. The table is open
addressing with linear probing; what is removed leaves no mark behind, since the entries after it move up.

Letters in shapes: A actions, C capacity, S places of a hash table, N situations.
"""

from __future__ import annotations

import numpy as np

from memagents.compilation import njit

NONE = -1


class Index:
    """For each action up to C rows, in use from row 0 on.

    :param n_actions: A
    :param capacity: C
    """

    def __init__(self, n_actions: int, capacity: int):
        self.capacity = capacity
        self.counts = np.zeros(n_actions, np.int64)
        self._ids = np.empty((n_actions, capacity), np.int64)
        # Row + 1, so that 0 is an empty place and the system's empty pages need no filling.
        self._table = np.zeros((n_actions, 1 << (capacity * 3 // 2).bit_length()), np.int32)
        self._links = np.empty((n_actions, capacity, 2), np.int32)  # the row seen before, the row seen after
        self._ends = np.full((n_actions, 2), NONE, np.int32)  # the row seen least recently, the row seen last

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in (self.counts, self._ids, self._table, self._links, self._ends))

    def find(self, action: int, ids: np.ndarray) -> np.ndarray:
        """The rows of situations, −1 where one is not there: int64 (N,) to int64 (N,)."""
        return _find(self._table[action], self._ids[action], ids)

    def place(self, actions: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give each situation, in order, the row where it is, else a free one, else the one seen least recently.

        Each is thereby seen.

        :param actions: int64 (N,)
        :param ids: int64 (N,)
        :return: rows, int64 (N,), and booleans (N,), true where the situation was not there before
        """
        return _place(self.counts, self._ids, self._table, self._links, self._ends, actions, ids)

    def touch(self, flat_rows: np.ndarray) -> None:
        """Rows are seen, all at the same time: of two, the lower counts as seen before.

        :param flat_rows: action · C + row, int64 (N,), −1 where there is none; may name one several times
        """
        _touch(self._links, self._ends, np.sort(flat_rows[flat_rows >= 0]))

    def ids(self, action: int) -> np.ndarray:
        """The situations of the rows in use, int64 (count,)."""
        return self._ids[action, : self.counts[action]].copy()

    def order(self, action: int) -> np.ndarray:
        """The rows in use from the one seen least recently on, int32 (count,)."""
        return _order(self._links[action], self._ends[action], self.counts[action])

    def restore(self, action: int, ids: np.ndarray, order: np.ndarray) -> None:
        """Take over what :meth:`ids` and :meth:`order` gave.

        :raises ValueError: more than C, an id twice, or an order that does not name each row once
        """
        check(ids, order, self.capacity)
        self.counts[action] = len(ids)
        self._ids[action, : len(ids)] = ids
        self._table[action] = 0
        self._ends[action] = NONE
        _rebuild(self._ids[action], self._table[action], self._links[action], self._ends[action], order)


def check(ids: np.ndarray, order: np.ndarray, capacity: int) -> None:
    """Refuse what :meth:`Index.restore` cannot take."""
    for name, given in (("ids", ids), ("order", order)):
        if not isinstance(given, np.ndarray) or given.dtype.kind != "i" or given.ndim != 1:
            raise ValueError(f"{name} must be integers in an array with one axis")
    if len(ids) > capacity:
        raise ValueError(f"ids must be at most {capacity}, the capacity, not {len(ids)}")
    if len(np.unique(ids)) != len(ids):
        raise ValueError("ids must name each situation once")
    if not np.array_equal(np.sort(order), np.arange(len(ids))):
        raise ValueError(f"order must name each of the {len(ids)} rows once")


def settle(
    before: np.ndarray, places: np.ndarray, fresh: np.ndarray, values: np.ndarray, rate: float, largest: bool
) -> np.ndarray:
    """Values after writes that come one after another.

    :param before: of the rows written to, float32 (M,)
    :param places: in ``before``, of each write, int64 (N,)
    :param fresh: booleans (N,), true where the old value is nothing to go by
    :param values: written, float32 (N,)
    :param rate: α of v ← v + α (new − v)
    :param largest: the larger of the two instead
    :return: float32 (M,)
    """
    return _settle(before.copy(), places, fresh, values, np.float32(rate), largest)


# --- compiled -------------------------------------------------------------------------------------------------------
# One file, since Numba's cache does not see that a compiled function in another file has changed.


@njit
def _home(name, mask):
    """Return the place of an id in the table: its bits mixed (Steele et al. 2014, the finaliser of SplitMix64)."""
    x = np.uint64(name)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((x ^ (x >> np.uint64(31))) & np.uint64(mask))


@njit
def _probe(table, ids, name):
    """The id's place in the table, or the empty one where it would be."""
    mask = len(table) - 1
    place = _home(name, mask)
    while table[place] != 0 and ids[table[place] - 1] != name:
        place = (place + 1) & mask
    return place


@njit
def _remove(table, ids, place):
    """Empty a place, and let each entry after it, up to the next empty place, move towards its home."""
    mask = len(table) - 1
    after = (place + 1) & mask
    while table[after] != 0:
        home = _home(ids[table[after] - 1], mask)
        if (after - home) & mask >= (after - place) & mask:  # its home is not between the two
            table[place] = table[after]
            place = after
        after = (after + 1) & mask
    table[place] = 0


@njit
def _unlink(links, ends, row):
    before, after = links[row, 0], links[row, 1]
    if before == NONE:
        ends[0] = after
    else:
        links[before, 1] = after
    if after == NONE:
        ends[1] = before
    else:
        links[after, 0] = before


@njit
def _link_last(links, ends, row):
    last = ends[1]
    links[row, 0], links[row, 1] = last, NONE
    ends[1] = row
    if last == NONE:
        ends[0] = row
    else:
        links[last, 1] = row


@njit
def _find(table, ids, names):
    rows = np.empty(len(names), np.int64)
    for i in range(len(names)):
        rows[i] = table[_probe(table, ids, names[i])] - 1
    return rows


@njit
def _place(counts, all_ids, tables, all_links, all_ends, actions, names):
    capacity = all_ids.shape[1]
    rows, fresh = np.empty(len(names), np.int64), np.empty(len(names), np.bool_)
    for i in range(len(names)):
        action, name = actions[i], names[i]
        ids, table, links, ends = all_ids[action], tables[action], all_links[action], all_ends[action]
        place = _probe(table, ids, name)
        row = np.int64(table[place]) - 1
        fresh[i] = row == NONE
        if row != NONE:
            _unlink(links, ends, row)
        elif counts[action] < capacity:
            row = counts[action]
            counts[action] += 1
        else:
            row = np.int64(ends[0])
            _unlink(links, ends, row)
            _remove(table, ids, _probe(table, ids, ids[row]))
            place = _probe(table, ids, name)
        ids[row] = name
        table[place] = row + 1
        _link_last(links, ends, row)
        rows[i] = row
    return rows, fresh


@njit
def _touch(all_links, all_ends, flat_rows):
    capacity = all_links.shape[1]
    for i in range(len(flat_rows)):
        if i == 0 or flat_rows[i] != flat_rows[i - 1]:
            action, row = flat_rows[i] // capacity, flat_rows[i] % capacity
            _unlink(all_links[action], all_ends[action], row)
            _link_last(all_links[action], all_ends[action], row)


@njit
def _order(links, ends, count):
    rows = np.empty(count, np.int32)
    row = ends[0]
    for i in range(count):
        rows[i] = row
        row = links[row, 1]
    return rows


@njit
def _rebuild(ids, table, links, ends, order):
    for row in order:
        table[_probe(table, ids, ids[row])] = row + 1
        _link_last(links, ends, row)


@njit
def _settle(now, places, fresh, values, rate, largest):
    for i in range(len(places)):
        old, new = now[places[i]], values[i]
        if fresh[i]:
            now[places[i]] = new
        elif largest:
            now[places[i]] = max(old, new)
        else:
            now[places[i]] = old + rate * (new - old)
    return now
