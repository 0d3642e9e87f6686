"""Search for hyperparameters: what is drawn, what is ended early, and what a kill leaves."""

import json
import math

import pytest

from memagents import CheckpointError
from memagents.command_line import tune
from memagents.experiments import evaluation_file, tuning
from memagents.experiments.configuration import command_line
from memagents.experiments.jobs import DONE, FAILED, Job
from memagents.experiments.options import as_words
from memagents.experiments.settings import PPOSettings
from memagents.experiments.tuning import (
    DEFAULT_SPACE,
    STUDY_FILE,
    TuningSettings,
    best,
    claim,
    failures,
    search,
    suggest,
)

optuna = pytest.importorskip("optuna")
TMAZE = {"env": "memenvs/TMaze-v0", "env_kwargs": {"length": 3}}


def test_what_is_drawn():
    space = {**DEFAULT_SPACE, "n_steps": [8, 256], "hidden": [16, 32], "schedule": ["linear", "constant"]}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), space) for _ in range(200)]
    rates = [math.log10(one["learning_rate"]) for one in drawn]
    assert (-4 <= min(rates) < -3.8) and (-2.7 < max(rates) <= math.log10(3e-3))
    assert sum(rate < -3.26 for rate in rates) == pytest.approx(100, abs=30)  # the middle of the logarithms
    assert {one["gamma"] for one in drawn} == set(DEFAULT_SPACE["gamma"])
    assert all(isinstance(one["n_steps"], int) and 8 <= one["n_steps"] <= 256 for one in drawn)
    assert {one["schedule"] for one in drawn} == {"linear", "constant"}
    assert 20 < sum(one["hidden"] for one in drawn) / 200 < 28


def test_choices_of_every_kind_are_drawn_and_said_as_options():
    space = {"core_kwargs": [{"hidden_size": 8}, {"hidden_size": 16}], "normalize_advantage": [True, False]}
    space |= {"condition_on": [["action"], ["action", "reward"]], "target_kl": [None, 0.1], "ent_coef": [0, 1]}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), space) for _ in range(20)]
    assert all(one["core_kwargs"] in space["core_kwargs"] for one in drawn)
    assert all(0 < one["ent_coef"] < 1 for one in drawn)  # of a setting that is no integer
    seen = set()
    for one in drawn:
        words = [word for name, value in one.items() for word in as_words(name, value)]
        read = command_line(PPOSettings, words)
        assert {name: list(v) if isinstance(v := getattr(read, name), tuple) else v for name in one} == one
        seen.add(read.normalize_advantage)
    assert seen == {True, False}


def test_what_is_set_is_not_searched():
    settings = TuningSettings(**TMAZE, words=("--gamma", "0.9", "--n-epochs=2"))
    assert list(settings.searched) == ["learning_rate", "ent_coef", "gae_lambda"]


