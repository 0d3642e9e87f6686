"""The tables of the documents."""

import runpy
from pathlib import Path

import pytest

from memagents.experiments.documents import marks
from memagents.experiments.evaluation import mean_interval
from memagents.runs.files import read_json, write_json

ROOT = Path(__file__).parent.parent.parent
TABLE = "before\n<!-- table small_tmaze -->\nold\n<!-- end of small_tmaze -->\nafter\n"

SCRIPT = runpy.run_path(str(ROOT / "train/tables.py"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """What the script does, on a hundredth of the steps, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    return lambda **told: SCRIPT["main"](SCRIPT["TablesSettings"](**{"share": 0.01, **told}))


def test_a_table_is_made_of_the_runs_there_are(run):
    document = Path("docs/cores.md")
    document.write_text(TABLE)
    run(only=("small_tmaze",), rows=("none", "gru"), seeds=(0,))
    first = Path("runs/tables/small_tmaze/gru-0/result.json")
    before = first.stat().st_mtime_ns
    run(only=("small_tmaze",), rows=("gru",), seeds=(0, 1))
    assert first.stat().st_mtime_ns == before, "what is finished is not made again"
    results = [read_json(Path(f"runs/tables/small_tmaze/gru-{seed}/result.json")) for seed in (0, 1)]
    mean, low, high = mean_interval([result["scores"]["success"] for result in results])
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert f"| `gru` | {mean:.2f} ({low:.2f} to {high:.2f}) | 2 | 0.002M | 0." in text
    assert "| `lstm` | not run | not run | not run | not run | not run |" in text
    write_json(first, {**results[0], "minutes": 9.0})
    run(only=("",))
    assert text != document.read_text()


def test_a_table_without_runs_stays(run):
    Path("docs/cores.md").write_text(TABLE)
    run(only=("",))
    assert Path("docs/cores.md").read_text() == TABLE


def test_mistakes_are_told(run):
    with pytest.raises(ValueError, match="there is no 'nonsense'; there are: copy"):
        run(only=("nonsense",))
    result = {"scores": {"success": 1.0}, "steps": 9, "minutes": 1.0}
    write_json(Path("runs/tables/small_tmaze/gru-0/result.json"), result)
    Path("docs/cores.md").write_text("nothing")
    with pytest.raises(ValueError, match="lacks the lines"):
        run(only=("",))
    assert Path("docs/cores.md").read_text() == "nothing"


def test_the_documents_have_their_marks():
    for name, experiment in {**SCRIPT["EXPERIMENTS"], **SCRIPT["small_runs"]()}.items():
        text = (ROOT / "docs" / experiment.document).read_text()
        assert all(mark in text for mark in marks(name))
