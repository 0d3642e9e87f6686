"""Trainings on a cluster of Ray: as on one machine, but elsewhere (Ray has a virtual environment of its own)."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from memagents.command_line import compare, tune
from memagents.experiments.cluster import RayPool, pool_of
from memagents.experiments.comparison import RESULTS_FILE, ComparisonSettings, trials
from memagents.experiments.jobs import DONE, FAILED, WAITING, Job, Pool, run_jobs

SHORT = ("--n-envs", "4", "--n-steps", "8", "--checkpoint-interval", "1")
SETTINGS = ("--env", "memenvs/TMaze-v0", "--env-kwargs", "length=3", "--episodes", "8")


def test_without_a_word_of_ray_there_is_none():
    assert type(pool_of(3, None)) is Pool
    assert pool_of(None, None).processes == os.cpu_count()


@pytest.fixture(scope="module")
def ray():
    """Workers find what the tests import."""
    return pytest.importorskip("ray", reason="Ray is not installed: make rllib")


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'memagents\[ray\]'"):
        pool_of(None, "auto")


def test_no_cluster_at_the_address(ray):
    with pytest.raises(ValueError, match="no cluster at 'nowhere'"):
        pool_of(None, "nowhere")


def test_a_comparison_is_the_same_and_goes_on_without_ray(ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*SETTINGS, "--total-timesteps", "64", "--cores", "gru", "lstm", "--learning-rates", "1e-3", "--seeds", "2"]
    compare.main([*words, "--folder", "alone", "--", *SHORT])
    compare.main([*words, "--folder", "cluster", "--ray", "local", "--", *SHORT])
    alone, cluster = (json.loads((tmp_path / folder / RESULTS_FILE).read_text()) for folder in ("alone", "cluster"))
    assert timeless(cluster) == timeless(alone)
    compare.main([*words, "--folder", "cluster", "--", *SHORT])  # nothing is left to do


def timeless(results):
    """Results without what depends on the hour."""
    if isinstance(results, dict):
        kept = {name: timeless(value) for name, value in results.items()}
        return {name: value for name, value in kept.items() if name not in ("steps_per_second", "seconds", "minutes")}
    return [timeless(value) for value in results] if isinstance(results, list) else results


def test_a_search_on_a_cluster(ray, tmp_path, monkeypatch, capsys):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    words = [*SETTINGS, "--total-timesteps", "64", "--trials", "3", "--folder", "search", "--ray", "local"]
    tune.main([*words, "--space", "gamma=[0.9,0.99]", "--", *SHORT])
    assert "gamma" in capsys.readouterr().out
    assert sum((tmp_path / "search" / f"trial-{k}" / "evaluation.json").is_file() for k in range(3)) == 3


def test_a_program_that_is_connected_already_stays_so(ray, tmp_path, monkeypatch):
    """Also where it has gone to another folder since, whose names Ray's processes do not know."""
    ray.init(log_to_driver=False, include_dashboard=False)
    try:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(Job, "command", lambda _: [sys.executable, "-c", "print('here')"])
        job = Job(Path("run"), [])
        run_jobs([job], RayPool(1, "auto"))
        assert (tmp_path / "run.log").read_text() == "here\n"
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_what_was_interrupted_goes_on(ray, tmp_path):
    settings = ComparisonSettings(
        env="memenvs/TMaze-v0", env_kwargs={"length": 3}, cores=("gru",), seeds=2, learning_rates=(1e-3,),
        total_timesteps=6_400, episodes=8, words=SHORT, folder=tmp_path,
    )  # fmt: skip
    (trial,) = trials(settings, {"gru": {}})
    first, second = trial.jobs

    def interrupt():
        if first.steps() >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        run_jobs(trial.jobs, RayPool(1, "local"), interrupt)
    assert (first.status, second.status) == (WAITING, WAITING)
    assert 64 <= first.steps() < 6_400
    assert "--resume" in first.command()
    run_jobs(trial.jobs, RayPool(2, "local"))
    assert [(job.status, job.steps()) for job in trial.jobs] == [(DONE, 6_400)] * 2


def test_a_lost_machine_is_a_failure_with_a_reason(ray, tmp_path, monkeypatch):
    waiting = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
    monkeypatch.setattr(Job, "command", lambda _: [sys.executable, "-c", waiting])
    job, pool = Job(tmp_path / "run", []), RayPool(1, "local")

    def lose():
        process = pool._running[0][1] if pool.running else None
        if process is not None and process._begun and job.log.read_text():
            ray.kill(process._runner)

    run_jobs([job], pool, lose)
    assert job.status == FAILED
    assert job.reason == "the machine or the process of Ray that it ran in was lost"
    number = int(job.log.read_text().split()[0])
    for _ in range(100):
        if not Path(f"/proc/{number}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{number}").exists()  # and nothing goes on alone


def test_what_waits_for_room_is_stopped_too(ray, tmp_path, monkeypatch):
    """More jobs than processors."""
    monkeypatch.setattr(Job, "command", lambda _: [sys.executable, "-c", "import time; time.sleep(1000)"])
    jobs = [Job(tmp_path / f"run-{k}", []) for k in range(20)]
    rounds = iter(range(4))

    def interrupt():
        if next(rounds) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, RayPool(20, "local"), interrupt)
    assert {job.status for job in jobs} == {WAITING}
