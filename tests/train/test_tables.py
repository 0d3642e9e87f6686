"""The tables of the documents."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memagents.experiments.documents import marks
from memagents.experiments.evaluation import Episodes
from memagents.experiments.run import Run
from memagents.runs.files import read_json, write_json
from tests.support.scripts import names_in

ROOT = Path(__file__).parent.parent.parent
TABLE = "before\n<!-- table small_tmaze -->\nold\n<!-- end of small_tmaze -->\nafter\n"

SCRIPT = names_in("tables.py")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return the script as a function, on a hundredth of the steps, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    return lambda **changes: SCRIPT["main"](
        SCRIPT["TablesSettings"](**{"share": 0.01, "documents": Path("docs"), **changes})
    )


def test_a_table_is_made_of_the_runs_there_are(run):
    document = Path("docs/cores.md")
    document.write_text(TABLE)
    run(only=("small_tmaze",), rows=("none", "gru"), seeds=(0,))
    first = Path("runs/tables/small_tmaze/gru-0/result.json")
    before = first.stat().st_mtime_ns
    run(only=("small_tmaze",), rows=("gru",), seeds=(0, 1))
    assert first.stat().st_mtime_ns == before, "what is finished is not made again"
    results = [read_json(Path(f"runs/tables/small_tmaze/gru-{seed}/result.json")) for seed in (0, 1)]
    first_seed, second_seed = (result["scores"]["success"] for result in results)
    shown = f"{(first_seed + second_seed) / 2:.2f} ({first_seed:.2f}, {second_seed:.2f})"
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["", "", "success", "seeds", "steps", "minutes", "steps/s", ""]
    assert [row[1] for row in rows[2:]] == ["`gru`", "`none`"], "a row without runs is left out"
    assert rows[2][2:5] == [shown, "2", "0.002M"]
    write_json(first, {**results[0], "minutes": 9.0})
    run(only=("",))
    assert text != document.read_text()


def test_a_training_that_was_stopped_goes_on(run, monkeypatch):
    asked = {"only": ("small_tmaze",), "rows": ("gru",), "seeds": (0,), "share": 0.2, "documents": None}

    def halted(agent, settings, curriculum, callbacks):
        agent.learn(settings.total_timesteps, lambda *_: agent.iteration < 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setitem(SCRIPT["trained"].__globals__, "learn", halted)
        with pytest.raises(KeyboardInterrupt):
            run(**asked)
    folder = Path("runs/tables/small_tmaze/gru-0")
    before = (folder / "progress.csv").read_text().splitlines()
    assert len(before) > 1 and not (folder / "result.json").exists()
    run(**asked)
    after, result = (folder / "progress.csv").read_text().splitlines(), read_json(folder / "result.json")
    assert after[: len(before)] == before and len(after) > len(before)
    assert result["steps"] == int(after[-1].split(",")[0]) and result["minutes"] > 0


def test_a_quick_look_is_printed_and_not_taken_for_the_whole(run, capsys):
    document = Path("docs/cores.md")
    document.write_text(TABLE)
    run(only=("small_tmaze",), rows=("none",), seeds=(3,), documents=None)
    assert "| `none` |" in capsys.readouterr().out
    assert document.read_text() == TABLE
    with pytest.raises(ValueError, match="none-3 was trained for 245 steps, not 491: choose another --folder, or the"):
        run(only=("small_tmaze",), rows=("none",), seeds=(3,), share=0.02)
    with pytest.raises(ValueError, match="none-3 was trained for 245 steps, not 24,576"):
        run(only=("small_tmaze",), rows=("none",), seeds=(3,), share=1.0)


@pytest.mark.parametrize(
    ("chance", "shown"), [(0.0, [1.0, 0.5, 0.0]), (0.5, [1.0, 0.5, 0.5]), (0.6, [1.0, 0.5, 0.5]), (None, [1, 0.5, 0])]
)
def test_what_is_no_better_than_chance_is_not_asked_for_more(chance, shown, run, monkeypatch):
    run(only=("small_tmaze",), rows=("none",), seeds=(0,), documents=Path(""))
    score, tests, asked = SCRIPT["score"], {f"{length} steps": {"length": length} for length in (1, 2, 3)}, []

    def evaluate(agent, env, episodes, *rest, **kwargs):
        asked.append(env)
        share = np.full(episodes, 1.5 - 0.5 * len(asked))
        return Episodes(share - 2, share, share, None, {"coins": 3 * share})

    monkeypatch.setitem(score.__globals__["mean_score"].__globals__, "evaluate", evaluate)
    experiment = replace(SCRIPT["experiments"]()["small_tmaze"], tests=tests, chance=chance)
    score(experiment, Path("runs/tables/small_tmaze/none-0"), 100, 1.0)
    scores = read_json(Path("runs/tables/small_tmaze/none-0/result.json"))["scores"]
    assert list(scores.values()) == shown and len(asked) == 3 - (chance in (0.5, 0.6))


def test_a_mistake_in_a_test_is_met_before_the_training(run, monkeypatch):
    experiment = SCRIPT["experiments"]()["small_tmaze"]
    wrong = {"small_tmaze": replace(experiment, tests={**experiment.tests, "far": {"lenth": 9}})}
    monkeypatch.setitem(SCRIPT["main"].__globals__, "experiments", lambda: wrong)
    with pytest.raises(ValueError, match="lenth"):
        run(only=("small_tmaze",), rows=("none",), seeds=(0,))
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", SCRIPT["experiments"]())
def test_the_environments_of_all_tests_can_be_made(name):
    """A test's parameters add to those of the last lesson, which need not go with them."""
    experiment = SCRIPT["experiments"]()[name]
    trainings = [SCRIPT["row_settings"](experiment, row) for row in experiment.rows]
    for chosen in {repr(training.task()): training for training in trainings}.values():
        for test in experiment.tests.values():
            SCRIPT["trained"].__globals__["test_env"](chosen, test).close()


