"""The tables by ability: a sweep with the first seed, its best rate with the others, nothing made twice."""

import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from memagents.experiments.run import Run
from memagents.runs.files import read_json
from tests.support.scripts import names_in

TABLE = "before\n<!-- table abilities -->\n<!-- end of abilities -->\nafter\n"

SCRIPT = names_in("abilities.py")
REPORT, SCORING = (sys.modules[name] for name in ("abilities_report", "scoring"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return the script as a function, on one tiny ability, in a folder of its own."""
    tiny = SCRIPT["Ability"](
        "a short corridor",
        "tmaze",
        {"env_kwargs": {"length": 2}, "lessons": (), "n_envs": 8, "n_steps": 8, "total_timesteps": 384},
        18,
        {"2 steps": {}, "3 steps": {"length": 3}},
        episodes=20,
    )
    monkeypatch.setitem(SCRIPT["main"].__globals__, "ABILITIES", {"tiny": tiny})
    monkeypatch.setattr(REPORT, "ABILITIES", {"tiny": tiny})
    monkeypatch.setitem(SCRIPT["main"].__globals__, "WEIGHTS", 2000)
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("docs/results.md").write_text(TABLE)
    return lambda **changes: SCRIPT["main"](SCRIPT["AbilitiesSettings"](**changes))


def test_a_sweep_and_the_seeds_after_it(run, monkeypatch):
    run(cores=("gru",), seeds=(0,))
    folder = Path("runs/abilities/tiny/gru")
    assert sorted(path.parent.name + " " + path.name for path in folder.glob("*/*")) == [
        f"{rate} 0" for rate in SCRIPT["RATES"]
    ]
    assert [path.name for path in Path("runs").iterdir()] == ["abilities"], "sizes are found without run folders"
    swept = {rate: read_json(folder / rate / "0" / "result.json") for rate in SCRIPT["RATES"]}
    assert all(abs(result["weights"] / 2000 - 1) < 0.1 for result in swept.values())
    best = max(swept, key=lambda rate: swept[rate]["choice"])
    again = [
        SCRIPT["mean_score"](Run.open(folder / best / "0"), test, 20, seed=SCRIPT["CHOICE_SEED"])
        for test in ({}, {"length": 3})
    ]
    assert swept[best]["choice"] == sum(again) / 2, "of both tests, in episodes that no table shows"
    run(cores=("gru",), seeds=(0, 1))
    assert sorted(path.name for path in folder.glob("*/1")) == ["1"]
    second = read_json(folder / best / "1" / "result.json")
    text = Path("docs/results.md").read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    first = swept[best]["scores"]
    for test in ("2 steps", "3 steps"):
        mean = (first[test] + second["scores"][test]) / 2
        assert f"{mean:.2f} ({first[test]:.2f}, {second['scores'][test]:.2f})" in text
    assert f"({best})" in text

    shutil.rmtree("runs")  # another machine, where the record is all there is
    monkeypatch.setitem(SCRIPT["main"].__globals__, "train", None)
    run(cores=("gru",), seeds=(0, 1))
    assert Path("docs/results.md").read_text() == text


def test_seeds_wait_for_the_sweep(run, capsys):
    run(cores=("gru",), seeds=(1,))
    assert "tiny, gru: seed 1 waits for the sweep of seed 0" in capsys.readouterr().out
    assert not Path("runs").exists()
    assert "gru" not in Path("docs/results.md").read_text()


def test_a_name_that_is_none(run, capsys):
    with pytest.raises(ValueError, match=r"tidy.* tiny"):
        run(only=("tidy",))


def test_agents_are_kept_when_their_time_is_up(run, monkeypatch):
    """By a clock that gives a window of 64 steps five seconds, and hours to the two in which functions are compiled."""
    clock = iter([0.0, 7200.0, *(7200.0 + 5 * window for window in range(1, 100))] * 3)
    monkeypatch.setattr(SCORING.time, "process_time", lambda: next(clock))
    run(cores=("gru",), seeds=(0,))
    for folder in Path("runs/abilities/tiny/gru").glob("*/0"):
        assert Run.open(folder).description["num_timesteps"] == 384
        assert Run.open(folder / "early").description["num_timesteps"] == 256  # 15 seconds at the look before
        assert read_json(folder / "result.json")["early"].keys() == {"2 steps", "3 steps"}


def results(scores, early=None, minutes=1.0):
    """Return the results of seeds with one learning rate, the best of the sweep."""
    given = early or scores
    runs = {
        str(seed): {"minutes": minutes, "choice": 1.0, "scores": {"2 steps": score}, "early": {"2 steps": given[seed]}}
        for seed, score in enumerate(scores)
    }
    return {"0.001": runs} | {rate: {"0": runs["0"] | {"choice": 0.0}} for rate in ("0.0003", "0.003")}


@pytest.fixture
def report(monkeypatch):
    """Return a report of two abilities: chance is right in a quarter of one, the oracle in 0.9 of the other."""
    ability = SCRIPT["Ability"]("a corridor", "tmaze", {}, 18, {"2 steps": {}})
    monkeypatch.setattr(REPORT, "ABILITIES", {"near": ability, "far": ability})
    lstm, none = [0.4, 0.5, 0.6, 0.7, 0.8], [0.1] * 5
    found = {
        "near": {"lstm": results(lstm, early=[0.3] * 5), "none": results(none), "gru": results([0.5])},
        "far": {"lstm": results(lstm), "none": results(none)},
    }
    bounds = {
        name: {"random agent": {"2 steps": chance}, "oracle": {"2 steps": best}}
        for name, chance, best in (("near", 0.25, 1.0), ("far", 0.05, 0.9))
    }
    return REPORT.Report(found, bounds, SCRIPT["RATES"])


def test_scores_lie_between_what_needs_no_memory_and_the_oracle(report):
    assert report.normalized("lstm", "near", "2 steps") == pytest.approx([0.2, 1 / 3, 7 / 15, 0.6, 11 / 15])
    assert report.normalized("lstm", "far", "2 steps") == pytest.approx([0.375, 0.5, 0.625, 0.75, 0.875])
    assert report.normalized("none", "far", "2 steps") == pytest.approx([0.0] * 5)
    # Of ten the two least and the two greatest are left out: 0.2, 1/3, and 0.75, 0.875.
    middle = sum([7 / 15, 0.6, 11 / 15, 0.375, 0.5, 0.625]) / 6
    assert report.overall("lstm").startswith(f"{middle:.2f} (")
    assert report.overall("gru") == "", "one ability has not been tried"


def test_the_tables_show_bounds_and_equal_time(report):
    lines = report.tables()
    assert any(line.startswith("| random agent | 0.25") for line in lines)
    assert any(line.startswith("| oracle       | 1.00") for line in lines)
    ours = [line for line in lines if line.startswith("| `lstm`")]
    assert "0.60 (0.40 to 0.80)" in ours[0] and "0.30 (0.30 to 0.30)" in ours[1] and "1.0 (0.001)" in ours[2]
    assert any("near: 2 steps, 18 s" in line for line in lines)


def test_the_picture_has_a_row_for_each_memory(report, tmp_path):
    report.draw(tmp_path / "results.png")
    with Image.open(tmp_path / "results.png") as picture:
        assert min(picture.size) > 200
