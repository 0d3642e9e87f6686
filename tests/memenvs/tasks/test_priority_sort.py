"""Priority sort: what is shown and asked for, from nothing but observations; its scores; its parameters."""

import gymnasium as gym
import numpy as np
import pytest

from tests.memenvs.support.scripts import damages, oracle_scores, play, refuses


class Sorter:
    """What an agent with a perfect memory does."""

    def __init__(self, width):
        self.width, self.seen, self.answers = width, [], None
        self.reading = False

    def act(self, observation):
        assert observation.dtype == np.float32
        assert observation.shape == (self.width + 3,)
        bits, (begins, ends, priority) = observation[: self.width].tolist(), observation[self.width :].tolist()
        assert set(bits) <= {0, 1}
        if begins or ends:
            assert begins + ends == 1 and not any(bits) and priority == 0
            assert begins == 1 - self.reading
            self.reading = bool(begins)
            if ends:
                ranked = sorted(self.seen, key=lambda seen: -seen[0])
                self.answers = [list(map(int, vector)) for _, vector in ranked]
            return None
        if self.reading:
            self.seen.append((priority, bits))
            return None
        assert not any(bits) and priority == 0
        return self.answers.pop(0)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"width": 1, "inputs": 1, "outputs": 1},
        {"width": 16, "inputs": (3, 5), "outputs": (1, 3)},
        {"inputs": 128, "outputs": 128},
    ],
    ids=str,
)
def test_a_perfect_memory_is_enough(parameters):
    width, sizes = parameters.get("width", 8), set()
    inputs, outputs = parameters.get("inputs", 20), parameters.get("outputs", 16)
    for seed in range(3 if inputs == 128 else 60):
        agent = Sorter(width)
        answers, rewards, info = play("memenvs/PrioritySort-v0", seed, agent, **parameters)
        shown = len(agent.seen)
        asked = shown - len(agent.answers)
        sizes.add((shown, asked))
        assert len({priority for priority, _ in agent.seen}) == shown
        assert len(answers) == shown + asked + 2
        assert rewards == pytest.approx([0] * (shown + 2) + [1 / asked] * asked)
        assert (info["success"], info["wrong_bits"], info["bits"]) == (1, 0, asked * width)
    if isinstance(inputs, int):
        assert sizes == {(inputs, outputs)}
    else:
        assert sizes == {(i, o) for i in range(3, 6) for o in range(1, 4)}


def test_priorities_are_uniform():
    envs = gym.make_vec("memenvs/PrioritySort-v0", num_envs=1000)
    envs.reset(seed=0)
    priorities = envs.batch.rows["level"]["scalars"][:, 1:21].ravel()
    assert -1 <= priorities.min() < -0.99
    assert 0.99 < priorities.max() <= 1
    assert np.all(np.abs(np.histogram(priorities, 10, (-1, 1))[0] / 2000 - 1) < 0.1)
    assert np.abs(np.corrcoef(envs.batch.rows["level"]["scalars"][:, 1:21].T) - np.eye(20)).max() < 0.15


def test_the_wrong_order_is_wrong():
    env = gym.make("memenvs/PrioritySort-v0", inputs=6, outputs=4).unwrapped
    env.reset(seed=0)
    end, best, rewards = False, [], []
    while not end:
        best.append(np.maximum(env.oracle(), 0))
        # The two last ones are swapped, as far as the past allows: the third is said twice.
        action = best[-2] if len(best) == 12 else best[-1]
        _, reward, end, _, info = env.step(action)
        rewards.append(reward)
    assert rewards == [0] * 8 + [0.25, 0.25, 0.25, 0]
    wrong = int((best[-1] != best[-2]).sum())
    assert wrong > 0
    assert (info["success"], info["wrong_bits"], info["bits"]) == (0, wrong, 32)


def test_the_oracle_is_never_wrong_and_chance_hardly_right():
    scores = oracle_scores("memenvs/PrioritySort-v0")
    assert scores["oracle"] == pytest.approx(1)
    assert scores["walk"] < 0.02


def test_the_split_follows_from_the_vectors():
    sets = {}
    for split in ("train", "test"):
        envs = gym.make_vec("memenvs/PrioritySort-v0", num_envs=2000, width=2, inputs=(4, 5), outputs=2, split=split)
        envs.reset(seed=0)
        levels = envs.batch.rows["level"]
        sets[split] = {tuple(level["frames"][: level["shown"]].tolist()) for level in levels}
    assert not sets["train"] & sets["test"]
    assert len(sets["test"]) > 80


@damages
def test_a_damaged_snapshot_is_refused(record, field, value):
    assert refuses("memenvs/PrioritySort-v0", record, field, value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "width must be an integer from 1 to 16"),
        ({"inputs": 0}, "inputs must be within 1 to 128"),
        ({"inputs": 129}, "inputs"),
        ({"inputs": "all"}, "inputs"),
        ({"outputs": 0}, "outputs must be within 1 to 20"),
        ({"outputs": 21}, "outputs must be within 1 to 20"),
        ({"inputs": (8, 20)}, "outputs must be within 1 to 8"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/PrioritySort-v0", **wrong)
