"""The blocks of Python in docs/export.md run where such files lie, without the packages that they do without."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memagents.export import export_run

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    for name in ("tmaze.onnx", "tmaze.pt2"):
        export_run("pretrained:endless-tmaze-lstm", folder / name)
    return folder


def said(block, folder, without):
    """What a program prints, which imports none of some packages."""
    check = f"import sys\nassert not {without!r} & sys.modules.keys()\n"
    ran = subprocess.run(
        [sys.executable, "-c", block + check],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs")))},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_onnxruntime_and_numpy_alone(folder):
    found = re.search(r"mean return of 10 episodes: (\S+)", said(BLOCKS[0], folder, {"torch", "memagents"}))
    assert float(found[1]) > 5, "it has learned what memory is for"


def test_torch_alone(folder):
    assert "tensor" in said(BLOCKS[1], folder, {"memagents", "memenvs", "onnxruntime"})
    assert len(BLOCKS) == 2
