"""Runs that differ in their seeds alone are drawn as one."""

import numpy as np
import pytest

from memagents.__main__ import main
from memagents.experiments import seeds
from memagents.experiments.figures import MEASURES
from memagents.experiments.seeds import band_of, draw_bands, draw_scores, groups_of, measures_of
from memagents.runs.files import CheckpointError, write_json


def a_run(folder, slope, steps=(100, 200, 300, 400), config="", returns=None):
    folder.mkdir(parents=True)
    rows = [f"{step},{step / 10},{min(1, slope * step / 400)}" for step in steps]
    heads = "time/total_timesteps,time/time_elapsed,rollout/success_rate"
    if returns is not None:
        heads, rows = f"{heads},rollout/ep_rew_mean", [f"{row},{r}" for row, r in zip(rows, returns, strict=True)]
    (folder / "progress.csv").write_text("\n".join([heads, *rows]) + "\n")
    if config:
        (folder / "config.yaml").write_text(config)
    return folder


def test_runs_of_one_name_are_a_group_and_of_several_settings_are_not(tmp_path):
    runs = [a_run(tmp_path / f"lstm-{seed}", 0.5) for seed in range(2)]
    runs += [a_run(tmp_path / "gru_seed_3", 0.5), a_run(tmp_path / "7", 0.5)]
    assert {name: len(members) for name, members in groups_of(runs).items()} == {"lstm": 2, "gru": 1, "7": 1}
    one, other = (
        a_run(tmp_path / f"dnc-{seed}", 0.5, config=f"algorithm: RecurrentPPO\ncore: {core}\nseed: {seed}\n")
        for seed, core in ((0, "dnc"), (1, "ntm"))
    )
    assert len(groups_of([one, other])) == 2


def test_a_band_goes_from_the_least_to_the_greatest_of_few_seeds_and_is_an_interval_of_many(tmp_path):
    slopes = [0.2, 0.4, 0.9]
    few = band_of([a_run(tmp_path / f"few-{i}", slope) for i, slope in enumerate(slopes)], "rollout/success_rate")
    assert np.isclose(few.mean[-1], 0.5)
    assert np.isclose(few.low[-1], 0.2)
    assert np.isclose(few.high[-1], 0.9)
    assert few.places[0] == 100
    assert few.places[-1] == 400
    many = [a_run(tmp_path / f"many-{i}", slope) for i, slope in enumerate([0.9, 1.0, 1.0, 1.0, 1.0])]
    band = band_of(many, "rollout/success_rate", "minutes")
    assert np.isclose(band.mean[-1], 0.98)
    assert np.isclose(band.low[-1], 0.98 - 2.776445 * 0.02, atol=1e-4)  # Student's t of four degrees of freedom
    assert band.high[-1] == 1
    assert np.isclose(band.places[-1], 40 / 60)
    assert band_of(many, "rollout/ep_rew_mean") is None
    assert measures_of(many)[-1] == "rollout/success_rate"


def test_a_run_that_stopped_early_ends_the_band(tmp_path):
    band = band_of([a_run(tmp_path / "a", 0.5), a_run(tmp_path / "b", 0.5, (100, 200))], "rollout/success_rate")
    assert band.places[-1] == 200


@pytest.mark.parametrize("name", ["plot.png", "plot.svg"])
def test_the_command_draws_both_formats(name, tmp_path, capsys):
    runs = [str(a_run(tmp_path / f"lstm-{seed}", 0.5 + seed / 9)) for seed in range(3)]
    main(["plot", *runs, "--out", str(tmp_path / name)])
    assert capsys.readouterr().out == f"the picture is in {tmp_path / name}\n"
    head = (tmp_path / name).read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if name.endswith("png") else b"svg" in head


