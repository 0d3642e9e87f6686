"""Heat maps of a trace: one for each head, labels where they tell steps apart."""

from pathlib import Path

import numpy as np
import pytest

from memagents.inspection import pictures
from memagents.inspection.pictures import Map, draw_maps, maps_of, tell_apart

TRACE = {
    "usage": np.zeros((5, 4)),
    "read_weights": np.ones((5, 2, 4)),
    "depth": np.arange(5),
    "cube": np.ones((5, 2, 3, 4)),
}
AXES = {"usage": ["slot"], "read_weights": ["head", "slot"], "depth": []}


def test_each_head_is_a_map_of_its_own():
    found = maps_of(TRACE, AXES, ["read_weights", "usage", "depth"])
    assert [one.title for one in found] == ["read weights, head 0", "read weights, head 1", "usage", "depth"]
    assert [one.axis for one in found] == ["slot", "slot", "slot", ""]
    assert all(len(one.values) == 5 for one in found)
    with pytest.raises(ValueError, match="there is no 'writes' in the trace; it has usage, read_weights"):
        maps_of(TRACE, AXES, ["writes"])
    with pytest.raises(ValueError, match="at most two can be drawn"):
        maps_of(TRACE, AXES, ["cube"])
    with pytest.raises(ValueError, match=r"^tensors: 'none' holds nothing: its shape is \(5, 0\)$"):
        maps_of({"none": np.ones((5, 0))}, {}, ["none"])


def test_labels_are_drawn_where_they_tell_steps_apart():
    assert tell_apart(["a", "b", "c c", "c c"])
    assert not tell_apart([])
    assert not tell_apart(["inputs"] * 5)
    assert not tell_apart(["█ █", "█", "▒", "█▒"])
    assert not tell_apart([str(step) for step in range(100)])


@pytest.mark.filterwarnings("error")
def test_what_is_alike_everywhere_has_its_number_and_one_row_has_none(monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "write", lambda figure, path: drawn.append(figure))
    gaps, infinite = np.full((5, 3), np.nan), np.where(np.eye(5, 3), np.inf, 2.0)
    draw_maps(
        [Map("none lost", np.zeros((5, 3)), "slot"), Map("gaps", gaps, "slot"), Map("inf", infinite, "slot")],
        Path("maps.png"),
    )
    draw_maps(maps_of(TRACE, AXES, ["depth"]), Path("maps.png"))
    assert drawn[0].axes[0].get_ylim() == (2.5, -0.5)  # slot 0 is at the top, as on the page
    maps, one_row = (figure.axes for figure in drawn)
    assert [list(bar.get_yticks()) for bar in maps[3:]] == [[0], [0], [2]]
    assert list(one_row[0].get_yticks()) == [] and len(one_row[1].get_yticks()) > 1


@pytest.mark.parametrize("name", ["maps.png", "maps.svg"])
def test_both_formats_are_written(name, tmp_path):
    draw_maps(maps_of(TRACE, AXES, ["usage", "read_weights"]), str(tmp_path / name), ["a", "b", "c", "d", "e"], "title")
    assert (tmp_path / name).stat().st_size > 2000
