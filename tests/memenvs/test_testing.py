"""The conformance kit: it passes what is right, and finds each planted fault by its name."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete

from memenvs.compilation import njit
from memenvs.engine.defaults import always_decides
from memenvs.testing import ConformanceError, check_environment
from tests.memenvs.support import faults
from tests.memenvs.support.drifting import BatchedDrifting, Drifting
from tests.memenvs.support.drifting import define as drifting
from tests.memenvs.support.switches import define as switches

CHECKS = {"spaces", "rewards", "copies", "ends", "seeds", "resets", "gymnasium", "pictures"}
CHECKS |= {"snapshots", "oracle", "splits"}


@pytest.fixture
def registered():
    """A function that registers classes as an id, until the end of the test."""
    names = []

    def register(single, batched):
        names.append(f"tests/Planted{len(names)}-v0")
        gym.register(names[-1], entry_point=single, vector_entry_point=batched)
        return names[-1]

    yield register
    for name in names:
        gym.registry.pop(name)


@pytest.mark.parametrize(
    ("name", "parameters", "skipped"),
    [
        ("memenvs/TMaze-v0", {"length": 3}, {"splits"}),
        ("Copy-v0", {"length": (1, 5)}, set()),
        ("memenvs/Maze-v0", {"size": 7, "max_steps": 25}, set()),
    ],
)
def test_ours_pass(name, parameters, skipped):
    results = check_environment(name, **parameters)
    assert results.keys() == CHECKS
    assert {check for check, result in results.items() if result != "passed"} == skipped
    assert all(results[check].startswith("skipped: the definition has no ") for check in skipped)


def test_definitions_pass_and_what_they_lack_is_skipped():
    results = check_environment(drifting())
    assert {check for check, result in results.items() if result != "passed"} == {"oracle", "pictures"}
    results = check_environment(switches())
    assert {check for check, result in results.items() if result != "passed"} == {"splits", "pictures"}


@pytest.mark.parametrize("batched", faults.BATCHED, ids=lambda cls: cls.__name__)
def test_a_fault_of_a_batch_is_found(batched, registered):
    with pytest.raises(ConformanceError, match=f"^{faults.BATCHED[batched]}") as caught:
        check_environment(registered(Drifting, batched))
    assert str(caught.value).startswith(f"{caught.value.check}: ")


@pytest.mark.parametrize("single", faults.SINGLE, ids=lambda cls: cls.__name__)
def test_a_fault_of_a_single_environment_is_found(single, registered):
    with pytest.raises(ConformanceError, match=f"^{faults.SINGLE[single]}"):
        check_environment(registered(single, BatchedDrifting))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"observation_space": MultiDiscrete([2, 2], dtype=np.uint8)},
            r"spaces: the observation of step \d+ must be in Box\(0, 1, ",
        ),
        (
            {"oracle": faults.turn_wrongly},
            r"oracle: its mean return must be at least 0\.[3-6].* random play .*, not 0$",
        ),
        ({"oracle": faults.step_nowhere}, r"oracle: the action of row 0 must be in Discrete\(4\), or -1, not 7"),
        ({"oracle": faults.never_sure, "decides": always_decides}, "oracle: -1 for the action .* must be"),
        (
            {"draw": lambda state, level: np.zeros((4, 4, 3))},
            r"pictures: render\(\) for 'rgb_array' must be uint8 \(H, W, 3\), not float64 \(4, 4, 3\)",
        ),
        ({"text": lambda state, level: 3}, r"pictures: the type of render\(\) for 'ansi' must be str, not int"),
    ],
)
def test_a_fault_of_a_definition_is_found(changes, message):
    with pytest.raises(ConformanceError, match=f"^{message}"):
        check_environment(faults.maze(**changes))


def test_too_few_distinct_levels_are_found():
    with pytest.raises(ConformanceError, match=r"^splits: distinct_levels must be at least \d{3,}, not 100"):
        check_environment(replace(drifting(), distinct_levels=100))


@njit
def begin_where_it_was(state, level):
    state.age = 0


@njit
def generate_by_chance(params, key, level):
    level.width, level.patience = params.width, params.patience
    level.scent = np.random.randint(1000)  # noqa: NPY002 — the mistake
    return True


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reset": begin_where_it_was},
            r"row 0 of 1 environments, seeded for the second time, as among 8, step 0: observation\['place'\] must be "
            r"\[0\], not \[\d+\]\. Two resets with the same seed differ in `state.place`: does `reset` leave a field ",
        ),
        (
            {"generate": generate_by_chance},
            r"row 0 of .*: observation\['scent'\] must be .* differ in `level.scent`: .* draw from np.random, not ",
        ),
    ],
)
def test_what_the_seed_does_not_decide_is_named(changes, message):
    with pytest.raises(ConformanceError, match=f"^seeds: {message}"):
        check_environment(replace(drifting(), **changes))


@pytest.mark.parametrize(
    ("environment", "parameters", "message"),
    [
        ("TMaze-v0", {"num_envs": 3}, "parameters must leave out copy, num_envs"),
        ("TMase-v0", {}, "no environment 'TMase-v0'"),
        ("TMaze-v0", {"length": 0}, "length must be"),
        ("CartPole-v1", {}, r"built on memenvs.batched, which CartPole-v1 is not; .* by gymnasium\..*check_env\("),
        ("Pendulum-v1", {}, r"built on memenvs.batched, which Pendulum-v1 is not; .* by gymnasium\..*check_env\("),
        (drifting(), {"width": 3}, r"parameters must be empty for a definition, not \['width'\]"),
    ],
)
def test_what_cannot_be_checked_is_refused(environment, parameters, message):
    with pytest.raises(ValueError, match=message):
        check_environment(environment, **parameters)
