"""The curricula of Graves et al. (2016, Extended Data Tables 3 and 5): how hard a lesson's graphs and questions are."""

from __future__ import annotations

from typing import NamedTuple

from memenvs.checks import within


class Lesson(NamedTuple):
    """The quantities that a lesson draws uniformly, each as (low, high)."""

    stations: tuple[int, int]
    exits: tuple[int, int]
    length: tuple[int, int]  # of the path: of what is asked for in traversal, of a shortest one in shortest path


TRAVERSAL = [
    Lesson((3, 10), (2, 4), (1, 1)),
    Lesson((3, 10), (2, 4), (1, 2)),
    Lesson((5, 10), (2, 4), (1, 3)),
    Lesson((5, 10), (2, 4), (1, 4)),
    Lesson((10, 15), (2, 4), (1, 4)),
    Lesson((10, 15), (2, 4), (1, 5)),
    Lesson((10, 20), (2, 4), (1, 5)),
    Lesson((10, 20), (2, 4), (1, 6)),
    Lesson((10, 30), (2, 4), (1, 6)),
    Lesson((10, 30), (2, 4), (1, 7)),
    Lesson((10, 30), (2, 4), (1, 8)),
    Lesson((10, 30), (2, 4), (1, 9)),
    Lesson((10, 40), (2, 6), (1, 10)),
    Lesson((10, 40), (2, 6), (1, 20)),
]
SHORTEST_PATH = [
    Lesson((5, 10), (1, 2), (2, 2)),
    Lesson((5, 20), (1, 2), (2, 2)),
    Lesson((10, 20), (1, 2), (2, 2)),
    Lesson((10, 20), (1, 2), (2, 3)),
    Lesson((10, 20), (1, 3), (2, 3)),
    Lesson((10, 20), (2, 3), (2, 3)),
    Lesson((10, 20), (2, 3), (2, 4)),
    Lesson((10, 20), (2, 4), (2, 4)),
    Lesson((10, 25), (2, 4), (2, 4)),
    Lesson((10, 25), (2, 4), (2, 5)),
    Lesson((10, 25), (2, 4), (2, 5)),
    Lesson((15, 25), (2, 4), (2, 5)),
    Lesson((15, 25), (2, 5), (2, 5)),
    Lesson((20, 25), (2, 5), (2, 5)),
    Lesson((20, 25), (2, 6), (2, 5)),
]
LESSONS = {"traversal": TRAVERSAL, "shortest_path": SHORTEST_PATH}


def lesson_of(task: str, number: int) -> Lesson:
    """A lesson of a task, counted from 1 as in the paper.

    :raises ValueError: for a number that is none
    """
    lessons = LESSONS[task]
    return lessons[within("lesson", number, 1, len(lessons)) - 1]
