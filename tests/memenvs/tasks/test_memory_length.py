"""MemoryLength: bsuite's rules beside a plain copy of them, long waits, pictures."""

import gymnasium as gym
import numpy as np
import pytest


class Plain:
    """The rules of bsuite's memory chain, one number after the other."""

    def __init__(self, length, context, query):
        self.length, self.context, self.query, self.time = length, context, query, 0

    def see(self):
        asked = self.query if self.time == self.length - 1 else 0
        bits = [2 * bit - 1 for bit in self.context] if self.time == 0 else [0] * len(self.context)
        return np.array([1 - self.time / self.length, asked, *bits], np.float32)

    def act(self, action):
        """Observe before the clock ticks, so that the first observation comes twice."""
        observation = self.see()
        self.time += 1
        if self.time <= self.length:
            return observation, 0.0, False
        return observation, 1.0 if action == self.context[self.query] else -1.0, True


@pytest.mark.parametrize(("length", "bits"), [(1, 1), (1, 5), (2, 1), (3, 64), (17, 5)])
def test_the_rules_of_bsuite(length, bits):
    env = gym.make("memenvs/MemoryLength-v0", length=length, bits=bits)
    shown = gym.make("memenvs/MemoryLength-v0", length=length, bits=bits, observable=True)
    rng, rewards = np.random.default_rng(0), set()
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        everything, _ = shown.reset(seed=seed)
        context = ((observation[2:] + 1) / 2).astype(int).tolist()
        query = int(everything[1])
        plain = Plain(length, context, query)
        assert np.array_equal(observation, plain.see())
        for step in range(length + 1):
            assert env.observation_space.contains(observation)
            assert info["decision"] == (step == length)
            assert env.unwrapped.oracle() == (context[query] if step == length else -1)
            assert np.array_equal(everything, [observation[0], query, *(2 * np.array(context) - 1)])
            if step == length:
                assert observation[1] == query
            action = int(rng.integers(2))
            expected, reward, end = plain.act(action)
            observation, *outcome, info = env.step(action)
            everything, *_ = shown.step(action)
            assert np.array_equal(observation, expected)
            assert outcome == [reward, end, False]
        assert end
        assert info["success"] == (reward == 1)
        rewards.add(reward)
    assert rewards == {-1.0, 1.0}


def test_contexts_and_queries_are_drawn_evenly():
    envs = gym.make_vec("memenvs/MemoryLength-v0", num_envs=6000, bits=5)
    observations, _ = envs.reset(seed=0)
    assert np.all(np.abs(observations[:, 2:].mean(axis=0)) < 0.06)
    levels = envs.unwrapped.batch.rows["level"]
    assert np.all(np.abs(np.bincount(levels["query"], minlength=5) / 1200 - 1) < 0.15)
    correlation = np.corrcoef(np.column_stack([observations[:, 2:], levels["query"]]).T)
    assert np.all(np.abs(correlation - np.eye(6)) < 0.06)


def test_a_million_steps_take_no_memory():
    short, long = (gym.make_vec("memenvs/MemoryLength-v0", num_envs=4, length=n, copy=False) for n in (2, 10**6))
    assert short.unwrapped.batch.rows.dtype == long.unwrapped.batch.rows.dtype
    observations, _ = long.reset(seed=0)
    context, nothing = observations[:, 2].copy(), np.zeros(4, np.int64)
    for _ in range(50):
        observations, rewards, terminated, _, _ = long.step(nothing)
    assert not terminated.any()
    assert np.allclose(observations[:, 0], 1 - 49e-6, rtol=0, atol=1e-7)
    long.unwrapped.batch.rows["state"]["time"] = 10**6 - 1
    long.step(nothing)
    assert np.array_equal(long.oracle(), (context + 1) / 2)
    observations, rewards, terminated, _, infos = long.step((context > 0).astype(int))
    assert rewards.tolist() == [1.0] * 4
    assert terminated.all()
    assert infos["success"].tolist() == [1.0] * 4


@pytest.mark.parametrize(
    "wrong",
    [{"length": 0}, {"length": 10**9 + 1}, {"length": 1.5}, {"bits": 0}, {"bits": 65}, {"observable": 1}],
    ids=str,
)
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make("memenvs/MemoryLength-v0", **wrong)


def test_a_split_needs_five_bits():
    gym.make("memenvs/MemoryLength-v0", bits=5, split="test")
    with pytest.raises(ValueError, match="64 distinct level"):
        gym.make("memenvs/MemoryLength-v0", bits=4, split="test")


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("level", "length", 5),
        ("level", "bits", 64),
        ("level", "query", 5),
        ("level", "query", -1),
        ("level", "context", 32),
        ("state", "time", -1),
        ("state", "time", 6),
        ("state", "answer", 2),
    ],
)
def test_a_damaged_snapshot_is_refused(record, name, value):
    envs = gym.make_vec("memenvs/MemoryLength-v0", num_envs=4, length=4, bits=5)
    envs.reset(seed=0)
    kept = envs.snapshot()
    envs.restore(kept)
    envs.batch.rows[record][name][2] = value
    damaged = envs.snapshot()
    with pytest.raises(ValueError, match="damaged"):
        envs.restore(damaged)


def test_pictures():
    env = gym.make("memenvs/MemoryLength-v0", length=3, bits=64, render_mode="rgb_array").unwrapped
    lines = gym.make("memenvs/MemoryLength-v0", length=3, bits=64, render_mode="ansi").unwrapped
    for wrong in (0, 1):
        observation, _ = env.reset(seed=1)
        lines.reset(seed=1)
        pictures = [env.render()]
        for _ in range(4):
            action = (max(env.oracle(), 0) + wrong) % 2
            env.step(action)
            lines.step(action)
            pictures.append(env.render())
        assert all(picture.shape == (320, 640, 3) for picture in pictures)
        assert (pictures[0] == pictures[1]).all()
        assert all((pictures[i] != pictures[i + 1]).any() for i in (1, 2, 3))
        line = lines.render()
        context = "".join(str(int(bit > 0)) for bit in observation[2:])
        assert line.startswith(f"context {context}, bit ")
        assert line.endswith(f"step 3 of 3: {action} ({'wrong' if wrong else 'right'})")
