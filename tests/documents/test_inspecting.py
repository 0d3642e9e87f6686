"""The blocks of Python in docs/inspecting.md run, with agents that have learned nothing."""

import re
from pathlib import Path

from memagents import RecurrentPPO, make_env

PAGE = Path(__file__).parents[2] / "docs" / "inspecting.md"


def test_the_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agent = RecurrentPPO("MlpPolicy", make_env("memenvs/TMaze-v0", 2, length=10), seed=0)
    agent.save("runs/tmaze")
    kwargs = {"core": "ntm", "core_kwargs": {"slots": 32, "width": 12, "controller_size": 16}}
    copy = make_env("memenvs/Copy-v0", 2, width=6, length=8)
    RecurrentPPO("MlpPolicy", copy, policy_kwargs=kwargs, seed=0).save("runs/copy")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, "block", "exec"), {})
    assert len(blocks) == 2
    for picture in "writes.png", "cue.png":
        assert (tmp_path / picture).stat().st_size > 2000
