"""Statistics over few runs: interquartile means, stratified bootstrap, probability of improvement.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv:2108.13264). Scores
are arrays (N, M): N runs (seeds) of M tasks; runs of different tasks have nothing to do with one another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from memagents.experiments.evaluation import FEW_SEEDS, Interval

REPLICAS = 50_000  # of the bootstrap
AT_ONCE = 2**22  # numbers

Statistic = Callable[..., np.ndarray]
"""A function of scores (..., N, M), one or several, to numbers (...)."""


def mean(scores: np.ndarray) -> np.ndarray:
    """Return the mean over all runs and tasks, (..., N, M) to (...)."""
    return scores.mean((-2, -1))


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Return the mean of the middle half of all scores, (..., N, M) to (...).

    Of k = N M scores the ⌊k / 4⌋ smallest and as many of the largest are left out.
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1))
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def probability_of_improvement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return how probable it is that a run of ours is better than one of theirs, on a task drawn at random.

    The mean over the tasks of the Mann-Whitney statistic U / (N K), in which ties count one half.

    :param ours: (..., N, M)
    :param theirs: (..., K, M)
    :return: (...)
    """
    difference = ours[..., :, None, :] - theirs[..., None, :, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean((-3, -2, -1))


def bootstrap(statistic: Statistic, *scores: ArrayLike, replicas: int = REPLICAS, seed: int = 0) -> Interval | None:
    """Return a statistic with its 95% percentile interval under a stratified bootstrap.

    Every replica draws, for each array and within each task independently, as many runs as there are, with replacement.

    :param statistic: :func:`mean`, :func:`interquartile_mean`, or :func:`probability_of_improvement` of two arrays
    :param scores: each (N, M), or (N,) for one task
    :param replicas: drawn
    :param seed: of the draws
    :return: None where one of the arrays has fewer runs than an interval needs (5); the bootstrap of three runs is far
        too narrow
    :raises ValueError: for scores that are no such arrays, not finite, or of different numbers of tasks
    """
    arrays = [_runs(given) for given in scores]
    if len({array.shape[1] for array in arrays}) > 1:
        raise ValueError(f"scores must be of the same tasks, not of {' and '.join(str(a.shape[1]) for a in arrays)}")
    if any(len(array) < FEW_SEEDS for array in arrays):
        return None
    rng = np.random.default_rng(seed)
    most = max(1, AT_ONCE // max(array.size * (len(arrays[-1]) if len(arrays) > 1 else 1) for array in arrays))
    found = []
    for first in range(0, replicas, most):
        drawn = [_resampled(array, min(most, replicas - first), rng) for array in arrays]
        found.append(statistic(*drawn))
    low, high = np.quantile(np.concatenate(found), (0.025, 0.975))
    return Interval(float(statistic(*arrays)), float(low), float(high))


def improvement(ours: ArrayLike, theirs: ArrayLike) -> str:
    """Return in words how probable it is that a run of ours is better than one of theirs: ``0.62 (0.40 to 0.82)``.

    Of fewer seeds than an interval needs it says how few there are: ``3 seeds``.

    :param ours: (N, M), or (N,) for one task
    :param theirs: (K, M), or (K,)
    :raises ValueError: for scores that are no such arrays, or not finite
    """
    interval = bootstrap(probability_of_improvement, ours, theirs)
    if interval is None:
        few = min(len(_runs(scores)) for scores in (ours, theirs))
        return f"{few} seed{'s' * (few > 1)}"
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _runs(scores: ArrayLike) -> np.ndarray:
    array = np.asarray(scores, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise ValueError("scores must be finite numbers (runs, tasks)")
    return array


def _resampled(array: np.ndarray, replicas: int, rng: np.random.Generator) -> np.ndarray:
    """(N, M) to (replicas, N, M)."""
    runs, tasks = array.shape
    return np.take_along_axis(array[None], rng.integers(runs, size=(replicas, runs, tasks)), axis=1)
