# ruff: noqa: RET503
"""``memenvs.testing.debug`` runs the environment itself, and reports a mistake with its function, step and line."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from memenvs.compilation import njit
from memenvs.testing import DebugError, debug
from tests.memenvs.support.drifting import define
from tests.memenvs.support.drifting import step as drift
from tests.memenvs.support.switches import define as switches


@njit
def fill(scent, count):
    for i in range(count):
        scent[i, 0] = i


@njit
def observe_too_much(state, level, out):
    out.place[0] = state.place
    fill(out.scent, state.age)


@njit
def step_by_half(state, level, action):
    state.place = 0.5 * action
    return 1.0, False, False


@njit
def step_to_nan(state, level, action):
    state.age += 1
    return np.sqrt(1.5 - state.age), False, False


@njit
def step_with_two(state, level, action):
    return 1.0, False


@njit
def act_at_first(state, level):
    if state.age < 2:
        return 1


@njit
def act_beyond(state, level):
    return 3 + state.age


@njit
def observe_without(state, level, out):
    out.smell[0] = state.place


@njit
def observe_outside(state, level, out):
    out.place[0] = -state.age


@njit
def never_sound(params, state, level):
    return False


@njit
def measure_more(state, level, out):
    out[0] = 1
    out[1] = level.width / state.age


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            {"observe": observe_too_much, "step": drift},
            "step 3: `observe` of NAME: IndexError: index 2 is out of bounds for axis 0 with size 2 "
            r"\(.*test_debugging.py, line 21: scent\[i, 0\] = i\)",
        ),
        (
            {"step": step_by_half},
            r"step .: `step` of NAME: ValueError: 0.5 cannot be held by int64 \(.*: state.place = 0.5 \* action\)",
        ),
        ({"step": step_to_nan}, "step 2: `step` of NAME: the reward is nan"),
        (
            {"step": step_with_two},
            r"step 1: `step` of NAME: TypeError: `step` must return reward, .*, not \(1.0, False\)",
        ),
        (
            {"oracle": act_at_first},
            "step 2: `oracle` of NAME: TypeError: `oracle` must return an integer on every path",
        ),
        ({"oracle": act_beyond}, r"step 0: `oracle` of NAME: the action 3 is not in Discrete\(3\), nor -1"),
        (
            {"observe": observe_without},
            r"step 0: `observe` of NAME: AttributeError: the record has no field 'smell', only \['place', 'scent'\] "
            r"\(.*: out.smell\[0\] = state.place\)",
        ),
        ({"observe": observe_outside}, "step 1: `observe` of NAME: the observation .* is not in Dict"),
        ({"sound": never_sound}, "step 0: `sound` of NAME: it refuses the records of an episode"),
        (
            {"measure": measure_more, "metrics": ("success",)},
            r"step \d+: `measure` of NAME: IndexError: index 1 is out of bounds for axis 0 with size 1 \(.*: out\[1\]",
        ),
    ],
)
def test_a_mistake_is_found(mistake, message):
    with pytest.raises(DebugError, match=f"^{message.replace('NAME', 'Drifting.*')}") as caught:
        debug(replace(define(), **mistake))
    assert caught.value.function in mistake
    assert (caught.value.__cause__ is not None) == ("Error: " in message)


def test_it_runs_the_episodes_of_the_environment():
    env = gym.make("memenvs/TMaze-v0", length=2).unwrapped
    found = debug("TMaze-v0", steps=60, seed=4, length=2)
    rng = np.random.default_rng(4)
    env.reset(seed=4)
    episodes, total = 0, 0.0
    for _ in range(60):
        _, reward, terminated, truncated, _ = env.step(env.random_walk(rng))
        total += reward
        if terminated or truncated:
            episodes += 1
            env.reset()
    assert episodes > 3 and found == {"steps": 60, "episodes": episodes, "return": total}


@pytest.mark.parametrize("definition", [switches(), switches(dials=(2, 3)), define()], ids=lambda d: d.name)
def test_other_actions_and_what_is_right(definition):
    assert debug(definition, steps=30)["episodes"] >= 2


def test_what_cannot_be_run():
    with pytest.raises(ValueError, match=r"parameters must be empty for a definition, not \['width'\]"):
        debug(define(), width=3)
    with pytest.raises(ValueError, match=r"environment must be built on memenvs.batched, which CartPole-v1 is not"):
        debug("CartPole-v1")
    with pytest.raises(ValueError, match="`out` of"):
        debug(replace(define(), observation_space=Dict({"place": Box(0, 1)})))
