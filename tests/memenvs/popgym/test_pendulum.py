"""The pendulums beside POPGym's own."""

import math
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest

from tests.memenvs.popgym.beside import both, ids_of, level_of, play

pytest.importorskip("popgym")

IDS = ids_of("PositionOnlyPendulum", "NoisyPositionOnlyPendulum")
each = pytest.mark.parametrize("name", IDS)


def swing(envs):
    """Torques that swing the pole up by its energy, and hold it by feedback."""
    state = envs.unwrapped.batch.rows["state"]
    angle, speed = np.remainder(state["angle"] + math.pi, 2 * math.pi) - math.pi, state["speed"]
    energy = 0.5 * speed**2 + 15 * (np.cos(angle) - 1)
    torque = np.where(abs(angle) < 0.5, -12 * angle - 3 * speed, -2 * np.sign(energy) * np.sign(speed))
    return torque[:, None].astype(np.float32)


@each
def test_spaces_are_those_of_popgym(name):
    ours, (theirs,) = both(name, 1)
    for kind in ("observation_space", "action_space"):
        own, other = getattr(ours, f"single_{kind}"), getattr(theirs, kind)
        assert (own, type(own), own.dtype) == (other, type(other), other.dtype)


@each
def test_every_step_is_that_of_popgym(name):
    """With torques within the bounds and beyond them, and with the pole held."""

    def act(envs, decision, rng):
        torques = swing(envs)
        rows = np.arange(len(torques))
        wild = rng.uniform(-2, 2, torques.shape) * np.where(rows % 4 == 0, 1, 3)[:, None]
        return np.where((rows % 4 < 2)[:, None], wild, torques).astype(np.float32)

    ends, _ = play(name, act, 8, 2500)
    ended = sum(ends, Counter())
    assert set(ended) == {(False, True)}
    assert ended[False, True] >= 8 * (2500 // 200)


@pytest.mark.parametrize("name", IDS[::3])
def test_levels_are_those_of_seeds(name):
    ours, (theirs,) = both(name, 1)
    definition = ours.unwrapped.definition
    for seed in [0, 1, 2**32, 2**64 - 1, *np.random.default_rng(0).integers(0, 2**63, 300).tolist()]:
        theirs.reset(seed=seed)
        assert level_of(definition, seed)["begin"].tolist() == theirs.state.tolist()


def test_the_whole_state_is_gymnasiums():
    env, theirs = gym.make("memenvs/popgym-NoisyPositionOnlyPendulumHard-v0", observable=True), gym.make("Pendulum-v1")
    assert env.observation_space == theirs.observation_space
    observation, _ = env.reset(seed=3)
    expected, _ = theirs.reset(seed=int(env.unwrapped.batch.rows["level"]["seed"][0]))
    for _ in range(200):
        assert np.array_equal(observation, expected)
        action = env.action_space.sample()
        observation, _, _, over, info = env.step(action)
        expected, *_ = theirs.step(action)
    assert over
    assert set(info) == {"decision", "success", "upright"}


def test_every_step_is_a_decision_and_success_is_to_hold_the_pole():
    envs = gym.make_vec("memenvs/popgym-PositionOnlyPendulumEasy-v0", num_envs=32)
    _, infos = envs.reset(seed=0)
    for _ in range(200):
        assert infos["decision"].all()
        *_, truncated, infos = envs.step(swing(envs))
    assert truncated.all()
    assert infos["success"].mean() > 0.8
    assert np.all(infos["upright"][infos["success"] > 0] >= 0.1)
    assert infos["episode"]["r"].mean() > 0.7
    with pytest.raises(NotImplementedError, match="no oracle"):
        envs.oracle()


@pytest.mark.parametrize(
    ("name", "parameters", "wrong"),
    [
        ("PositionOnlyPendulum", {"max_steps": 0}, "max_steps must be"),
        ("NoisyPositionOnlyPendulum", {"sigma": 11}, "sigma must be"),
        ("NoisyPositionOnlyPendulum", {"observable": None}, "observable must be"),
    ],
)
def test_wrong_parameters_are_named(name, parameters, wrong):
    with pytest.raises(ValueError, match=wrong):
        gym.make(f"memenvs/popgym-{name}Easy-v0", **parameters)


def test_damaged_records_are_refused():
    envs = gym.make_vec("memenvs/popgym-NoisyPositionOnlyPendulumEasy-v0", num_envs=2)
    envs.reset(seed=0)
    kept, rows = envs.snapshot(), envs.unwrapped.batch.rows
    damages = [("state", "angle", math.nan), ("state", "speed", 9.0), ("state", "sine", 2.0), ("state", "steps", 201)]
    damages += [("level", "max_steps", 10**6), ("level", "sigma", 0.5), ("level", "begin", 4.0), ("state", "random", 0)]
    damages += [("state", "noise", math.nan), ("level", "random", 0), ("state", "held", 1), ("state", "torque", 3.0)]
    for record, field, value in damages:
        before = rows.copy()
        rows[record][field][1] = value
        damaged = envs.snapshot()
        rows[:] = before
        with pytest.raises(ValueError, match="damaged"):
            envs.restore(damaged)
    envs.restore(kept)


def test_pictures():
    env = gym.make("memenvs/popgym-PositionOnlyPendulumEasy-v0", render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(5):
        env.step(np.array([2.0]))
    assert first.shape == env.render().shape == (520, 480, 3)
    assert (first != env.render()).any()
    env = gym.make("memenvs/popgym-PositionOnlyPendulumEasy-v0", render_mode="ansi")
    env.reset(seed=0)
    assert "step 0 of 200, at" in env.render()
