"""Spaces as JSON and back."""

import json

import numpy as np
import pytest
from gymnasium import spaces

from memagents.environments.spaces import space_from_json, space_to_json
from tests.support.toys import ACTIONS, OBSERVATIONS

SPACES = [
    *OBSERVATIONS.values(),
    *ACTIONS.values(),
    spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
    spaces.Box(np.array([-1.5, -np.inf], np.float32), np.array([0.1, 7], np.float32)),
    spaces.Box(np.array([-(2**53) - 1, 0]), np.array([2**62 + 1, 5]), dtype=np.int64),
    spaces.Box(0, 1, (), np.float32),
    spaces.Box(0, 255, (7, 7, 3), np.uint8),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([[2, 3], [4, 5]], dtype=np.int32),
    spaces.MultiDiscrete([2, 3], start=[1, -1]),
    spaces.MultiBinary([2, 2]),
    spaces.Dict(
        {"b": spaces.Discrete(2), "a": spaces.Box(-1, 1, (1,)), "previous_action": spaces.Box(0, 1, (3,), "u1")}
    ),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_there_and_back(space):
    text = json.dumps(space_to_json(space), allow_nan=False)
    again = space_from_json(json.loads(text))
    assert again == space
    if isinstance(space, spaces.Dict):
        assert list(again.spaces) == list(space.spaces)  # the order in which the encoder concatenates
    else:
        assert again.dtype == space.dtype


@pytest.mark.parametrize(
    "space", [spaces.Text(3), spaces.Tuple([spaces.Discrete(2)]), spaces.Graph(spaces.Box(0, 1), None)]
)
def test_spaces_that_are_not_supported(space):
    with pytest.raises(
        ValueError, match=f"Box, Discrete, MultiDiscrete, MultiBinary or a Dict.*{type(space).__name__}"
    ):
        space_to_json(space)


GOOD = space_to_json(spaces.Box(-1, 1, (2,)))
WRONG = [
    None,
    3,
    [],
    {},
    {"type": "Text", "dtype": "int64"},
    {"type": "Dict", "spaces": 3},
    {"type": "Dict", "spaces": {"a": None}},
    {"type": ["Box"], "dtype": "int64"},
    {**GOOD, "dtype": "nonsense"},
    {**GOOD, "dtype": "object"},
    {**GOOD, "dtype": 3},
    {**GOOD, "shape": "x"},
    {**GOOD, "shape": [-1]},
    {**GOOD, "shape": [3, 3], "low": [1, 2]},
    {**GOOD, "low": "abc"},
    {**GOOD, "low": 3.0},
    {**GOOD, "low": {"a": 1}},
    {"type": "Discrete", "dtype": "int64", "n": -1, "start": 0},
    {"type": "Discrete", "dtype": "int64", "n": "3", "start": 0},
    {"type": "Discrete", "dtype": "float32", "n": 3, "start": 0},
    {"type": "MultiDiscrete", "dtype": "int64", "nvec": [0], "start": [0]},
    {"type": "MultiBinary", "dtype": "int8", "n": "x"},
]


@pytest.mark.parametrize("data", WRONG, ids=str)
def test_what_is_no_space(data):
    with pytest.raises(ValueError, match="not a description of a space"):
        space_from_json(data)
