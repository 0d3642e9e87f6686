"""docs/new_core.md: its core does what the page says, in Python and through the scripts."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from memagents import cores, make_core
from memagents.testing import CORE_CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/new_core.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"# (\S+\.py)(?:, continued)?\n")
EXAMPLES = [text for language, text in BLOCKS if language == "python" and not NAMED.match(text)]
COMMANDS = [line for language, text in BLOCKS if language == "console" for line in text.splitlines()]
SHORT = "--n-envs 4 --n-steps 8 --total-timesteps 64 --eval-episodes 8 --threads 1 --device cpu"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the files of the page lie."""
    files = {}
    for language, text in BLOCKS:
        named = NAMED.match(text)
        if language == "python" and named:
            files[named[1]] = files.get(named[1], "") + text[named.end() :]
    assert files.keys() == {"fast_weights.py", "test_fast_weights.py"}
    path = tmp_path_factory.mktemp("own")
    for name, text in files.items():
        (path / name).write_text(text)
    return path


@pytest.fixture(autouse=True)
def module(folder, monkeypatch):
    """The module where it can be imported, and forgotten afterwards."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(cores, "_registered", dict(cores._registered))
    yield
    for name in ("fast_weights", "test_fast_weights"):
        sys.modules.pop(name, None)


def test_every_block_is_one_that_is_run_here():
    assert {language for language, _ in BLOCKS} == {"python", "console", "text"}
    assert (len(EXAMPLES), len(COMMANDS)) == (7, 4)


def test_what_the_page_shows_runs_and_prints_what_it_says(capsys):
    """In the page's order, since a later block may load what an earlier one saved."""
    for example in EXAMPLES:
        exec(compile(example, "docs/new_core.md", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    for language, text in BLOCKS:
        assert language != "text" or text in printed
    assert "keeps the contract" in printed
    assert re.search(r"^tensor\(0\.\d+\)$", printed, re.MULTILINE)


def test_the_pages_test_asks_all_checks():
    tests = runpy.run_path("test_fast_weights.py")
    (mark,) = tests["test_contract"].pytestmark
    assert mark.args == ("check", CORE_CHECKS)
    tests["test_contract"](CORE_CHECKS[0])


def run(command, short=""):
    """Types a command in a process of its own, where nothing has imported the core yet."""
    python, script, *words = shlex.split(command)
    assert python == "python"
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs")))}
    typed = [sys.executable, str(ROOT / script), *words, *short.split()]
    return subprocess.run(typed, env=env, capture_output=True, text=True, timeout=300)


def test_the_commands_run():
    printed = ""
    for command in COMMANDS:
        short = "--episodes 8 --device cpu" if "evaluate.py" in command else SHORT
        done = run(command, "" if "--resume" in command else short)
        assert done.returncode == 0, done.stderr
        printed += done.stdout
    refused = run("python train/evaluate.py runs/delta")
    assert refused.returncode == 2 and "add --imports fast_weights" in refused.stderr
    assert "all of it is in runs/delta" in printed
    assert "all of it is in runs/imitated" in printed
    assert all((Path("runs") / name / "evaluation.json").exists() for name in ("delta", "imitated"))


def test_the_core_is_the_papers():
    """The equations once more, in NumPy."""
    torch.manual_seed(0)
    core = make_core("fast_weights:delta", 3, keys=4, width=5, write_penalty=0.1).double()
    inputs, starts = torch.randn(6, 2, 3, dtype=torch.float64), torch.zeros(6, 2, dtype=torch.bool)
    starts[3, 1] = True
    outputs, state, losses, _ = core.unroll(inputs, core.initial_state(2), starts)
    weight, bias = core.interface.weight.detach().numpy(), core.interface.bias.detach().numpy()
    for row in range(2):
        memory = np.zeros((4, 5))
        for step in range(6):
            memory = np.zeros((4, 5)) if starts[step, row] else memory
            said = weight @ inputs[step, row].numpy() + bias
            key, query = (np.exp(part) / np.exp(part).sum() for part in (said[:4], said[4:8]))
            gate = 1 / (1 + np.exp(-said[13]))
            memory = memory + gate * np.outer(key, said[8:13] - memory.T @ key)
            read = torch.from_numpy(memory.T @ query)
            torch.testing.assert_close(outputs[step, row], core.output(read).tanh())
            torch.testing.assert_close(losses["write"][step, row], torch.tensor(0.1 * gate, dtype=torch.float64))
        torch.testing.assert_close(state.memory[row], torch.from_numpy(memory))


def test_chance_forgets_in_training_alone():
    core = make_core("fast_weights:forgetful", 3, keys=4, width=5)
    state = core.initial_state(2)._replace(memory=torch.ones(2, 4, 5))
    inputs = torch.randn(2, 3)
    forgotten = core(inputs, state)
    again = core(inputs, state)
    kept = core.eval()(inputs, state)
    assert torch.equal(forgotten.outputs, again.outputs)
    assert not torch.equal(forgotten.outputs, kept.outputs)
    assert torch.equal(kept.state.key, state.key + 1)
