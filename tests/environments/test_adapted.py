"""Environments as users have them: arrays that are written to again, rewards in arrays, missions in words."""

import warnings
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from memagents import MFEC, NEC, Imitation, RecurrentPPO, as_vec_env, make_env
from memagents.environments.adapted import adapted
from memagents.environments.joined import JoinedVecEnv

NEXT, SAME = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP


class Reusing(gym.Env):
    """Counts its steps in one array, or in those of one dict, that it returns over and over.

    :param kind: ``"box"`` or ``"dict"``
    :param steps: until a time limit
    """

    action_space = spaces.Discrete(2)

    def __init__(self, kind="box", steps=5):
        box = spaces.Box(0, 100, (2,), np.float32)
        self.observation_space = box if kind == "box" else spaces.Dict(a=box, b=spaces.Discrete(100))
        self.count, self.kind, self.steps = np.zeros(2, np.float32), kind, steps
        self.seen = {"a": self.count, "b": 0}

    def look(self):
        self.seen["b"] = int(self.count[0])
        return self.count if self.kind == "box" else self.seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count[:] = 0
        return self.look(), {}

    def step(self, action):
        self.count += 1
        return self.look(), 1.0, False, bool(self.count[0] >= self.steps), {}


WAYS = {
    "an Env": lambda make: as_vec_env(make()),
    "monitored": lambda make: as_vec_env(Monitor(make())),
    "wrapped": lambda make: as_vec_env(gym.wrappers.TimeLimit(make(), 100)),
    "dummy": lambda make: as_vec_env(DummyVecEnv([make] * 2)),
    "dummy, monitored": lambda make: as_vec_env(VecMonitor(DummyVecEnv([lambda: Monitor(make())] * 2))),
    "sync, next step": lambda make: as_vec_env(SyncVectorEnv([make] * 2)),
    "sync, same step": lambda make: as_vec_env(SyncVectorEnv([make] * 2, autoreset_mode=SAME)),
    "sync, no copies": lambda make: as_vec_env(SyncVectorEnv([make] * 2, copy=False)),
    "async, next step": lambda make: as_vec_env(AsyncVectorEnv([make] * 2)),
    "async, same step": lambda make: as_vec_env(AsyncVectorEnv([make] * 2, autoreset_mode=SAME)),
    "async, no shared memory": lambda make: as_vec_env(
        AsyncVectorEnv([make] * 2, autoreset_mode=SAME, shared_memory=False)
    ),
    "async, spawned": lambda make: as_vec_env(AsyncVectorEnv([make], autoreset_mode=SAME, context="spawn")),
    "joined": lambda make: JoinedVecEnv([as_vec_env(make()), as_vec_env(SyncVectorEnv([make]))]),
    "conditioned": lambda make: as_vec_env(make(), ["reward"]),
}


@pytest.mark.parametrize("kind", ["box", "dict"])
@pytest.mark.parametrize("way", WAYS)
def test_the_final_observation_is_that_of_the_episode(way, kind):
    if (way, kind) == ("async, spawned", "dict"):
        pytest.skip("slow, and nothing else than in forked processes")
    env = WAYS[way](partial(Reusing, kind))
    try:
        env.reset()
        for episode in range(2):
            for _ in range(5):
                seen, _, dones, infos = env.step(np.zeros(env.num_envs, np.int64))
            assert dones.all()
            for row in range(env.num_envs):
                final = infos[row]["terminal_observation"]
                if way == "conditioned" and kind == "box":
                    final = final["observation"]
                numbers = final if kind == "box" else final["a"]
                assert numbers.tolist() == [5, 5], episode
                assert kind == "box" or final["b"] == 5
            begun = seen["observation"] if way == "conditioned" and kind == "box" else seen
            assert (begun if kind == "box" else begun["a"]).max() == 0
    finally:
        env.close()


def test_an_agent_makes_its_own_vec_env_the_same():
    """A DummyVecEnv that is given to an agent need not go through as_vec_env first."""
    env = DummyVecEnv([Reusing])
    agent = RecurrentPPO("MlpPolicy", env, n_steps=5, device="cpu", policy_kwargs={"critic_core": None})
    seen = []
    look = agent.policy.look
    agent.policy.look = lambda o, *others: seen.append(o.tolist()) or look(o, *others)
    agent.learn(5)
    assert seen == [[[0, 0]], [[5, 5]]]  # after the window, and what an episode that was cut saw last


def test_it_is_done_once():
    env = Reusing()
    adapted(env)
    step = env.step
    adapted(env)
    as_vec_env(DummyVecEnv([lambda: env]))
    assert env.step is step
    env.reset()
    assert env.step(0)[0] is env.count  # no copy but at an end


# --- rewards --------------------------------------------------------------------------------------------------------


