"""Files that hold trees of arrays: exact, whole or not at all, and never a pickle."""

import json
import math
import os
import pickle
import random
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes

from memagents.runs import files, random_states
from memagents.runs.files import CheckpointError, read_json, write_bytes, write_json
from memagents.runs.trees import read_tree, write_tree
from tests.support.trees import Bomb, assert_equal

TREE = {
    "floats": torch.tensor([1.5, -0.0, math.inf, math.nan]),
    "doubles": np.random.default_rng(0).normal(size=(3, 2)),
    "bytes": np.arange(5, dtype=np.uint8),
    "keys": np.array([2**64 - 1, 1], dtype=np.uint64),
    "flags": np.array([[True, False]]),
    "half": torch.ones(2, 2, dtype=torch.bfloat16),
    "complex": torch.tensor([1 + 2j]),
    "empty": torch.zeros(3, 0),
    "scalar": np.array(3.25),
    "view": torch.arange(12).view(3, 4).t(),
    "list": [1, (2.5, None, "word"), {"nested": True}],
    3: {"a/b": "slash", "": 0.1},
    "special": [math.inf, -math.inf, 2**80, 1e-320],
    "numpy_number": np.float32(0.1),
}


def test_a_tree_comes_back_as_it_was(tmp_path):
    write_tree(tmp_path / "new folder" / "tree", TREE)
    expected = {**TREE, "numpy_number": float(np.float32(0.1))}
    again = read_tree(tmp_path / "new folder" / "tree")
    assert_equal(again, expected)
    again["doubles"][0] = 7  # not a view of something read-only


@pytest.mark.parametrize("rows", [slice(1, 2), slice(0, 1), slice(1, 1), slice(None)])
def test_a_tree_in_part(rows, tmp_path):
    """The rows of every array alone; of what is not wanted, nothing."""
    tree = {name: leaf for name, leaf in TREE.items() if name not in ("scalar", "numpy_number")}
    write_tree(tmp_path / "tree", {"part": tree, "rest": [np.arange(3), 5]})
    read = read_tree(tmp_path / "tree", lambda path: rows if path[0] == "part" else None)
    cut = {n: leaf[rows] if isinstance(leaf, torch.Tensor | np.ndarray) else leaf for n, leaf in tree.items()}
    assert_equal(read, {"part": cut, "rest": [None, 5]})


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i8", ">u2", ">c8", "=f4", "<i8"])
def test_numbers_of_either_order_of_bytes(kind, tmp_path):
    values = np.array([[1, 2, 200], [0, 5, 7]], kind)
    write_tree(tmp_path / "tree", {"own": values, "turned": values.T})
    again = read_tree(tmp_path / "tree")
    for name, expected in (("own", values), ("turned", values.T)):
        np.testing.assert_array_equal(again[name], expected)
        assert again[name].dtype == values.dtype.newbyteorder("=")


@pytest.mark.parametrize("kind", ["S3", "U3", "O", "M8[s]", "V4", "g", [("x", "f4")]])
def test_an_array_of_what_no_tensor_holds_is_named(kind, tmp_path):
    with pytest.raises(TypeError, match=r"cannot save /env/1/own: an array of .* holds no numbers that a file can"):
        write_tree(tmp_path / "tree", {"env": [0, {"own": np.zeros(2, kind)}]})
    assert not list(tmp_path.iterdir())


def test_shared_memory_is_written_twice(tmp_path):
    values = torch.zeros(3)
    write_tree(tmp_path / "tree", {"a": values, "b": values})
    assert_equal(read_tree(tmp_path / "tree"), {"a": torch.zeros(3), "b": torch.zeros(3)})


@pytest.mark.parametrize("leaf", [{1, 2}, object(), len, np.array(["text"]), np.array([None]), {True: 1}, {(1, 2): 3}])
def test_what_is_no_plain_value_is_refused_before_anything_is_written(tmp_path, leaf):
    write_tree(tmp_path / "tree", {"good": 1})
    with pytest.raises(TypeError):
        write_tree(tmp_path / "tree", {"good": 2, "bad": leaf})
    assert read_tree(tmp_path / "tree") == {"good": 1}


# --- whole or not at all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_crash_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, crash)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new and longer")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_data_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_bytes(tmp_path / "file", b"data")
    assert calls == ["fsync", "replace"]


def test_files_have_the_usual_permissions(tmp_path):
    """Others may read a run as they may read any file: a temporary file's permissions would forbid it."""
    usual = tmp_path / "usual"
    usual.write_text("")
    write_bytes(tmp_path / "file", b"data")
    assert stat.S_IMODE(os.stat(tmp_path / "file").st_mode) == stat.S_IMODE(os.stat(usual).st_mode)


# --- what is no such file -------------------------------------------------------------------------------------------


