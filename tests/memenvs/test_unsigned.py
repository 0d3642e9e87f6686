"""Arithmetic of uint64 in compiled code.

Numba makes the result of a uint64 and an int64, or a plain integer, an int64: its shifts and remainders above 2^63 are
those of a negative number.
"""

import gymnasium as gym
import numba
import numpy as np
import pytest
from numba import types

from memenvs import bitwise, pcg64, random
from memenvs.compilation import njit
from memenvs.engine.functions import argument_types
from memenvs.engine.layout import ARGUMENTS
from memenvs.engine.loops import row_dtype
from tests.memenvs.engine.test_engine import BITS, DIGITS, NUMBERS
from tests.memenvs.support.typed import mixtures

LARGE = [2**63, 2**63 + 1, 2**64 - 1, 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 2**63 - 1, 1]
SMALL = {  # of numbers below 2^16, where a signed result is the same
    "memenvs.grid.cells.kind_of",
    "memenvs.grid.cells.colour_of",
    "memenvs.grid.cells.state_of",
    "memenvs.grid.oracle.oracle",
}
U, I = types.uint64, types.int64  # noqa: E741
WORDS = types.Array(U, 1, "C")


def mixed(key):
    """SplitMix64's finaliser in Python's integers."""
    key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    key = (key ^ key >> 27) * 0x94D049BB133111EB % 2**64
    return key ^ key >> 31


@pytest.mark.parametrize("key", LARGE)
def test_values_above_the_largest_int64(key):
    word, bits = np.uint64(key), mixed(key)
    assert random.bits(word) == bits
    assert random.advance(word) == (key + 0x9E3779B97F4A7C15) % 2**64
    for index in (0, 5, 2**40):
        assert random.fold(word, index) == mixed((key + 0xD1B54A32D192ED03 * (index + 1)) % 2**64)
    assert random.fold(word, np.uint64(2**63)) == mixed((key + 0xD1B54A32D192ED03 * (2**63 + 1)) % 2**64)
    for n in (2, 7, 2**31):
        assert random.integer(word, n) == (bits >> 32) * n >> 32
    assert random.uniform(word) == np.float32(bits >> 40) * np.float32(2.0**-24)
    assert bitwise.ones(word) == key.bit_count()
    assert bitwise.lowest(word) == (key & -key).bit_length() - 1
    places = [place for place in range(64) if key >> place & 1]
    assert [bitwise.place_of_one(word, number) for number in range(len(places))] == places


@njit
def shifts_with_a_plain_integer(key):
    return key >> 33


@njit
def takes_a_remainder_of_an_int64(key, n):
    return (np.uint64(key) * np.uint64(3)) % n


@njit
def calls_one(key):
    mask = np.uint64(7)
    return takes_a_remainder_of_an_int64(key, np.int64(5)) + np.int64(key & mask)


@njit
def keeps_to_uint64(key):
    return (key >> np.uint64(33)) % np.uint64(5) + np.uint64(key > np.uint64(3))


def test_the_search_finds_mixtures():
    found = [list(mixtures(f, (U,))) for f in (shifts_with_a_plain_integer, calls_one, keeps_to_uint64)]
    assert [entry[2] for entry in found[1]] == ["mod"]
    assert found[2] == []
    assert takes_a_remainder_of_an_int64(np.uint64(2**63), 10) != 3 * 2**63 % 2**64 % 10
    # A shift is right by itself: it has the type of what is shifted. Otherwise it would have to be found here.
    assert found[0] or shifts_with_a_plain_integer(np.uint64(2**63)) == 2**30


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (random.permute, (U, types.Array(types.int16, 1, "A"), I)),
        (random.between, (U, types.Array(I, 1, "C"))),
        (random.uniform, (U,)),
        (bitwise.place_of_one, (U, I)),
        (bitwise.lowest, (U,)),
        (pcg64.integers, (WORDS, I, I)),
        (pcg64.ends, (WORDS,)),
        (pcg64.seeded, (WORDS, U)),
        (pcg64.double, (WORDS,)),
        (pcg64.float32, (WORDS,)),
        (pcg64.normal, (WORDS,)),
        (pcg64.shuffle, (WORDS, types.Array(types.uint8, 1, "A"))),
    ],
)
def test_functions_for_all_environments_do_not_mix(function, arguments):
    assert list(mixtures(function, arguments)) == []


QUICK = ("memenvs/TMaze-v0", "memenvs/Harlow-v0", "memenvs/Copy-v0")


def cases():
    every = [getattr(case, "values", case) for case in NUMBERS + BITS + DIGITS]
    ours = [case for case in every if case[0].startswith("memenvs/")]
    return [pytest.param(*case, marks=() if case[0] in QUICK else pytest.mark.slow) for case in ours]


@pytest.mark.parametrize(("name", "parameters"), cases())
def test_environments_do_not_mix(name, parameters):
    definition = gym.make(name, **parameters).unwrapped.definition
    row = numba.typeof(np.empty(0, row_dtype(definition.level, definition.state))).dtype
    given = argument_types(definition, row)
    found, seen = [], set()
    for name, arguments in ARGUMENTS.items():
        function = getattr(definition, name)
        if function is not None:
            found += mixtures(function, tuple(given[name, argument] for argument in arguments), seen)
    assert len(seen) >= 9
    assert [entry for entry in found if entry[0] not in SMALL] == []
