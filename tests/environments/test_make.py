"""Environments by their ids: batched where they can be, alike in what an agent sees, and clear about mistakes."""

import sys
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from memagents.environments.make import has_split, make_env, make_single_env
from memagents.environments.vector import GymnasiumVecEnv
from memenvs.batched import BatchedEnv, SingleEnv
from memenvs.compilation import njit
from tests.memenvs.support.drifting import define as drifting


def test_batched_where_resets_happen_within_the_step():
    assert isinstance(make_env("memenvs/TMaze-v0", 3), GymnasiumVecEnv)
    # CartPole's own batch can not reset a single row, as SB3's interface needs it.
    cartpole = make_env("CartPole-v1", 3)
    assert isinstance(cartpole, DummyVecEnv) and cartpole.env_is_wrapped(Monitor) == [True] * 3


@pytest.mark.parametrize("env_id", ["memenvs/TMaze-v0", "CartPole-v1"])
def test_the_seed_decides(env_id):
    first, again, other = (make_env(env_id, 8, seed=seed).reset() for seed in (3, 3, 4))
    assert (first == again).all() and (first != other).any()


def test_parameters_and_conditions_arrive():
    env = make_env("memenvs/TMaze-v0", 2, ["reward"], length=1)
    assert set(env.observation_space.spaces) == {"observation", "previous_reward"}
    env.reset()
    observations, *_ = env.step(np.ones(2, np.int64))
    assert observations["observation"][:, 1].all()  # at the junction after one step
    assert make_single_env("CartPole-v1", max_episode_steps=7).spec.max_episode_steps == 7


def test_memenvs_give_their_own_arrays_unless_told_otherwise():
    for kwargs, overwritten in (({}, True), ({"copy": True}, False)):
        env = make_env("memenvs/TMaze-v0", 2, length=1, **kwargs)
        first = env.reset()
        env.step(np.ones(2, np.int64))
        assert bool(first[:, 1].all()) == overwritten


@pytest.mark.parametrize(
    ("env_id", "entries"),
    [
        ("MiniGrid-MemoryS7-v0", {"image", "direction"}),  # always the same mission
        ("MiniGrid-GoToDoor-5x5-v0", {"image", "direction", "mission"}),
        ("BabyAI-GoToRedBall-v0", {"image", "direction"}),
    ],
)
def test_minigrids_missions(env_id, entries):
    env = make_env(env_id, 2)
    assert set(env.observation_space.spaces) == entries
    observations = env.reset()
    assert set(observations) == entries
    assert all(space.contains(observations[name][0]) for name, space in env.observation_space.spaces.items())


def test_who_has_splits():
    assert has_split("memenvs/Underground-v0")
    assert has_split("memenvs/Underground-v0", split="train", stations=3)
    assert not has_split("memenvs/TMaze-v0", length=3)
    assert not has_split("CartPole-v1")
    with pytest.raises(ValueError, match="map must be"):
        has_split("memenvs/Underground-v0", map="paris")


