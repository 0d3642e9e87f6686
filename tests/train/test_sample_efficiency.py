"""The table of how many steps agents need."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from memagents.experiments.documents import marks
from memagents.experiments.evaluation import mean_interval
from memagents.runs.files import read_json, write_json

ROOT = Path(__file__).parent.parent.parent
SCRIPT = runpy.run_path(str(ROOT / "train/sample_efficiency.py"))


def settings(folder, **told):
    document = folder / "nec.md"
    if not document.exists():
        document.write_text("before\n<!-- table sample_efficiency -->\nold\n<!-- end of sample_efficiency -->\nafter\n")
    return SCRIPT["EfficiencySettings"](**{"folder": folder / "runs", "document": document, **told})


def test_every_agent_runs_and_finished_runs_stay(tmp_path):
    told = settings(tmp_path, tasks=("cartpole",), seeds=(0,), every=40, episodes=2, share=0.004)
    SCRIPT["main"](told)
    for agent in SCRIPT["AGENTS"]:
        run = read_json(told.folder / f"cartpole-{agent}-0.json")
        assert run["reached"] is None
        assert [steps // 40 for steps in run["steps"]] == list(range(1, 1 + len(run["returns"])))
    path = told.folder / "cartpole-nec-0.json"
    write_json(path, {**read_json(path), "reached": 7})
    SCRIPT["main"](told)
    assert read_json(path)["reached"] == 7
    text = told.document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "| NEC | 7 |" in text
    assert (tmp_path / "nec.png").is_file()


def test_the_table_tells_intervals_and_what_was_not_reached(tmp_path):
    told = settings(tmp_path, agents=("",))
    most = SCRIPT["TASKS"]["maze"].steps["dqn"]
    for agent, reached in (("nec", (1000, 3000)), ("dqn", (None, 8000)), ("ppo", (None, None))):
        for seed, steps in enumerate(reached):
            run = {"reached": steps, "steps": [500, 1000], "returns": [0.0, 1.0], "minutes": 0.1}
            write_json(told.folder / f"maze-{agent}-{seed}.json", run)
    SCRIPT["main"](told)
    lines = told.document.read_text().splitlines()
    _, low, high = mean_interval(np.array([1000.0, 3000.0]))
    assert f"| NEC | not run | 2,000 ({max(low, 0):,.0f} to {high:,.0f}) | not run |" in lines
    dqn = next(line for line in lines if line.startswith("| DQN"))
    assert f"> {(most + 8000) / 2:,.0f}" in dqn and "1 of 2" in dqn
    assert any(line.startswith("| RecurrentPPO") and "(0 of 2)" in line for line in lines)
    assert f"| NEC's share of DQN's steps |  | < {2000 / ((most + 8000) / 2):.2f} |  |" in lines


def test_learning_ends_when_the_return_has_been_reached(tmp_path):
    evaluations = SCRIPT["Evaluations"](None, settings(tmp_path), wanted=5)
    for returns, goes_on in (((), True), ((4, 4.9), True), ((1, 5), False)):
        evaluations.steps, evaluations.returns = list(range(1000, 1000 + len(returns))), list(returns)
        evaluations.num_timesteps = 0
        assert evaluations._on_step() is goes_on


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ValueError, match="there is no 'nonsense'; there are: cartpole, maze"):
        SCRIPT["main"](settings(tmp_path, tasks=("nonsense",)))
    told = settings(tmp_path, agents=("",))
    told.document.write_text("nothing")
    with pytest.raises(ValueError, match="lacks the lines"):
        SCRIPT["main"](told)
    assert told.document.read_text() == "nothing"


def test_the_document_has_its_marks():
    assert all(mark in (ROOT / "docs/nec.md").read_text() for mark in marks("sample_efficiency"))