def test_a_folder_is_of_one_search(tmp_path):
    claim(TuningSettings(**TMAZE, folder=tmp_path / "here"))
    claim(TuningSettings(**TMAZE, folder=tmp_path / "here", trials=99, processes=1))  # goes on with it
    with pytest.raises(ValueError, match=r"holds a search with other settings \(core: lstm, not gru\)"):
        claim(TuningSettings(**TMAZE, folder=tmp_path / "here", core="gru"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="is not empty and holds no search"):
        claim(TuningSettings(**TMAZE, folder=tmp_path / "other"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"trials": 0}, "trials must be a positive integer"),
        ({"space": {"gamma": 0.9}}, "space: gamma must be .*, not 0.9"),
        ({"space": {"gamma": [0.9, 0.5]}}, r"space: gamma must be \[low,high\] or a list of choices"),
        ({"space": {"gamma": [0.9]}}, "space: gamma must be"),
        ({"space": {"seed": [1, 2]}}, "space: seed is set by tune itself"),
        ({"space": {"gamma": [0.9, 0.99]}, "words": ("--gamma", "0.9")}, "space: gamma is also set after --"),
        ({"words": tuple(f"--{name}=1" for name in DEFAULT_SPACE)}, "space: all that is searched by default is set"),
        ({"words": ("--core", "gru")}, "--core after -- is set by tune itself: give --core before the --"),
    ],
)
def test_settings_that_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TuningSettings(**TMAZE, **wrong)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "memenvs/TMaz-v0"], "TMaze"),
        (["--env", TMAZE["env"], "--core", "gro"], "there is no core 'gro'"),
        (["--env", TMAZE["env"], "--space", "gama=[0.9,0.99]"], "gama"),
        (["--env", TMAZE["env"], "--space", "gamma=[0.9,0.99,1.5]"], "gamma must be a number in [0, 1], not 1.5"),
        (["--env", TMAZE["env"], "--space", "learning_rate=[0.1,.inf]"], "learning_rate must be a finite number"),
        (["--env", TMAZE["env"], "--space", "n_minibatches=[1,99]"], "n_minibatches must be at most the number of"),
    ],
)
def test_mistakes_are_found_before_anything_is_made(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        tune.main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class Pretended:
    """A pool whose jobs are done at once, with a score that is best at a discount of 0.99."""

    stop_after = math.inf

    def __init__(self, processes):
        self.running, self.begun = [], 0

    @property
    def has_room(self):
        return not self.running

    def start(self, job):
        self.running.append(job)
        self.begun += 1
        if self.begun > self.stop_after:
            raise KeyboardInterrupt

    def wait(self):
        (job,) = self.running
        self.running = []
        gamma = next(float(word.split("=")[1]) for word in job.words if word.startswith("--gamma="))
        job.status, job.reason = (FAILED, "error: no luck") if gamma < 0.5 else (DONE, "")
        if job.status == DONE:
            job.folder.mkdir(parents=True)
            score = {"success": {"mean": 1 - abs(gamma - 0.99)}, "returns": {"mean": 0}}
            (job.folder / "evaluation.json").write_text(json.dumps({"scores": {"agent, sampled": score}}))
        return [job]

    def stop(self, *_):
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def pretend(monkeypatch, stop_after=math.inf):
    pool = type("Pool", (Pretended,), {"stop_after": stop_after})
    monkeypatch.setattr(tuning, "pool_of", lambda processes, ray: pool(processes))


def test_it_finds_what_is_best(tmp_path, monkeypatch):
    pretend(monkeypatch)
    settings = TuningSettings(**TMAZE, trials=25, space={"gamma": [0.0, 1.0]}, folder=tmp_path)
    study = search(settings)
    states = [trial.state.name for trial in study.trials]
    assert len(states) == 25
    assert {"COMPLETE", "FAIL"} == set(states)
    assert set(failures(study).values()) == {"error: no luck"}
    score, chosen = best(study)
    assert score == pytest.approx(1 - abs(chosen["gamma"] - 0.99))
    assert score > 0.95


def test_a_damaged_study_is_named(tmp_path):
    (tmp_path / "study.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(CheckpointError, match=r"study\.db is no study of Optuna's that can be used: .*not a database"):
        search(TuningSettings(**TMAZE, folder=tmp_path))
    assert (tmp_path / "study.db").read_bytes() == b"no database at all" * 99


def test_a_score_that_is_no_number(tmp_path, monkeypatch):
    pretend(monkeypatch)
    monkeypatch.setattr(evaluation_file, "read_json", lambda _: {"scores": {"agent, sampled": NO_NUMBER}})
    study = search(TuningSettings(**TMAZE, trials=2, space={"gamma": [0.6, 1.0]}, folder=tmp_path))
    assert best(study) is None
    assert set(failures(study).values()) == {"its return in the evaluation is not a finite number"}


NO_NUMBER = {"success": None, "returns": {"mean": None}}


def test_a_search_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    """Trials that were running are begun again with the values they had, and no others are lost or added."""
    settings = TuningSettings(**TMAZE, trials=6, space={"gamma": [0.6, 1.0]}, folder=tmp_path)
    pretend(monkeypatch, stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        search(settings)
    storage = f"sqlite:///{tmp_path / STUDY_FILE}"
    before = optuna.load_study(study_name=tuning.STUDY_NAME, storage=storage).trials
    assert [trial.state.name for trial in before] == ["COMPLETE"] * 3 + ["RUNNING"]
    pretend(monkeypatch)
    after = search(settings).trials
    assert [trial.state.name for trial in after] == ["COMPLETE"] * 6
    assert [trial.params for trial in after[:4]] == [trial.params for trial in before]
    assert len({trial.params["gamma"] for trial in after}) == 6


def test_how_a_trial_does_is_reported_from_its_log(tmp_path):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.3))
    trial, job = study.ask(), Job(tmp_path, [])
    assert not tuning._report(trial, job, 1000)
    head = "time/total_timesteps,rollout/success_rate,rollout/ep_rew_mean"
    (tmp_path / "progress.csv").write_text(f"{head}\n100,0.2,1\n200,0.6,1\n")
    assert not tuning._report(trial, job, 1000)
    assert study.trials[0].intermediate_values == {4: pytest.approx(0.4)}
    (tmp_path / "progress.csv").write_text(f"{head}\n300,0.1,1\n500,0.1,1\n")
    assert tuning._report(trial, job, 1000)
    (tmp_path / "progress.csv").write_text("time/total_timesteps,rollout/ep_rew_mean\n900,7\n")
    tuning._report(trial, job, 1000)
    assert study.trials[0].intermediate_values[18] == 7


def test_the_whole_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = ["--env", TMAZE["env"], "--env-kwargs", "length=3", "--trials", "1", "--total-timesteps", "64"]
    tune.main([*own, "--episodes", "8", "--", "--n-envs", "4", "--n-steps", "8"])
    told = capsys.readouterr().out
    assert "best of the finished trials" in told
    assert "--learning-rate=0.00" in told
    assert (tmp_path / "runs" / "tune-TMaze-v0-lstm" / "trial-0" / "evaluation.json").is_file()
