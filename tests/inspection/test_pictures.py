"""Heat maps of a trace: one for each head, labels where they tell steps apart."""

import numpy as np
import pytest

from memagents.inspection.pictures import draw_maps, maps_of, tell_apart

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


def test_labels_are_drawn_where_they_tell_steps_apart():
    assert tell_apart(["a", "b", "c c", "c c"])
    assert not tell_apart([])
    assert not tell_apart(["inputs"] * 5)
    assert not tell_apart(["█ █", "█", "▒", "█▒"])
    assert not tell_apart([str(step) for step in range(100)])


@pytest.mark.parametrize("name", ["maps.png", "maps.svg"])
def test_both_formats_are_written(name, tmp_path):
    draw_maps(maps_of(TRACE, AXES, ["usage", "read_weights"]), tmp_path / name, ["a", "b", "c", "d", "e"], "title")
    assert (tmp_path / name).stat().st_size > 2000
