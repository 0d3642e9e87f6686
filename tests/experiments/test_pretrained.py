"""Policies that come with the library: each does what its card says, and nothing is written beside it."""

import re
import shlex

import pytest

from memagents import RecurrentPPO
from memagents.__main__ import main
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line
from memagents.experiments.evaluate_run import evaluate_run
from memagents.experiments.evaluation import AGENT
from memagents.experiments.evaluation_settings import EvaluationSettings
from memagents.experiments.run import Run
from memagents.runs import pretrained
from memagents.runs.files import CheckpointError
from tests.support.scripts import names_in

NAMES = pretrained.names()


def contents():
    return {path: path.read_bytes() for path in pretrained.FOLDER.rglob("*") if path.is_file()}


def test_there_are_some_and_they_are_small():
    assert NAMES
    assert sum(map(len, contents().values())) < 20e6
    absolute = re.compile(rb"""(?<![\w.:/<])/\w+/\w""")  # a path of the machine that it was made on
    assert not [path for path, content in contents().items() if absolute.search(content)]


@pytest.mark.parametrize("name", NAMES)
def test_it_scores_what_its_card_says(name):
    run, card = Run.open(f"pretrained:{name}"), pretrained.card(name)
    scores = evaluate_run(run, EvaluationSettings(episodes=200)).scores[AGENT]
    score = {"success": scores.success, "returns": scores.returns, **scores.metrics}[card["metric"]]
    assert abs(score.mean - card["score"]) < 0.05 * max(1, card["score"])
    assert run.description["num_timesteps"] == card["steps"]
    assert f"memagents evaluate pretrained:{name} " in (pretrained.FOLDER / name / pretrained.CARD).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_its_command_makes_such_a_training(name):
    card = pretrained.card(name)
    program, door, kind, *words = shlex.split(card["command"])
    assert (program, door) == ("memagents", "train")
    asked, made = command_line(ALGORITHMS[kind].settings, words), Run.open(f"pretrained:{name}").settings
    for setting in ("env", "total_timesteps", "core", "core_kwargs", "seed", "learning_rate", "gamma", "n_envs"):
        assert getattr(asked, setting) == getattr(made, setting), setting


def test_what_is_made_of_it_goes_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = contents()
    main(["evaluate", "pretrained:endless-tmaze-lstm", "--episodes", "4", "--over", "length=[3,4]"])
    assert {path.name for path in (tmp_path / "runs/pretrained-endless-tmaze-lstm").iterdir()} == {
        "over_length.json",
        "over_length.png",
    }
    main(["list", "pretrained"])
    assert "pretrained:endless-tmaze-lstm  " in capsys.readouterr().out
    agent = RecurrentPPO.load("pretrained:endless-tmaze-lstm", device="cpu")
    with pytest.raises(ValueError, match="pretrained:mine is the name of a policy of the library"):
        agent.save("pretrained:mine")
    assert contents() == before


def test_a_run_that_is_none_costs_no_policy(tmp_path, monkeypatch):
    script = names_in("pretrained.py")
    monkeypatch.setitem(script["main"].__globals__, "FOLDER", tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(CheckpointError, match="there is no run folder"):
        script["main"](script["PretrainedSettings"](tmp_path / "none", "mine", "Does.", "No.", "memagents train ppo"))
    assert (tmp_path / "mine").is_dir()


def test_a_name_that_is_none():
    with pytest.raises(CheckpointError, match=r"did you mean pretrained:endless-tmaze-lstm\?; there are: "):
        RecurrentPPO.load("pretrained:endless-tmaze")
    with pytest.raises(CheckpointError, match="there is no pretrained:xyz; there are: "):
        Run.open("pretrained:xyz")
