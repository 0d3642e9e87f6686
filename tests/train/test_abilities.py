"""The tables by ability: a sweep with the first seed, its best rate with the others, nothing made twice."""

import shutil
from pathlib import Path

import pytest

from memagents.experiments.settings import PPOSettings
from memagents.runs.files import read_json
from tests.support.scripts import names_in

TABLE = "before\n<!-- table abilities -->\n<!-- end of abilities -->\nafter\n"

SCRIPT = names_in("abilities.py")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return the script as a function, on one tiny ability, in a folder of its own."""
    tiny = SCRIPT["Ability"](
        "a short corridor",
        PPOSettings,
        "tmaze",
        {"env_kwargs": {"length": 2}, "lessons": (), "n_envs": 8, "total_timesteps": 256},
        {"2 steps": {}, "3 steps": {"length": 3}},
        episodes=20,
    )
    monkeypatch.setitem(SCRIPT["main"].__globals__, "ABILITIES", {"tiny": tiny})
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
