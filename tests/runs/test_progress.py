"""The progress that a person sees of a training, which stays one story when a run is resumed."""

import csv

import pytest
from stable_baselines3.common.logger import Logger

from memagents import RecurrentPPO
from memagents.runs.progress import ProgressCSV, read_progress
from tests.support.agents import Interrupted, interrupt_at, make
from tests.support.toys import tmaze

CLOCKED = ("time/fps", "time/time_elapsed")  # no two runs take the same time


def write_rows(path, rows):
    log = Logger(None, [path if isinstance(path, ProgressCSV) else ProgressCSV(path, after=0)])
    for row in rows:
        for name, value in row.items():
            log.record(name, value)
        log.dump()
    log.close()


def row(steps, **more):
    return {"time/total_timesteps": steps, **more}


def test_rows_after_the_checkpoint_are_dropped_and_new_ones_appended(tmp_path):
    path = tmp_path / "progress.csv"
    write_rows(path, [row(10, note='a "quoted", word', loss=0.1), row(20), row(30, loss=1e-300), row(40)])
    before = path.read_text().splitlines()
    write_rows(ProgressCSV(path, after=30), [row(40, loss=0.5), row(50, new=7)])
    rows = read_progress(path)
    assert [int(r["time/total_timesteps"]) for r in rows] == [10, 20, 30, 40, 50]
    assert rows[0]["note"] == 'a "quoted", word'
    assert [r["loss"] for r in rows] == ["0.1", "", "1e-300", "0.5", ""]
    assert [r["new"] for r in rows] == ["", "", "", "", "7"]
    assert before[0] == "time/total_timesteps,loss,note"
    assert path.read_text().splitlines()[0] == "time/total_timesteps,loss,new,note"


def test_a_new_run_begins_a_new_file(tmp_path):
    path = tmp_path / "progress.csv"
    write_rows(path, [row(10), row(20)])
    write_rows(ProgressCSV(path, after=0), [row(5)])
    assert [r["time/total_timesteps"] for r in read_progress(path)] == ["5"]


def test_nothing_to_go_on_with(tmp_path):
    write_rows(ProgressCSV(tmp_path / "progress.csv", after=30), [row(40)])
    assert len(read_progress(tmp_path / "progress.csv")) == 1
    (tmp_path / "empty.csv").write_text("")
    write_rows(ProgressCSV(tmp_path / "empty.csv", after=30), [row(40)])
    assert len(read_progress(tmp_path / "empty.csv")) == 1


def test_a_row_cut_by_a_crash(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_text("time/total_timesteps,loss\n10,0.5\n2")
    write_rows(ProgressCSV(path, after=10), [row(20)])
    assert [r["time/total_timesteps"] for r in read_progress(path)] == ["10", "20"]


def test_an_interrupted_run_has_the_log_of_an_uninterrupted_one(tmp_path):
    make(run_dir=tmp_path / "straight").learn(6 * 32)
    agent = make(run_dir=tmp_path / "run", checkpoint_interval=2)
    with pytest.raises(Interrupted):
        agent.learn(6 * 32, callback=interrupt_at(4 * 32 - 4))  # three windows are in the log, two in the checkpoint
    assert len(read_progress(tmp_path / "run" / "progress.csv")) == 3
    agent = RecurrentPPO.resume(tmp_path / "run", tmaze(), device="cpu")
    agent.learn(agent.remaining_timesteps, reset_num_timesteps=False)
    logs = []
    for name in ("straight", "run"):
        with open(tmp_path / name / "progress.csv", newline="") as file:
            logs.append([{k: v for k, v in r.items() if k not in CLOCKED} for r in csv.DictReader(file)])
    assert logs[0] == logs[1]
    assert [int(r["time/total_timesteps"]) for r in logs[1]] == [32 * k for k in range(1, 7)]
    assert [int(r["time/iterations"]) for r in logs[1]] == [1, 2, 3, 4, 5, 6]
    assert {"train/value_loss", "train/policy_gradient_loss", "rollout/ep_rew_mean"} <= logs[1][-1].keys()


def test_tensorboard_events_are_written(tmp_path):
    make(run_dir=tmp_path / "run").learn(32)
    assert list((tmp_path / "run" / "tb").glob("events.out.tfevents.*"))
    make(tensorboard_log=str(tmp_path / "logs")).learn(32, tb_log_name="mine")
    both = make(run_dir=tmp_path / "both", tensorboard_log=str(tmp_path / "nowhere")).learn(32)
    assert not (tmp_path / "nowhere").exists() and any((tmp_path / "both" / "tb").iterdir())
    assert both.tensorboard_log == str(tmp_path / "nowhere")
    assert list((tmp_path / "logs" / "mine_1").glob("events.out.tfevents.*"))


def test_a_table_if_asked(tmp_path, capsys):
    make(verbose=1, run_dir=tmp_path).learn(32)
    shown = capsys.readouterr().out
    assert "ep_rew_mean" in shown
    assert "total_timesteps" in shown
    make(run_dir=tmp_path / "quiet").learn(32)
    make().learn(32)
    assert capsys.readouterr().out == ""


def test_the_progress_bar(capsys):
    make(n_steps=16).learn(128, progress_bar=True)
    shown = capsys.readouterr().err
    assert "128/128" in shown
    assert "return=" in shown
    assert "success=" in shown


def test_columns_stand_by_their_groups_with_the_steps_first(tmp_path):
    path = tmp_path / "progress.csv"
    write_rows(path, [row(10, **{"time/fps": 3, "train/loss": 1, "rollout/success_rate": 0.5, "mine/x": 2})])
    names = ["time/total_timesteps", "rollout/success_rate", "train/loss", "time/fps", "mine/x"]
    assert path.read_text().splitlines()[0].split(",") == names


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "progress.csv"
    write_rows(path, [row(10, loss=1), row(20, loss=2)])
    before = path.read_bytes()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memagents.runs.progress.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        ProgressCSV(path, after=10)
    assert path.read_bytes() == before
