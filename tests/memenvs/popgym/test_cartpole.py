"""The cart-poles beside POPGym's own."""

import math
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from tests.memenvs.popgym.beside import both, ids_of, level_of, play

pytest.importorskip("popgym")

IDS = ids_of("PositionOnlyCartPole", "VelocityOnlyCartpole", "NoisyPositionOnlyCartPole")
each = pytest.mark.parametrize("name", IDS)


@each
def test_spaces_are_those_of_popgym(name):
    ours, (theirs,) = both(name, 1)
    for kind in ("observation_space", "action_space"):
        own, other = getattr(ours, f"single_{kind}"), getattr(theirs, kind)
        assert (own, type(own), own.dtype) == (other, type(other), other.dtype)


@each
def test_every_step_is_that_of_popgym(name):
    """Some poles are held to nearly the end and dropped then, so that they fall in the very last step."""

    def act(envs, decision, rng):
        actions = envs.oracle()
        steps, limit = (envs.unwrapped.batch.rows[record][field] for record, field in FIELDS)
        rows = np.arange(actions.size)
        random = (rows % 4 == 0) | ((rows % 4 == 1) & (rng.random(actions.size) < 0.4))
        actions[random] = rng.integers(0, 2, random.sum())
        late = (rows % 4 == 2) & (limit - steps <= 9)  # pushed to one side the pole falls within 9 or 10 steps
        return np.where(late, 1, actions)

    ends, _ = play(name, act, 8, 2500)
    ended = sum(ends, Counter())
    assert ended[True, False] > 40
    assert ended[False, True] > 15
    assert ended[True, True] > 0


FIELDS = (("state", "steps"), ("level", "max_steps"))


@pytest.mark.parametrize("name", IDS[::3])
def test_levels_are_those_of_seeds(name):
    ours, (theirs,) = both(name, 1)
    definition = ours.unwrapped.definition
    for seed in [0, 1, 2**32, 2**64 - 1, *np.random.default_rng(0).integers(0, 2**63, 300).tolist()]:
        theirs.reset(seed=seed)
        level = level_of(definition, seed)
        assert level["begin"].tolist() == theirs.state.tolist()
        assert level["seed"] == seed


@pytest.mark.parametrize("name", ["PositionOnlyCartPole", "VelocityOnlyCartpole", "NoisyPositionOnlyCartPole"])
def test_the_whole_state_is_gymnasiums(name):
    env, theirs = gym.make(f"memenvs/popgym-{name}Hard-v0", observable=True), gym.make("CartPole-v1")
    assert env.observation_space == theirs.observation_space
    observation, _ = env.reset(seed=3)
    expected, _ = theirs.reset(seed=int(env.unwrapped.batch.rows["level"]["seed"][0]))
    over = False
    while not over:
        assert np.array_equal(observation, expected)
        action = env.action_space.sample()
        observation, _, over, _, _ = env.step(action)
        expected, *_ = theirs.step(action)


def test_the_oracle_holds_the_pole():
    envs = gym.make_vec("memenvs/popgym-PositionOnlyCartPoleHard-v0", num_envs=64)
    envs.reset(seed=0)
    for _ in range(600):
        *_, terminated, truncated, infos = envs.step(envs.oracle())
        assert not terminated.any()
    assert truncated.all()
    assert infos["success"].all()
    assert np.allclose(infos["episode"]["r"], 1)


@pytest.mark.parametrize(
    ("name", "parameters", "wrong"),
    [
        ("PositionOnlyCartPole", {"max_steps": 0}, "max_steps must be"),
        ("VelocityOnlyCartpole", {"max_steps": 1.5}, "max_steps must be"),
        ("NoisyPositionOnlyCartPole", {"sigma": -0.1}, "sigma must be"),
        ("NoisyPositionOnlyCartPole", {"sigma": math.nan}, "sigma must be"),
        ("NoisyPositionOnlyCartPole", {"sigma": "1"}, "sigma must be"),
        ("PositionOnlyCartPole", {"observable": 1}, "observable must be"),
        ("PositionOnlyCartPole", {"sigma": 0.1}, "sigma"),
    ],
)
def test_wrong_parameters_are_named(name, parameters, wrong):
    with pytest.raises((ValueError, TypeError), match=wrong):
        gym.make(f"memenvs/popgym-{name}Easy-v0", **parameters)


def test_damaged_records_are_refused():
    envs = gym.make_vec("memenvs/popgym-NoisyPositionOnlyCartPoleEasy-v0", num_envs=2)
    envs.reset(seed=0)
    kept, rows = envs.snapshot(), envs.unwrapped.batch.rows
    damages = [("state", "x", math.nan), ("state", "angle", 9.0), ("state", "speed", math.inf), ("state", "steps", -1)]
    damages += [("level", "max_steps", 10**6), ("level", "sigma", 0.5), ("level", "begin", 1.0), ("state", "random", 0)]
    damages += [("state", "noise", math.nan), ("level", "random", 0)]
    for record, field, value in damages:
        before = rows.copy()
        rows[record][field][1] = value
        damaged = envs.snapshot()
        rows[:] = before
        with pytest.raises(ValueError, match="damaged"):
            envs.restore(damaged)
    envs.restore(kept)


def test_pictures():
    env = gym.make("memenvs/popgym-PositionOnlyCartPoleEasy-v0", render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(5):
        env.step(1)
    assert first.shape == env.render().shape == (400, 640, 3)
    assert (first != env.render()).any()
    env = gym.make("memenvs/popgym-PositionOnlyCartPoleEasy-v0", render_mode="ansi")
    env.reset(seed=0)
    assert "step 0 of 200, pole at" in env.render()
