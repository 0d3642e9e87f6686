"""Dynamic n-grams: the source, its best estimator against counts in plain Python and theory, scores, parameters."""

from collections import Counter
from math import comb, pi

import gymnasium as gym
import numpy as np
import pytest
from scipy.special import beta

from tests.memenvs.support.scripts import refuses

NAME = "memenvs/DynamicNGrams-v0"


def make(num_envs, seed=0, **parameters):
    envs = gym.make_vec(NAME, num_envs=num_envs, **parameters)
    envs.reset(seed=seed)
    return envs


class Counting:
    """The estimator of the paper, from observations: after each context, how often a 0 and how often a 1 has come."""

    def __init__(self, n):
        self.n, self.bits, self.counts, self.begun = n, [], Counter(), False

    def act(self, observation):
        assert observation.dtype == np.uint8
        assert (observation[0] > 0) == self.begun
        self.begun = True
        if observation[0]:
            self.bits.append(int(observation[0]) - 1)
            if len(self.bits) >= self.n:
                self.counts[tuple(self.bits[-self.n :])] += 1
        if len(self.bits) < self.n - 1:
            return None
        context = tuple(self.bits[len(self.bits) - self.n + 1 :])
        zeros, ones = self.counts[*context, 0], self.counts[*context, 1]
        return int((ones + 0.5) / (zeros + ones + 1) > 0.5)


@pytest.mark.parametrize("parameters", [{}, {"n": 1, "steps": 1}, {"n": 8, "steps": (150, 300)}, {"n": 3, "steps": 3}])
def test_counting_is_what_the_oracle_does(parameters):
    n, steps, seen = parameters.get("n", 6), parameters.get("steps", 200), set()
    env = gym.make(NAME, **parameters).unwrapped
    for seed in range(15):
        observation, info = env.reset(seed=seed)
        agent, actions, rewards, end = Counting(n), [], [], False
        while not end:
            assert env.observation_space.contains(observation)
            action = agent.act(observation)
            assert info["decision"] == (action is not None)
            assert env.oracle() == (-1 if action is None else action)
            actions.append(action)
            observation, reward, end, cut, info = env.step(1 if action is None else action)
            assert not cut
            rewards.append(reward)
        seen.add(len(actions))
        assert not info["decision"]
        agent.act(observation)  # the last bit
        assert len(agent.bits) == len(actions)
        assert actions[: n - 1] == [None] * (n - 1)
        decisions = len(actions) - n + 1
        right = [a == bit for a, bit in zip(actions, agent.bits, strict=True)]
        assert rewards == pytest.approx([hit / decisions for hit in right])
        assert info["accuracy"] == pytest.approx(sum(right) / decisions)
        assert info["success"] == 1
    assert seen == {steps} if isinstance(steps, int) else len(seen) > 8 and 150 <= min(seen) <= max(seen) <= 300


def test_the_probabilities_are_of_the_arcsine_law():
    probabilities = make(2000).batch.rows["level"]["probabilities"][:, :32]
    assert probabilities.min() >= 0 and probabilities.max() <= 1
    for q in np.linspace(0.05, 0.95, 10):
        assert np.abs((probabilities < q).mean() - 2 / pi * np.arcsin(np.sqrt(q))) < 0.008
    assert np.abs(np.corrcoef(probabilities.T) - np.eye(32)).max() < 0.12


def test_bits_follow_their_contexts():
    envs = make(400, steps=1000, n=3)
    probabilities = envs.batch.rows["level"]["probabilities"][:, :4].copy()
    bits = []
    for _ in range(999):
        bits.append(envs.step(np.zeros(400, int))[0][:, 0] - 1)
    bits = np.stack(bits)  # (T, B)
    assert np.all(np.abs(bits[:2].mean(axis=1) - 0.5) < 0.1)
    context, after = 2 * bits[:-2] + bits[1:-1], bits[2:]
    for c in range(4):
        count = (context == c).sum(axis=0)
        often = count > 50
        deviation = (after * (context == c)).sum(axis=0)[often] / count[often] - probabilities[often, c]
        spread = np.sqrt(probabilities[often, c] * (1 - probabilities[often, c]) / count[often] + 1e-4)
        assert often.sum() > 50
        assert np.all(np.abs(deviation) < 5 * spread)


