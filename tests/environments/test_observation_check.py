"""Observations outside their space: one error that names the entry, its space and the value, on every way."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import RecurrentPPO, as_vec_env
from memagents.environments.spaces import ObservationCheck
from tests.support.toys import OBSERVATIONS

SPACE = spaces.Dict({"place": spaces.Discrete(3), "sight": spaces.Box(-1, 1, (3,), np.float32)})
RIGHT = {"place": 1, "sight": np.zeros(3, np.float32)}
WRONG = {
    "code": ({"place": 7}, r"observation\['place'\] must be in Discrete\(3\), not 7"),
    "shape": (
        {"sight": np.zeros(4)},
        r"observation\['sight'\] must have the shape \((2, )?3,?\) of Box.*, not \((2, )?4,?\)",
    ),
}


class Slipping(gym.Env):
    """Observes what is wrong from one step on.

    :param changes: to the right observation
    :param at: number of the step, 0 for ``reset``
    """

    observation_space, action_space = SPACE, spaces.Discrete(2)

    def __init__(self, changes, at):
        self.changes, self.at, self.number = changes, at, 0

    def look(self):
        return RIGHT | (self.changes if self.number >= self.at else {})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def step(self, action):
        self.number += 1
        return self.look(), 0.0, False, False, {}


class SlippingBatch(VectorEnv):
    """The same as a batch of its own kind."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    single_observation_space, single_action_space = SPACE, spaces.Discrete(2)

    def __init__(self, changes, at):
        self.num_envs, self.one = 2, Slipping(changes, at)

    def reset(self, *, seed=None, options=None):
        return {name: np.stack([value] * 2) for name, value in self.one.reset()[0].items()}, {}

    def step(self, actions):
        seen = {name: np.stack([value] * 2) for name, value in self.one.step(0)[0].items()}
        return seen, np.zeros(2), np.zeros(2, bool), np.zeros(2, bool), {}


WAYS = {
    "an Env": lambda *wrong: as_vec_env(Slipping(*wrong)),
    "wrapped": lambda *wrong: as_vec_env(gym.wrappers.TimeLimit(Slipping(*wrong), 9)),
    "dummy": lambda *wrong: as_vec_env(DummyVecEnv([lambda: Slipping(*wrong)] * 2)),
    "sync": lambda *wrong: as_vec_env(SyncVectorEnv([lambda: Slipping(*wrong)] * 2)),
    "a VectorEnv": lambda *wrong: as_vec_env(SlippingBatch(*wrong)),
    "conditioned": lambda *wrong: as_vec_env(Slipping(*wrong), ["action"]),
}


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("way", WAYS)
def test_the_entry_and_its_space_are_named(way, fault, at):
    changes, message = WRONG[fault]
    env = WAYS[way](changes, at)
    if at:
        env.reset()
        for _ in range(at - 1):
            env.step(np.zeros(env.num_envs, np.int64))
    with pytest.raises(ValueError, match=f"^{message}$"):
        env.step(np.zeros(env.num_envs, np.int64)) if at else env.reset()


def test_a_wrapper_may_bring_them_into_their_space():
    def repair(observation):
        return observation | {"place": 2}

    env = as_vec_env(gym.wrappers.TransformObservation(Slipping({"place": 7}, 0), repair, SPACE))
    assert env.reset()["place"] == env.step(np.zeros(1, np.int64))[0]["place"] == 2


def test_a_policy_names_what_it_cannot_encode():
    agent = RecurrentPPO("MultiInputPolicy", Slipping({}, 0), n_steps=4, device="cpu")
    with pytest.raises(ValueError, match=r"^observation\['place'\] must be in Discrete\(3\), not 7$"):
        agent.predict(RIGHT | {"place": 7})
    words = spaces.MultiDiscrete([40] * 8)  # which are embedded
    agent = RecurrentPPO("MlpPolicy", Fixed(words), n_steps=4, device="cpu")
    with pytest.raises(ValueError, match=r"^observation must be in MultiDiscrete\(.*\), not \[0, 0, .*, 40\]$"):
        agent.predict(np.array([0] * 7 + [40]))


class Fixed(gym.Env):
    """Observes zeros.

    :param space: of the observations
    """

    action_space = spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape or (), self.observation_space.dtype), {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


def test_compiled_environments_are_looked_at_when_they_begin():
    """And not in every step, which would be felt."""
    env = as_vec_env(Compiled({"place": 7}, 0))
    with pytest.raises(ValueError, match=r"^observation\['place'\] must be in Discrete\(3\), not 7$"):
        env.reset()
    env = as_vec_env(Compiled({"place": 7}, 1))
    env.reset()
    assert env.step(np.zeros(2, np.int64))[0]["place"].tolist() == [7, 7]


class Compiled(SlippingBatch):
    """Says that it is compiled, by the attribute that those of memenvs have."""

    definition = None


@pytest.mark.parametrize("rows", [(), (4,)])
@pytest.mark.parametrize("space", OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_what_a_space_draws_passes(space, rows):
    check = ObservationCheck(space, rows)
    for _ in range(20):
        check(gym.vector.utils.batch_space(space, *rows).sample() if rows else space.sample())


@pytest.mark.parametrize(
    ("space", "wrong", "message"),
    [
        (spaces.Discrete(3, start=5), 4, r"observation must be in Discrete\(3, start=5\), not 4"),
        (spaces.Discrete(3), np.nan, r"observation must be in Discrete\(3\), not nan"),
        (spaces.Discrete(3), "two", r"observation must be in Discrete\(3\), not 'two'"),
        (spaces.Discrete(3), None, r"observation must be in Discrete\(3\), not None"),
        (spaces.MultiDiscrete([3, 4]), [3, 0], r"observation must be in MultiDiscrete\(\[3 4\]\), not \[3, 0\]"),
        (spaces.MultiBinary(2), np.array([0, 2]), r"observation must be in MultiBinary\(2\), not \[0, 2\]"),
        (spaces.Box(0, 1, (2,)), {"a": 1}, r"observation must have the shape \(2,\) of Box.*, not dict"),
        (spaces.Box(0, 1, (2,)), (np.zeros(2), {}), r"observation must have the shape \(2,\) of Box.*, not tuple"),
        (SPACE, np.zeros(3), "observation must be a dict with place, sight, not ndarray"),
        (SPACE, {"place": 1}, r"observation must be a dict with place, sight, not \['place'\]"),
    ],
)
def test_what_lies_outside_is_refused(space, wrong, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ObservationCheck(space)(wrong)


@pytest.mark.parametrize(("space", "given"), [(spaces.Discrete(3), np.array([2])), (spaces.Box(0, 1, (1,)), 0.5)])
def test_one_number_is_as_good_as_an_array_of_one(space, given):
    ObservationCheck(space)(given)
