"""docs/new_environment.md: its package does what the page says, by hand and through the scripts."""

import ast
import contextlib
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import memenvs.random
from memenvs.compilation import is_compiled
from memenvs.testing import DebugError, debug

ROOT = Path(__file__).parents[2]
PARAMETERS = {"pairs": 4, "patience": 3}


@pytest.fixture(scope="module")
def blocks():
    return re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/new_environment.md").read_text(), re.DOTALL | re.MULTILINE
    )


@pytest.fixture(scope="module")
def folder(blocks, tmp_path_factory):
    """A folder in which the package of the page lies."""
    files = {}
    for block in blocks:
        named = re.match(r"# (\S+\.py)(?:, continued)?\n", block)
        if named:
            files[named[1]] = files.get(named[1], "") + block[named.end() :]
    path = tmp_path_factory.mktemp("own")
    (path / "pairs_game").mkdir()
    assert files.keys() == {"pairs_game/__init__.py", "pairs_game/pairs.py"}
    for name, text in files.items():
        (path / name).write_text(text)
    return path


@pytest.fixture
def package(folder, monkeypatch):
    """The package where it can be imported, and forgotten afterwards."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    yield folder / "pairs_game"
    gym.registry.pop("Pairs-v0", None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pairs_game"]:
        del sys.modules[name]


class Game:
    """The rules once more, in plain Python."""

    def __init__(self, symbols, patience):
        self.symbols, self.left = symbols, set(range(len(symbols)))
        self.waiting, self.turns, self.limit = None, 0, patience * len(symbols)

    def turn(self, card):
        """What is seen, what it brings, whether all is found, whether time is up."""
        self.turns += 1
        shown, reward = 0, 0.0
        if card in self.left and card != self.waiting:
            shown = card + 1
            if self.waiting is None:
                self.waiting = card
            else:
                if self.symbols[card] == self.symbols[self.waiting]:
                    self.left -= {card, self.waiting}
                    reward = 2 / len(self.symbols)
                self.waiting = None
        seen = [shown, self.symbols[shown - 1] + 1 if shown else 0, int(self.waiting is not None)]
        return seen, reward, not self.left, self.turns >= self.limit and bool(self.left)


def test_what_the_page_shows_runs(package, blocks, capsys):
    draws, usage, check, run = [block for block in blocks if not block.startswith("# pairs_game/")]
    drawn = {}
    exec(compile(draws, "docs/new_environment.md", "exec"), drawn)
    assert drawn["row"] != drawn["column"]
    exec(compile(usage, "docs/new_environment.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"^\(180, 240, 3\)\n1\.0 of [1-9]\d{3} episodes$", printed, re.MULTILINE)
    exec(compile(check, "docs/new_environment.md", "exec"), {})
    results = ast.literal_eval(capsys.readouterr().out)
    exec(compile(run, "docs/new_environment.md", "exec"), {})
    shown = re.search(r"# (\{'steps': 200, 'episodes': \d+), 'return': ", run)[1]
    assert capsys.readouterr().out.startswith(f"{shown}, ")
    assert len(results) == 11 and set(results.values()) == {"passed"}


def test_the_functions_for_random_numbers_are_those_of_the_table():
    page = (ROOT / "docs/new_environment.md").read_text()
    table = page.partition("| function of `memenvs.random` |")[2].partition("\n\n")[0]
    functions = {name: function for name, function in vars(memenvs.random).items() if is_compiled(function)}
    wanted = {f"{name}{inspect.signature(function.py_func)}" for name, function in functions.items()}
    assert set(re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)) == wanted


def test_the_mistakes_that_the_page_shows(package):
    """As written there; the table's are those of tests/memenvs/engine/test_mistakes.py."""
    page = (ROOT / "docs/new_environment.md").read_text()
    shown = " ".join(re.search(r"^```text\nDebugError: (.*?)\n```", page, re.DOTALL | re.MULTILINE)[1].split())
    module = package / "pairs.py"
    text = module.read_text()
    head, tail = text.split("def legal(", 1)
    try:
        module.write_text(f"{head}def legal({tail.replace('range(2 * level.pairs)', 'range(CARDS)', 1)}")
        with pytest.raises(DebugError) as caught:
            debug("pairs_game:Pairs-v0", pairs=6)
    finally:
        module.write_text(text)
    assert str(caught.value).replace(f"{package.parent}{os.sep}", "") == shown