def test_an_environment_from_a_package(tmp_path, monkeypatch):
    (tmp_path / "my_mazes.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('MyMaze-v0', entry_point='tests.support.toys:Counter', kwargs={'steps': 2})\n"
        "def varied(**kwargs):\n"
        "    return gymnasium.make('MyMaze-v0', **kwargs)\n"
        "gymnasium.register('MyFreeMaze-v0', entry_point=varied)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        env = make_env("my_mazes:MyMaze-v0", 2)
        env.reset()
        assert [env.step(np.zeros(2, np.int64))[2].tolist() for _ in range(2)] == [[False] * 2, [True] * 2]
        assert (
            make_single_env("MyFreeMaze-v0", steps=5).unwrapped.steps == 5
        )  # its signature does not tell what it takes
    finally:
        gym.registry.pop("MyMaze-v0", None), gym.registry.pop("MyFreeMaze-v0", None), sys.modules.pop("my_mazes", None)


class Pair(gym.Env):
    """Observations that are a tuple."""

    observation_space = gym.spaces.Tuple((gym.spaces.Discrete(5), gym.spaces.Box(0, 1, (2,))))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return (3, np.float32([0, 0.5])), {}


def test_a_tuple_is_seen_as_a_dict():
    gym.register("tests/Pair-v0", entry_point=Pair)
    try:
        env = make_env("tests/Pair-v0", 2)
        assert list(env.observation_space.spaces) == ["0", "1"]
        observations = env.reset()
        assert observations["0"].tolist() == [3, 3]
        assert observations["1"].tolist() == [[0, 0.5]] * 2
    finally:
        gym.registry.pop("tests/Pair-v0")


ENTRY = gym.spaces.Box(0, 1, (2,))
UNKNOWN = {
    "Text": gym.spaces.Dict(sight=ENTRY, mission=gym.spaces.Text(9)),
    "Sequence": gym.spaces.Dict(sight=ENTRY, words=gym.spaces.Sequence(gym.spaces.Discrete(3))),
    "Dict": gym.spaces.Dict(sight=ENTRY, inner=gym.spaces.Dict(a=ENTRY)),
    "Tuple": gym.spaces.Dict(sight=ENTRY, pair=gym.spaces.Tuple([ENTRY, ENTRY])),
}
ALONE = {"Text": gym.spaces.Text(9), "Sequence": gym.spaces.Sequence(ENTRY)}


class Reader(gym.Env):
    """Observations that no agent here takes; never asked for any."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space


@pytest.mark.parametrize("make", [make_env, make_single_env])
@pytest.mark.parametrize("kind", UNKNOWN)
def test_observations_that_no_agent_takes_are_named(make, kind):
    gym.register("tests/Reader-v0", entry_point=Reader)
    try:
        with pytest.raises(ValueError, match=rf"a Dict of these, not {kind} \(the entry '\w+'\)"):
            make("tests/Reader-v0", space=UNKNOWN[kind])
        if kind in ALONE:
            with pytest.raises(ValueError, match=f"a Dict of these, not {kind}"):
                make("tests/Reader-v0", space=ALONE[kind])
        with pytest.raises(ValueError, match="env 'tests/Reader-v0' has no default of its parameter 'space'"):
            make("tests/Reader-v0")
    finally:
        gym.registry.pop("tests/Reader-v0")


def forgotten(state, level, action):
    """A function that is not compiled."""
    return 1.0, False, False


@njit
def with_a_list(state, level, action):
    return REWARDS[action], False, False


REWARDS = [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (forgotten, "`step` of Drifting.* must be decorated with memenvs.compilation.njit$"),
        (with_a_list, "`step` of Drifting.* cannot be compiled: the global `REWARDS` must be .*debug$"),
    ],
)
@pytest.mark.parametrize("make", [make_env, make_single_env])
def test_mistakes_of_a_definition_are_value_errors(make, step, message):
    define = {"define": staticmethod(lambda: replace(drifting(), step=step))}
    kinds = {
        "entry_point": type("One", (SingleEnv,), define),
        "vector_entry_point": type("Many", (BatchedEnv,), define),
    }
    gym.register("tests/Mistaken-v0", **kinds)
    try:
        with pytest.raises(ValueError, match=f"^{message}") as caught:
            make("tests/Mistaken-v0")
        assert "\n" not in str(caught.value)
    finally:
        gym.registry.pop("tests/Mistaken-v0")


def test_an_error_of_the_environments_own_stays_as_it_is():
    def confused():
        return len(3)

    gym.register("tests/Confused-v0", entry_point=confused)
    try:
        with pytest.raises(TypeError, match=r"^object of type 'int' has no len\(\)$"):
            make_single_env("tests/Confused-v0")
    finally:
        gym.registry.pop("tests/Confused-v0")


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        (
            "memenvs/Tmaze-v0",
            {},
            "'memenvs/Tmaze-v0'; spelled alike: memenvs/TMaze-v0, .*; memenvs has: memenvs/AssociativeRecall-v0, "
            ".* and 7. of MiniGrid such as memenvs",
        ),
        ("memenvs/MiniGrid-MemoryS8-v0", {}, "memenvs has: memenvs/MiniGrid-Block.*, memenvs/MiniGrid-MemoryS7-v0, "),
        ("Cartpole-v1", {}, "spelled alike: CartPole-v1"),
        ("Minigrid-MemoryS7-v0", {}, "spelled alike: MiniGrid-MemoryS7-v0"),
        ("no_such_package:Maze-v0", {}, "env 'no_such_package:Maze-v0': there is no module 'no_such_package'"),
        ("memenvs/TMaze-v0", {"lenght": 3}, "env 'memenvs/TMaze-v0' has no parameter 'lenght'; it has: length, "),
        ("memenvs/TMaze-v0", {"length": 0}, "length must be within 1 to .*, not 0"),
        ("memenvs/TMaze-v0", {"split": "test"}, "split must be None"),
        ("CartPole-v1", {"gravity": 3}, "env 'CartPole-v1' has no parameter 'gravity'; it has: sutton_barto_reward, "),
        (3, {}, "env must be the id of an environment, not 3"),
        ("memenvs/TMaze-v0", {"n_envs": 0}, "n_envs must be a positive integer, not 0"),
    ],
)
def test_mistakes_are_named(env_id, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(env_id, **kwargs)


def test_an_environment_without_pictures_cannot_be_filmed():
    class Blind(gym.Env):
        observation_space = gym.spaces.Discrete(2)
        action_space = gym.spaces.Discrete(2)

        def __init__(self, length=3):
            self.length = length

    gym.register("Blind-v0", Blind)
    try:
        with pytest.raises(
            ValueError, match=r"^env 'Blind-v0' cannot be filmed or shown: it has no parameter render_mode$"
        ):
            make_single_env("Blind-v0", render_mode="rgb_array")
    finally:
        del gym.registry["Blind-v0"]


class Told(gym.Env):
    """An environment that shows itself in words only."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"]}
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode


@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes")
def test_an_environment_is_filmed_in_no_mode_but_those_that_it_names():
    message = r"^env 'Told-v0' cannot be filmed or shown: it has no render_mode 'rgb_array'; its metadata names ansi$"
    gym.register("Told-v0", Told)
    try:
        for make in make_env, make_single_env:
            with pytest.raises(ValueError, match=message):
                make("Told-v0", render_mode="rgb_array")
        assert make_single_env("Told-v0", render_mode="ansi").render_mode == "ansi"
        assert make_single_env("CartPole-v1", render_mode="rgb_array_list").render_mode == "rgb_array_list"
    finally:
        del gym.registry["Told-v0"]
