"""What a table of ``train/tables.py`` is made of."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """Agents trained by one recipe and evaluated in several environments: a table with a row for each.

    :param title: of its table
    :param about: paragraph above it
    :param recipe: its name
    :param rows: by name, the changes to the recipe; the name is the core's unless there is an entry ``core``, and
        ``recipe`` names another recipe
    :param tests: by the head of a column, the parameters of its environment; ``env`` gives another id, ``metric``
        another metric than the one below, ``sampled`` asks for sampled actions instead of the most likely ones, and
        ``slots`` for a memory of so many where the core has slots
    :param metric: the score shown: ``success``, ``return`` or a metric of the environment
    :param episodes: of each test
    :param test_slots: slots of a memory in the tests, if not as many as in training
    :param document: file of the table, in ``docs``
    :param curves: axis over which the learning curves are drawn, ``"steps"`` or ``"minutes"``;
        an empty word draws none
    :param each_seed: list the scores of all seeds behind their mean
    :param chance: where the tests are ever harder, the score that no memory is needed for: one that is not above it
        stands for those of the tests that follow, which are not played then
    """

    title: str
    about: str
    recipe: str
    rows: dict[str, dict[str, Any]]
    tests: dict[str, dict[str, Any]]
    metric: str = "success"
    episodes: int = 100
    test_slots: int | None = None
    document: str = "cores.md"
    curves: str = "steps"
    each_seed: bool = False
    chance: float | None = None
