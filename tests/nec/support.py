"""Draws and entries of replays, and returns computed slowly."""

import numpy as np
from gymnasium import spaces
from scipy import stats


def drawn_from(space, count, seed=0):
    """Observations (count, ...), or a dict of such."""
    space.seed(seed)
    samples = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {name: np.stack([sample[name] for sample in samples]) for name in space.spaces}
    return np.stack(samples)


def entries(observations):
    return observations if isinstance(observations, dict) else {"": observations}


def slow_returns(rewards, best, last, n_steps, gamma):
    """Σ_{k<N} γ^k r_{t+k} + γ^N max_a Q(s_{t+N}); beyond the end the value of what comes after it, 0 if nothing does.

    :param rewards: of the whole episode, T
    :param best: max_a Q of the observations of the T steps, as they were met
    :param last: the same of the final observation, 0 where the episode was over
    """
    total, returns = len(rewards), []
    for t in range(total):
        n = total - t if n_steps is None else min(n_steps, total - t)
        sum_of_rewards = sum(gamma**k * rewards[t + k] for k in range(n))
        following = last if t + n == total else best[t + n]
        returns.append(sum_of_rewards + gamma**n * following)
    return returns


def assert_drawn_as(drawn, probabilities):
    """Hold draws against probabilities: a chi-square test at 1e-3, for a fixed seed; probability 0 is never drawn."""
    probabilities = np.asarray(probabilities, float)
    counts = np.bincount(drawn, minlength=len(probabilities))
    assert not counts[probabilities == 0].any()
    counts, expected = counts[probabilities > 0], probabilities[probabilities > 0] * len(drawn)
    assert expected.min() > 5, "the test needs more draws"
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3
