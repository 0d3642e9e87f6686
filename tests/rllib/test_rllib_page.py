"""docs/rllib.md: its program runs as it stands, and learns."""

import contextlib
import io
import re
from pathlib import Path

import pytest

pytest.importorskip("ray.rllib", reason="Ray is not installed: make rllib")

from memagents.policies.actor_critic import MemoryPolicy

PAGE = Path(__file__).parents[2] / "docs" / "rllib.md"


def test_the_program_of_the_page_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(compile(program, str(PAGE), "exec"), {"__name__": "page"})
    assert float(told.getvalue().split()[-1]) > 0.9
    assert MemoryPolicy.load(tmp_path / "tmaze-gru").core.hidden_size > 0
