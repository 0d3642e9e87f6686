"""Comparison of memories: what is trained, what is kept, and what is said of it."""

import io
import json
import os
import re
import signal
import sys

import numpy as np
import pytest
from rich.console import Console

from memagents import CheckpointError, Imitation, core_names, make_core
from memagents.command_line import compare
from memagents.experiments.comparison import RESULTS_FILE, ComparisonSettings, Trial, claim, trials
from memagents.experiments.comparison_report import draw_comparison, failures, print_results, results_markdown, seeds
from memagents.experiments.comparison_results import results
from memagents.experiments.jobs import DONE, FAILED, WAITING, Job, Pool, only_one, run_jobs
from memagents.experiments.run import Run
from memagents.experiments.sizing import KNOBS, sized
from tests.cores.support import SMALL

TMAZE = {"env": "memenvs/TMaze-v0", "env_kwargs": {"length": 3}}
FEW = ("--n-envs", "4", "--n-steps", "8", "--checkpoint-interval", "1")


# --- results of trainings that are made up ----------------------------------------------------------------------------


def finished(folder, likely, sampled, end):
    """A job whose run ended with these scores, and with this success at the end of its training."""
    folder.mkdir(parents=True)
    score = {
        name: {"success": {"mean": value}, "returns": {"mean": 10 * value}}
        for name, value in (("agent", likely), ("agent, sampled", sampled))
    }
    (folder / "evaluation.json").write_text(json.dumps({"scores": score}))
    rows = [f"{step},{success},1000,{step / 1000}" for step, success in [(k, 0.0) for k in range(1, 10)] + [(10, end)]]
    head = "time/total_timesteps,rollout/success_rate,time/fps,time/time_elapsed"
    (folder / "progress.csv").write_text("\n".join([head, *rows]) + "\n")
    return Job(folder, [])


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Two cores, the first with two learning rates, five seeds each; one training failed."""
    monkeypatch.setattr("memagents.experiments.comparison_results._size", lambda _: 7)
    drawn = np.random.default_rng(0)
    best, other = 0.8 + 0.1 * drawn.random(5), 0.5 + 0.1 * drawn.random(5)
    high = [finished(tmp_path / f"lstm-0.01/seed-{k}", best[k], best[k] - 0.1, 0.9) for k in range(5)]
    low = [finished(tmp_path / f"lstm-0.1/seed-{k}", 0.95, 0.9, 0.2) for k in range(5)]  # lucky, but not in training
    gru = [finished(tmp_path / f"gru/seed-{k}", other[k], other[k], 0.5) for k in range(5)]
    failed = Job(tmp_path / "gru/seed-5", [])
    failed.status, failed.reason = FAILED, "error: no luck"
    return [Trial("lstm", 0.01, high), Trial("lstm", 0.1, low), Trial("gru", 0.01, [*gru, failed])], best, other


def test_results(made_up):
    given, best, _ = made_up
    comparison = results(given)
    lstm, lucky, gru = comparison.rows
    assert comparison.measure == "success"
    assert [row.chosen for row in comparison.rows] == [True, False, True]  # by the training, not by the evaluation
    assert lstm.likely == best.tolist()
    assert lstm.mean.mean == pytest.approx(best.mean())
    assert lstm.mean.low < best.mean() < lstm.mean.high
    assert lstm.interquartile.mean == pytest.approx(np.sort(best)[1:4].mean())
    assert (lstm.improvement, lucky.improvement) == (None, None)
    assert gru.improvement == (0, 0, 0)  # none of its runs beats one of the first core's
    assert gru.failed == {5: "error: no luck"}
    assert (gru.steps_per_second, gru.seconds, gru.parameters) == (1000, 0.01, 7)
    assert comparison.chosen() == [lstm, gru]


def test_what_is_shown(made_up, tmp_path):
    given, best, _ = made_up
    comparison = results(given)
    text = results_markdown(comparison)
    assert f"{best.mean():.3f} (" in text
    assert "0.01 (best)" in text
    assert "gru, learning rate 0.01, seed 5 failed: error: no luck" in text
    assert failures(comparison) == [seeds(comparison)[-1]]
    assert text.endswith("no luck\n")
    whole, narrow = shown(comparison, False), shown(comparison, True)
    assert "minutes" in whole  # a file has room for all of it
    assert "minutes" not in narrow
    for text in (whole, narrow):
        assert "…" not in text
        assert f"{best.mean():.3f}" in text
        assert text.count("lstm") == 3
    draw_comparison(comparison, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def shown(comparison, terminal):
    file = io.StringIO()
    print_results(comparison, Console(file=file, width=70, force_terminal=terminal, color_system=None))
    return file.getvalue()


def test_trainings_that_saw_no_end_of_an_episode(tmp_path, monkeypatch):
    """The learning rate is chosen by the evaluations then, and the numbers are as JSON has them."""
    monkeypatch.setattr("memagents.experiments.comparison_results._size", lambda _: 7)
    given = []
    for rate, score in ((0.01, 0.2), (0.1, 0.9)):
        job = finished(tmp_path / f"lstm-{rate}/seed-0", score, score, 0.0)
        (job.folder / "progress.csv").write_text("time/total_timesteps,time/fps,time/time_elapsed\n10,1000,0.01\n")
        given.append(Trial("lstm", rate, [job]))
    comparison = results(given)
    assert [row.chosen for row in comparison.rows] == [False, True]
    told = json.dumps(comparison.to_json(ComparisonSettings(**TMAZE)), allow_nan=False)
    assert json.loads(told)["rows"][0]["at_the_end"] == [None]


def changed(job, change):
    """The job with other scores."""
    file = job.folder / "evaluation.json"
    told = json.loads(file.read_text())
    change(told["scores"])
    file.write_text(json.dumps(told))


def test_success_that_not_every_run_knows(made_up):
    """As where an environment names it in the info of a success alone: all are compared by their returns."""
    given, best, _ = made_up
    changed(given[2].jobs[3], lambda scores: scores["agent, sampled"].update(success=None))
    comparison = results(given)
    assert comparison.measure == "return"
    assert comparison.rows[0].likely == pytest.approx(10 * best)


def test_scores_that_are_no_numbers(made_up):
    """The seed has failed, and says so; the others are compared."""
    given, best, _ = made_up
    changed(given[0].jobs[1], lambda scores: scores["agent"]["success"].update(mean=None))
    comparison = results(given)
    assert comparison.rows[0].seeds == [0, 2, 3, 4]
    assert comparison.rows[0].likely == np.delete(best, 1).tolist()
    assert "lstm, learning rate 0.01, seed 1 failed: its success in the evaluation is not a finite" in "\n".join(
        failures(comparison)
    )


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("evaluation.json", "{}", "evaluation.json must hold the mean scores of 'agent' and of 'agent, sampled'"),
        ("evaluation.json", '{"scores": {"agent', "evaluation.json is no readable JSON file"),
        ("progress.csv", "", "progress.csv must hold the log of a finished training, and holds none"),
        ("progress.csv", "time/total_timesteps,time/fps\n1,x\n", "progress.csv: time/fps must be a number, not 'x'"),
    ],
)
def test_a_damaged_file_of_a_finished_training_is_named(file, text, message, made_up):
    given, *_ = made_up
    (given[0].jobs[0].folder / file).write_text(text)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        results(given)


def test_few_seeds_have_no_interval(made_up):
    given, best, _ = made_up
    comparison = results([trial._replace(jobs=trial.jobs[:2]) for trial in given])
    assert all(row.mean is row.interquartile is row.improvement is None for row in comparison.rows)
    assert f"{best[:2].mean():.3f} (2 seeds)" in results_markdown(comparison)
    assert " to " not in results_markdown(comparison)
    assert "; 5 seeds would have intervals" in results_markdown(comparison)
    assert "intervals (95%) are over seeds" in results_markdown(results(given))
    alone = results([Trial("lstm", 0.01, given[0].jobs[:1])])
    assert f"{best[0]:.3f} (1 seed)" in results_markdown(alone)


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in core_names() if name in SMALL and name != "stack"])
def test_memories_of_equal_size(name):
    def weights(kwargs):
        return sum(p.numel() for p in make_core(name, 12, **kwargs).parameters())

    found = sized(name, {}, 40_000, weights)
    assert abs(weights(found) / 40_000 - 1) < 0.15  # widths in steps of the heads are coarse
    (knob,) = found
    assert knob in KNOBS
    near = [{knob: found[knob] + step} for step in (-1, 1)]
    if name in ("lstm", "gru", "dnc", "none"):  # those of others go by heads
        assert all(abs(weights(k) - 40_000) >= abs(weights(found) - 40_000) for k in near)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"cores": "gru", "cores_kwargs": {"hidden_size": 3}},
        {"cores": ["lstm", "dnc"], "periods": [1, 4], "cores_kwargs": {}},
        {"cores": ["gru", "dnc"], "periods": [1, 4], "cores_kwargs": [{}, {"slots": 8}]},
        {"cores": "gru", "periods": [1, 4], "cores_kwargs": [{}, {}]},
    ],
)
def test_a_stack_is_sized_by_the_cores_within(given):
    def weights(kwargs):
        return sum(p.numel() for p in make_core("stack", 12, **kwargs).parameters())

    found = sized("stack", given, 40_000, weights)
    assert abs(weights(found) / 40_000 - 1) < 0.03
    assert {**found, "cores_kwargs": None} == {**given, "cores_kwargs": None}
    within = found["cores_kwargs"]
    for kwargs in within if isinstance(within, list) else [within]:
        assert set(KNOBS) & kwargs.keys()


@pytest.mark.parametrize("given", [{"cores": ["lstm", "gru"], "cores_kwargs": [{}]}, {"cores": 5, "cores_kwargs": {}}])
def test_a_stack_of_other_parameters_than_cores(given):
    with pytest.raises(ValueError, match="cores_kwargs must be parameters for all cores or for each of"):
        sized("stack", given, 40_000, lambda kwargs: 1)


def test_what_cannot_be_sized():
    def weights(kwargs):
        return 10**6 + kwargs["hidden_size"]

    with pytest.raises(ValueError, match="with the core 'lstm' an agent has 1,000,001 weights at least"):
        sized("lstm", {}, 1000, weights)
    with pytest.raises(ValueError, match="with the core 'lstm' an agent has 1,016,384 weights at most"):
        sized("lstm", {}, 10**7, weights)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_of_one_comparison(tmp_path):
    settings = ComparisonSettings(**TMAZE, folder=tmp_path / "here", seeds=2)
    claim(settings)
    claim(ComparisonSettings(**TMAZE, folder=tmp_path / "here", seeds=2, processes=7))  # goes on with it
    with pytest.raises(
        ValueError, match=r"holds a comparison with other settings \(seeds: 2, not 3\); choose another --folder"
    ):
        claim(ComparisonSettings(**TMAZE, folder=tmp_path / "here", seeds=3))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="is not empty and holds no comparison"):
        claim(ComparisonSettings(**TMAZE, folder=tmp_path / "other"))


@pytest.mark.parametrize("text", ['{"seeds": ', "[]"])
def test_folders_that_cannot_be_used(text, tmp_path):
    """The message names the file or the folder."""
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(ValueError, match=r"comparison\.json (is no readable JSON|does not hold the settings)"):
        claim(ComparisonSettings(**TMAZE, folder=tmp_path))
    with pytest.raises(ValueError, match=r"folder .*comparison\.json cannot be made: File exists"):
        claim(ComparisonSettings(**TMAZE, folder=tmp_path / "comparison.json"))


def test_folders_of_rates_that_are_nearly_the_same(tmp_path):
    settings = ComparisonSettings(**TMAZE, cores=("gru",), learning_rates=(1e-3, 1e-3 + 1e-10), folder=tmp_path)
    first, second = trials(settings, {"gru": {}})
    assert first.jobs[0].folder != second.jobs[0].folder


def test_two_at_once(tmp_path):
    with only_one(tmp_path), pytest.raises(ValueError, match="trainings are still running in"), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seeds": 0}, "seeds must be a positive integer"),
        ({"cores": ()}, "cores must be one or more, each once, not none"),
        ({"cores": ("gru", "gru")}, "cores must be one or more, each once, not gru gru"),
        ({"learning_rates": (-1.0,)}, "learning_rates must be a finite number above 0"),
        ({"learning_rates": (0.0,)}, "learning_rates must be a finite number above 0"),
        ({"learning_rates": (float("inf"),)}, "learning_rates must be a finite number above 0"),
        ({"parameters": 0}, "parameters must be a positive integer"),
        ({"parameters": 10**12}, "parameters must be at most 100,000,000, not 1,000,000,000,000"),
    ],
)
def test_settings_that_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ComparisonSettings(**TMAZE, **wrong)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "memenvs/TMaz-v0"], "TMaze"),
        (["--env", "memenvs/TMaze-v0", "--cores", "lstm", "gro"], "there is no core 'gro'"),
        (["--env", "memenvs/TMaze-v0", "--env-kwargs", "length=0"], "length"),
        (["--env", "memenvs/TMaze-v0", "--", "--gamma", "2"], "gamma must be a number in"),
        (["--env", "memenvs/TMaze-v0", "--", "--core", "dnc"], "--core after -- is set by compare itself: give"),
        (["--env", "memenvs/TMaze-v0", "--", "--seed=3"], "--seed after -- is set by compare itself: give --seeds"),
        (["--env", "memenvs/TMaze-v0", "--", "--resume", "x"], "--resume after -- is set by compare itself"),
        (["--env", "memenvs/TMaze-v0", "--", "--n-envs", "0"], "n_envs must be a positive integer"),
        (["--env", "memenvs/TMaze-v0", "--", "--n-minibatches", "65"], "n_minibatches must be at most the number of"),
        (["--env", "memenvs/TMaze-v0", "--", "--device", "cuda:77"], "device is 'cuda:77', but torch finds"),
        (["--env", "memenvs/TMaze-v0", "--", "--init-from", "nowhere"], "there is no run folder nowhere"),
        (["--env", "memenvs/TMaze-v0", "--cores", "none", "--parameters", "9000000"], "weights at most"),
        (["--env", "CartPole-v1", "--algorithm", "imitate"], "env CartPole-v1 has no oracle to imitate"),
    ],
)
def test_mistakes_are_found_before_anything_is_made(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        compare.main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- trainings --------------------------------------------------------------------------------------------------------


def test_by_imitation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ["--seeds", "1", "--learning-rates", "1e-2", "--total-timesteps", "64", "--episodes", "8"]
    task = ["--env", TMAZE["env"], "--env-kwargs", "length=2", "--cores", "gru", "--folder", "here"]
    compare.main([*task, *sizes, "--algorithm", "imitate", "--", *FEW, "--oracle-share", "0.5"])
    (run,) = (tmp_path / "here").glob("gru/seed-0")
    assert Run.open(run).algorithm is Imitation
    assert json.loads((tmp_path / "here" / RESULTS_FILE).read_text())["rows"][0]["failed"] == {}
    with pytest.raises(SystemExit):
        compare.main([*task, *sizes])
    assert "holds a comparison with other settings" in capsys.readouterr().err


def test_a_core_that_fails_leaves_the_others_alone(tmp_path, monkeypatch, capsys):
    """Through the command: a core of one's own breaks while it learns, the other finishes; the row says why."""
    (tmp_path / "fragile.py").write_text(
        "from memagents import register_core\n"
        "from memagents.cores.gru import GRU\n\n"
        "@register_core('fragile')\n"
        "class Fragile(GRU):\n"
        "    def recur(self, x, state, starts, trace=False):\n"
        "        if len(x) > 1:\n"
        "            raise ValueError('fragile: it broke')\n"
        "        return super().recur(x, state, starts, trace)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own = [
        "--env",
        TMAZE["env"],
        "--env-kwargs",
        "length=3",
        "--cores",
        "gru",
        "fragile:fragile",
        "--imports",
        "fragile",
    ]
    sizes = ["--seeds", "1", "--learning-rates", "1e-3", "--total-timesteps", "64", "--episodes", "8"]
    with pytest.raises(SystemExit) as stop:
        compare.main([*own, *sizes, "--folder", "here", "--", *FEW])
    assert stop.value.code == 1
    told = json.loads((tmp_path / "here" / RESULTS_FILE).read_text())
    gru, fragile = told["rows"]
    assert (len(gru["likely"]), gru["failed"]) == (1, {})
    assert (fragile["likely"], list(fragile["failed"])) == ([], ["0"])
    assert "fragile: it broke" in fragile["failed"]["0"]
    told = capsys.readouterr().out
    assert "seed 0 failed: error: fragile: it broke" in told
    assert "comparison.png and all runs are in here" in told
    sys.modules.pop("fragile", None)


