"""The Mersenne twister beside Python's and NumPy's own."""

import random

import numpy as np
import pytest

from memenvs.popgym.mt19937 import WORDS, below, bits_32, seed_numpy, seed_python, shuffle, to

SEEDS = [0, 1, 2, 623, 624, 19650218, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
SEEDS += np.random.default_rng(0).integers(0, 2**32, 60).tolist()


def seeded(begin, seed):
    words = np.zeros(WORDS + 1, np.uint32)
    begin(words, np.uint64(seed))
    return words


@pytest.mark.parametrize("seed", SEEDS)
def test_bits_are_those_of_python_and_of_numpy(seed):
    ours, theirs = seeded(seed_python, seed), random.Random(seed)
    assert np.array_equal(ours[:WORDS], theirs.getstate()[1][:WORDS])
    assert [bits_32(ours) for _ in range(2000)] == [theirs.getrandbits(32) for _ in range(2000)]
    ours, legacy = seeded(seed_numpy, seed), np.random.RandomState(seed)
    assert np.array_equal(ours[:WORDS], legacy.get_state()[1])
    assert [bits_32(ours) for _ in range(2000)] == legacy.randint(0, 2**32, 2000, np.uint64).tolist()


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_integers_are_those_of_python(seed):
    ours, theirs = seeded(seed_python, seed), random.Random(seed)
    for n in [*range(1, 40), 2**16, 2**31, 2**31 + 1, 2**32 - 1]:
        assert [below(ours, n) for _ in range(20)] == [theirs.randrange(n) for _ in range(20)]
        assert below(ours, n) == theirs.choice(range(n))
        assert 1 + 2 * below(ours, n) == theirs.randrange(1, 2 * n + 1, 2)


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_shuffles_are_those_of_numpy(seed):
    ours, legacy = seeded(seed_numpy, seed), np.random.RandomState(seed)
    for n in [*range(12), 50, 500]:
        values, order = np.arange(n), list(range(n))
        shuffle(ours, values, n)
        legacy.shuffle(order)
        assert values.tolist() == order
        assert to(ours, 0) == 0
