"""POPGym's own environments beside ours, step by step."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

ROWS = 8


def peer(name):
    """POPGym's own environment of an id, without wrappers."""
    pytest.importorskip("popgym")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gym.make(name, disable_env_checker=True).unwrapped


def level_of(definition, seed):
    """Our level of a seed."""
    level = np.zeros(1, definition.level)[0]
    assert definition.generate(definition.params[0], np.uint64(seed), level)
    return level


def check_spaces(name):
    """Ours are POPGym's."""
    ours, theirs = gym.make(f"memenvs/{name}").unwrapped, peer(name)
    for space in ("observation_space", "action_space"):
        assert getattr(ours, space) == getattr(theirs, space)
        assert getattr(ours, space).dtype == getattr(theirs, space).dtype


def play(name, act, steps, rows=ROWS):
    """Play so many steps in each of some rows, and compare all that is returned.

    :param act: ``(envs, rng) -> actions`` for our batch
    :return: the numbers of episodes that were terminated, truncated, and both
    """
    envs = gym.make_vec(f"memenvs/{name}", num_envs=rows)
    theirs, rng = [peer(name) for _ in range(rows)], np.random.default_rng(0)
    levels = envs.unwrapped.batch.rows["level"]

    def begin(row):
        return theirs[row].reset(seed=int(levels["seed"][row]))[0]

    observations, _ = envs.reset(seed=1)
    assert np.array_equal(observations, [begin(row) for row in range(rows)])
    ends = np.zeros(3, int)
    for _ in range(steps):
        actions = act(envs, rng)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        assert rewards.dtype == np.float64
        for row, env in enumerate(theirs):
            observation, reward, *over, _ = env.step(actions[row])
            assert rewards[row] == reward
            assert [terminated[row], truncated[row]] == over
            ours = infos["final_obs"][row] if any(over) else observations[row]
            assert np.array_equal(ours, observation)
            if any(over):
                ends += [*over, all(over)]
                assert np.array_equal(observations[row], begin(row))
    return ends
