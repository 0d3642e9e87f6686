"""The command memagents: its doors, their help, what they list."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memagents import __version__
from memagents.__main__ import DOORS, main
from memagents.command_line.help import descriptions, short_help
from memagents.cores import core_class
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import RECIPES, recipe_names
from memagents.runs import layout


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder; what it wrote on the standard output and as errors, and its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            main(words)
        except SystemExit as stop:
            return *capsys.readouterr(), stop.code or 0
        return *capsys.readouterr(), 0

    return run


def test_help_names_every_door(said):
    for words in ((), ("--help",), ("-h",)):
        out, _, code = said(*words)
        assert code == 0 and all(f"  {name}" in out for name in DOORS)
    assert said("--version")[0] == f"memagents {__version__}\n"


@pytest.mark.parametrize("name", DOORS)
def test_every_door_explains_itself(said, name):
    out, errors, code = said(name, "--help")
    assert code == 0 and f"memagents {name}" in out and errors == ""


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_help_of_a_training_fits_a_screen(name):
    text = short_help(ALGORITHMS[name].settings, f"memagents train {name}")
    lines = text.splitlines()
    assert len(lines) <= 36 and max(map(len, lines)) <= 100
    assert lines.index("common settings:") < 6
    options = {word for word in text.replace("[", " ").split() if word.startswith("--")}
    described = descriptions(ALGORITHMS[name].settings)
    assert {f"--{setting.replace('_', '-')}" for setting in described} - options == {"--lessons"}
    assert all(described.values())


def test_all_settings_are_described_at_length(said):
    out, _, code = said("train", "ppo", "--help-all")
    assert code == 0 and "--clip-range" in out and "ε of the clipped surrogate objective" in out


def test_help_and_mistakes_need_no_torch():
    """They are shown at once; torch takes seconds to load."""
    loads = "import sys; from memagents.__main__ import main\ntry: main({words})\nexcept SystemExit: pass\n"
    for words in (["--help"], ["train", "ppo", "--help"], ["train", "ppo", "--recipe", "no"], ["list", "recipes"]):
        code = loads.format(words=words) + "assert not {'torch', 'numba', 'matplotlib'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], "memagents has no command 'fly'; it has: train, evaluate, compare, list, recipe"),
        (["train", "dqn"], "train must be followed by one of ppo, imitate, nec, mfec, not 'dqn'"),
        (["list", "trees"], "list must be followed by one of cores, envs, recipes, runs, not 'trees'"),
        (["recipe", "no"], "there is no recipe 'no'; there are: "),
        (["evaluate", "nowhere"], "there is no run folder nowhere"),
    ],
)
def test_mistakes_are_one_line(said, words, message):
    out, errors, code = said(*words)
    assert code == 2 and out == "" and errors.startswith(f"error: {message}") and errors.count("\n") == 1


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [("cores", "dnc"), ("envs", "memenvs/TMaze-v0"), ("recipes", "tmaze")])
def test_lists_name_what_there_is_and_say_what_it_is(said, kind, name):
    out, _, code = said("list", kind)
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    assert code == 0 and name in [row[0] for row in rows]
    ours = [row for row in rows if kind != "cores" or core_class(row[0]).__module__.startswith("memagents.")]
    assert all(len(row) == 2 for row in ours), "a name without a word about it"  # other tests register cores, too


def test_runs_are_listed(said, tmp_path):
    out, errors, code = said("list", "runs")
    assert (out, code) == ("", 0) and "there are no runs in" in errors
    made = said("train", "mfec", *("--total-timesteps", "40", "--eval-episodes", "0", "--policy-kwargs", "key_size=4"))
    assert made[2] == 0, made
    assert said("list", "runs")[0].split(maxsplit=1) == ["runs/TMaze-v0-mfec-0", "MFEC, 40 steps\n"]


def test_a_damaged_run_does_not_hide_the_others(said, tmp_path):
    for name, text in (("a", "no JSON"), ("b", "{}")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / layout.POLICY_FILE).write_text(text)
    out, _, code = said("list", "runs")
    assert code == 0 and [line.split()[:4] for line in out.splitlines()] == [
        ["runs/a", "cannot", "be", "read:"],
        ["runs/b", "cannot", "be", "read:"],
    ]


def test_a_recipe_is_printed_and_copied_once(said, tmp_path):
    text = (RECIPES / "tmaze.yaml").read_text()
    assert said("recipe", "tmaze") == (text, "", 0)
    assert said("recipe", "tmaze", "--copy")[0] == "copied to tmaze.yaml\n"
    assert (tmp_path / "tmaze.yaml").read_text() == text
    assert "tmaze.yaml exists already" in said("recipe", "tmaze", "--copy")[1]
    assert said("recipe", "tmaze.yaml")[0] == text
    assert "is a file of yours already" in said("recipe", "tmaze.yaml", "--copy")[1]


def test_every_recipe_begins_with_a_sentence_about_it_and_how_it_is_run():
    for name in recipe_names():
        first, second = (RECIPES / f"{name}.yaml").read_text().splitlines()[:2]
        assert first.startswith("# ") and first.endswith(".") and len(first) < 100, name
        assert second.startswith("# memagents train ") and f"--recipe {name}" in second, name


# --- run folders ------------------------------------------------------------------------------------------------------


def test_runs_are_found_below_a_folder(tmp_path):
    for name in ("b/c", "a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / layout.POLICY_FILE).touch()
    (tmp_path / "empty").mkdir()
    assert layout.runs_in(tmp_path) == [tmp_path / "a", tmp_path / "b" / "c"]
    assert layout.runs_in(Path("nowhere")) == []
