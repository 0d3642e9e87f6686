"""NthFarthest: the answer from nothing but observations, and how levels are drawn."""

import math
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest

import memenvs  # noqa: F401  (registers the environment)


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/NthFarthest-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def answer(observations, vectors, width):
    """The label of the n-th farthest vector, in plain Python."""
    seen = {}
    for observation in observations:
        vector, label, m, n = np.split(observation.astype(np.float64), [width, width + vectors, width + 2 * vectors])
        assert sorted(label) == sorted(m) == sorted(n) == [0.0] * (vectors - 1) + [1.0]
        seen[int(label.argmax())] = vector.tolist()
        question = int(m.argmax()), int(n.argmax()) + 1
    assert len(seen) == vectors
    m, n = question
    return sorted(seen, key=lambda label: math.dist(seen[label], seen[m]), reverse=True)[n - 1]


@pytest.mark.parametrize("parameters", [{}, {"vectors": 2, "width": 1}, {"vectors": 16, "width": 32}], ids=str)
def test_a_perfect_memory_is_enough(parameters):
    env = gym.make("memenvs/NthFarthest-v0", **parameters).unwrapped
    vectors, width = parameters.get("vectors", 8), parameters.get("width", 16)
    assert env.observation_space.shape == (width + 3 * vectors,)
    for seed in range(30):
        observation, info = env.reset(seed=seed)
        seen = [observation]
        for _ in range(vectors - 1):
            assert not info["decision"]
            assert env.oracle() == -1
            observation, reward, end, cut, info = env.step(env.action_space.sample())
            assert (reward, end, cut) == (0.0, False, False)
            assert observation.dtype == np.float32
            seen.append(observation)
        assert info["decision"]
        right = answer(seen, vectors, width)
        assert env.oracle() == right
        before = env.snapshot()
        for action in range(vectors):
            env.restore(before)
            observation, reward, end, cut, info = env.step(action)
            assert (reward, end, cut, info["success"]) == (float(action == right), True, False, float(action == right))
            assert not info["decision"]
            assert not observation.any()


def test_the_farthest_and_the_reference_itself():
    levels = make(4000).batch.rows["level"]
    last = levels[levels["rank"] == 7]
    assert last.size > 300
    assert np.array_equal(last["farthest"], last["reference"])
    first = levels[levels["rank"] == 0]
    assert not np.any(first["farthest"] == first["reference"])


def test_levels_are_uniform():
    levels = make(8000).batch.rows["level"]
    values = levels["vectors"][:, :8, :16].ravel()
    assert -1 <= values.min() < -0.999
    assert 0.999 < values.max() < 1
    assert abs(values.mean()) < 0.005
    assert abs(values.var() - 1 / 3) < 0.002
    for name in ("reference", "rank", "farthest"):
        assert np.all(np.abs(np.bincount(levels[name], minlength=8) / 1000 - 1) < 0.15)
    for place in range(8):
        assert np.all(np.abs(np.bincount(levels["labels"][:, place], minlength=8) / 1000 - 1) < 0.15)
    assert (np.sort(levels["labels"][:, :8], axis=1) == np.arange(8)).all()


def test_the_oracle_is_always_right_and_chance_is_one_in_eight():
    for name, expected, tolerance in (("oracle", 1.0, 0.0), ("walk", 1 / 8, 0.02)):
        envs, rng, success = make(512), np.random.default_rng(0), []
        for _ in range(40):
            actions = np.maximum(envs.oracle(), 0) if name == "oracle" else envs.random_walk(rng)
            _, _, terminated, _, infos = envs.step(actions)
            if terminated.any():
                assert np.array_equal(infos["success"], infos["episode"]["r"])
                success += infos["success"][terminated].tolist()
        assert np.mean(success) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 16),
        ("width", 17),
        ("reference", 8),
        ("rank", -1),
        ("farthest", 9),
        ("labels", 100),
        ("vectors", np.nan),
        ("vectors", 2.0),
    ],
)
def test_a_damaged_snapshot_is_refused(name, value):
    envs = make(4)
    envs.batch.rows["level"][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())


@pytest.mark.parametrize(("name", "value"), [("time", -1), ("time", 9), ("answer", 8), ("answer", -2)])
def test_a_damaged_state_is_refused(name, value):
    envs = make(4)
    envs.batch.rows["state"][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())


@pytest.mark.parametrize(
    "wrong",
    [{"vectors": 1}, {"vectors": 17}, {"vectors": 8.0}, {"vectors": True}, {"width": 0}, {"width": 33}],
    ids=str,
)
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make("memenvs/NthFarthest-v0", **wrong)


def test_text():
    env = gym.make("memenvs/NthFarthest-v0", vectors=3, width=2, render_mode="ansi").unwrapped
    env.reset(seed=0)
    level = env.batch.rows["level"][0]
    assert len(env.render().splitlines()) == 2
    env.step(0)
    env.step(0)
    right = env.oracle()
    env.step(right)
    question, *vectors, end = env.render().splitlines()
    assert (
        question
        == f"Which vector is number {level['rank'] + 1} from the farthest, seen from vector {level['reference']}?"
    )
    assert [line.split(":")[0].strip() for line in vectors] == [str(label) for label in level["labels"][:3]]
    ranked = sorted(vectors, key=lambda line: -float(line.split()[-1]))
    assert ranked[level["rank"]].startswith(f"{right:3d}:")
    assert end == f"answer {right}, right would be {right}"


def test_pictures_show_what_has_been_seen_and_a_wrong_answer():
    env = gym.make("memenvs/NthFarthest-v0", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    pictures = [env.render()]
    for _ in range(7):
        env.step(0)
        pictures.append(env.render())
    before, right, ends = env.snapshot(), env.oracle(), []
    for answer in (right, (right + 1) % 8):
        env.restore(before)
        env.step(answer)
        ends.append(env.render())
    assert all((first != second).any() for first, second in pairwise([*pictures, *ends]))
    red = [(picture[..., 0].astype(int) - picture[..., 1] > 60).sum() for picture in ends]
    assert red[0] == 0 < red[1]