def returns(num_envs, agent, **parameters):
    """Returns and metrics of one episode everywhere."""
    envs, end = make(num_envs, **parameters), np.zeros(num_envs, bool)
    observation = np.zeros((num_envs, 1), np.uint8)
    while not end.any():
        observation, _, end, _, infos = envs.step(agent(envs, observation))
    assert end.all()
    assert np.allclose(infos["episode"]["r"], infos["accuracy"])
    return infos["accuracy"], infos["success"]


def test_the_oracle_is_as_good_as_theory_says_the_best_is():
    """One context, ten bits: after k of them, j were 1 with a probability that Beta(1/2, 1/2) gives."""
    expected = np.mean(
        [
            sum(
                comb(k, j) * beta(j + 0.5, k - j + 0.5) / pi * max(j + 0.5, k - j + 0.5) / (k + 1) for j in range(k + 1)
            )
            for k in range(10)
        ]
    )
    accuracy, success = returns(20_000, lambda envs, _: np.maximum(envs.oracle(), 0), n=1, steps=10)
    assert accuracy.mean() == pytest.approx(expected, abs=0.006)
    assert success.all()


def test_others_do_worse_on_average():
    """Against an agent that knows nothing, one that says the last bit again, and one that counts without contexts."""
    rng, ones = np.random.default_rng(0), np.zeros(3000)

    def often(envs, seen):
        np.add(ones, np.sign(seen[:, 0] * 2.0 - 3) * (seen[:, 0] > 0), out=ones)
        return (ones > 0).astype(int)

    agents = {
        "oracle": lambda envs, _: np.maximum(envs.oracle(), 0),
        "chance": lambda envs, _: rng.integers(0, 2, 3000),
        "walk": lambda envs, _: envs.random_walk(rng),
        "again": lambda envs, seen: (seen[:, 0] == 2).astype(int),
        "often": often,
    }
    accuracy = {name: returns(3000, agent)[0].mean() for name, agent in agents.items()}
    success = {name: returns(3000, agent, seed=1)[1].mean() for name, agent in agents.items() if name != "often"}
    assert accuracy["oracle"] < 0.5 + 1 / pi  # what knowing the probabilities would bring
    assert accuracy["oracle"] > accuracy["often"] + 0.05
    assert accuracy["again"] < accuracy["oracle"] - 0.1
    assert accuracy["chance"] == pytest.approx(0.5, abs=0.01)
    assert accuracy["walk"] == pytest.approx(0.5, abs=0.01)
    assert success["oracle"] == 1
    assert max(success["chance"], success["walk"], success["again"]) < 0.15


def test_the_split_follows_from_the_source():
    sources = {}
    for split in ("train", "test"):
        envs = make(500, split=split)
        sources[split] = {tuple(p) for p in envs.batch.rows["level"]["probabilities"][:, :32].tolist()}
        assert len(sources[split]) == 500
    assert not sources["train"] & sources["test"]


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        ("level", "n", 7),
        ("level", "n", 0),
        ("level", "n", 60),
        ("level", "steps", 0),
        ("level", "steps", 1001),
        ("state", "time", -1),
        ("state", "time", 201),
        ("state", "context", -1),
        ("state", "context", 32),
    ],
)
def test_a_damaged_snapshot_is_refused(record, field, value):
    assert refuses(NAME, record, field, value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 0}, "n must be an integer from 1 to 8"),
        ({"n": 9}, "n must be an integer from 1 to 8"),
        ({"n": (1, 2)}, "n must be"),
        ({"steps": 5}, "steps must be within 6 to 1000"),
        ({"steps": 1001}, "steps must be within 6 to 1000"),
        ({"steps": 20.0}, "steps"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make(NAME, **wrong)
