"""Run folders of trainings, weights of another run, preparations."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from memagents import CheckpointError, load_agent
from memagents.command_line.errors import plain_errors
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.settings import ImitationSettings, Lesson, PPOSettings
from memagents.experiments.training import Stopped, learn, make_agent, new_folder, prepare, take_weights, thread_count
from memagents.runs.files import read_json
from tests.support.trainings import SMALL


def test_run_folders_are_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = PPOSettings(env="memenvs/TMaze-v0", core="my_package:mine", seed=3)
    names = [new_folder(settings) for _ in range(3)]
    assert names == [Path("runs") / f"TMaze-v0-my_package-mine-3{end}" for end in ("", "-2", "-3")]
    assert new_folder(replace(settings, run_dir="a/b")) == Path("a/b") and Path("a/b").is_dir()


def test_nothing_is_overwritten_unasked(trained):
    settings = PPOSettings(**SMALL, run_dir="trained")
    (trained / "notes.txt").write_text("mine")
    before = {path.name for path in trained.iterdir()}
    with pytest.raises(ValueError, match="run_dir trained exists; add --overwrite"):
        new_folder(settings)
    assert {path.name for path in trained.iterdir()} == before
    new_folder(replace(settings, overwrite=True))
    assert [path.name for path in trained.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="is no run, so it is not overwritten"):
        new_folder(replace(settings, overwrite=True))


def test_threads_that_no_machine_could_start():
    before = torch.get_num_threads()
    most = 8 * os.cpu_count()
    with pytest.raises(ValueError, match=f"^threads must be at most {most} on this machine, not {most + 1}$"):
        prepare(threads=most + 1)
    assert torch.get_num_threads() == before
    assert thread_count(most) == most


def test_nothing_is_left_behind_by_settings_that_cannot_be(tmp_path):
    settings = PPOSettings(**SMALL | {"core": "lsmt"}, run_dir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="there is no core 'lsmt'"):
        make_agent(settings, make_curriculum(settings))
    assert not list(tmp_path.iterdir())


def test_less_than_a_window_is_said_beforehand(tmp_path, capsys):
    for steps, said in ((60, True), (64, False)):
        settings = PPOSettings(**SMALL | {"total_timesteps": steps}, run_dir=str(tmp_path / str(steps)))
        curriculum = make_curriculum(settings)
        learn(make_agent(settings, curriculum), settings, curriculum)
        line = f"total_timesteps {steps} is less than one window (n_steps 8 × n_envs 8), which is always finished: 64 "
        assert (line in capsys.readouterr().out) == said


def test_weights_of_another_run(trained):
    def begun(**changes):
        settings = PPOSettings(**SMALL | {"seed": 9} | changes, init_from="trained")
        return make_agent(settings, make_curriculum(settings))

    theirs = load_agent(trained, device="cpu").policy.state_dict()
    agent = begun()
    assert all(torch.equal(theirs[name], weights) for name, weights in agent.policy.state_dict().items())
    assert agent.num_timesteps == 0
    folders = set(Path("runs").iterdir())
    with pytest.raises(CheckpointError, match="init_from trained: its core is gru, this run's is lstm"):
        begun(core="lstm")
    with pytest.raises(CheckpointError, match="init_from trained: its observation_space is MultiDiscrete"):
        begun(condition_on=("action",))
    with pytest.raises(CheckpointError, match=r"the weight .* is \("):
        begun(core_kwargs={"hidden_size": 5})
    with pytest.raises(CheckpointError, match="there is no run folder"):
        take_weights(agent, Path("nowhere"))
    assert set(Path("runs").iterdir()) == folders
    # Heads that only training needs may be others: after imitation, say, comes a bonus with a head of its own.
    other = begun(bonus="count", bonus_kwargs={"heads": 2}, policy_kwargs={"recall_lag": 2})
    own = other.policy.state_dict()
    assert all(torch.equal(own[name], weights) for name, weights in theirs.items())
    assert {name.split(".")[0] for name in own.keys() - theirs.keys()} == {"recall_net", "bonus_value_net"}
    other.save("with_heads")
    take_weights(agent, Path("with_heads"))
    take_weights(other, Path("with_heads"))


def test_packages_of_the_current_folder_are_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_own_package.py").write_text("import sys; sys.modules[__name__].answer = 42")
    (tmp_path / "my_broken_package.py").write_text("import no_such_package")
    prepare(["my_own_package"])
    assert sys.modules.pop("my_own_package").answer == 42
    with pytest.raises(ValueError, match="imports: there is no package 'no_such_package'"):
        prepare(["no_such_package"])
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        prepare(["my_broken_package"])


def test_devices_and_threads_are_checked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    prepare(device="cuda:0")
    with pytest.raises(ValueError, match="device is 'cuda:1', but torch finds 1 CUDA devices here"):
        prepare(device="cuda:1")
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N, not 'gpu'"):
        prepare(device="gpu")
    with pytest.raises(ValueError, match="threads must be a positive integer, not 0"):
        prepare(threads=0)


def test_a_training_that_ends_early_says_why(tmp_path, capsys, monkeypatch):
    lessons = (Lesson({"length": 1}, accuracy=1e-6),)
    small = ImitationSettings(**SMALL | {"total_timesteps": 8 * 8 * 20}, run_dir=str(tmp_path / "run"), lessons=lessons)
    curriculum = make_curriculum(small)
    learn(make_agent(small, curriculum), small, curriculum)
    assert "ended after 704 of 1,280 steps: the last lesson is learned" in capsys.readouterr().out
    whole = replace(small, lessons=(), run_dir=str(tmp_path / "whole"))
    curriculum = make_curriculum(whole)
    learn(make_agent(whole, curriculum), whole, curriculum)
    assert "ended after" not in capsys.readouterr().out
    monkeypatch.setattr(curriculum, "_on_step", lambda: False)
    stopped = replace(whole, run_dir=str(tmp_path / "stopped"))
    learn(make_agent(stopped, curriculum), stopped, curriculum)
    assert "of 1,280 steps: a callback stopped it" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_saves_after_the_window(number, tmp_path):
    class Ending(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 8 * 8 * 3 + 8:  # within the fourth window
                os.kill(os.getpid(), number)
            return True

    small = SMALL | {"total_timesteps": 8 * 8 * 20, "checkpoint_interval": 1000}
    settings = PPOSettings(**small, run_dir=str(tmp_path / "run"))
    curriculum, ours = make_curriculum(settings), signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP
    with pytest.raises(Stopped, match=r"^stopped and saved after 256 steps; go on with: .* --resume ") as stopped:
        learn(make_agent(settings, curriculum), settings, curriculum, [Ending()])
    assert signal.signal(number, ours) is signal.SIG_DFL
    with pytest.raises(SystemExit) as ended, plain_errors(KeyboardInterrupt):
        raise stopped.value
    assert ended.value.code == 128 + number
    assert read_json(tmp_path / "run" / "policy.json")["num_timesteps"] == 256