def test_a_truncated_tree_at_every_length(tmp_path):
    path = tmp_path / "tree"
    write_tree(path, {"weights": torch.arange(5.0), "n": 3})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=str(path)):
            read_tree(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(CheckpointError, match=str(path)):
        read_tree(path)


def test_flipped_bytes_give_an_error_or_other_numbers_but_nothing_else(tmp_path):
    path = tmp_path / "tree"
    write_tree(path, {"weights": torch.arange(5.0), "n": [3, {"m": None}]})
    whole = path.read_bytes()
    for position in range(len(whole)):
        for flip in (1, 128):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :])
            try:
                read_tree(path)
            except CheckpointError as error:
                assert str(path) in str(error)


def headers(tree, version=1):
    return safetensors_bytes(
        {"x": torch.zeros(1)}, metadata={"memagents": json.dumps({"format": version, "tree": tree})}
    )


FOREIGN = {
    "empty": b"",
    "text": b"hello" * 100,
    "pickle": pickle.dumps(Bomb()),
    "a safetensors file of others": safetensors_bytes({"x": torch.zeros(1)}),
    "with metadata of others": safetensors_bytes({"x": torch.zeros(1)}, metadata={"format": "pt"}),
    "metadata no JSON": safetensors_bytes({"x": torch.zeros(1)}, metadata={"memagents": "{"}),
    "metadata no dict": safetensors_bytes({"x": torch.zeros(1)}, metadata={"memagents": "[1]"}),
    "deep JSON": safetensors_bytes({"x": torch.zeros(1)}, metadata={"memagents": "[" * 100_000}),
    "huge header": (2**40).to_bytes(8, "little") + b"{}",
    "no tree": safetensors_bytes({"x": torch.zeros(1)}, metadata={"memagents": '{"format": 1}'}),
    "tree no node": headers(3),
    "tree a word": headers("array"),
    "tree empty": headers({}),
    "unknown array": headers({"array": "y", "numpy": True}),
    "array no name": headers({"array": ["x"], "numpy": True}),
    "dict of one": headers({"dict": [["key"]]}),
    "dict with an unhashable key": headers({"dict": [[[], {"value": 1}]]}),
    "list of words": headers({"list": ["value"], "tuple": False}),
    "format a word": headers({"value": 1}, version="1"),
    "format zero": headers({"value": 1}, version=0),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_and_hostile_trees(tmp_path, kind):
    path = tmp_path / "tree"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(CheckpointError, match=str(path)):
        read_tree(path)


def test_torchs_own_format(tmp_path):
    torch.save({"weights": torch.zeros(1), "bomb": Bomb()}, tmp_path / "tree")
    with pytest.raises(CheckpointError, match=r"tree is a file of torch\.save, .* unpickles nothing"):
        read_tree(tmp_path / "tree")


def test_missing_files_and_folders(tmp_path):
    for read in (read_tree, read_json):
        for path in (tmp_path / "missing", tmp_path / "no" / "folder"):
            with pytest.raises(CheckpointError, match=f"{path} does not exist"):
                read(path)
        with pytest.raises(CheckpointError, match=str(tmp_path)):
            read(tmp_path)


def test_a_newer_version_says_so(tmp_path):
    path = tmp_path / "tree"
    path.write_bytes(headers({"value": 1}, version=files.FORMAT_VERSION + 1))
    with pytest.raises(CheckpointError, match="has format 2, this memagents reads up to 1: update"):
        read_tree(path)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", pickle.dumps(Bomb()), b"[" * 100_000, b'{"a": 1} x'])
def test_what_is_no_json(tmp_path, data):
    path = tmp_path / "file.json"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=str(path)):
        read_json(path)


def test_json_there_and_back(tmp_path):
    write_json(tmp_path / "file.json", {"a": [1, 2.5, None, "ä"]})
    assert read_json(tmp_path / "file.json") == {"a": [1, 2.5, None, "ä"]}
    assert Path(tmp_path / "file.json").read_text().endswith("}\n")
    with pytest.raises(ValueError):
        write_json(tmp_path / "file.json", {"a": math.nan})
    assert read_json(tmp_path / "file.json")["a"][0] == 1


# --- random states --------------------------------------------------------------------------------------------------


def draws():
    return random.gauss(0, 1), random.random(), np.random.normal(), np.random.randint(10**9), torch.randn(3).tolist()  # noqa: NPY002


def test_random_states_go_on_exactly(tmp_path):
    random.gauss(0, 1)  # leaves a second number in waiting
    np.random.normal()  # noqa: NPY002
    write_tree(tmp_path / "tree", random_states.random_states())
    expected = [draws() for _ in range(3)]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    assert draws() != expected[0]
    random_states.set_random_states(read_tree(tmp_path / "tree"))
    assert [draws() for _ in range(3)] == expected


def test_draws_inside_leave_no_trace():
    states = random_states.random_states()
    expected = draws()
    random_states.set_random_states(states)
    with random_states.preserved_random_states():
        draws()
    assert draws() == expected
