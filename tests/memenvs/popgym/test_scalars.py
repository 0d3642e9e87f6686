"""Arithmetic that has to be NumPy's own, to the last bit."""

import numpy as np

from memenvs.compilation import njit
from memenvs.popgym.scalars import TURN, squared, squared_32, within_turn


@njit
def each(values, out):
    for place in range(values.size):
        out[place] = squared(values[place])


@njit
def each_32(values, out):
    for place in range(values.size):
        out[place] = squared_32(values[place])


@njit
def each_turn(values, out):
    for place in range(values.size):
        out[place] = within_turn(values[place])


def applied(function, values):
    out = np.empty_like(values)
    function(values, out)
    return out


def test_squares_are_powers_of_scalars():
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.uniform(-8, 8, 300_000), rng.normal(0, 1, 50_000) * 10.0 ** rng.integers(-9, 3, 50_000)]
    )
    values = np.concatenate([values, [0.0, -0.0, 1.0, 8.0, np.pi, 1e-160, 1e-200, 5e-324, 1e140]])
    wanted = np.array([value**2 for value in values])
    assert np.array_equal(applied(each, values), wanted)
    assert (wanted != values * values).any()  # what the compiler would make of it


def test_squares_of_half_the_bits_too():
    values = np.random.default_rng(1).uniform(-2, 2, 300_000).astype(np.float32)
    values = np.concatenate([values, np.array([0, -0.0, 1, 2, 1e-30], np.float32)])
    wanted = np.array([value**2 for value in values])
    assert wanted.dtype == np.float32
    assert np.array_equal(applied(each_32, values), wanted)
    assert (wanted != values * values).any()


def test_remainders_of_turns():
    rng = np.random.default_rng(2)
    whole = TURN * np.arange(-25, 26)
    values = np.concatenate(
        [rng.uniform(-140, 140, 200_000), rng.uniform(-7, 7, 100_000), whole, [1e6, -1e6, 0.0, -0.0]]
    )
    values = np.concatenate(
        [values, np.nextafter(whole, np.inf), np.nextafter(whole, -np.inf), [5e-324, -5e-324, -1e-17]]
    )
    wanted = np.array([value % TURN for value in values])
    found = applied(each_turn, values)
    assert np.array_equal(found, wanted)
    assert np.array_equal(np.signbit(found), np.signbit(wanted))
