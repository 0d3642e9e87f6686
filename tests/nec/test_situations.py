"""Situations: the same number for what is the same, another for anything else."""

import numpy as np
import pytest
from gymnasium import spaces

from memagents.nec.situations import situation_numbers
from tests.nec.support import drawn_from, entries
from tests.support.toys import OBSERVATIONS


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_equal_observations_and_no_others_have_equal_numbers(name):
    space = OBSERVATIONS[name]
    drawn = drawn_from(space, 40)
    numbers = situation_numbers(drawn, space)
    assert numbers.dtype == np.int64 and numbers.shape == (40,)
    rows = [tuple(np.concatenate([np.ravel(values[i]) for values in entries(drawn).values()])) for i in range(40)]
    for i in range(40):
        for j in range(40):
            assert (numbers[i] == numbers[j]) == (rows[i] == rows[j])
    one = {key: values[3:4] for key, values in entries(drawn).items()}
    assert situation_numbers(one if isinstance(space, spaces.Dict) else one[""], space) == numbers[3]


def test_one_entry_of_many_makes_another_situation():
    space = OBSERVATIONS["dict"]
    drawn = drawn_from(space, 1)
    number = situation_numbers(drawn, space)
    for name, entry in space.spaces.items():
        other = {**drawn, name: np.zeros_like(drawn[name]) if drawn[name].any() else np.ones_like(drawn[name])}
        assert situation_numbers(other, space) != number, name
        assert entry.contains(other[name][0])


def test_neither_the_order_of_entries_nor_their_type_matters():
    """A final observation comes as the environment made it: here another order, and Python's numbers."""
    space = OBSERVATIONS["dict"]
    drawn = drawn_from(space, 7)
    as_made = {
        "sight": drawn["sight"].astype(np.float64),
        "place": drawn["place"].astype(np.int32),
        "codes": np.asfortranarray(drawn["codes"]),
    }
    assert list(as_made) != list(space.spaces)
    np.testing.assert_array_equal(situation_numbers(as_made, space), situation_numbers(drawn, space))


def test_fractions_where_the_space_has_bytes_stay_apart():
    """VecNormalize makes such observations, and its space does not say so."""
    space = spaces.Box(0, 255, (2,), np.uint8)
    numbers = situation_numbers(np.array([[0.25, 0.5], [0.75, 0.5], [0.25, 0.5]], np.float32), space)
    assert numbers[0] == numbers[2] != numbers[1]


def test_a_history_is_all_of_its_observations_in_order():
    space = spaces.Discrete(3)
    histories = np.array([(a, b, c) for a in range(3) for b in range(3) for c in range(3)] * 2)  # (54, 3)
    numbers = np.zeros(len(histories), np.int64)
    for observations in histories.T:
        numbers = situation_numbers(observations, space, numbers)
    assert len(set(numbers.tolist())) == 27
    np.testing.assert_array_equal(numbers[:27], numbers[27:])
    shorter = situation_numbers(histories[:, 2], space, np.zeros(54, np.int64))
    assert not set(shorter.tolist()) & set(numbers.tolist())