def test_it_keeps_the_rules(package):
    env = gym.make("pairs_game:Pairs-v0", **PARAMETERS).unwrapped
    rng, ends, found = np.random.default_rng(0), [0, 0], []
    for episode in range(60):
        observation, _ = env.reset(seed=episode)
        assert observation.tolist() == [0, 0, 0]
        game, over = Game(env.batch.rows["level"]["symbols"][0][:8].tolist(), 3), False
        while not over:
            # Anything that can be chosen in every other episode, among it cards that are gone.
            action = int(rng.integers(8)) if episode % 2 else env.random_walk(rng)
            assert episode % 2 or action in game.left - {game.waiting}
            *happened, info = env.step(action)
            seen, reward, *ended = game.turn(action)
            assert happened[0].tolist() == seen
            assert happened[1] == pytest.approx(reward)
            assert happened[2:] == ended
            over = happened[2] or happened[3]
        ends[happened[3]] += 1
        pairs = 4 - len(game.left) // 2
        found.append(pairs)
        assert info["success"] == (pairs == 4)
        assert info["found"] == pytest.approx(pairs / 4)
        assert info["economy"] == pytest.approx(2 * pairs / game.turns)
    assert min(ends) > 3
    assert len(set(found)) >= 3


def test_the_oracle_needs_a_turn_a_card_and_test_levels_are_held_out(package):
    seen = {}
    for split in ("train", "test"):
        envs = gym.make_vec("pairs_game:Pairs-v0", num_envs=256, split=split, **PARAMETERS)
        envs.reset(seed=0)
        seen[split] = {level["symbols"][:8].tobytes() for level in envs.unwrapped.batch.rows["level"]}
        for turn in range(8):
            _, rewards, terminated, _, infos = envs.step(envs.oracle())
            assert np.allclose(rewards, turn % 2 / 4)
        assert terminated.all()
        assert (infos["success"] == 1).all() and (infos["economy"] == 1).all()
    assert not seen["train"] & seen["test"]
    assert len(seen["train"]) > 200 and len(seen["test"]) > 100


def test_snapshots_and_what_is_no_snapshot(package):
    envs = gym.make_vec("pairs_game:Pairs-v0", num_envs=8, **PARAMETERS)
    envs.reset(seed=0)
    envs.step(envs.oracle())
    kept = envs.snapshot()
    after = envs.step(envs.oracle())[0]
    envs.restore(kept)
    assert np.array_equal(envs.step(envs.oracle())[0], after)
    state = envs.unwrapped.batch.rows.dtype
    for record, field, value in (
        ("level", "symbols", 4),
        ("level", "pairs", 17),
        ("state", "open", 8),
        ("state", "shown", -2),
        ("state", "turns", 99),
    ):
        damaged = kept["rows"].copy()
        damaged.view(state)[:, 0][record][field][5] = value
        with pytest.raises(ValueError, match="damaged"):
            envs.restore(kept | {"rows": damaged})


def test_pictures(package):
    env = gym.make("pairs_game:Pairs-v0", render_mode="rgb_array", **PARAMETERS)
    words = gym.make("pairs_game:Pairs-v0", render_mode="ansi", **PARAMETERS)
    env.reset(seed=0)
    words.reset(seed=0)
    pictures, texts = [env.render()], [words.render()]
    for _ in range(3):
        action = env.unwrapped.oracle()
        env.step(action)
        words.step(action)
        pictures.append(env.render())
        texts.append(words.render())
    assert pictures[0].shape == (180, 180, 3)
    assert all((a != b).any() for a, b in pairwise(pictures))
    assert texts[0] == "· · · · · · · ·\n0 found in 0 turns"
    letters = [re.findall("[A-D]", text) for text in texts]
    assert [len(found) for found in letters] == [0, 1, 1, 1]
    assert letters[1] == letters[2] != letters[3]
    assert texts[3].count("·") == 5
    assert texts[2].endswith("1 found in 2 turns")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"pairs": 1}, "pairs must be an integer from 2 to 16"), ({"patience": 0}, "patience must be")],
)
def test_wrong_parameters_are_named(package, parameters, message):
    with pytest.raises(ValueError, match=message):
        gym.make("pairs_game:Pairs-v0", **parameters)


def test_it_trains_as_the_page_says(package, monkeypatch, capsys):
    """PPO on the split for training, evaluation on the one for tests, in this process."""
    words = (
        "--env pairs_game:Pairs-v0 --env-kwargs pairs=4 --core gru --core-kwargs hidden_size=8 --n-envs 8 --n-steps 16"
    )
    words += " --total-timesteps 512 --eval-episodes 20 --threads 1 --device cpu --run-dir run"
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["ppo.py", *words.split()])
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(ROOT / "train/ppo.py"), run_name="__main__")
    assert "all of it is in run" in capsys.readouterr().out
    told = json.loads((Path("run") / "evaluation.json").read_text())
    assert told["env_kwargs"] == {"pairs": 4, "split": "test"}
    assert told["scores"]["oracle"]["success"]["mean"] == 1
    assert set(told["scores"]["agent"]["metrics"]) >= {"found", "economy"}


def test_help_by_hand(package):
    """In a process that finds the package in its current folder alone."""
    words = [sys.executable, "-m", "memenvs", "pairs_game:Pairs-v0", "--help"]
    path = os.pathsep.join([str(ROOT / "envs"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    done = subprocess.run(
        words, cwd=package.parent, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Find the cards that are alike" in done.stdout and "--patience" in done.stdout
