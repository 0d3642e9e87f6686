"""Twins: a task that shows everything beside the same task that has to be remembered.

POPGym Arcade's two figures (arXiv:2503.01450): the **observability gap** is what an agent loses where it has to
remember, the **memory bias** what a memory gains or costs where nothing has to be remembered: below 0 it hurts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memagents.experiments.evaluation import Interval


class Twins(NamedTuple):
    """Comparison of a task and its twin that shows everything.

    :param gap: J(core, all is seen) − J(core, it is not), with its 95% interval
    :param bias: J(core, all is seen) − J(no memory, all is seen), likewise
    """

    gap: Interval
    bias: Interval


def twins(seen: Sequence[float], hidden: Sequence[float], seen_without: Sequence[float]) -> Twins:
    """Compare the scores of agents that were trained on a task and on its twin, one for each seed.

    :param seen: of agents with the memory, where everything is shown (``observable=True``)
    :param hidden: of agents with the memory, where it is not
    :param seen_without: of agents without one (``core="none"``), where everything is shown
    :raises ValueError: for fewer than two seeds of one of them
    """
    for name, scores in (("seen", seen), ("hidden", hidden), ("seen_without", seen_without)):
        if len(scores) < 2:
            raise ValueError(f"{name} must hold the scores of two seeds at least, not {list(scores)}")
    return Twins(_difference(seen, hidden), _difference(seen, seen_without))


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Return the difference of two means of independent scores, with Welch's 95% interval (Welch 1947)."""
    from scipy import stats

    one, other = (np.asarray(scores, dtype=np.float64) for scores in (ours, theirs))
    mean = float(one.mean() - other.mean())
    errors = [(scores.var(ddof=1) / len(scores), len(scores) - 1) for scores in (one, other)]
    squared = sum(error for error, _ in errors)
    if squared == 0:
        return Interval(mean, mean, mean)
    freedom = squared**2 / sum(error**2 / degrees for error, degrees in errors)
    reach = float(stats.t.ppf(0.975, freedom) * np.sqrt(squared))
    return Interval(mean, mean - reach, mean + reach)
