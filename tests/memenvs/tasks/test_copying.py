"""Copy: what is shown and asked for, from nothing but observations; its scores; its parameters."""

import gymnasium as gym
import numpy as np
import pytest

from tests.memenvs.support.scripts import damages, oracle_scores, play, refuses


class Copier:
    """What an agent with a perfect memory does."""

    def __init__(self, width):
        self.width, self.seen, self.reading, self.answering = width, [], False, False

    def act(self, observation):
        bits, (begins, ends) = observation[: self.width].tolist(), observation[self.width :].tolist()
        assert observation.dtype == np.int8
        assert begins + ends == 0 or not any(bits)
        if begins:
            assert not self.reading and not self.answering
            self.reading = True
        elif ends:
            assert self.reading and self.seen
            self.reading, self.answering = False, True
        elif self.reading:
            self.seen.append(bits)
        else:
            assert not any(bits)
            return self.seen.pop(0)
        return None


@pytest.mark.parametrize("parameters", [{}, {"width": 1, "length": 1}, {"width": 16, "length": (2, 3)}], ids=str)
def test_a_perfect_memory_is_enough(parameters):
    width, length = parameters.get("width", 8), parameters.get("length", (1, 20))
    low, high = (length, length) if isinstance(length, int) else length
    lengths = set()
    for seed in range(40):
        answers, rewards, info = play("memenvs/Copy-v0", seed, Copier(width), **parameters)
        n = len(answers) // 2 - 1
        lengths.add(n)
        assert len(answers) == 2 * n + 2
        assert [answer is None for answer in answers] == [True] * (n + 2) + [False] * n
        assert rewards == [0] * (n + 2) + [1 / n] * n
        assert (info["success"], info["wrong_bits"], info["bits"]) == (1, 0, n * width)
    assert (min(lengths), max(lengths)) == (low, high)


def test_one_wrong_bit_costs_its_vector():
    env = gym.make("memenvs/Copy-v0", length=4).unwrapped
    for wrong_at in (7, 7, None):  # and nothing of an episode is held against the next
        env.reset(seed=0)
        rewards = []
        for t in range(10):
            action = np.maximum(env.oracle(), 0)
            if t == wrong_at:
                action[[2, 5]] ^= 1
            _, reward, end, cut, info = env.step(action)
            rewards.append(reward)
        assert rewards == [0] * 6 + [0.25, 0.25 if wrong_at is None else 0, 0.25, 0.25]
        assert end and not cut
        wrong_bits = 0 if wrong_at is None else 2
        assert (info["success"], info["wrong_bits"], info["bits"]) == (wrong_at is None, wrong_bits, 32)


def test_vectors_and_lengths_are_uniform():
    levels = gym.make_vec("memenvs/Copy-v0", num_envs=6000, width=2, length=(1, 3))
    levels.reset(seed=0)
    levels = levels.batch.rows["level"]
    assert np.all(np.abs(np.bincount(levels["asked"])[1:] / 2000 - 1) < 0.1)
    assert np.all(np.abs(np.bincount(levels["targets"][:, 0]) / 1500 - 1) < 0.12)
    longest = levels["targets"][levels["asked"] == 3]
    pairs = np.bincount(longest[:, 1] * 4 + longest[:, 2], minlength=16)
    assert np.all(np.abs(pairs / (len(longest) / 16) - 1) < 0.35)


def test_the_oracle_is_never_wrong_and_chance_hardly_right():
    scores = oracle_scores("memenvs/Copy-v0", length=(1, 9))
    assert scores["oracle"] == pytest.approx(1)
    assert scores["walk"] < 0.02


def test_long_sequences():
    _, rewards, info = play("memenvs/Copy-v0", 0, Copier(8), length=256)
    assert len(rewards) == 514
    assert sum(rewards) == pytest.approx(1)
    assert info["success"] == 1


def test_the_split_follows_from_the_vectors():
    sets = {}
    for split in ("train", "test"):
        envs = gym.make_vec("memenvs/Copy-v0", num_envs=2000, width=2, length=(4, 5), split=split)
        envs.reset(seed=0)
        levels = envs.batch.rows["level"]
        sets[split] = {tuple(level["targets"][: level["asked"]].tolist()) for level in levels}
    assert not sets["train"] & sets["test"]
    assert len(sets["test"]) > 80
    with pytest.raises(ValueError, match="6 distinct level"):
        gym.make("memenvs/Copy-v0", width=1, length=(1, 2), split="test")


@damages
def test_a_damaged_snapshot_is_refused(record, field, value):
    assert refuses("memenvs/Copy-v0", record, field, value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "width must be an integer from 1 to 16"),
        ({"width": 17}, "width"),
        ({"width": 2.0}, "width"),
        ({"length": 0}, "length"),
        ({"length": 257}, "length must be within 1 to 256"),
        ({"length": (3, 2)}, "length"),
        ({"length": (1, 2, 3)}, "length"),
        ({"length": "long"}, "length"),
        ({"length": True}, "length"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/Copy-v0", **wrong)
