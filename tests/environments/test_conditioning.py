"""The previous action and reward as observations."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from memagents.environments.conditioning import ConditionOn, check_conditions
from tests.support.toys import ACTIONS, dummy


def code(action, space):
    """The code of one action, by a loop."""
    if isinstance(space, spaces.Discrete):
        return [float(action - space.start == k) for k in range(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        pairs = zip(action, space.start, space.nvec, strict=True)
        return [float(a - start == k) for a, start, n in pairs for k in range(n)]
    return list(np.asarray(action, np.float32).reshape(-1))


@pytest.mark.parametrize("observations", ["box", "dict"])
@pytest.mark.parametrize("actions", ACTIONS)
def test_what_was_done_and_what_came_of_it(observations, actions):
    env = ConditionOn(dummy(observations=observations, actions=actions), ["reward", "action"])
    env.seed(3)
    observed: Any = env.reset()
    space, ends = env.action_space, 0
    space.seed(0)
    for name in env.added:
        assert not observed[name].any()
    for _ in range(40):
        done = np.stack([space.sample() for _ in range(3)])
        observed, rewards, dones, infos = env.step(done)
        for i in range(3):
            row = {name: values[i] for name, values in observed.items()}
            last = infos[i]["terminal_observation"] if dones[i] else row
            assert env.observation_space.contains(row)
            assert env.observation_space.contains(last)
            np.testing.assert_array_equal(last["previous_action"], code(done[i], space))
            np.testing.assert_array_equal(last["previous_reward"], [rewards[i]])
            if dones[i]:
                ends += 1
                assert not row["previous_action"].any()
                assert not row["previous_reward"].any()
    assert ends > 10


def test_one_condition_alone():
    env = ConditionOn(dummy(), ["reward"])
    assert set(env.reset()) == {"observation", "previous_reward"}
    assert set(env.observation_space.spaces) == {"observation", "previous_reward"}


def test_codes_with_an_offset():
    space = spaces.MultiDiscrete([2, 3], start=[4, -1])
    venv = dummy()
    venv.action_space = space
    env = ConditionOn(venv, ["action"])
    env.venv.step_async = lambda actions: None
    env.venv.step_wait = lambda: (np.zeros((3, 3), np.float32), np.zeros(3), np.zeros(3, bool), [{}] * 3)
    observed, *_ = env.step(np.array([[4, 1], [5, -1], [4, 0]]))
    np.testing.assert_array_equal(observed["previous_action"], [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 0, 1, 0]])


def test_conditions_are_checked():
    assert check_conditions(["reward", "action", "reward"]) == ("action", "reward")
    for wrong in ("reward", ["rewards"], [3]):
        with pytest.raises(ValueError, match="condition_on must be a list of words among action, reward"):
            check_conditions(wrong)
    twice = ConditionOn(dummy(), ["reward"])
    with pytest.raises(ValueError, match="already have previous_reward"):
        ConditionOn(twice, ["reward"])
