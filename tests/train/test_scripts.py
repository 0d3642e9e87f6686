"""The training scripts as a person runs them."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from memagents import MFEC, NEC, RecurrentPPO
from memagents.runs import files, trees
from tests.support.runs import learned
from tests.support.trees import assert_equal

TRAIN = Path(__file__).parent.parent.parent / "train"
# Windows of 512 steps; the lessons change after the second and the fifth or so.
RECIPE = """
env: memenvs/TMaze-v0
core: gru
core_kwargs: {hidden_size: 8}
n_envs: 8
n_steps: 64
n_minibatches: 2
n_epochs: 2
learning_rate: 1e-2
schedule: linear
condition_on: [reward]
total_timesteps: 5_120
checkpoint_interval: 2
eval_episodes: 0
threads: 1
device: cpu
lessons:
  - {env_kwargs: {length: 1}, success: 0.1}
  - {env_kwargs: {length: 2}, success: 0.02}
  - {env_kwargs: {length: 3}}
"""
# A package that presses Ctrl-C in the seventh window, once.
CTRL_C = """
import os, signal
from pathlib import Path
from memagents import RecurrentPPO

train = RecurrentPPO.train

def interrupted(self):
    if self.iteration == 6 and not Path("pressed").exists():
        Path("pressed").touch()
        os.kill(os.getpid(), signal.SIGINT)
    train(self)

RecurrentPPO.train = interrupted
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of all runs, with a recipe and a package."""
    path = tmp_path_factory.mktemp("scripts")
    (path / "small.yaml").write_text(RECIPE)
    (path / "ctrl_c.py").write_text(CTRL_C)
    return path


@pytest.fixture(scope="module")
def script(folder):
    """Runs a script in the folder; ``code`` is what it must exit with."""

    def run(name, *words, code=0):
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, TRAIN / name, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def whole(script, folder):
    """A run that nothing interrupted."""
    script("ppo.py", "--recipe", "small.yaml", "--run-dir", "whole")
    return folder / "whole"


def test_an_interrupted_run_goes_on_exactly(script, folder, whole):
    """Ctrl-C in the middle of a window, in the middle of a curriculum, between two checkpoints."""
    stopped = script("ppo.py", "--recipe", "small.yaml", "--run-dir", "parts", "--imports", "ctrl_c", code=130)
    assert "go on with: memagents train ppo --resume parts --imports ctrl_c" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert files.read_json(folder / "parts" / "policy.json")["num_timesteps"] == 7 * 512
    told = script("ppo.py", "--resume", "parts", code=2).stderr
    assert told.startswith("error: parts names what it has to import: ctrl_c. ") and told.count("\n") == 1
    told = script("evaluate.py", "parts", code=2).stderr
    assert told.startswith("error: parts names what it has to import: ctrl_c. ") and told.count("\n") == 1
    script("ppo.py", "--resume", "parts", "--imports", "ctrl_c")

    (rows, state), (rows_of_parts, state_of_parts) = learned(whole), learned(folder / "parts")
    lessons = [int(row["curriculum/lesson"]) for row in rows]
    assert set(lessons) == {0, 1, 2} and lessons[6] > 0  # where Ctrl-C was pressed
    assert rows == rows_of_parts and len(rows) == 10
    assert_equal(state, state_of_parts)
    weights = "policy.safetensors"
    assert (whole / weights).read_bytes() == (folder / "parts" / weights).read_bytes()


def test_a_run_folder_holds_all_there_is(whole):
    names = {path.name for path in whole.iterdir()}
    assert names == {
        *("config.yaml", "policy.json", "policy.safetensors", "checkpoint", "progress.csv", "tb", "learning_curve.png"),
        "manifest.json",
        "lock",  # held by nobody now
    }
    assert Image.open(whole / "learning_curve.png").width > 500
    assert any((whole / "tb").iterdir())


def test_evaluation_as_json_and_as_a_film(script, folder, whole):
    words = ("whole", "--episodes", "20", "--json", "--video", "film.gif", "--video-episodes", "2")
    told = json.loads(script("evaluate.py", *words).stdout)
    assert told["env_kwargs"] == {"length": 3} and told["episodes"] == 20
    assert set(told["scores"]) == {"agent", "agent, sampled", "random agent", "random walk", "oracle"}
    assert told["scores"]["oracle"]["success"]["mean"] == 1
    film = Image.open(folder / "film.gif")
    assert film.n_frames >= 2
    assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(film)) > 3000  # two ends of 1.5 seconds


def test_mistakes_are_one_line(script):
    told = script("ppo.py", "--core", "lsmt", code=2).stderr
    assert told.startswith("error: there is no core 'lsmt'; there are: aler, compressive, ")
    assert told.count("\n") == 1


# --- the same within this process, which spares the imports -----------------------------------------------------------


@pytest.fixture
def here(monkeypatch, capsys, tmp_path):
    """Runs a script in an empty folder; what it wrote on the standard output and as errors, and its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *words])
        try:
            runpy.run_path(str(TRAIN / name), run_name="__main__")
        except SystemExit as stop:
            return *capsys.readouterr(), stop.code
        return *capsys.readouterr(), 0

    return run


