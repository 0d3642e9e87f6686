"""``memagents export``: a file made of a run, and one line where that cannot be."""

import pytest

from memagents.__main__ import main
from tests.export.support import opened, saved


@pytest.mark.parametrize("name", ["policy.onnx", "policy.pt2"])
def test_a_file_is_made_and_replaced(name, tmp_path, capsys):
    _, run = saved(tmp_path)
    (tmp_path / name).write_text("what was there")
    main(["export", str(run), str(tmp_path / name)])
    out = capsys.readouterr().out
    assert out.startswith(f"the policy is in {tmp_path / name}: over 200 steps of 4 environments within ")
    assert opened(tmp_path / name)[1]["core"] == "gru"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "run"]


@pytest.mark.parametrize(
    ("run", "name", "message"),
    [
        ("run", "policy.pth", "path must be a path that ends in .onnx or .pt2, not "),
        ("nowhere", "policy.onnx", "there is no run folder "),
        ("run", "run/policy.json/policy.onnx", "path must be a path in a folder that can be written"),
    ],
)
def test_bad_input_is_one_line(run, name, message, tmp_path, capsys):
    saved(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path / run), str(tmp_path / name)])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert error.startswith(f"error: {message}")
