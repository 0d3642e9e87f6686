"""The block of Python in docs/inspecting.md runs, with an agent that has learned nothing."""

import re
from pathlib import Path

from memagents import RecurrentPPO, make_env

PAGE = Path(__file__).parents[2] / "docs" / "inspecting.md"


def test_the_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agent = RecurrentPPO("MlpPolicy", make_env("memenvs/TMaze-v0", 2, length=10), seed=0)
    agent.save("runs/tmaze")
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(block, "block", "exec"), {})
    assert (tmp_path / "cue.png").stat().st_size > 2000