def test_imitation_first_then_ppo(here):
    small = ["--n-envs", "8", "--n-steps", "32", "--total-timesteps", "2048", "--core", "gru", "--eval-episodes", "20"]
    small += ["--env-kwargs", "length=2"]
    told, _, code = here("imitate.py", *small, "--learning-rate", "1e-2")
    assert code == 0 and "all of it is in runs/TMaze-v0-gru-0" in told and "random walk" in told
    first = json.loads(Path("runs/TMaze-v0-gru-0/evaluation.json").read_text())["scores"]
    assert first["agent"]["success"]["mean"] > 0.4  # it knows the way, if not yet the turn
    here("ppo.py", *small, "--init-from", "runs/TMaze-v0-gru-0", "--learning-rate", "1e-12")
    assert json.loads(Path("runs/TMaze-v0-gru-0-2/evaluation.json").read_text())["scores"] == first


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_checkpoint(here, monkeypatch):
    train = RecurrentPPO.train

    def poisoned(agent):
        if agent.iteration == 2:
            agent._window.advantages.fill_(float("nan"))
        train(agent)

    monkeypatch.setattr(RecurrentPPO, "train", poisoned)
    small = ("--n-envs", "8", "--n-steps", "8", "--total-timesteps", "1000", "--checkpoint-interval", "1")
    _, errors, code = here("ppo.py", *small)
    assert code == 2 and "Traceback" not in errors
    assert "policy_gradient_loss is not finite" in errors and "last good checkpoint is in runs/TMaze" in errors
    assert files.read_json(Path("runs/TMaze-v0-lstm-0/policy.json"))["num_timesteps"] == 128


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["ppo.py", "--env", "memenvs/Tmaze-v0"],
            "there is no environment 'memenvs/Tmaze-v0'; spelled alike: memenvs/TMaze-v0, ",
        ),
        (["ppo.py", "--recipe", "yours"], "there is no recipe 'yours'; there are: "),
        (["ppo.py", "--resume", "nowhere"], "there is no run folder nowhere"),
        (["imitate.py", "--n-steps", "0"], "n_steps must be a positive integer, not 0"),
        (["evaluate.py", "nowhere"], "there is no run folder nowhere"),
        (["ppo.py", "--imports", "no_such_package"], "imports: there is no package 'no_such_package'"),
    ],
)
def test_mistakes_are_named(here, words, message):
    told, errors, code = here(*words)
    assert code == 2 and told == "" and errors.startswith("error: " + message) and errors.count("\n") == 1
    assert not list(Path().iterdir())


@pytest.mark.parametrize("script", ["nec.py", "mfec.py"])
def test_episodic_control_from_training_to_evaluation_and_on(here, script):
    """A short run, its evaluation, and the same in two parts, stopped by the last of its checkpoints."""
    small = ["--env", "memenvs/TMaze-v0", "--env-kwargs", "length=2", "--n-envs", "4", "--total-timesteps", "400"]
    small += ["--checkpoint-interval", "5", "--eval-episodes", "20", "--exploration-fraction", "0.5"]
    small += ["--policy-kwargs", "key_size=8", "capacity=50", "--device", "cpu"]
    if script == "nec.py":
        small += ["--core", "gru", "--core-kwargs", "hidden_size=8", "--learning-starts", "50", "--schedule", "linear"]
    told, errors, code = here(script, *small, "--run-dir", "whole")
    assert code == 0, errors
    assert "all of it is in whole" in told and "random walk" in told
    names = {path.name for path in Path("whole").iterdir()}
    assert names >= {"policy.json", "policy.safetensors", "memory.safetensors", "evaluation.json", "learning_curve.png"}
    told = here("evaluate.py", "whole", "--episodes", "20", "--json")[0]
    assert (
        json.loads(told)["scores"]["agent"] == json.loads(Path("whole/evaluation.json").read_text())["scores"]["agent"]
    )

    kind = MFEC if script == "mfec.py" else NEC
    collect, steps = kind.collect, []

    def interrupted(agent, callback):
        steps.append(agent.num_timesteps)
        if agent.num_timesteps == 208 and len(steps) < 20:
            raise KeyboardInterrupt("stopped")
        return collect(agent, callback)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "collect", interrupted)
        assert here(script, *small, "--run-dir", "parts")[2] == 130
    assert here(script, "--resume", "parts")[2] == 0
    states = [trees.read_tree(Path(run, "checkpoint/state.safetensors")) for run in ("whole", "parts")]
    for name in ("weights", "memory", "own", "counters", "optimizer"):
        assert_equal(states[0][name], states[1][name])
    assert states[0]["counters"]["num_timesteps"] == 400
