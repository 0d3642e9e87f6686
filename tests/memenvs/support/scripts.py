"""What the tests of tasks with scripts share: an agent that plays from observations, scores, damaged snapshots."""

import gymnasium as gym
import numpy as np
import pytest

import memenvs  # noqa: F401, which registers them


def play(name, seed, agent, **parameters):
    """One episode of an agent that knows observations only, held against what the environment says of itself.

    :param agent: its ``act(observation)`` gives the bits to answer, or None where nothing is asked
    :return: its answers, the rewards, and the last info
    """
    env = gym.make(name, **parameters).unwrapped
    observation, info = env.reset(seed=seed)
    answers, rewards, end = [], [], False
    while not end:
        assert env.observation_space.contains(observation)
        answer, n = agent.act(observation), env.action_space.n
        answers.append(answer)
        assert info["decision"] == (answer is not None)
        assert env.oracle().tolist() == ([-1] * n if answer is None else answer)
        action = env.action_space.sample() if answer is None else np.array(answer)
        observation, reward, end, cut, info = env.step(action)
        assert not cut
        rewards.append(reward)
    assert not info["decision"]
    assert (env.oracle() == -1).all()
    return answers, rewards, info


def oracle_scores(name, steps=80, **parameters):
    """Mean returns of the oracle and of a random walk."""
    scores = {}
    for agent in ("oracle", "walk"):
        envs, rng, returns = gym.make_vec(name, num_envs=256, **parameters), np.random.default_rng(0), []
        envs.reset(seed=0)
        for _ in range(steps):
            _, _, terminated, _, infos = envs.step(
                np.maximum(envs.oracle(), 0) if agent == "oracle" else envs.random_walk(rng)
            )
            if terminated.any():
                returns += infos["episode"]["r"][terminated].tolist()
        scores[agent] = np.mean(returns)
    return scores


damages = pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        ("level", "shown", -1),
        ("level", "shown", 321),
        ("level", "told", 400),
        ("level", "asked", 0),
        ("level", "asked", 513),
        ("level", "channels", 33),
        ("level", "width", 0),
        ("state", "time", -1),
        ("state", "time", 100_000),
    ],
)


def refuses(name, record, field, value):
    """Whether an environment refuses its own snapshot with one field of one row changed, and stays as it was."""
    envs = gym.make_vec(name, num_envs=3)
    envs.reset(seed=0)
    kept = envs.snapshot()
    envs.restore(kept)
    envs.batch.rows[record][field][1] = value
    damaged = envs.snapshot()
    envs.restore(kept)
    with pytest.raises(ValueError, match="damaged"):
        envs.restore(damaged)
    return np.array_equal(kept["rows"], envs.snapshot()["rows"])
