"""``memagents health``: a report on the memory of a run."""

import json

import pytest

from memagents.__main__ import main
from memagents.runs.progress import read_progress
from tests.inspection.support import make_agent


@pytest.fixture
def run(tmp_path):
    agent = make_agent(n_envs=2, length=3)
    agent.save(tmp_path / "run")
    return tmp_path / "run"


def test_the_report_is_printed_and_kept(run, capsys):
    words = ["--env", "memenvs/TMaze-v0", "--env-kwargs", "length=3"]
    main(["health", str(run), *words, "--episodes", "4", "--ages", "0", "2", "--steps", "16"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "the memory is hardly used" in shown
    assert "whole memory" in shown
    kept = json.loads((run / "health.json").read_text())
    assert kept["env"] == "memenvs/TMaze-v0"
    assert kept["forgetting"]["ages"] == [0, 2]
    assert {"use", "leak", "largest_number"} <= {sign["name"] for sign in kept["signs"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ages", "-1"], "ages must be 0 or more steps"),
        (["--episodes", "0"], "episodes must be"),
        ([], "names no environment"),
    ],
)
def test_bad_input_is_one_line(words, message, run, capsys):
    with pytest.raises(SystemExit):
        main(["health", str(run), *words])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_training_logs_the_health_of_its_memory(tmp_path, capsys):
    words = [
        "ppo",
        "--env",
        "memenvs/TMaze-v0",
        "--env-kwargs",
        "length=3",
        "--n-envs",
        "4",
        "--n-steps",
        "16",
        "--eval-episodes",
        "0",
    ]
    runs = {}
    for name, interval in (("with", "2"), ("without", "0")):
        run = tmp_path / name
        main(["train", *words, "--total-timesteps", "256", "--health-interval", interval, "--run-dir", str(run)])
        runs[name] = read_progress(run / "progress.csv")
    assert [bool(row.get("health/use")) for row in runs["with"]] == [False, True, False, True]
    assert "health/use" not in runs["without"][-1]
    kept = ("time/total_timesteps", "train/loss", "rollout/ep_rew_mean")
    for one, other in zip(runs["with"], runs["without"], strict=True):  # looking changes nothing
        assert all(one.get(name) == other.get(name) for name in kept)
    with pytest.raises(SystemExit):
        main(["train", *words, "--health-interval", "-1"])
    assert "health_interval must be 0 or more" in capsys.readouterr().err