def test_results_outlast_the_run_folders(run):
    document, record = Path("docs/cores.md"), Path("docs/results/small_tmaze.json")
    document.write_text(TABLE)
    run(only=("small_tmaze",), rows=("none", "gru"), seeds=(0,))
    elsewhere = {"steps": 491, "minutes": 2.0, "scores": {"success": 0.25}}
    kept = read_json(record)
    assert kept == {row: {"0": read_json(Path(f"runs/tables/small_tmaze/{row}-0/result.json"))} for row in kept}
    write_json(record, {"gru": {"0": elsewhere, "7": elsewhere}, "lstm": {"0": elsewhere}})
    run(only=("",))
    text = document.read_text()
    mean = np.mean([kept["gru"]["0"]["scores"]["success"], 0.25])
    assert f"| `gru`  | {mean:.2f} (" in text and "| `lstm` | 0.25" in text, (
        "those recorded stand beside those made here"
    )
    assert read_json(record)["gru"] == {**kept["gru"], "7": elsewhere}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"seeds": ()}, "seeds must be one or more"), ({"share": 0}, "share must be"), ({"share": 2}, "share must be")],
)
def test_settings_that_are_refused(wrong, message, run):
    with pytest.raises(ValueError, match=message):
        run(**wrong)


def test_a_table_without_runs_stays(run):
    Path("docs/cores.md").write_text(TABLE)
    run(only=("",))
    assert Path("docs/cores.md").read_text() == TABLE


def test_mistakes_are_named(run):
    with pytest.raises(ValueError, match="there is no 'nonsense'; there are: copy"):
        run(only=("nonsense",))
    result = {"scores": {"success": 1.0}, "steps": 9, "minutes": 1.0}
    write_json(Path("runs/tables/small_tmaze/gru-0/result.json"), result)
    Path("docs/cores.md").write_text("nothing")
    with pytest.raises(ValueError, match="lacks the lines"):
        run(only=("",))
    assert Path("docs/cores.md").read_text() == "nothing"


@pytest.mark.parametrize(
    ("values", "metric", "text"),
    [
        ([0.9, 0.7], "success", "0.80 (0.90, 0.70)"),
        ([1, 1, 1, 1, 0], "success", "0.80 (0.24 to 1.00)"),  # half-width 2.776 × 0.2
        ([0, 0, 0, 0, 5], "wrong_bits", "1.00 (0.00 to 3.78)"),  # half-width 2.776 × 1
        ([20, 30], "wrong_bits", "25.0 (20.0, 30.0)"),
    ],
)
def test_shares_and_counts_stay_in_their_bounds(values, metric, text):
    assert SCRIPT["figure"](values, metric) == text


def test_the_documents_have_their_marks():
    for name, experiment in SCRIPT["experiments"]().items():
        text = (ROOT / "docs" / experiment.document).read_text()
        assert all(mark in text for mark in marks(name))


def test_rows_of_the_dncs_cures():
    rows = {row: of["core_kwargs"] for row, of in SCRIPT["experiments"]()["copy"].rows.items() if row.startswith("dnc")}
    plain, options = rows.pop("dnc"), {"M": "masked_lookup", "D": "deallocate", "S": "sharpen_links"}
    assert rows.keys() == {"dnc-M", "dnc-D", "dnc-S", "dnc-M-D-S"}
    for row, kwargs in rows.items():
        assert kwargs == plain | {options[letter]: True for letter in row.split("-")[1:]}


def test_a_row_may_have_another_recipe(run):
    """The students of a teacher's policy, and the same taught by the oracle."""
    run(only=("distilled",), rows=("gru", "gru, oracle"), seeds=(0,), share=0.001, documents=Path(""))
    folders = [Path(f"runs/tables/distilled/{row}-0") for row in ("gru", "gru, oracle")]
    assert [Run.open(folder).settings.algorithm for folder in folders] == ["Distillation", "Imitation"]
    assert [read_json(folder / "result.json")["scores"].keys() for folder in folders] == [{"1 step", "2 steps"}] * 2


@pytest.mark.parametrize(
    "metric, mean, cell", [("success", 0.5, "0.50"), ("return", -1.5, "-1.500"), ("coins", 1.5, "1.50")]
)
def test_a_table_shows_success_returns_or_a_metric_of_the_environment(monkeypatch, metric, mean, cell):
    score_of = SCRIPT["mean_score"].__globals__["score_of"]
    played = Episodes(np.array([-2.0, -1.0]), np.ones(2), np.array([0.0, 1.0]), None, {"coins": np.array([1.0, 2.0])})
    monkeypatch.setitem(score_of.__globals__, "evaluate", lambda *_, **__: played)
    assert score_of(None, None, 2, metric) == mean
    assert SCRIPT["figure"]([mean], metric) == cell
