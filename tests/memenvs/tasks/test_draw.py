"""Pictures of the tasks: every cell is there, and wrong ones show."""

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from memenvs.tasks.draw import NOW, ONE, WRONG_ONE, WRONG_ZERO, ZERO, ansi_rows, draw_rows

BLOCKS = {
    "inputs": np.array([[1, 0, 0, 0.0], [0, 1, 0, 0]]),
    "targets": np.array([[np.nan, np.nan, 1, 0], [np.nan, np.nan, 1, 0]]),
    "outputs": np.array([[np.nan, np.nan, 1, np.nan], [np.nan, np.nan, 0, np.nan]]),
}


def pixels(picture, colour):
    return int((picture == np.round(np.array(to_rgb(colour)) * 255)).all(axis=2).sum())


def test_as_text():
    assert ansi_rows(BLOCKS, 3).split("\n") == [
        "inputs   █···",
        "         ·█··",
        "targets    █·",
        "           █·",
        "outputs    █ ",
        "           ○ ",
        "            ^",
    ]


def test_numbers_are_bars():
    blocks = BLOCKS | {"inputs": np.array([[-1, 0.25, 1, np.nan], [0.0, 1, 1, 0]])}
    assert ansi_rows(blocks, 0).split("\n")[:2] == ["inputs   ▁▅█ ", "         ·██·"]


def test_cells_have_their_colours_and_sizes():
    picture = draw_rows(BLOCKS, 4, size=(960, 480))
    assert picture.shape == (480, 960, 3) and picture.dtype == np.uint8
    cell = pixels(picture, WRONG_ZERO)  # one of them
    assert 350 < cell <= 24 * 24
    assert pixels(picture, ONE) == pytest.approx(5 * cell, rel=0.15)  # and letters
    assert pixels(picture, ZERO) == pytest.approx(8 * cell, rel=0.15)
    assert pixels(picture, WRONG_ONE) == 0
    wrong = BLOCKS | {"targets": 1 - BLOCKS["targets"]}
    assert pixels(draw_rows(wrong, 4), WRONG_ONE) == pytest.approx(cell, rel=0.15)
    assert pixels(picture, NOW) > 200


def test_the_line_moves_with_time():
    first, later = ((draw_rows(BLOCKS, now) == [0x17, 0x69, 0xE0]).all(axis=2).nonzero()[1].mean() for now in (1, 3))
    assert later - first == pytest.approx(48, abs=1)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Copy", {}),
        ("Copy", {"length": 256}),
        ("RepeatCopy", {}),
        ("AssociativeRecall", {}),
        ("DynamicNGrams", {}),
        ("DynamicNGrams", {"n": 1, "steps": 1}),
        ("PrioritySort", {"inputs": 4, "outputs": 4}),
    ],
    ids=str,
)
def test_every_task_has_its_pictures(name, parameters):
    image = gym.make(f"memenvs/{name}-v0", render_mode="rgb_array", **parameters).unwrapped
    text = gym.make(f"memenvs/{name}-v0", render_mode="ansi", **parameters).unwrapped
    image.reset(seed=0)
    text.reset(seed=0)
    end, steps, before = False, 0, None
    first = image.render()
    while not end:
        if steps < 5:
            assert "^" in text.render() and text.render() != before
            before = text.render()
        action = np.maximum(image.oracle(), 0)
        text.step(1 - action)
        _, _, end, _, _ = image.step(action)
        steps += 1
    lines = text.render().split("\n")
    assert lines[-1].index("^") == 9 + steps
    outputs = "".join(lines[[line.startswith("outputs") for line in lines].index(True) : -1])
    if name != "DynamicNGrams":  # which has no certain target
        assert not set("█·") & set(outputs)
        assert pixels(image.render(), WRONG_ONE) + pixels(image.render(), WRONG_ZERO) == 0
    assert set("▓○") & set(outputs) or name == "DynamicNGrams"
    last = image.render()
    assert last.shape == first.shape == (480, 960, 3)
    assert not np.array_equal(first, last)
