"""Every block of Python in the documents runs, with fewer steps; the pages that have a test of their own aside."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Pages whose blocks make a package, or whose figures are held too: by these tests.
ELSEWHERE = {
    "new_environment.md": "test_new_environment.py",
    "new_core.md": "test_new_core.py",
    "hindsight.md": "test_hindsight.py",
    "environments.md": "test_documentation.py",
    "inspecting.md": "test_inspecting.py",
    "export.md": "test_exporting.py",
    "rllib.md": "test_rllib_page.py",
}
PAGES = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.name not in ELSEWHERE]
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE))
]


def test_pages_with_tests_of_their_own_have_them():
    for name, test in ELSEWHERE.items():
        assert (ROOT / "docs" / name).is_file()
        assert list((ROOT / "tests").rglob(test)), test


def test_the_blocks_are_found():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in re.findall(r"^import (optuna|wandb)$", block, re.MULTILINE):  # which nobody else here needs
        pytest.importorskip(module)
    exec(compile(re.sub(r"learn\([\d_]+", "learn(600", block), "block", "exec"), {})