class Paid(gym.Env):
    """Pays 1, 2, 3 … as an array of a shape."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, shape=(1,)):
        self.shape = shape

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(3, np.float32), np.full(self.shape, self.t, np.float64), self.t >= 3, False, {}

    def oracle(self):
        return 1


BATCHES = {
    "dummy": DummyVecEnv,
    "subproc": partial(SubprocVecEnv, start_method="fork"),
    "sync": SyncVectorEnv,
    "sync, same step": partial(SyncVectorEnv, autoreset_mode=SAME),
    "async": AsyncVectorEnv,
    "async, same step": partial(AsyncVectorEnv, autoreset_mode=SAME),
    "monitored": lambda makes: DummyVecEnv([lambda make=make: Monitor(make()) for make in makes]),
}


@pytest.mark.parametrize("way", BATCHES)
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_reward_in_an_array_is_a_number(way, shape):
    if shape == (1, 1) and way == "subproc":
        pytest.skip("SB3 itself refuses it, in processes that are out of reach")
    env = BATCHES[way]([partial(Paid, shape)] * 2)
    agent = RecurrentPPO("MlpPolicy", env, n_steps=4, n_epochs=1, device="cpu")
    try:
        agent.learn(8)
        assert agent._window.rewards.tolist() == [[1, 1], [2, 2], [3, 3], [1, 1]]
    finally:
        agent.env.close()


@pytest.mark.parametrize("kind", [Imitation, NEC, MFEC])
def test_every_agent_takes_it(kind):
    agent = kind("MlpPolicy", Paid(), device="cpu")
    agent.learn(8)
    assert {episode["r"] for episode in agent.ep_info_buffer} == {6}


@pytest.mark.parametrize("way", BATCHES)
def test_a_reward_of_two_numbers_is_an_error_that_names_it(way):
    env = BATCHES[way]([partial(Paid, (2,))] * 2)
    try:
        with pytest.raises(ValueError, match=r"rewards? must be a number.*shape"):
            RecurrentPPO("MlpPolicy", env, n_steps=4, device="cpu").learn(8)
    finally:
        env.close()


# --- missions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [False, True], ids=["id", "gym.make"])
@pytest.mark.parametrize("name", ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-GoToObject-6x6-N2-v0"])
def test_minigrids_missions_are_words(name, made):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*mission")
        env = gym.make(name) if made else name
        agent = RecurrentPPO("MultiInputPolicy", env, n_steps=8, n_epochs=1, device="cpu")
        agent.learn(8)
    if name == "MiniGrid-DoorKey-5x5-v0":  # which has one mission
        assert set(agent.observation_space) == {"image", "direction"}
        return
    assert set(agent.observation_space) == {"image", "direction", "mission"}
    assert isinstance(agent.observation_space["mission"], spaces.MultiDiscrete)
    assert agent.env.reset()["mission"].any()


@pytest.mark.parametrize("made", [False, True], ids=["id", "gym.make"])
def test_a_mission_that_is_left_out_is_said(made):
    name = "BabyAI-GoToLocal-v0"
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")  # what is said twice at the same line is heard once
        if made:
            agent = RecurrentPPO("MultiInputPolicy", gym.make(name), n_steps=8, n_epochs=1, device="cpu")
        else:
            agent = RecurrentPPO("MultiInputPolicy", name, n_steps=8, n_epochs=1, device="cpu")
            make_env(name, 3).close()
        agent.learn(8)
    heard = [warning for warning in heard if "mission" in str(warning.message)]
    assert len(heard) == (1 if made else 2)  # of two calls at two lines
    assert all(str(warning.message).startswith(f"{name}: the mission is left out") for warning in heard)
    assert {warning.filename for warning in heard} == {__file__}
    assert set(agent.observation_space) == {"image", "direction"}


def test_a_tuple_becomes_a_dict_of_its_places():
    class Pair(gym.Env):
        observation_space = spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2,), np.float32)])
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return (1, np.ones(2, np.float32)), {}

        def step(self, action):
            return (2, np.zeros(2, np.float32)), 0.0, False, True, {}

    env = as_vec_env(Pair())
    assert list(env.observation_space) == ["0", "1"]
    assert {name: values.tolist() for name, values in env.reset().items()} == {"0": [1], "1": [[1, 1]]}
    final = env.step(np.zeros(1, np.int64))[3][0]["terminal_observation"]
    assert final["0"] == 2 and final["1"].tolist() == [0, 0]


@pytest.mark.parametrize("name", ["terminated", "truncated"])
def test_an_end_that_is_nothing_is_refused(name):
    """Taken for false, it would make episodes without end, and an evaluation wait for them."""

    class Endless(Paid):
        def step(self, action):
            observation, reward, *_ = super().step(action)
            ends = {"terminated": False, "truncated": False, name: None}
            return observation, reward, *ends.values(), {}

    env = as_vec_env(Endless())
    env.reset()
    with pytest.raises(ValueError, match=rf"step\(\) must return {name} as True or False, not None"):
        env.step(np.zeros(1, int))
