"""Replay: what is drawn is what was kept, as often as it should be, and the same after saving."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from memagents.nec.replay import EpisodeReplay, Replay, dealt
from memagents.runs.trees import read_tree, write_tree
from tests.nec.support import assert_drawn_as, drawn_from, entries
from tests.support.toys import OBSERVATIONS

NUMBERS = spaces.Box(-math.inf, math.inf, (2,), np.float32)


def numbered(begin, count):
    """Return steps that can be known by their observation, action and return."""
    numbers = np.arange(begin, begin + count)
    return np.stack([numbers, -numbers], axis=1).astype(np.float32), numbers, numbers / 2


def assert_same(one, other):
    """Batches that are equal to the last bit, in whatever they consist of."""
    for ours, theirs in zip(one, other, strict=True):
        for name, values in entries(ours).items():
            assert np.array_equal(np.asarray(values), np.asarray(entries(theirs)[name]))


# --- single steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_steps_come_back_in_the_space_s_own_type(name):
    space = OBSERVATIONS[name]
    observations, actions, returns = drawn_from(space, 9), np.arange(9) * 3, np.linspace(-1, 1, 9)
    replay = Replay(9, space)
    replay.add(observations, actions, returns)
    batch = replay.sample(50, np.random.default_rng(0))
    for entry, values in entries(observations).items():
        seen = entries(batch.observations)[entry]
        assert seen.numpy().dtype == values.dtype
        assert np.array_equal(seen.numpy(), values[batch.rows])
    assert batch.actions.dtype == torch.int64
    assert np.array_equal(batch.actions.numpy(), actions[batch.rows])
    assert np.array_equal(batch.returns.numpy(), returns[batch.rows].astype(np.float32))
    assert batch.weights.dtype == batch.returns.dtype == torch.float32
    assert batch.weights.tolist() == [1] * 50


def test_what_is_drawn_is_a_copy():
    replay = Replay(4, NUMBERS)
    replay.add(*numbered(0, 4))
    rng = np.random.default_rng(0)
    replay.sample(20, rng).observations.fill_(7)
    assert not (replay.sample(20, rng).observations == 7).any()


@pytest.mark.parametrize("sizes", [[1] * 40, [3, 4, 1, 7, 2, 6], [5, 23, 4], [30]])
def test_the_oldest_are_overwritten(sizes):
    """Beside a list, whatever number of steps comes at a time."""
    replay, slow = Replay(7, NUMBERS), []
    for size in sizes:
        replay.add(*numbered(len(slow), size))
        slow += range(len(slow), len(slow) + size)
        batch = replay.sample(400, np.random.default_rng(0))
        assert len(replay) == min(7, len(slow))
        assert set(batch.actions.tolist()) == set(slow[-7:])
        assert torch.equal(batch.observations[:, 0].long(), batch.actions)
        assert torch.equal(batch.returns * 2, batch.actions.float())


def test_every_step_is_equally_likely_without_priorities():
    replay = Replay(12, NUMBERS)
    replay.add(*numbered(0, 17))
    rng = np.random.default_rng(0)
    rows = replay.sample(30_000, rng).rows
    assert_drawn_as(rows, np.full(12, 1 / 12))
    replay.update(rows, rng.random(len(rows)))
    assert_drawn_as(replay.sample(30_000, rng).rows, np.full(12, 1 / 12))


def test_steps_are_drawn_by_priority_and_overwritten_ones_by_that_of_what_replaced_them():
    """Against a slow account of errors and of the largest priority, step by step."""
    rng, alpha, beta = np.random.default_rng(0), 0.6, 0.4
    replay, slow, largest, count = Replay(9, NUMBERS, alpha), {}, 1.0, 0  # step: priority
    for _ in range(12):
        size = int(rng.integers(1, 5))
        replay.add(*numbered(count, size))
        slow |= dict.fromkeys(range(count, count + size), largest)
        count += size
        slow = {step: p for step, p in slow.items() if step >= count - 9}
        batch = replay.sample(6, rng)
        errors = rng.normal(size=6) * 5
        replay.update(batch.rows, errors)
        for step, error in zip(batch.actions.tolist(), errors, strict=True):
            slow[step] = (abs(error) + 1e-6) ** alpha
            largest = max(largest, slow[step])
        batch = replay.sample(20_000, rng, beta)
        steps, p = np.array(list(slow)), np.array(list(slow.values())) / sum(slow.values())
        assert_drawn_as(batch.actions.numpy() - steps[0], p)
        weights = (len(p) * p[batch.actions.numpy() - steps[0]]) ** -beta
        np.testing.assert_allclose(batch.weights.numpy(), weights / weights.max(), rtol=1e-5)


@pytest.mark.parametrize("name", ["dict", "symbols"])
@pytest.mark.parametrize("count", [0, 5, 23])
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_a_saved_replay_goes_on_exactly(tmp_path, name, count, alpha):
    space, rng = OBSERVATIONS[name], np.random.default_rng(0)
    replay, other = (Replay(8, space, alpha) for _ in range(2))
    other.add(drawn_from(space, 3, seed=9), np.full(3, 77), np.full(3, 77.0))  # is forgotten
    if count:
        replay.add(drawn_from(space, count), np.arange(count), np.arange(count) / 3)
        replay.update(replay.sample(4, rng).rows, rng.normal(size=4) * 9)
    write_tree(tmp_path / "replay", replay.tree())
    other.restore(read_tree(tmp_path / "replay"))
    assert len(other) == len(replay) == min(8, count)
    results = []
    for one in (replay, other):
        rng, seen = np.random.default_rng(1), []
        for step in range(4):
            one.add(drawn_from(space, 3, seed=step), np.full(3, step), np.full(3, step / 7))
            seen.append(one.sample(16, rng, 0.5))
            one.update(seen[-1].rows, rng.normal(size=16))
        results.append(seen)
    for ours, theirs in zip(*results, strict=True):
        assert_same(ours, theirs)


def test_what_is_saved_is_what_is_there():
    replay = Replay(10**7, OBSERVATIONS["symbols"])
    replay.add(drawn_from(OBSERVATIONS["symbols"], 5), np.arange(5), np.arange(5.0))
    tree = replay.tree()
    assert [len(values) for values in tree["ring"]["steps"].values()] == [5] * 3
    assert len(tree["priorities"]["weights"]) == 5


def changed(tree, path, value):
    """A copy of the tree with another value, or without it."""
    name, *rest = path
    if rest:
        return {**tree, name: changed(tree[name], rest, value)}
    others = {key: kept for key, kept in tree.items() if key != name}
    return others if value is None else {**others, name: value}


DAMAGE = [
    (("ring", "capacity"), 8, "capacity must be 8 as it was saved, not 6"),
    (("ring", "first"), 6, "cannot begin at row 6"),
    (("ring", "first"), "x", "not the tree of such a replay"),
    (("ring", "steps", "observations"), np.zeros((4, 3), np.float32), r"observations must be .* = \(4, 2\)"),
    (("ring", "steps", "observations"), np.zeros((4, 2)), "steps must be saved as observations of float32"),
    (("ring", "steps", "returns"), np.zeros(3, np.float32), r"returns must be .* = \(4,\), not \(3,\)"),
    (("ring", "steps", "returns"), None, "steps must consist of observations, actions, returns"),
    (("ring", "steps", "rewards"), np.zeros(4, np.float32), "not of .*, rewards"),
    (("priorities", "exponent"), 0.5, "priority_exponent must be 0.5 as it was saved, not 0.0"),
    (("priorities", "weights"), np.ones(3), "priorities must be of 4 rows, not 3"),
    (("priorities",), None, "not the tree of such a replay"),
    (("ring",), 3, "not the tree of such a replay"),
]


@pytest.mark.parametrize(("path", "value", "message"), DAMAGE)
def test_a_tree_that_does_not_fit_is_refused_and_nothing_changes(path, value, message):
    replay, other = Replay(6, NUMBERS), Replay(6, NUMBERS)
    replay.add(*numbered(0, 4))
    other.add(*numbered(10, 5))
    before = other.sample(20, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        other.restore(changed(replay.tree(), path, value))
    assert_same(other.sample(20, np.random.default_rng(0)), before)


def test_steps_that_do_not_fit_are_refused_and_nothing_changes():
    replay = Replay(6, NUMBERS)
    observations, actions, returns = numbered(0, 3)
    for given, message in (
        ((observations[:2], actions, returns), r"actions must be \(N, \.\.\.\) = \(2,\), not \(3,\)"),
        ((observations[:, :1], actions, returns), r"observations must be .* = \(3, 2\), not \(3, 1\)"),
        ((observations, actions / 2, returns), "actions must be int64 or fit into it, not float64"),
        ((observations, actions[:, None], returns), r"actions must be .* not \(3, 1\)"),
        ((observations, actions, 1.0), "returns must be"),
        (({"sight": observations}, actions, returns), "steps must consist of observations, actions, returns, not of"),
    ):
        with pytest.raises(ValueError, match=message):
            replay.add(*given)
        assert len(replay) == 0
    with pytest.raises(ValueError, match="nothing to sample"):
        replay.sample(2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="capacity must be a positive integer"):
        Replay(0, NUMBERS)
    with pytest.raises(ValueError, match="observations must be Box"):
        Replay(3, spaces.Text(5))
    replay.add(observations, actions, returns)
    with pytest.raises(ValueError, match="batch_size must be a positive integer, not 0"):
        replay.sample(0, np.random.default_rng(0))


# --- whole episodes -------------------------------------------------------------------------------------------------


class SlowEpisodes:
    """The same by lists: episodes with all their steps, their priorities and the rows they would have."""

    def __init__(self, capacity, alpha):
        self.capacity, self.alpha = capacity, alpha
        self.episodes, self.largest = {}, 1.0

    def add(self, name, steps, asked):
        self.episodes[name] = {"steps": steps, "asked": asked, "p": self.largest}
        while sum(len(one["steps"]) for one in self.episodes.values()) > self.capacity:
            del self.episodes[next(iter(self.episodes))]

    def update(self, name, error):
        self.episodes[name]["p"] = (abs(error) + 1e-6) ** self.alpha
        self.largest = max(self.largest, self.episodes[name]["p"])

    def probabilities(self):
        weights = {name: one["p"] * sum(one["asked"]) for name, one in self.episodes.items()}
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def episode(name, length, rng, share=0.5):
    """Return steps whose observations hold the episode and the time; at least one is asked for."""
    asked = rng.random(length) < share
    asked[rng.integers(length)] = True
    observations = np.stack([np.full(length, name), np.arange(length)], axis=1).astype(np.float32)
    return observations, np.arange(length) + 100 * name, np.arange(length) / 8 + name, asked


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_episodes_beside_a_slow_replay(alpha):
    """Episodes come and go, over the end of the storage too, and come out whole, as often as they should."""
    rng, beta = np.random.default_rng(0), 0.5
    replay, slow = EpisodeReplay(25, NUMBERS, alpha), SlowEpisodes(25, alpha)
    for name in range(30):
        length = 25 if name == 15 else int(rng.integers(1, 12))
        observations, actions, returns, asked = episode(name, length, rng)
        replay.add(observations, actions, returns, asked)
        slow.add(name, observations, asked)
        assert len(replay) == sum(len(one["steps"]) for one in slow.episodes.values())
        assert replay.episodes == len(slow.episodes)
        batch = replay.sample(40, 25, rng, beta)
        names = batch.observations[0, :, 0].long().tolist()
        longest = max(len(slow.episodes[n]["steps"]) for n in names)
        assert batch.asked.shape == batch.actions.shape == batch.returns.shape == batch.starts.shape == (longest, 40)
        assert batch.asked.sum() == min(25, sum(slow.episodes[n]["asked"].sum() for n in names))
        assert batch.starts[0].all() and not batch.starts[1:].any()
        probabilities = slow.probabilities()
        for column, n in enumerate(names):
            steps, askable = slow.episodes[n]["steps"], slow.episodes[n]["asked"]
            t = np.minimum(np.arange(longest), len(steps) - 1)  # padded by the last step
            assert np.array_equal(batch.observations[:, column].numpy(), steps[t])
            assert np.array_equal(batch.actions[:, column].numpy(), t + 100 * n)
            assert np.array_equal(batch.returns[:, column].numpy(), t / 8 + n)
            chosen = batch.asked[:, column].numpy()
            assert not chosen[len(steps) :].any()
            assert not (chosen[: len(steps)] & ~askable).any()
        p = np.array([slow.episodes[n]["p"] for n in names])
        np.testing.assert_allclose(batch.weights.numpy(), (p / p.min()) ** -beta, rtol=1e-5)
        errors = rng.normal(size=40) * 3
        replay.update(batch.rows, errors)
        for n, error in zip(names, errors, strict=True):
            slow.update(n, error)
        if name % 7 == 6:
            probabilities = slow.probabilities()
            drawn = replay.sample(20_000, 1, rng).observations[0, :, 0].long().numpy()
            there = sorted(probabilities)
            assert_drawn_as(np.searchsorted(there, drawn), [probabilities[n] for n in there])


def test_every_step_that_can_be_asked_for_is_asked_for_equally_often():
    rng = np.random.default_rng(0)
    replay, counts, askable = EpisodeReplay(64, NUMBERS), np.zeros((5, 16)), np.zeros((5, 16), bool)
    for name, length in enumerate((4, 16, 9, 6, 12)):
        observations, actions, returns, asked = episode(name, length, rng)
        asked[:4] = True  # at least as many as an episode's part of the steps that are drawn
        askable[name, :length] = asked
        replay.add(observations, actions, returns, asked)
    for _ in range(4000):
        batch = replay.sample(3, 7, rng)
        assert batch.asked.sum(0).max() <= 3
        names, t = batch.observations[..., 0].long(), batch.observations[..., 1].long()
        np.add.at(counts, (names[batch.asked].numpy(), t[batch.asked].numpy()), 1)
    assert not counts[~askable].any()
    expected = 4000 * 7 / askable.sum()
    # Not independent, so no chi-square: five standard deviations of what is drawn at most once an episode.
    assert np.abs(counts[askable] - expected).max() < 5 * np.sqrt(3 * expected)
    assert counts.sum() == 4000 * 7


@pytest.mark.parametrize("count", [1, 3, 4, 7, 9, 100])
def test_steps_are_dealt_one_of_each_episode_at_a_time(count):
    askable = np.zeros((6, 4), bool)
    askable[[0, 2, 5, 1, 3, 0, 1, 2, 3, 4], [0, 0, 0, 1, 1, 3, 3, 3, 3, 3]] = True  # 3, 2, 0 and 5 of them
    expected = {1: {(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1)}, 3: {(1, 1, 0, 1)}}
    expected |= {4: {(2, 1, 0, 1), (1, 2, 0, 1), (1, 1, 0, 2)}, 7: {(3, 2, 0, 2), (2, 2, 0, 3)}}
    expected |= {9: {(3, 2, 0, 4)}, 100: {(3, 2, 0, 5)}}
    rng = np.random.default_rng(0)
    results = [dealt(askable, count, rng) for _ in range(100)]
    assert all(not (result & ~askable).any() for result in results)
    assert {tuple(result.sum(0).tolist()) for result in results} == expected[count]
    assert (np.any(results, axis=0) == askable).all()


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_episodes_come_back_in_the_space_s_own_type(name):
    space = OBSERVATIONS[name]
    observations = drawn_from(space, 6)
    replay = EpisodeReplay(6, space)
    replay.add(observations, np.zeros(6, np.int64), np.zeros(6), np.ones(6, bool))
    batch = replay.sample(2, 3, np.random.default_rng(0))
    for entry, values in entries(observations).items():
        seen = entries(batch.observations)[entry].numpy()
        assert seen.dtype == values.dtype
        assert np.array_equal(seen[:, 0], values) and np.array_equal(seen[:, 1], values)
    assert batch.weights.tolist() == [1, 1]


def test_an_episode_of_which_nothing_is_asked_is_never_drawn():
    replay, rng = EpisodeReplay(20, NUMBERS), np.random.default_rng(0)
    observations, actions, returns, _ = episode(1, 5, rng)
    replay.add(observations, actions, returns, np.zeros(5, bool))
    with pytest.raises(ValueError, match="nothing to sample"):
        replay.sample(1, 1, rng)
    replay.add(*episode(2, 3, rng))
    assert (replay.sample(50, 1, rng).observations[0, :, 0] == 2).all()


def test_episodes_that_do_not_fit_are_refused_and_nothing_changes():
    replay, rng = EpisodeReplay(6, NUMBERS), np.random.default_rng(0)
    kept = episode(3, 4, rng)
    replay.add(*kept)
    before = replay.sample(3, 2, np.random.default_rng(1))
    observations, actions, returns, asked = episode(1, 5, rng)
    for given, message in (
        (episode(1, 7, rng), "an episode must have 1 to 6 steps, the capacity, not 7"),
        ((observations[:0], actions[:0], returns[:0], asked[:0]), "an episode must have 1 to 6 steps"),
        ((observations, actions, returns[:3], asked), "returns must be"),
        ((observations, actions, returns, asked * 1), "asked must be bool or fit into it, not int64"),
    ):
        with pytest.raises(ValueError, match=message):
            replay.add(*given)
    assert_same(replay.sample(3, 2, np.random.default_rng(1)), before)
    for arguments, name in (((0, 1), "n_episodes"), ((1, 0), "n_steps")):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer, not 0"):
            replay.sample(*arguments, rng)


@pytest.mark.parametrize("episodes", [0, 2, 11])
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_saved_episodes_go_on_exactly(tmp_path, episodes, alpha):
    rng = np.random.default_rng(0)
    replay, other = (EpisodeReplay(30, NUMBERS, alpha) for _ in range(2))
    other.add(*episode(77, 20, rng))
    for name in range(episodes):
        replay.add(*episode(name, int(rng.integers(1, 15)), rng))
        batch = replay.sample(3, 5, rng)
        replay.update(batch.rows, rng.normal(size=3))
    write_tree(tmp_path / "replay", replay.tree())
    other.restore(read_tree(tmp_path / "replay"))
    assert len(other) == len(replay)
    results = []
    for one in (replay, other):
        rng, seen = np.random.default_rng(1), []
        for name in range(20, 32):
            one.add(*episode(name, int(rng.integers(1, 15)), rng))
            seen.append(one.sample(4, 9, rng, 0.5))
            one.update(seen[-1].rows, rng.normal(size=4))
        results.append(seen)
    for ours, theirs in zip(*results, strict=True):
        assert_same(ours, theirs)


def test_saved_episodes_that_begin_in_the_middle_are_refused():
    replay = EpisodeReplay(30, NUMBERS)
    replay.add(*episode(1, 5, np.random.default_rng(0)))
    tree = replay.tree()
    begins = np.arange(5) == 2
    with pytest.raises(ValueError, match="must begin with the first step of an episode"):
        replay.restore(changed(tree, ("ring", "steps", "begins"), begins))
    with pytest.raises(ValueError, match="steps must consist of"):
        Replay(30, NUMBERS).restore(tree)
