"""What each knob of recurrent PPO does, and the tables of it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from memagents import RecurrentPPO, make_env
from memagents.experiments.documents import marks
from memagents.experiments.lessons import lesson_env
from memagents.experiments.statistics import improvement
from memagents.experiments.window_scores import WindowScores
from memagents.runs.files import read_json, write_json
from tests.support.scripts import names_in
from tests.support.toys import dummy

ROOT = Path(__file__).parent.parent.parent
SCRIPT = names_in("knobs.py")
TASKS, KNOBS, turned = SCRIPT["TASKS"], SCRIPT["KNOBS"], SCRIPT["turned"]
NAMES = ("knobs_area", "knobs_final")


@pytest.fixture
def run(tmp_path):
    """Return the script as a function, on a fiftieth of the steps, in a folder of its own."""
    text = "".join("before\n{}\nold\n{}\nafter\n".format(*marks(name)) for name in NAMES)
    (tmp_path / "training.md").write_text(text)
    here = {"folder": tmp_path / "runs", "documents": tmp_path, "share": 0.02}
    return lambda **changes: SCRIPT["main"](SCRIPT["KnobsSettings"](**{**here, **changes}))


def rows_of(folder, name):
    """Return the cells of a table, row by row, by the first one."""
    begin, end = marks(name)
    text = (folder / "training.md").read_text().partition(begin)[2].partition(end)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def test_a_table_is_made_of_the_runs_there_are(run, tmp_path):
    run(only=("tmaze",), knobs=("normalize_values", "eps"), seeds=(0,))
    first = tmp_path / "runs/tmaze/base-0.json"
    assert read_json(first).keys() == {"area", "final", "steps", "seconds"}
    assert read_json(first)["steps"] == 4096
    write_json(first, {**read_json(first), "area": 0.25})
    run(only=("tmaze", "cartpole"), knobs=("normalize_values",), seeds=(0, 1))
    assert read_json(first)["area"] == 0.25, "what is finished is not made again"
    made = sorted(str(path.relative_to(tmp_path / "runs")) for path in (tmp_path / "runs").rglob("*.json"))
    both = [f"{task}/{knob}-{seed}.json" for task in ("cartpole", "tmaze") for knob in ("base", "normalize_values")
            for seed in (0, 1)]  # fmt: skip
    assert made == sorted([*both, "tmaze/eps-0.json"])
    rows = rows_of(tmp_path, "knobs_area")
    assert rows[""] == [
        "T-maze: success",
        "DoorKey: success",
        "CartPole: return",
        "MemoryS7: success",
        "all tasks",
        "time",
    ]
    assert list(rows)[2:] == ["the base", "`normalize_values`", "`Adam, eps: 1e-8`"], "a row without runs is left out"
    second = read_json(tmp_path / "runs/tmaze/base-1.json")["area"]
    assert rows["the base"][0] == f"{(0.25 + second) / 2:.2f} (0.25, {second:.2f})"
    assert rows["`normalize_values`"][0].endswith("; 2 seeds")
    assert rows["`normalize_values`"][4] == "2 seeds"
    assert rows["`Adam, eps: 1e-8`"][0].endswith("; 1 seed")
    assert (tmp_path / "training.md").read_text().count("old") == 0


def test_five_seeds_have_an_interval(run, tmp_path):
    """Of each task by its own seeds, of all tasks by those that all have; and times are multiples."""
    rng, scores = np.random.default_rng(0), {}
    for knob, seeds in (("base", 6), ("long_windows", 5), ("short_windows", 5), ("critic_core", 3)):
        for task in ("tmaze", "cartpole", "memory_s7"):
            if turned(TASKS[task], knob) is None:
                continue
            scores[knob, task] = rng.random(seeds) * (500 if task == "cartpole" else 1)
            for seed, score in enumerate(scores[knob, task]):
                seconds = 9.0 if (knob, seed) == ("base", 0) else 3.0 if knob == "long_windows" else 2.0
                result = {"area": score, "final": 0.5, "steps": 9, "seconds": seconds}
                write_json(tmp_path / f"runs/{task}/{knob}-{seed}.json", result)
    run(only=("",))
    rows = rows_of(tmp_path, "knobs_area")
    for place, task, digits in ((0, "tmaze", 2), (2, "cartpole", 0), (3, "memory_s7", 2)):
        ours, theirs = scores["long_windows", task], scores["base", task]
        assert rows["`n_steps × 2`"][place] == f"{ours.mean():.{digits}f}; {improvement(ours, theirs)}"
    assert rows["`n_steps × 2`"][1] == ""
    tasks = ("tmaze", "cartpole", "memory_s7")
    ours, theirs = (np.stack([scores[knob, task] for task in tasks], 1) for knob in ("long_windows", "base"))
    assert rows["`n_steps × 2`"][4:] == [improvement(ours, theirs), "1.50"]
    assert rows["`n_steps / 2`"][2] == "as the base"
    ours, theirs = (np.stack([scores[knob, task] for task in tasks[::2]], 1) for knob in ("short_windows", "base"))
    assert rows["`n_steps / 2`"][4] == improvement(ours, theirs)
    assert rows["`critic_core: same`"][4] == "3 seeds"
    assert rows_of(tmp_path, "knobs_final")["`n_steps × 2`"][0] == "0.50; 0.50 (0.50 to 0.50)"


def test_mistakes_are_named(run, tmp_path):
    for name, there in (("only", "tmaze"), ("knobs", "base")):
        with pytest.raises(ValueError, match=f"there is no 'nonsense'; there are: {there}, "):
            run(**{name: ("nonsense",)})
    before = (tmp_path / "training.md").read_text()
    run(only=("",))
    assert (tmp_path / "training.md").read_text() == before, "tables without runs stay"


def test_a_run_that_fails_leaves_no_result(run, tmp_path, monkeypatch, capsys):
    def fails(task, settings, *_):
        if settings.learning_rate > TASKS["tmaze"].base.learning_rate:
            raise FloatingPointError("value_loss not finite")
        return {"area": 0.5, "final": 0.5, "steps": 9, "seconds": 1.0}

    monkeypatch.setitem(SCRIPT["main"].__globals__, "train", fails)
    run(only=("tmaze",), knobs=("high_rate", "eps"), seeds=(0,))
    assert "tmaze high_rate-0: value_loss not finite" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "runs/tmaze").iterdir()) == ["base-0.json", "eps-0.json"]


def test_the_documents_have_their_marks():
    text = (ROOT / "docs/training.md").read_text()
    assert all(mark in text for name in NAMES for mark in marks(name))


# --- knobs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_makes_an_agent_and_changes_what_it_says(knob):
    """On three tasks or more, the base apart; and nothing else."""
    task = TASKS["tmaze"]
    settings = turned(task, knob)
    RecurrentPPO("MlpPolicy", lesson_env(settings, 0), **settings.hyperparameters())
    changed = {name for name, value in asdict(settings).items() if value != getattr(task.base, name)}
    kept = {"policy_kwargs", "core_kwargs", "n_minibatches", "final_ent_coef"}
    assert len(changed - kept) <= 1
    assert all(name in KNOBS[knob].title for name in changed - kept)
    assert sum(turned(task, knob) is not None for task in TASKS.values()) >= 3


def test_the_base_has_one_memory_and_an_lstm():
    for task in TASKS.values():
        assert (task.base.critic_core, task.base.core) == (None, "lstm")
        assert task.base.schedule == "linear"


def test_a_minibatch_has_as_many_steps_whatever_the_window():
    for knob, factor in (("short_windows", 0.5), ("long_windows", 2)):
        for name, task in TASKS.items():
            settings = turned(task, knob)
            if (knob, name) == ("short_windows", "cartpole"):
                assert settings is None, "it has one minibatch alone"
                continue
            assert settings.n_steps == factor * task.base.n_steps
            assert settings.n_minibatches == factor * (task.base.n_minibatches or 4)


# --- scores ---------------------------------------------------------------------------------------------------------


def test_an_environment_counts_by_its_last_episode():
    scores, ended, curve = WindowScores("return"), {}, []

    class Watched(RecurrentPPO):
        def _update_info_buffer(self, infos, dones=None):
            super()._update_info_buffer(infos, dones)
            for row, info in enumerate(self.env.buf_infos):
                if self.env.buf_dones[row]:
                    ended[row] = info["episode"]["r"]

        def train(self):
            curve.append(sum(ended.values()) / 4)

    Watched("MlpPolicy", dummy(4), n_steps=2, seed=0).learn(20 * 2 * 4, scores)
    assert scores.curve == pytest.approx(curve)
    assert len(curve) == 20
    assert scores.area == pytest.approx(np.mean(curve))
    assert scores.final == pytest.approx(np.mean(curve[-2:]))


def test_a_training_may_stop_before_the_end_of_its_schedules():
    scores = WindowScores("success", steps=100)
    agent = RecurrentPPO("MlpPolicy", make_env("memenvs/TMaze-v0", 4, length=1), n_steps=8)
    agent.learn(10_000, scores)
    assert agent.num_timesteps == 128
    assert agent._current_progress_remaining == pytest.approx(1 - 128 / 10_000)
    assert len(scores.curve) == 4
    assert 0 <= scores.final <= 1


def test_a_success_that_is_not_told_is_an_error():
    with pytest.raises(ValueError, match="score: the infos of the environment have no 'success'"):
        RecurrentPPO("MlpPolicy", dummy(4), n_steps=8).learn(64, WindowScores("success"))
