"""The 26 lessons of Graves et al. (2016, Extended Data Table 6)."""

from __future__ import annotations

from typing import NamedTuple


class Lesson(NamedTuple):
    """Ranges (low, high) from which a level is drawn."""

    goals: tuple[int, int]
    blocks: tuple[int, int]
    constraints: tuple[int, int]  # of each goal
    moves: tuple[int, int]  # fewest that satisfy it


# The copy of the table that this follows runs rows 6 to 10 and 17 together in places: what was missing there is filled
# in so that no range falls from one lesson to the next.
LESSONS = {
    1: Lesson((2, 2), (3, 3), (1, 1), (1, 1)),
    2: Lesson((2, 3), (3, 4), (1, 2), (1, 1)),
    3: Lesson((3, 3), (4, 4), (1, 2), (1, 2)),
    4: Lesson((3, 4), (4, 5), (2, 2), (1, 2)),
    5: Lesson((4, 4), (5, 5), (2, 2), (2, 2)),
    6: Lesson((4, 5), (5, 6), (2, 3), (2, 2)),
    7: Lesson((5, 5), (6, 6), (2, 3), (2, 3)),
    8: Lesson((5, 6), (6, 6), (3, 3), (2, 3)),
    9: Lesson((6, 6), (6, 6), (3, 3), (3, 3)),
    10: Lesson((6, 7), (6, 6), (3, 4), (3, 3)),
    11: Lesson((7, 7), (6, 6), (3, 4), (3, 4)),
    12: Lesson((7, 8), (6, 6), (4, 4), (3, 4)),
    13: Lesson((8, 8), (6, 6), (4, 4), (4, 4)),
    14: Lesson((8, 9), (6, 6), (4, 5), (4, 4)),
    15: Lesson((9, 9), (6, 6), (4, 5), (4, 5)),
    16: Lesson((9, 10), (6, 6), (5, 5), (4, 5)),
    17: Lesson((10, 10), (6, 6), (5, 5), (5, 5)),
    18: Lesson((10, 10), (6, 6), (5, 6), (5, 5)),
    19: Lesson((10, 10), (6, 6), (5, 6), (5, 6)),
    20: Lesson((10, 10), (6, 6), (6, 6), (5, 6)),
    21: Lesson((10, 10), (6, 6), (6, 6), (6, 6)),
    22: Lesson((10, 10), (6, 6), (6, 6), (6, 6)),
    23: Lesson((10, 10), (6, 6), (6, 6), (6, 7)),
    24: Lesson((10, 10), (6, 6), (6, 6), (6, 7)),
    25: Lesson((10, 10), (6, 6), (6, 6), (7, 7)),
    26: Lesson((10, 10), (6, 6), (1, 6), (1, 7)),
}