def test_what_a_training_was_killed_by(tmp_path, monkeypatch):
    """Not the last line of its progress bar."""
    monkeypatch.setattr(Job, "command", lambda _: [sys.executable, "-c", KILLED])
    job = Job(tmp_path / "run", [])
    run_jobs([job], Pool(1))
    assert (job.status, job.reason) == (FAILED, "killed by SIGKILL (by the system, for want of memory?)")


KILLED = "import os; print('65%|######', flush=True); os.kill(os.getpid(), 9)"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_request_to_end_is_passed_on(name, tmp_path, monkeypatch):
    """Trainings that nobody waits for any more would go on alone; what was there before is put back."""
    monkeypatch.setattr(Job, "command", lambda _: [sys.executable, "-c", "import time; time.sleep(1000)"])
    job, number = Job(tmp_path / "run", []), getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
            run_jobs([job], Pool(1), lambda: os.kill(os.getpid(), number))
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert job.status == WAITING


def test_what_was_interrupted_goes_on(tmp_path):
    """The training is stopped in its middle, and the same jobs go on from its checkpoint to the end."""
    settings = ComparisonSettings(
        **TMAZE, cores=("gru",), seeds=1, learning_rates=(1e-3,), total_timesteps=6_400, episodes=8, words=FEW,
        folder=tmp_path,
    )  # fmt: skip
    (trial,) = trials(settings, {"gru": {}})
    (job,) = trial.jobs

    def interrupt():
        if job.steps() >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(trial.jobs, Pool(1), interrupt)
    stopped = job.steps()
    assert 64 <= stopped < 6_400
    assert job.status == WAITING
    assert "--resume" in job.command()
    run_jobs(trial.jobs, Pool(1))
    assert (job.status, job.steps()) == (DONE, 6_400)
    steps = [line.split(",")[0] for line in (job.folder / "progress.csv").read_text().splitlines()[1:]]
    assert len(set(steps)) == len(steps) == 6_400 // 32
    again = trials(settings, {"gru": {}})[0].jobs[0]
    assert again.status == DONE
    run_jobs([again], Pool(1), lambda: pytest.fail("there was nothing to do"))
