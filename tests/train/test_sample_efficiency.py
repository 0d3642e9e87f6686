"""Steps that agents need, and the table of them."""

from pathlib import Path

import pytest

from memagents.experiments.documents import marks
from memagents.runs.files import read_json, write_json
from tests.support.scripts import names_in

ROOT = Path(__file__).parent.parent.parent
SCRIPT = names_in("sample_efficiency.py")


def settings(folder, **changes):
    document = folder / "nec.md"
    if not document.exists():
        document.write_text("before\n<!-- table sample_efficiency -->\nold\n<!-- end of sample_efficiency -->\nafter\n")
    return SCRIPT["EfficiencySettings"](**{"folder": folder / "runs", "document": document, **changes})


def row_of(text, title):
    """Return the cells of a row of the table."""
    rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|"))
    return next(row for row in rows if row[0] == title)


def test_every_agent_runs_and_finished_runs_stay(tmp_path):
    chosen = settings(tmp_path, tasks=("cartpole",), seeds=(0,), every=40, episodes=2, share=0.004)
    SCRIPT["main"](chosen)
    for agent in SCRIPT["AGENTS"]:
        run = read_json(chosen.folder / f"cartpole-{agent}-0.json")
        assert run["reached"] is None
        assert [steps // 40 for steps in run["steps"]] == list(range(1, 1 + len(run["returns"])))
    path = chosen.folder / "cartpole-nec-0.json"
    write_json(path, {**read_json(path), "reached": 7})
    SCRIPT["main"](chosen)
    assert read_json(path)["reached"] == 7
    text = chosen.document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and row_of(text, "NEC")[1] == "7"
    assert (tmp_path / "nec.png").is_file()


def test_the_table_lists_seeds_and_says_where_the_return_was_not_reached(tmp_path):
    chosen = settings(tmp_path, agents=("",))
    most = SCRIPT["TASKS"]["maze"].steps["dqn"]
    for agent, reached in (("nec", (1000, 3000)), ("dqn", (None, 8000)), ("ppo", (None, None))):
        for seed, steps in enumerate(reached):
            run = {"reached": steps, "steps": [500, 1000], "returns": [0.0, 1.0], "minutes": 0.1}
            write_json(chosen.folder / f"maze-{agent}-{seed}.json", run)
    SCRIPT["main"](chosen)
    text = chosen.document.read_text()
    assert row_of(text, "NEC") == ["NEC", "", "2,000 (1,000, 3,000)", ""]
    dqn = (most + 8000) / 2
    assert row_of(text, "DQN (Stable-Baselines3)")[2] == f"> {dqn:,.0f} ({most:,}, 8,000), 1 of 2"
    assert row_of(text, "RecurrentPPO, LSTM")[2].endswith("(0 of 2)")
    assert row_of(text, "NEC's share of DQN's steps")[1:] == ["", f"< {2000 / dqn:.2f}", ""]
    assert "| MFEC" not in text, "a row without runs is left out"


def test_five_seeds_have_an_interval_that_ends_at_no_steps():
    results = [{"reached": steps} for steps in (500, 500, 500, 500, 5500)]  # half-width 2.776 × 1,000
    assert SCRIPT["cell"](results, 9000) == "1,500 (0 to 4,276)"


def test_learning_ends_when_the_return_has_been_reached(tmp_path):
    evaluations = SCRIPT["Evaluations"](None, settings(tmp_path), wanted=5)
    for returns, goes_on in (((), True), ((4, 4.9), True), ((1, 5), False)):
        evaluations.steps, evaluations.returns = list(range(1000, 1000 + len(returns))), list(returns)
        evaluations.num_timesteps = 0
        assert evaluations._on_step() is goes_on


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="there is no 'nonsense'; there are: cartpole, maze"):
        SCRIPT["main"](settings(tmp_path, tasks=("nonsense",)))
    chosen = settings(tmp_path, agents=("",))
    chosen.document.write_text("nothing")
    with pytest.raises(ValueError, match="lacks the lines"):
        SCRIPT["main"](chosen)
    assert chosen.document.read_text() == "nothing"


def test_the_document_has_its_marks():
    assert all(mark in (ROOT / "docs/nec.md").read_text() for mark in marks("sample_efficiency"))
