"""What a policy takes as an observation, and what it says of anything else."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents import MFEC, NEC, Imitation, RecurrentPPO, as_vec_env, load_agent
from tests.support.worlds import World

SPACES = {
    "box": spaces.Box(-1, 1, (2, 3), np.float32),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "discrete": spaces.Discrete(3),
    "codes": spaces.MultiDiscrete([3, 2]),
    "square": spaces.MultiDiscrete([[3, 4], [2, 5]]),
    "bits": spaces.MultiBinary([2, 2]),
    "picture": spaces.Box(0, 255, (36, 40, 3), np.uint8),
}
KINDS = [RecurrentPPO, Imitation, NEC, MFEC]


def agent_for(space, kind=RecurrentPPO, **kwargs):
    return kind("MlpPolicy", World(space), seed=0, device="cpu", **kwargs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SPACES)
def test_one_and_several_and_nothing_else(kind, name):
    space = SPACES[name]
    agent, one = agent_for(space, kind), space.sample()
    shape = agent.observation_space.shape  # a picture's channels come first
    action, state = agent.predict(one)
    assert np.shape(action) == ()
    assert agent.predict(one, state)[0].shape == ()
    for rows in (1, 2, 3, 4):
        actions, state = agent.predict(np.stack([one] * rows), None, np.ones(rows, bool))
        assert actions.shape == (rows,)
        assert agent.predict(np.stack([one] * rows), state, np.zeros(rows, bool))[0].shape == (rows,)
    wrong = [np.zeros((2, 2, *shape)), np.zeros((*shape, 7))] + ([np.zeros((*shape[:-1], 9))] if shape else [])
    for observation in wrong:
        if observation.shape[1:] != shape:
            with pytest.raises(ValueError, match=r"observation must have the shape \(.*, or \(B.*, not \("):
                agent.predict(observation)


@pytest.mark.parametrize("kind", KINDS)
def test_what_gymnasiums_reset_returns_is_named(kind):
    env = gym.make("CartPole-v1")
    agent = kind("MlpPolicy", env, device="cpu")
    with pytest.raises(ValueError, match=r"not a tuple: obs, info = env.reset\(\)"):
        agent.predict(env.reset())


DICT = spaces.Dict(aim=spaces.Box(-1, 1, (2,), np.float32), place=spaces.Discrete(3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_dict_lacks_nothing_and_is_of_one_size(kind):
    agent, one = agent_for(DICT, kind), DICT.sample()
    assert np.shape(agent.predict(one)[0]) == ()
    assert np.shape(agent.predict({**one, "more": "than needed"})[0]) == ()
    batch = {name: np.stack([values] * 3) for name, values in one.items()}
    assert agent.predict(batch)[0].shape == (3,)
    with pytest.raises(ValueError, match=r"observation must be a dict with aim, place; it lacks place$"):
        agent.predict({"aim": one["aim"]})
    with pytest.raises(ValueError, match=r"observation must be a dict with aim, place, not ndarray$"):
        agent.predict(one["aim"])
    with pytest.raises(ValueError, match=r"observation\['aim'\] must have the shape \(2,\), or \(B, 2\), not \(3,\)"):
        agent.predict({**one, "aim": np.zeros(3)})
    with pytest.raises(ValueError, match=r"observation\['place'\] must have the shape \(\), or \(B,?\), not \(3, 1\)"):
        agent.predict({**batch, "place": np.zeros((3, 1))})
    with pytest.raises(ValueError, match=r"observation\['aim'\] is of one environment, other entries of several"):
        agent.predict({**batch, "aim": one["aim"]})
    with pytest.raises(ValueError, match=r"observation: the entries are of 2 and 3 environments"):
        agent.predict({**batch, "aim": batch["aim"][:2]})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", [SPACES["box"], DICT], ids=["box", "dict"])
def test_what_was_added_to_the_observation_is_named(kind, space, tmp_path):
    agent = agent_for(space, kind, condition_on=["action", "reward"])
    agent.save(tmp_path)
    seen = "aim, place" if isinstance(space, spaces.Dict) else "observation"
    for ours in (agent, agent.policy, load_agent(tmp_path, device="cpu")):
        with pytest.raises(ValueError, match="previous_action and previous_reward come from condition_on") as error:
            ours.predict(space.sample())
        assert all(word in str(error.value) for word in (*seen.split(", "), "previous_reward", "as_vec_env"))
        # What the message says is what helps.
        env = as_vec_env(DummyVecEnv([lambda: World(space)] * 2), condition_on=["action", "reward"])
        assert ours.predict(env.reset())[0].shape == (2,)


def test_a_state_of_another_number_of_environments():
    agent = agent_for(SPACES["box"])
    _, state = agent.predict(np.zeros((3, 2, 3), np.float32))
    with pytest.raises(ValueError, match="state is of 3 environments, but observation of 2"):
        agent.predict(np.zeros((2, 2, 3), np.float32), state)
    with pytest.raises(ValueError, match="state is of 3 environments, but observation of 1"):
        agent.predict(np.zeros((2, 3), np.float32), state)
    with pytest.raises(ValueError, match=r"episode_start must be of 3 environments, not of shape \(2,\)"):
        agent.predict(np.zeros((3, 2, 3), np.float32), state, np.ones(2, bool))
    # One number stands for all, as in SB3's own examples.
    for start in (True, np.array(True), np.ones(1, bool)):
        assert agent.predict(np.zeros((3, 2, 3), np.float32), state, start)[0].shape == (3,)
