"""Several environments as one."""

import numpy as np
import pytest

from memagents import Imitation
from memagents.environments.joined import JoinedVecEnv
from memagents.environments.make import make_env
from tests.support.toys import assert_same, dummy


def parts():
    return [make_env("memenvs/TMaze-v0", count, seed=seed, length=2) for count, seed in ((3, 0), (2, 1), (1, 2))]


def test_rows_are_those_of_the_parts():
    whole, alone = JoinedVecEnv(parts()), parts()
    assert whole.num_envs == 6
    assert whole.reviewing.tolist() == [False] * 3 + [True] * 3
    assert_same(whole.reset(), np.concatenate([part.reset() for part in alone]))
    rng = np.random.default_rng(0)
    for _ in range(12):
        np.testing.assert_array_equal(whole.oracle(), np.concatenate([part.oracle() for part in alone]))
        actions = rng.integers(4, size=6)
        observations, rewards, dones, infos = whole.step(actions)
        steps = [part.step(actions[rows]) for part, rows in zip(alone, whole.ranges, strict=True)]
        for ours, theirs in zip(
            (observations, rewards, dones), zip(*(step[:3] for step in steps), strict=True), strict=True
        ):
            assert_same(ours, np.concatenate(theirs))
        for row, info in enumerate(infos):
            assert ("review" in info) == (row >= 3)
        assert [info.get("success") for info in infos] == [info.get("success") for step in steps for info in step[3]]
    assert whole.get_attr("num_envs") == [3, 3, 3, 2, 2, 1]
    assert len(whole.env_method("oracle", indices=[1, 4])) == 2


def test_decisions_dicts_and_snapshots():
    whole = JoinedVecEnv([dummy(2, tells=True, observations="dict"), dummy(3, tells=True, observations="dict")])
    assert {name: len(values) for name, values in whole.reset().items()} == {"codes": 5, "place": 5, "sight": 5}
    seen = set()
    for _ in range(30):
        _, _, dones, infos = whole.step(np.zeros(5, np.int64))
        told = [(whole.reset_infos[i] if dones[i] else infos[i]).get("decision", True) for i in range(5)]
        assert whole.decision.tolist() == told
        seen |= set(told)
    assert seen == {True, False}
    assert whole.snapshot() is None
    ours = JoinedVecEnv(parts())
    ours.reset()
    ours.step(np.ones(6, np.int64))
    snapshot = ours.snapshot()
    after = [ours.step(np.full(6, action)) for action in (1, 0)]
    ours.restore(snapshot)
    for action, (observations, rewards, dones, _) in zip((1, 0), after, strict=True):
        for mine, theirs in zip(ours.step(np.full(6, action)), (observations, rewards, dones), strict=False):
            assert_same(mine, theirs)


def test_what_reviews_does_not_count_in_a_lesson():
    """The lesson is a corridor of 3, what is reviewed one of 1: only lengths of the lesson are right."""
    counts = {}
    for review in (False, True):
        made = [make_env("memenvs/TMaze-v0", 4, seed=0, length=3)]
        if review:
            made.append(make_env("memenvs/TMaze-v0", 4, seed=1, length=1))
        env = JoinedVecEnv(made) if review else made[0]
        agent = Imitation(
            "MlpPolicy", env, n_steps=8, n_minibatches=1, learning_rate=lambda _: 0.0, seed=0, device="cpu"
        )
        agent.learn(8 * env.num_envs)
        counts[review] = len(agent.ep_success_buffer)
    assert counts[True] == counts[False] == 4 * 8 // 4


def test_the_parts_need_the_same_spaces():
    with pytest.raises(ValueError, match="parts must have the same spaces"):
        JoinedVecEnv([make_env("memenvs/TMaze-v0", 2), make_env("memenvs/Underground-v0", 2)])