@pytest.mark.parametrize(
    ("returns", "panels"),
    [
        ([[0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.6, 0.8000001]], ["success"]),
        ([[0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.6, 0.7]], ["success", "return"]),
        ([[0.1, 0.2, 0.3, 0.4], None], ["success", "return"]),
        ([[0.1, 0.2, 0.3, 0.4], []], ["success"]),
        ([[0.1, 0.2, 0.3, ""], [0.2, 0.4, 0.6, 0.8]], ["success", "return"]),
        ([[0.1, 0.2, 0.3, "nan"], [0.2, 0.4, 0.6, 0.8]], ["success", "return"]),
    ],
)
def test_success_and_return_are_drawn_once_where_they_are_equal_in_all_runs(returns, panels, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(seeds, "write", lambda figure, _: drawn.append(figure))
    steps = (100, 200, 300, 400)
    runs = [
        a_run(tmp_path / f"{i}-x", 0.4 * (i + 1), () if own == [] else steps, returns=own)
        for i, own in enumerate(returns)
    ]
    draw_bands(groups_of(runs), MEASURES, tmp_path / "plot.png")
    axes = drawn[0].axes
    assert [ax.get_ylabel() for ax in axes] == panels
    one = "success and return, which are equal in all runs"
    assert [ax.get_title(loc="left") for ax in axes] == ([one] if len(panels) == 1 else ["", ""])


def test_scores_are_drawn_by_environment_and_group(tmp_path):
    runs = [a_run(tmp_path / f"lstm-{seed}", 0.5) for seed in range(2)]
    with pytest.raises(CheckpointError, match=r"has not been evaluated: it has no evaluation.json"):
        draw_scores(groups_of(runs), tmp_path / "scores.png")
    for run in runs:
        score = {"success": {"mean": 0.5, "low": 0.4, "high": 0.6}, "returns": {"mean": 0.5, "low": 0.4, "high": 0.6}}
        write_json(run / "evaluation.json", {"env": "memenvs/TMaze-v0", "scores": {"agent": score}})
    draw_scores(groups_of(runs), tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "runs must be one folder"),
        (["nowhere"], "there is no run folder nowhere"),
        (["RUN", "RUN"], "is given twice; each counts as a seed"),
        (["RUN", "--measures", "time/fps", "time/fps"], "measures must each be given once, not time/fps time/fps"),
        (["FOLDER"], "in is no run, but a folder of runs"),
        (["RUN", "--out", "a.pdf"], "ends in .png or .svg"),
        (["RUN", "--measures", "health/use"], "no run logged 'health/use'; they logged"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, capsys):
    run = a_run(tmp_path / "in" / "lstm-0", 0.5, config="algorithm: RecurrentPPO\n")
    places = {"RUN": str(run), "FOLDER": str(run.parent)}
    with pytest.raises(SystemExit):
        main(["plot", *(places.get(word, word) for word in words)])
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "runs: nothing has been logged yet by RUN"),
        (b"\xf1\xff\n", "RUN/progress.csv is no readable log"),
        (
            b"time/total_timesteps,rollout/success_rate\n100,abc\n",
            "RUN/progress.csv: rollout/success_rate must be a number, not 'abc'",
        ),
    ],
)
def test_a_log_that_cannot_be_drawn_is_named(text, message, tmp_path, capsys):
    run = a_run(tmp_path / "lstm-0", 0.5)
    (run / "progress.csv").write_bytes(text)
    with pytest.raises(SystemExit):
        main(["plot", str(run), "--out", str(tmp_path / "plot.png")])
    assert capsys.readouterr().err.startswith(f"error: {message.replace('RUN', str(run))}")
    assert not (tmp_path / "plot.png").exists()


def test_what_is_not_finite_in_a_log_leaves_the_rest_of_its_curve(tmp_path):
    run = a_run(tmp_path / "a", 0.4)
    log = run / "progress.csv"
    log.write_text(log.read_text().replace("200,20.0,0.2", "200,20.0,nan"))
    band = band_of([run], "rollout/success_rate")
    assert np.allclose(band.mean[[0, -1]], [0.1, 0.4])


def test_runs_without_a_step_in_common_have_no_band(tmp_path):
    runs = [a_run(tmp_path / "a", 0.5, (100, 200)), a_run(tmp_path / "b", 0.5, (300, 400))]
    with pytest.raises(ValueError, match="logged 'rollout/success_rate' at no steps in common; draw them one by one"):
        band_of(runs, "rollout/success_rate")


@pytest.mark.parametrize(
    "evaluation",
    [
        *([], {"env": "E"}, {"env": "E", "scores": {"agent": [1]}}),
        *({"scores": {"agent": {"success": None, "returns": {"mean": mean}}}} for mean in (None, "0.5")),
    ],
    ids=str,
)
def test_an_evaluation_without_finite_scores_is_named(evaluation, tmp_path):
    run = a_run(tmp_path / "lstm-0", 0.5)
    write_json(run / "evaluation.json", evaluation)
    with pytest.raises(CheckpointError, match=r"evaluation\.json.* scores of 'agent'"):
        draw_scores(groups_of([run]), tmp_path / "scores.png")
