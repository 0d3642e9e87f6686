"""The compiled generator of random numbers against NumPy's, number by number."""

import numpy as np
import pytest

from memenvs import pcg64
from memenvs.pcg64 import ends, from_numpy, integers

SIZES = [1, 2, 3, 5, 7, 8, 100, 2**31 - 1, 2**31, 2**31 + 1, 3 * 2**30, 2**32 - 1, 2**32, 2**32 + 1, 2**40 + 12345]
SIZES += [2**62 + 1, 2**63 - 1]


def same_as_numpy(seed, bounds):
    generator = np.random.default_rng(seed)
    random = from_numpy(generator)
    for low, high in bounds:
        assert integers(random, low, high) == generator.integers(low, high)
        assert np.array_equal(random, from_numpy(generator))


@pytest.mark.parametrize("size", SIZES)
def test_integers_of_one_range(size):
    for seed in range(20):
        low = [0, -size // 2, 17 - seed][seed % 3] if size < 2**62 else 0
        same_as_numpy(seed, [(low, low + size)] * 50)


def test_integers_of_mixed_ranges():
    chooser = np.random.default_rng(1)
    for seed in range(300):
        bounds = []
        for size in chooser.choice(SIZES, 40).tolist():
            low = int(chooser.integers(-(2**62), 2**63 - size))
            bounds.append((low, low + size))
        same_as_numpy(seed, bounds)


def test_the_widest_ranges():
    low, high = -(2**63), 2**63 - 1
    for seed in range(20):
        same_as_numpy(seed, [(low, high), (0, 6), (low, 0), (-3, high), (low, high)] * 10)


def test_a_range_of_one_number_draws_nothing():
    random = from_numpy(np.random.default_rng(3))
    before = random.copy()
    assert integers(random, 5, 6) == 5
    assert np.array_equal(random, before)


def test_rejected_numbers_are_drawn_again():
    generator = np.random.default_rng(5)
    random = from_numpy(generator)
    draws = np.array([integers(random, 0, 3 * 2**30) for _ in range(4000)])  # a quarter of all 32-bit numbers
    assert np.array_equal(draws, [generator.integers(3 * 2**30) for _ in range(4000)])
    assert abs(draws.mean() / (3 * 2**29) - 1) < 0.05


def test_it_goes_on_in_the_middle():
    generator = np.random.default_rng(9)
    generator.integers(10, size=3)
    same = from_numpy(generator)
    assert same[4] == 1  # half a word is kept
    assert [integers(same, 2, 9) for _ in range(20)] == [generator.integers(2, 9) for _ in range(20)]


def test_other_generators_are_refused():
    with pytest.raises(ValueError, match="PCG64"):
        from_numpy(np.random.Generator(np.random.MT19937(0)))


def test_draws_of_a_damaged_generator_might_not_end():
    random = from_numpy(np.random.default_rng(0))
    assert ends(random)
    random[3] &= ~np.uint64(1)
    assert not ends(random)


SEEDS = [0, 1, 7, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15]


def begun(seed):
    random = np.ones(6, np.uint64)
    pcg64.seeded(random, np.uint64(seed))
    return random


def test_seeds():
    drawn = np.random.default_rng(0).integers(0, 2**64, 2000, np.uint64).tolist()
    for seed in [*SEEDS, *range(200), *drawn]:
        assert np.array_equal(begun(seed), from_numpy(np.random.default_rng(seed)))


def drawn_by_numpy(generator, kind, n):
    """What a generator draws, as a list."""
    array = np.arange(n)
    if kind == "shuffle":
        generator.shuffle(array)
        return array.tolist()
    if kind == "float32":
        return generator.random(n, dtype=np.float32).tolist()
    single = {"double": generator.random, "normal": generator.standard_normal}
    return [single[kind]() if kind in single else int(generator.integers(3, 4 + n)) for _ in range(n)]


def drawn_here(random, kind, n):
    array = np.arange(n)
    if kind == "shuffle":
        pcg64.shuffle(random, array)
        return array.tolist()
    single = {"double": pcg64.double, "float32": pcg64.float32, "normal": pcg64.normal}
    return [single[kind](random) if kind in single else integers(random, 3, 4 + n) for _ in range(n)]


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_draws_of_all_kinds_in_turn(first):
    for seed in range(first, first + 50):
        generator, random, chooser = np.random.default_rng(seed), begun(seed), np.random.default_rng(seed + 1000)
        for _ in range(60):
            kind = chooser.choice(["shuffle", "float32", "double", "normal", "integers"])
            n = int(chooser.integers(1, 90))
            assert drawn_here(random, kind, n) == drawn_by_numpy(generator, kind, n)
        assert np.array_equal(random, from_numpy(generator))


def test_normals_far_out():
    generator, random = np.random.default_rng(4), begun(4)
    drawn = np.array([pcg64.normal(random) for _ in range(300_000)])
    assert np.array_equal(drawn, generator.standard_normal(300_000))
    assert abs(drawn).max() > 4  # beyond the layers of the ziggurat


@pytest.mark.parametrize("n", [1, 2, 3, 4, 52, 64, 65, 832, 5000])
def test_shuffles(n):
    for seed in range(40):
        generator, random = np.random.default_rng(seed), begun(seed)
        for dtype in (np.int64, np.uint16):
            expected = np.arange(n, dtype=dtype)
            shuffled = expected.copy()
            generator.shuffle(expected)
            pcg64.shuffle(random, shuffled)
            assert np.array_equal(shuffled, expected)
        assert np.array_equal(random, from_numpy(generator))
