"""Missions as numbers, and MiniGrid's own environments with them."""

import gymnasium as gym
import minigrid  # noqa: F401 — registers its environments
import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete
from gymnasium.utils.env_checker import check_env

from memenvs.grid.missions import MOST_WORDS, WORDS, MissionWords, numbers, text

OFFICIAL = [name for name in gym.registry if name.startswith("MiniGrid-") and "WFC" not in name]
SAME_MISSION = ["MiniGrid-MemoryS7-v0", "MiniGrid-ObstructedMaze-1Dl-v0", "MiniGrid-Playground-v0"]
OTHER_MISSIONS = ["MiniGrid-Fetch-5x5-N2-v0", "MiniGrid-LockedRoom-v0", "MiniGrid-PutNear-6x6-N2-v0"]


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_every_mission_of_minigrid_has_numbers_and_they_tell_it():
    said = set()
    for name in OFFICIAL:
        env = gym.make(name, disable_env_checker=True).unwrapped
        for seed in range(12):
            env.reset(seed=seed)
            words = numbers(env.mission)
            assert (words.shape, words.dtype) == ((MOST_WORDS,), np.uint8)
            assert text(words) == env.mission
            said |= set(env.mission.split())
    assert said == set(WORDS[1:])
    assert len(set(WORDS)) == len(WORDS)


@pytest.mark.parametrize("mission", ["go to the pub", "Go to the door", " ".join(["red"] * 18)])
def test_a_mission_of_other_words(mission):
    with pytest.raises(ValueError, match="mission must have at most 17 words"):
        numbers(mission)


@pytest.mark.filterwarnings("ignore:.*unwrapped version")
@pytest.mark.parametrize("name", SAME_MISSION + OTHER_MISSIONS)
def test_wrapped_environments_of_minigrid(name):
    plain, env = gym.make(name), MissionWords(gym.make(name))
    check_env(env, skip_render_check=True)
    assert ("mission" in env.observation_space.spaces) == (name in OTHER_MISSIONS)
    shown, missions = [plain.reset(seed=1)[0]], set()
    seen = [env.reset(seed=1)[0]]
    for seed in range(20):
        shown += [plain.reset(seed=seed)[0], plain.step(0)[0]]
        seen += [env.reset(seed=seed)[0], env.step(0)[0]]
    for first, second in zip(shown, seen, strict=True):
        assert env.observation_space.contains(second)
        assert np.array_equal(first["image"], second["image"])
        assert first["direction"] == second["direction"]
        missions.add(first["mission"])
        if name in OTHER_MISSIONS:
            assert text(second["mission"]) == first["mission"]
    assert (len(missions) > 1) == (name in OTHER_MISSIONS)
    if name in OTHER_MISSIONS:
        assert env.observation_space["mission"] == MultiDiscrete([len(WORDS)] * MOST_WORDS, dtype=np.uint8)


def test_wrapped_environments_side_by_side():
    envs = gym.make_vec("MiniGrid-GoToDoor-5x5-v0", num_envs=3, vectorization_mode="sync", wrappers=[MissionWords])
    observations, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observations)
    assert {text(words)[:9] for words in observations["mission"]} == {"go to the"}


def test_only_environments_of_minigrid_are_wrapped():
    with pytest.raises(ValueError, match="env must be one of MiniGrid"):
        MissionWords(gym.make("CartPole-v1"))
