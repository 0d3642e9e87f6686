"""``train/twins.py``: three agents a seed by two comparisons, and the two figures of their scores."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from memagents.experiments.comparison_results import Comparison
from tests.support.scripts import names_in

script = SimpleNamespace(**names_in("twins.py"))
SCORES = {("seen", "gru"): [1.0, 0.8, 0.9, 0.9, 0.9], ("seen", "none"): [1.0] * 5, ("hidden", "gru"): [0.5] * 5}


@pytest.fixture
def settings(tmp_path):
    return script.TwinsSettings(env="memenvs/TMaze-v0", env_kwargs={"length": 3}, core="gru", folder=tmp_path)


def trained(comparison):
    """What a comparison comes to, without a training."""
    rows = [SimpleNamespace(core=core, likely=SCORES[comparison.folder.name, core]) for core in comparison.cores]
    return Comparison("success", rows)


def test_the_figures_are_those_of_the_three_agents(settings, monkeypatch, capsys):
    monkeypatch.setitem(script.main.__globals__, "compare", trained)
    script.main(settings)
    told = capsys.readouterr().out
    assert "observability gap: +0.400 (+0.312 to +0.488)" in told  # Welch: 4 degrees of freedom, 2.776 · 0.0707 / √5
    assert "memory bias: -0.100 (-0.188 to -0.012)" in told
    kept = json.loads((settings.folder / "twins.json").read_text())
    assert kept["scores"] == {"seen": SCORES["seen", "gru"], "hidden": [0.5] * 5, "seen_without": [1.0] * 5}
    assert kept["gap"]["mean"] == pytest.approx(0.4)
    assert kept["gap"]["low"] == pytest.approx(0.4 - 2.776445 * 0.0316228, abs=1e-6)
    script.main(replace(settings, seeds=3))
    assert "observability gap: +0.400 (3 seeds)" in capsys.readouterr().out
    kept = json.loads((settings.folder / "twins.json").read_text())
    assert kept["gap"] == {"mean": pytest.approx(0.4), "low": None, "high": None}


def test_scores_of_two_kinds_are_not_compared(settings, monkeypatch):
    def compare(comparison):
        return trained(comparison)._replace(measure="return" if comparison.folder.name == "hidden" else "success")

    monkeypatch.setitem(script.main.__globals__, "compare", compare)
    with pytest.raises(ValueError, match="tells the return of its episodes, but where everything is shown the success"):
        script.main(settings)
    assert not (settings.folder / "twins.json").exists()


def test_the_twins_differ_by_what_is_shown(settings):
    seen, hidden = settings.twin(True), settings.twin(False)
    assert (seen.env_kwargs, hidden.env_kwargs) == (
        {"length": 3, "observable": True},
        {"length": 3, "observable": False},
    )
    assert (seen.cores, hidden.cores) == (("gru", "none"), ("gru",))
    assert seen.seeds == hidden.seeds == 5 and seen.folder != hidden.folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 1}, "seeds must be 2 or more"),
        ({"core": "none"}, "core must be a memory"),
        ({"env_kwargs": {"observable": True}}, "env_kwargs must leave out observable"),
        ({"words": ("--core", "lstm")}, "set by twins.py itself: give --core before the --"),
        ({"words": ("--learning-rate", "1")}, "set by twins.py itself: give --learning-rate before the --"),
    ],
)
def test_bad_input(changes, message, settings):
    with pytest.raises(ValueError, match=message):
        replace(settings, **changes)


def test_an_environment_without_a_twin_is_told_before_anything_is_trained(tmp_path):
    settings = script.TwinsSettings(env="memenvs/Copy-v0", folder=tmp_path)
    with pytest.raises(ValueError, match="has no parameter 'observable'"):
        script.main(settings)
    assert not any(tmp_path.iterdir())


def test_a_twin_that_cannot_be_trained_is_told_before_the_other_is(settings, monkeypatch):
    def checked(comparison):
        if "none" in comparison.cores:
            raise ValueError("no such agent")

    monkeypatch.setitem(script.main.__globals__, "checked", checked)
    with pytest.raises(ValueError, match="no such agent"):
        script.main(settings)
    assert not any(settings.folder.iterdir())


def test_three_agents_a_seed_are_trained_and_kept(settings, capsys):
    words = ("--n-envs", "4", "--n-steps", "8", "--recipe", "tmaze")
    settings = replace(settings, seeds=2, total_timesteps=64, episodes=5, processes=2, words=words)
    script.main(settings)
    assert "observability gap: " in capsys.readouterr().out
    kept = json.loads((settings.folder / "twins.json").read_text())
    assert [len(kept["scores"][name]) for name in ("seen", "hidden", "seen_without")] == [2, 2, 2]
    runs = {path: path.stat().st_mtime_ns for path in settings.folder.rglob("policy.safetensors")}
    assert {(*path.parts[-4:-2],) for path in runs} == {("seen", "gru"), ("seen", "none"), ("hidden", "gru")}
    shown = {
        path.parts[-4]: yaml.safe_load((path.parent / "config.yaml").read_text())["env_kwargs"]["observable"]
        for path in runs
    }
    assert shown == {"seen": True, "hidden": False}
    script.main(settings)
    assert {path: path.stat().st_mtime_ns for path in runs} == runs
