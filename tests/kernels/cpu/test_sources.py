"""The hash of the kernels' sources, by which stale machine code is recognised."""

from pathlib import Path

import pytest

import memagents.kernels
from memagents.kernels.cpu.sources import SOURCES, hash_of


@pytest.fixture
def folder(tmp_path):
    for name in ("top.py", "cpu/one.py", "cpu/vector/deep/two.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {name}")
    return tmp_path


def test_the_same_sources_have_the_same_hash(folder):
    before = hash_of(folder)
    (folder / "cpu" / "__pycache__").mkdir()
    (folder / "cpu" / "__pycache__" / "one.cpython.pyc").write_bytes(b"compiled")
    assert hash_of(folder) == before


@pytest.mark.parametrize("name", ["top.py", "cpu/one.py", "cpu/vector/deep/two.py"])
def test_a_change_in_any_folder_changes_the_hash(folder, name):
    before = hash_of(folder)
    (folder / name).write_text(f"# {name}!")
    assert hash_of(folder) != before


def test_a_new_file_and_another_name_change_the_hash(folder):
    before = hash_of(folder)
    (folder / "cpu" / "one.py").rename(folder / "cpu" / "other.py")
    moved = hash_of(folder)
    (folder / "cpu" / "new.py").touch()
    assert len({before, moved, hash_of(folder)}) == 3


def test_the_hash_is_that_of_all_kernels():
    assert hash_of(Path(memagents.kernels.__file__).parent) == SOURCES
