"""Pictures of T-mazes."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from memenvs.maze import draw as maze
from memenvs.maze.draw import ansi_tmaze, draw_tmaze
from tests.memenvs.support.pictures import pixels


def test_tmaze_shows_cue_goal_and_agent():
    start = draw_tmaze(5, "up", (0, 0), (480, 180))
    assert start.shape == (180, 480, 3) and start.dtype == np.uint8
    for colour in (maze.CUE, maze.GOAL, maze.AGENT):
        assert pixels(start, colour) > 20, colour
    others = [("down", (0, 0)), ("up", (1, 0)), ("up", (5, 0)), ("up", (5, 1)), ("up", (5, -1))]
    pictures = [start, *(draw_tmaze(5, cue, position, (480, 180)) for cue, position in others)]
    assert len({picture.tobytes() for picture in pictures}) == 6
    green = np.argwhere(np.abs(start.astype(int) - np.round(np.array(to_rgb(maze.GOAL)) * 255)).max(axis=2) <= 1)
    assert green[:, 0].max() < 90 and green[:, 1].min() > 240  # up on the picture, at the far end


def test_tmaze_turned_over_is_the_other_cue():
    up, down = (draw_tmaze(7, cue, (7, y), (400, 200)) for cue, y in (("up", 1), ("down", -1)))
    right = np.s_[:, 250:]  # without the sign, whose arrow turns in its place
    assert np.abs(up[right].astype(int) - down[::-1][right]).mean() < 1.0


@pytest.mark.parametrize("length", [1, 2, 500])
def test_tmaze_of_any_length(length):
    assert pixels(draw_tmaze(length, "down", (length, -1), (256, 128)), maze.AGENT) > 20


def test_text_of_a_tmaze():
    assert ansi_tmaze(3, "down", (1, 0)).splitlines() == [
        "██████",
        "████·█",
        "█↓@··█",
        "████G█",
        "██████",
        "cue down, agent at (1, 0)",
    ]
    assert ansi_tmaze(3, "up", (3, 1)).splitlines()[1] == "████@█"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, "up", (0, 0)), "length"),
        ((5, "left", (0, 0)), "cue"),
        ((5, "up", (6, 0)), "position"),
        ((5, "up", (2, 1)), "position"),
        ((5, "up", (5, 2)), "position"),
    ],
)
def test_tmaze_bad_input_is_named(arguments, message):
    for function in (draw_tmaze, ansi_tmaze):
        with pytest.raises(ValueError, match=f"^{message} must"):
            function(*arguments)


def test_a_goal_that_the_cue_does_not_show_and_signs_on_the_floor():
    assert ansi_tmaze(3, "up", (0, 0), goal="down", marks={2: "×"}).splitlines()[1:4] == ["████·█", "█@·×·█", "████G█"]
    plain, turned, marked = (
        draw_tmaze(5, "up", (0, 0), (480, 180), **more) for more in ({}, {"goal": "down"}, {"marks": {2: "×"}})
    )
    assert (plain != turned).any()
    assert (plain[:90] != marked[:90]).any()
    with pytest.raises(ValueError, match=r"^goal must"):
        draw_tmaze(5, "up", (0, 0), goal="left")
