"""Random numbers of compiled code, against the published generator and simple statistics."""

import numpy as np

from memenvs.random import advance, bits, fold, integer


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


def test_folded_keys_differ():
    keys = {int(fold(np.uint64(base), i)) for base in range(50) for i in range(200)}
    assert len(keys) == 50 * 200
