"""N-step returns beside a slow account of them, and running episodes that are put away and taken up again."""

from operator import itemgetter

import numpy as np
import pytest

from memagents.nec.trail import Trail
from memagents.policies.encoding import map_observations
from memagents.runs.trees import read_tree, write_tree
from tests.nec.support import drawn_from, entries, slow_returns
from tests.support.toys import OBSERVATIONS

GAMMA = 0.9


def walk(trail, observations, rewards, best, begin=0):
    """Steps from ``begin`` on, and what was taken after each."""
    for t in range(begin, len(rewards)):
        trail.value(best[t])
        trail.add(map_observations(itemgetter(t), observations), t % 3, np.full(2, t, np.float32), 1000 + t, t % 4 != 0)
        trail.reward(rewards[t])
        yield trail.take()


def episode(seed, count, space=OBSERVATIONS["box"]):
    rng = np.random.default_rng(seed)
    return drawn_from(space, count, seed), rng.normal(size=count).tolist(), rng.normal(size=count).tolist()


@pytest.mark.parametrize("n_steps", [1, 2, 5, None])
@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("whole", [False, True])
def test_returns_beside_a_slow_account(n_steps, gamma, whole):
    """Episodes shorter than N, as long, and longer, one after the other; over, or cut by a time limit."""
    trail = Trail(n_steps, gamma, whole)
    for seed, count in enumerate([1, 2, 5, 6, 13]):
        observations, rewards, best = episode(seed, count)
        last = float(seed % 2) * 3.5
        taken = list(walk(trail, observations, rewards, best))
        trail.end(last)
        taken.append(trail.take())
        assert trail.take() is None
        # The return of step t is known when the observation of t + N is, and taken once.
        waiting = count if n_steps is None else min(n_steps, count)
        assert [t for t, some in enumerate(taken) if some is not None] == [*range(waiting, count), count]
        assert all(len(some.actions) == 1 for some in taken[:-1] if some is not None)
        parts = [some for some in taken if some is not None]
        expected = slow_returns(rewards, best, last, n_steps, gamma)
        for given in [parts, [trail.episode()]] if whole else [parts]:
            together = [np.concatenate(fields) for fields in zip(*given, strict=True)]
            seen, actions, keys, situations, asked, returns = together
            np.testing.assert_array_equal(seen, observations)
            assert actions.tolist() == [t % 3 for t in range(count)]
            assert keys[:, 1].tolist() == list(range(count))
            assert situations.tolist() == list(range(1000, 1000 + count))
            assert asked.tolist() == [t % 4 != 0 for t in range(count)]
            np.testing.assert_allclose(returns, expected, rtol=1e-6, atol=1e-6)
        trail.clear()


def test_the_immediate_reward_counts_in_full():
    trail = Trail(2, 0.5)
    for t in range(3):
        trail.value([100.0, 200.0, 8.0][t])
        trail.add(np.zeros(1), 0, np.zeros(1, np.float32), t, True)
        trail.reward([1.0, 2.0, 4.0][t])
    assert trail.take().returns.tolist() == [1 + 1 + 2]
    trail.end(0.0)
    assert trail.take().returns.tolist() == [2 + 2, 4]


def test_what_only_waits_for_its_return_is_not_kept_for_longer():
    trail = Trail(3, GAMMA)
    observations, rewards, best = episode(0, 200)
    for _ in walk(trail, observations, rewards, best):
        assert len(trail.steps) == len(trail.rewards) <= 3 + 1
    trail = Trail(3, GAMMA, whole=True)
    assert sum(1 for _ in walk(trail, observations, rewards, best)) == len(trail.steps)


def test_observations_and_keys_are_copied():
    """Environments write their observations into the same array again."""
    trail = Trail(1, GAMMA, whole=True)
    seen, key = {"a": np.zeros(2), "b": np.zeros(())}, np.zeros(2, np.float32)
    for t in range(4):
        seen["a"][:], key[:] = t, t
        seen["b"][...] = t
        trail.add(seen, 0, key, t, True)
        trail.reward(0.0)
    trail.end(0.0)
    kept = trail.episode()
    assert kept.observations["a"][:, 0].tolist() == kept.observations["b"].tolist() == kept.keys[:, 0].tolist()
    assert kept.keys[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", OBSERVATIONS)
@pytest.mark.parametrize("n_steps", [2, None])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("begun", [0, 1, 5])
def test_an_episode_goes_on_exactly_after_saving(tmp_path, name, n_steps, whole, begun):
    space = OBSERVATIONS[name]
    observations, rewards, best = episode(3, 9, space)
    trail, again = (Trail(n_steps, GAMMA, whole) for _ in range(2))
    list(walk(again, *episode(4, 3, space)))  # is forgotten
    list(walk(trail, observations, rewards[:begun], best))
    write_tree(tmp_path / "trail", trail.tree())
    again.restore(read_tree(tmp_path / "trail"))
    ends = []
    for one in (trail, again):
        taken = [some for some in walk(one, observations, rewards, best, begun) if some is not None]
        one.end(0.25)
        ends.append([*taken, one.take(), *([one.episode()] if whole else [])])
    assert len(ends[0]) == len(ends[1])
    for ours, theirs in zip(*ends, strict=True):
        for field, (a, b) in zip(ours._fields, zip(ours, theirs, strict=True), strict=True):
            for key, values in entries(a).items():
                assert values.dtype == entries(b)[key].dtype, field
                np.testing.assert_array_equal(values, entries(b)[key], err_msg=field)
