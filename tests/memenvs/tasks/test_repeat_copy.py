"""Repeat copy: what is shown and asked for, from nothing but observations; its scores; its parameters."""

import gymnasium as gym
import numpy as np
import pytest

from tests.memenvs.support.scripts import damages, oracle_scores, play, refuses


class Repeater:
    """What an agent with a perfect memory does that knows the range of repeats which the number is scaled by."""

    def __init__(self, width, repeats=(1, 10)):
        self.width, self.values = width, list(range(repeats[0], repeats[1] + 1))
        self.seen, self.answers, self.reading, self.numbers = [], None, False, []

    def act(self, observation):
        assert observation.dtype == np.float32
        assert observation.shape == (self.width + 3,)
        bits, (begins, ends, number) = observation[: self.width].tolist(), observation[self.width :].tolist()
        assert set(bits) <= {0, 1}
        if begins or ends:
            assert begins + ends == 1 and not any(bits)
            assert begins == 1 - self.reading
            if ends:
                deviation = np.std(self.values) or 1
                repeats = number * deviation + np.mean(self.values)
                assert repeats == pytest.approx(round(repeats), abs=1e-4)
                self.numbers.append(round(repeats))
                vectors = [[*map(int, vector), 0] for vector in self.seen]
                self.answers = vectors * round(repeats) + [[0] * self.width + [1]]
            self.reading = bool(begins)
            return None
        assert number == 0
        if self.reading:
            self.seen.append(bits)
            return None
        assert not any(bits)
        return self.answers.pop(0)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"width": 1, "length": 1, "repeats": 1},
        {"width": 16, "length": (3, 4), "repeats": (11, 20)},
        {"repeats": (2, 3), "training_repeats": (2, 3)},
        {"repeats": (2, 5), "training_repeats": 4},
    ],
    ids=str,
)
def test_a_perfect_memory_is_enough(parameters):
    width, low_high = parameters.get("width", 8), parameters.get("repeats", (1, 10))
    scale = parameters.get("training_repeats", (1, 10))
    low, high = (low_high, low_high) if isinstance(low_high, int) else low_high
    asked = set()
    for seed in range(50):
        agent = Repeater(width, (scale, scale) if isinstance(scale, int) else scale)
        answers, rewards, info = play("memenvs/RepeatCopy-v0", seed, agent, **parameters)
        n, repeats = len(agent.seen), agent.numbers[0]
        asked.add(repeats)
        assert not agent.answers
        assert len(answers) == n + n * repeats + 3
        assert rewards == pytest.approx([0] * (n + 2) + [1 / (n * repeats + 1)] * (n * repeats + 1))
        assert (info["success"], info["wrong_bits"], info["bits"]) == (1, 0, (n * repeats + 1) * (width + 1))
    assert asked == set(range(low, high + 1))


def test_the_number_has_mean_zero_and_variance_one_in_training():
    envs = gym.make_vec("memenvs/RepeatCopy-v0", num_envs=20_000, length=1)
    envs.reset(seed=0)
    for _ in range(2):
        observations, *_ = envs.step(np.zeros((20_000, 9), int))
    assert np.abs(observations[:, -1].mean()) < 0.03
    assert np.abs(observations[:, -1].var() - 1) < 0.03


def test_a_marker_too_early_and_none_at_the_end():
    env = gym.make("memenvs/RepeatCopy-v0", length=2, repeats=2).unwrapped
    env.reset(seed=0)
    rewards = []
    for t in range(9):
        action = np.maximum(env.oracle(), 0)
        if t in (5, 8):
            action[-1] ^= 1
        _, reward, end, cut, info = env.step(action)
        rewards.append(reward)
    assert rewards == [0] * 4 + [0.2, 0, 0.2, 0.2, 0]
    assert end and not cut
    assert (info["success"], info["wrong_bits"], info["bits"]) == (0, 2, 45)


def test_the_oracle_is_never_wrong_and_chance_hardly_right():
    scores = oracle_scores("memenvs/RepeatCopy-v0", length=(1, 3), repeats=(1, 4))
    assert scores["oracle"] == pytest.approx(1)
    assert scores["walk"] < 0.02


@pytest.mark.parametrize("sizes", [{"length": 73, "repeats": 7}, {"length": 1, "repeats": 256}, {"length": 256}])
def test_the_longest_scripts(sizes):
    _, rewards, info = play("memenvs/RepeatCopy-v0", 0, Repeater(8), **{"repeats": 1} | sizes)
    assert sum(rewards) == pytest.approx(1)
    assert info["success"] == 1


def test_the_split_follows_from_the_vectors_alone():
    sets = {}
    for split in ("train", "test"):
        envs = gym.make_vec("memenvs/RepeatCopy-v0", num_envs=2000, width=2, length=(4, 5), repeats=(1, 3), split=split)
        envs.reset(seed=0)
        levels = envs.batch.rows["level"]
        sets[split] = {tuple(level["frames"][: level["shown"] - 1].tolist()) for level in levels}
    assert not sets["train"] & sets["test"]
    assert len(sets["test"]) > 80


@damages
def test_a_damaged_snapshot_is_refused(record, field, value):
    assert refuses("memenvs/RepeatCopy-v0", record, field, value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 17}, "width must be an integer from 1 to 16"),
        ({"length": 0}, "length must be within 1 to 256"),
        ({"length": 1.5}, "length"),
        ({"repeats": 0}, "repeats must be within 1 to 256"),
        ({"repeats": (3, 2)}, "repeats"),
        ({"training_repeats": 0}, "training_repeats"),
        ({"length": (1, 64), "repeats": (1, 8)}, r"length times repeats must be at most 511, not 64 \* 8"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/RepeatCopy-v0", **wrong)
