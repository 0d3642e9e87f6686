"""The blocks of Python in docs/export.md run where a file lies that was made as they say, the first without torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memagents.export import export_run

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL | re.MULTILINE)
LEFT_OUT = """
import sys
assert not {"torch", "memagents"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    for name in ("tmaze.onnx", "tmaze.pt2"):
        export_run("pretrained:endless-tmaze-lstm", folder / name)
    return folder


def test_onnxruntime_and_numpy_alone(folder):
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "envs")))
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKS[0] + LEFT_OUT],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    mean = float(re.search(r"mean return of 10 episodes: (\S+)", ran.stdout)[1])
    assert mean > 5, "it has learned what memory is for"


def test_torch_alone(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(compile(BLOCKS[1], "block", "exec"), {})
    assert "tensor" in capsys.readouterr().out
    assert len(BLOCKS) == 2
