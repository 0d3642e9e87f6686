"""Associative recall: what is shown and asked for, from nothing but observations; its scores; its parameters."""

import gymnasium as gym
import numpy as np
import pytest

from tests.memenvs.support.scripts import damages, oracle_scores, play, refuses


class Recaller:
    """What an agent with a perfect memory does."""

    def __init__(self, width):
        self.width, self.items, self.query, self.queries, self.answers = width, [], [], 0, []

    def act(self, observation):
        assert observation.dtype == np.int8
        bits, (item, query) = observation[: self.width].tolist(), observation[self.width :].tolist()
        assert item + query == 0 or not any(bits)
        self.queries += query
        if item:
            assert self.queries == 0
            self.items.append([])
        elif query:
            if self.queries == 2:
                found = [i for i, known in enumerate(self.items) if known == self.query]
                assert len(found) == 1
                self.answers = list(self.items[found[0] + 1])
        elif self.queries == 2:
            assert not any(bits)
            return self.answers.pop(0)
        else:
            (self.items[-1] if self.queries == 0 else self.query).append(bits)
        return None


@pytest.mark.parametrize(
    ("parameters", "items"),
    [
        ({}, range(2, 7)),
        ({"items": 20}, [20]),
        ({"width": 1, "item_length": 1, "items": 2}, [2]),
        ({"width": 2, "item_length": 2, "items": (15, 16)}, [15, 16]),
        ({"width": 16, "item_length": 16, "items": 17}, [17]),
    ],
    ids=str,
)
def test_a_perfect_memory_is_enough(parameters, items):
    width, length = parameters.get("width", 6), parameters.get("item_length", 3)
    counts = set()
    for seed in range(40):
        agent = Recaller(width)
        answers, rewards, info = play("memenvs/AssociativeRecall-v0", seed, agent, **parameters)
        n = len(agent.items)
        counts.add(n)
        assert len({str(item) for item in agent.items}) == n
        assert all(len(item) == length for item in [*agent.items, agent.query])
        assert not agent.answers
        assert len(answers) == n * (length + 1) + 2 * length + 2
        assert rewards == pytest.approx([0] * (len(answers) - length) + [1 / length] * length)
        assert (info["success"], info["wrong_bits"], info["bits"]) == (1, 0, length * width)
    assert counts == set(items)


def test_every_item_but_the_last_is_asked_for():
    envs = gym.make_vec("memenvs/AssociativeRecall-v0", num_envs=6000, items=4)
    envs.reset(seed=0)
    frames = envs.batch.rows["level"]["frames"]
    asked = np.stack([(frames[:, 1 + 4 * i : 4 + 4 * i] == frames[:, 17:20]).all(axis=1) for i in range(4)])
    assert (asked.sum(axis=0) == 1).all()
    assert not asked[3].any()
    assert np.all(np.abs(asked[:3].sum(axis=1) / 2000 - 1) < 0.08)


def test_the_longest_list():
    _, rewards, info = play("memenvs/AssociativeRecall-v0", 0, Recaller(6), items=78)
    assert (len(rewards), info["success"]) == (320, 1)


def test_one_wrong_bit_costs_its_vector():
    env = gym.make("memenvs/AssociativeRecall-v0", items=2).unwrapped
    env.reset(seed=0)
    end, rewards = False, []
    while not end:
        action = np.maximum(env.oracle(), 0)
        if len(rewards) == 14:
            action[[0, 5]] ^= 1
        _, reward, end, _, info = env.step(action)
        rewards.append(reward)
    assert rewards == [0] * 13 + [1 / 3, 0, 1 / 3]
    assert (info["success"], info["wrong_bits"], info["bits"]) == (0, 2, 18)


def test_the_oracle_is_never_wrong_and_chance_hardly_right():
    scores = oracle_scores("memenvs/AssociativeRecall-v0")
    assert scores["oracle"] == pytest.approx(1)
    assert scores["walk"] < 0.04


def test_the_split_follows_from_the_items_whatever_the_query():
    sets, sizes = {}, {"width": 2, "item_length": 1, "items": (3, 4)}
    for split in (None, "train", "test"):
        if split is not None:
            with pytest.raises(ValueError, match="48 distinct level"):
                gym.make("memenvs/AssociativeRecall-v0", split=split, **sizes)
        envs = gym.make_vec("memenvs/AssociativeRecall-v0", num_envs=2000, split=split, **sizes | {"width": 3})
        envs.reset(seed=0)
        levels = envs.batch.rows["level"]
        sets[split] = {tuple(level["frames"][: level["shown"] - 3].tolist()) for level in levels}
    assert not sets["train"] & sets["test"]
    assert len(sets["test"]) > 80


@damages
def test_a_damaged_snapshot_is_refused(record, field, value):
    assert refuses("memenvs/AssociativeRecall-v0", record, field, value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "width must be an integer from 1 to 16"),
        ({"item_length": 0}, "item_length must be an integer from 1 to 16"),
        ({"item_length": (1, 2)}, "item_length"),
        ({"items": 1}, "items must be within 2 to 78"),
        ({"items": (4, 3)}, "items"),
        ({"items": 79}, "items"),
        ({"items": 5, "width": 2, "item_length": 1}, "items must be within 2 to 4"),
        ({"items": 18, "item_length": 16}, "items must be within 2 to 17"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/AssociativeRecall-v0", **wrong)
