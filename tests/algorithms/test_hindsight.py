"""docs/hindsight.md and what it shows: replay with other goals, whose episodes end where these are reached."""

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env

from memagents.algorithms.hindsight import HindsightReplay
from memagents.experiments.documents import marks
from memagents.runs.files import read_json, write_json
from memenvs.goals import GoalView
from tests.support.scripts import names_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/hindsight.md").read_text()
SCRIPT = names_in("her.py")


def played(replay, n_envs=2):
    """A replay of 400 random steps, in a graph in which half of the episodes arrive."""
    graph = {"stations": 4, "labels": 4, "distance": (1, 3), "slack": 3, "step_cost": 0}
    envs = make_vec_env(lambda: GoalView(gym.make("memenvs/Underground-v0", **graph)), n_envs, seed=0)
    learner = DQN("MultiInputPolicy", envs, replay_buffer_class=replay, learning_starts=1000, buffer_size=500, seed=0)
    learner.learn(400)
    return learner.replay_buffer


def compared(samples):
    """Return whether each step arrived and whether it ended its episode, booleans (B,)."""
    goals = [samples.next_observations[f"{kind}_goal"].numpy() for kind in ("achieved", "desired")]
    return (goals[0] == goals[1]).all(1), samples.dones.numpy()[:, 0] > 0


def test_a_replayed_episode_ends_where_its_goal_is_reached_and_nowhere_else():
    buffer = played(HindsightReplay)
    arrived, done = compared(buffer.sample(2000))
    virtual = slice(2000 - int(0.8 * 2000), None)  # SB3 puts what is as it was first
    assert np.array_equal(arrived[virtual], done[virtual])
    assert 0.2 < done[virtual].mean() < 0.8
    assert (done & ~arrived)[:400].any(), "a budget that was spent ends an episode with its own goal"
    assert (arrived <= done)[:400].all()


def test_stable_baselines3_leaves_the_ends_where_they_were():
    """If this fails, HindsightReplay may not be needed any more."""
    arrived, done = compared(played(HerReplayBuffer).sample(2000))
    assert (arrived & ~done)[400:].mean() > 0.1


def test_but_for_the_ends_it_is_the_same():
    samples = []
    for replay in (HerReplayBuffer, HindsightReplay):
        buffer = played(replay)
        np.random.seed(3)  # noqa: NPY002 — SB3 draws from this one
        samples.append(buffer.sample(300))
    ours, theirs = samples
    assert np.array_equal(ours.actions, theirs.actions)
    assert np.array_equal(ours.rewards, theirs.rewards)
    for kind in ("observations", "next_observations"):
        for name, values in getattr(ours, kind).items():
            assert np.array_equal(values, getattr(theirs, kind)[name])
    assert not np.array_equal(ours.dones, theirs.dones)


# --- the page and its script ----------------------------------------------------------------------------------------


def test_what_the_page_shows_runs_and_is_what_the_script_trains(capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    few, replaced = re.subn(r"learn\([\d_]+\)", "learn(1_200)", block)
    assert replaced == 1
    assert f"learn({SCRIPT['HindsightSettings']().steps:_})" in block
    names = {}
    exec(compile(few, "docs/hindsight.md", "exec"), names)
    assert re.fullmatch(r"[01]\.\d+\n", capsys.readouterr().out)
    assert names["graph"] == SCRIPT["GRAPH"]
    script = SCRIPT["make_learner"]("HindsightReplay", 0)
    for name in (*SCRIPT["DQN_SETTINGS"], "replay_buffer_class", "n_envs"):
        assert getattr(names["learner"], name) == getattr(script, name)


def test_the_table_is_made_of_the_runs_there_are(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table her -->\nold\n<!-- end of her -->\nafter\n")
    told = {"run_dir": tmp_path / "runs", "document": page, "episodes": 20}
    SCRIPT["main"](SCRIPT["HindsightSettings"](steps=1200, seeds=(0, 1), replays=("HindsightReplay",), **told))
    first = tmp_path / "runs/HindsightReplay-0.json"
    before = first.stat().st_mtime_ns
    SCRIPT["main"](SCRIPT["HindsightSettings"](steps=1200, seeds=(0,), replays=("HindsightReplay", "none"), **told))
    assert first.stat().st_mtime_ns == before, "what is finished is not made again"
    rates = [read_json(tmp_path / f"runs/HindsightReplay-{seed}.json")["success"] for seed in (0, 1)]
    text = page.read_text()
    row = next(line for line in text.splitlines() if line.startswith("| `HindsightReplay`"))
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[3:5] == [f"{np.mean(rates):.2f} ({rates[0]:.2f}, {rates[1]:.2f})", "1,200"]
    write_json(first, {**read_json(first), "steps": 77})
    with pytest.raises(ValueError, match="steps must be those of the runs that are there already, 77"):
        SCRIPT["main"](SCRIPT["HindsightSettings"](steps=1200, seeds=(0,), replays=(), **told))


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ValueError, match="replays must be of HindsightReplay, HerReplayBuffer, none, not 'her'"):
        SCRIPT["main"](SCRIPT["HindsightSettings"](replays=("her",), run_dir=tmp_path))


def test_the_page_has_the_marks_and_a_table():
    begin, end = marks("her")
    assert "| `HindsightReplay`" in PAGE.partition(begin)[2].partition(end)[0]
