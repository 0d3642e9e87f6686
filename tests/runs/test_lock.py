"""Two trainings in one folder, and trainings that stopped before their first checkpoint."""

import os
import subprocess
import sys

import pytest

from memagents import CheckpointError, RecurrentPPO, load_agent
from memagents.__main__ import main
from memagents.runs import layout
from memagents.runs.lock import held, is_held
from tests.support.agents import Interrupted, interrupt_at, make
from tests.support.toys import tmaze

pytest.importorskip("fcntl")
SMALL = ("--n-envs", "4", "--n-steps", "8", "--total-timesteps", "32", "--eval-episodes", "0", "--device", "cpu")
OTHERS = """
import sys
from pathlib import Path
from memagents.runs.lock import held
with held(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder; its errors and its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code: object = 0
        capsys.readouterr()  # what one that crashed wrote
        try:
            main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, errors = capsys.readouterr()
        return out + errors, code

    return run


def test_a_second_training_in_the_folder_is_refused(tmp_path):
    messages = []

    def intrude(now, _):
        for change in ({}, {"core": "gru"}):
            with pytest.raises(ValueError, match="a training is running in it") as error:
                make(run_dir=tmp_path, **change).learn(32)
            messages.append(str(error.value))
        return True

    agent = make(run_dir=tmp_path).learn(32, callback=intrude)
    assert set(messages) == {
        f"run_dir {tmp_path}: a training is running in it; wait until it has ended, or choose another run_dir"
    }
    agent.learn(32)  # after it has ended


def test_a_training_that_fails_lets_the_folder_go(tmp_path):
    with pytest.raises(Interrupted):
        make(run_dir=tmp_path).learn(64, callback=interrupt_at(8))
    make(run_dir=tmp_path).learn(32)


def test_the_command_line_refuses_before_it_removes_or_reads_anything(said, tmp_path):
    assert said("train", "ppo", *SMALL, "--run-dir", "mine")[1] == 0
    before = (tmp_path / "mine" / "policy.json").stat().st_mtime_ns
    with held(tmp_path / "mine", "taken"):
        for words in (("--run-dir", "mine", *SMALL, "--overwrite"), ("--run-dir", "mine", *SMALL)):
            errors, code = said("train", "ppo", *words)
            assert (code, errors.count("\n")) == (2, 1) and "run_dir mine: a training is running in it" in errors
    assert (tmp_path / "mine" / "policy.json").stat().st_mtime_ns == before
    assert said("train", "ppo", *SMALL, "--run-dir", "mine", "--overwrite")[1] == 0


def test_the_lock_of_another_process_goes_with_it(tmp_path):
    command = [sys.executable, "-c", OTHERS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout.readline() == b"held\n"
        assert is_held(tmp_path)
        process.kill()
    assert not is_held(tmp_path)


def test_the_first_window_ends_with_a_checkpoint(tmp_path):
    with pytest.raises(Interrupted):
        make(run_dir=tmp_path, checkpoint_interval=50).learn(96, callback=interrupt_at(2 * 32))
    assert RecurrentPPO.resume(tmp_path, tmaze(), device="cpu").num_timesteps == 32


def test_a_crash_before_that_says_what_to_do(said, tmp_path, monkeypatch):
    def crash(self):
        raise Interrupted

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(RecurrentPPO, "train", crash)
        said("train", "ppo", *SMALL, "--run-dir", "runs/mine")
    message = "runs/mine stopped before its first checkpoint: begin again, on the command line with --overwrite"
    for words in (
        ("train", "ppo", *SMALL, "--run-dir", "runs/mine"),
        ("train", "ppo", "--resume", "runs/mine"),
        ("evaluate", "runs/mine"),
    ):
        errors, code = said(*words)
        assert code == 2 and message in errors and errors.count("\n") == 1
    assert said("list", "runs")[0] == "runs/mine  no checkpoint yet\n"
    with held(tmp_path / "runs" / "mine", "taken"):
        assert said("list", "runs")[0] == "runs/mine  no checkpoint yet, running\n"
        with pytest.raises(CheckpointError, match="has no checkpoint yet: its training is in its first window"):
            load_agent("runs/mine")
    assert said("train", "ppo", *SMALL, "--run-dir", "runs/mine", "--overwrite")[1] == 0
    assert said("list", "runs")[0] == "runs/mine  RecurrentPPO, lstm, 32 steps\n"


def test_in_python_too(tmp_path):
    with pytest.raises(Interrupted):
        make(run_dir=tmp_path).learn(32, callback=interrupt_at(8))
    for act in (
        lambda: load_agent(tmp_path),
        lambda: RecurrentPPO.load(tmp_path),
        lambda: RecurrentPPO.resume(tmp_path, tmaze()),
    ):
        with pytest.raises(CheckpointError, match="stopped before its first checkpoint: begin again"):
            act()


def test_a_file_in_place_of_a_folder(said, tmp_path):
    (tmp_path / "x.json").touch()
    for more in ((), ("--overwrite",)):
        errors, code = said("train", "ppo", *SMALL, "--run-dir", "x.json", *more)
        assert (code, errors) == (2, "error: run_dir x.json is a file; a run needs a folder\n")


def test_folders_that_cannot_be_made(said, tmp_path):
    (tmp_path / "x.json").touch()
    errors, code = said("train", "ppo", *SMALL, "--run-dir", "x.json/mine")
    assert (code, errors) == (2, "error: run_dir x.json/mine cannot be made: Not a directory\n")
    (tmp_path / "runs").touch()
    errors, code = said("train", "ppo", *SMALL)
    assert (code, errors) == (2, "error: run_dir runs cannot be made: File exists\n")


def test_a_folder_that_is_none_of_a_training(tmp_path):
    (tmp_path / "notes.txt").touch()
    assert layout.without_checkpoint(tmp_path) is None
    with pytest.raises(CheckpointError, match=r"policy\.json does not exist"):
        load_agent(tmp_path)
