"""Settings of trainings: the algorithms' own arguments, documented, from plain words."""

import inspect
from dataclasses import fields

import pytest

from memagents import RecurrentPPO
from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.environments.make import make_env
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line
from memagents.experiments.episodic_settings import NECSettings
from memagents.experiments.options import parse_pairs
from memagents.experiments.settings import PPOSettings, WindowSettings
from tests.support.trainings import SMALL


@pytest.mark.parametrize("name", ALGORITHMS)
def test_settings_are_the_algorithms_own_arguments_and_defaults(name):
    settings, algorithm, defaults = ALGORITHMS[name].settings, ALGORITHMS[name].load(), {}
    for cls in algorithm.__mro__[::-1]:
        if issubclass(cls, MemoryAlgorithm):
            defaults |= {p.name: p.default for p in inspect.signature(cls.__init__).parameters.values()}
    given = settings(seed=3).hyperparameters()
    of_python = {"tensorboard_log", "verbose"}  # the scripts have their own screen, and events in the run folder
    assert set(algorithm.hyperparameters) - of_python <= given.keys() <= defaults.keys()
    if issubclass(settings, WindowSettings):
        defaults["learning_rate"] = 1e-3  # the classes have Stable-Baselines3's, which suits fewer environments
    plain = given.keys() - {"seed", "policy_kwargs"}
    assert {name: given[name] for name in plain} == {name: defaults[name] for name in plain}
    core = {"core": settings().core, "core_kwargs": {}} if hasattr(settings(), "core") else {}
    if hasattr(settings(), "critic_core"):
        core |= {"critic_core": algorithm.policy_defaults.get("critic_core"), "critic_core_kwargs": {}}
    assert given["policy_kwargs"] == core


def test_every_setting_is_documented(capsys):
    for cls in (entry.settings for entry in ALGORITHMS.values()):
        with pytest.raises(SystemExit) as stop:
            command_line(cls, ["--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        documented = "".join(kind.__doc__ or "" for kind in cls.__mro__)
        for one in fields(cls):
            assert f":param {one.name}:" in documented
            assert one.name == "lessons" or f"--{one.name.replace('_', '-')}" in text


def test_rates_fall_linearly_if_asked():
    given = PPOSettings(learning_rate=0.5, memory_learning_rate=0.25, schedule="linear").hyperparameters()
    assert [given["learning_rate"](p) for p in (1, 0.5, 0)] == [0.5, 0.25, 0]
    assert given["memory_learning_rate"](0.5) == 0.125
    assert PPOSettings(schedule="linear").hyperparameters()["memory_learning_rate"] is None


def test_the_entropy_bonus_falls_linearly_if_asked():
    told = PPOSettings(**SMALL, ent_coef=0.5, final_ent_coef=0.1, run_dir=None)
    bonus = told.hyperparameters()["ent_coef"]
    assert [bonus(p) for p in (1, 0.5, 0)] == pytest.approx([0.5, 0.3, 0.1])
    assert PPOSettings(ent_coef=0.5).hyperparameters()["ent_coef"] == 0.5
    agent = RecurrentPPO("MlpPolicy", make_env(told.env, 8, **told.env_kwargs), **told.hyperparameters())
    weights = []
    for progress in (1, 0.25):
        agent._current_progress_remaining = progress
        weights.append(agent.loss_weights()["entropy_loss"])
    assert weights == pytest.approx([0.5, 0.2])


def test_pairs_are_yaml():
    assert parse_pairs(["length=5", "stations=[4, 6]", "map=random", "rate=3e-4"]) == {
        "length": 5,
        "stations": [4, 6],
        "map": "random",
        "rate": 3e-4,
    }
    assert parse_pairs(["{length: 5, map: a=b}", "two_way=true"]) == {"length": 5, "map": "a=b", "two_way": True}
    for wrong in ("length", "=3", "[1, 2]", "a: [", "length=[1"):
        with pytest.raises(ValueError, match=r"key=value|no YAML") as error:
            parse_pairs([wrong])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("words", [["length=5", "length=6"], ["{length: 5}", "length=6"], ["{length: 5, length: 6}"]])
def test_a_parameter_is_given_once(words):
    with pytest.raises(ValueError, match=r"length'? is given twice"):
        parse_pairs(words)


@pytest.mark.parametrize("schedule", ["constant", "linear"])
@pytest.mark.parametrize("name", ["learning_rate", "memory_learning_rate", "dictionary_learning_rate"])
def test_rates_by_which_something_is_learned(name, schedule):
    kind = NECSettings if name == "dictionary_learning_rate" else PPOSettings
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"^{name} must be a finite number above 0, not {wrong}$"):
            kind(**{name: wrong}, schedule=schedule).hyperparameters()
