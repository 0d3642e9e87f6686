"""Random numbers of compiled code, against the published generator and simple statistics."""

import numpy as np

from memenvs.random import advance, between, bits, fold, integer, permute, uniform


def test_the_published_sequence():
    key, drawn = np.uint64(1234567), []
    for _ in range(5):
        key = np.uint64(advance(key))
        drawn.append(int(bits(key)))
    assert drawn == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_integers_are_uniform():
    counts = np.bincount([integer(np.uint64(fold(np.uint64(3), i)), 7) for i in range(7000)], minlength=7)
    assert counts.size == 7
    assert ((counts - 1000) ** 2 / 1000).sum() < 22.5  # chi-squared, 6 degrees of freedom: exceeded once in a thousand


def test_a_range_is_drawn_with_both_ends():
    drawn = [between(np.uint64(fold(np.uint64(4), i)), np.array([-1, 2])) for i in range(4000)]
    counts = np.bincount(np.array(drawn) + 1, minlength=4)
    assert counts.size == 4
    assert ((counts - 1000) ** 2 / 1000).sum() < 16.3  # chi-squared, 3 degrees of freedom: exceeded once in a thousand


def test_folded_keys_differ():
    keys = {int(fold(np.uint64(base), i)) for base in range(50) for i in range(200)}
    assert len(keys) == 50 * 200


def test_uniform_numbers_fill_the_interval_evenly():
    drawn = np.array([uniform(np.uint64(fold(np.uint64(5), i))) for i in range(8000)])
    assert (drawn * 2**24 % 1 == 0).all()
    assert 0 <= drawn.min() < 0.01
    assert 0.99 < drawn.max() < 1
    assert ((np.histogram(drawn, 8, (0, 1))[0] - 1000) ** 2 / 1000).sum() < 24.4  # 7 degrees of freedom, one in 1000


def test_every_order_is_equally_likely():
    counts, values, key = {}, np.full(5, 9, np.int8), np.uint64(1)
    for _ in range(2400):
        key = np.uint64(permute(key, values, 4))
        assert values[4] == 9
        counts[tuple(values[:4])] = counts.get(tuple(values[:4]), 0) + 1
    assert len(counts) == 24
    assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 49.7  # 23 degrees of freedom, one in 1000
