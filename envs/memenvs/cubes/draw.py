"""A grid of coloured cubes, drawn or written as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Circle
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_text, to_array

COLOURS = {
    "red": "#D7263D",
    "green": "#188A42",
    "blue": "#1769E0",
    "yellow": "#E8B407",
    "purple": "#7B3FA0",
    "orange": "#E8730C",
    "cyan": "#12A5B8",
    "magenta": "#EA6FB0",
}
PLACE, AGENT, FAINT = "#EFEDE7", "#2B3245", 0.3
PLACES, BOXES, AGENTS, WORDS = range(1, 5)  # what covers what
MARGIN, CAPTION = 16, 44


def draw_cubes(
    size: int,
    cubes: Sequence[tuple[int, int]],
    agent: tuple[int, int],
    target: int,
    shown: bool,
    caption: str,
    side: int = 420,
) -> NDArray[np.uint8]:
    """Draw the places, the cubes, a disc where the agent is, and above them the target.

    :param size: places in a row and in a column
    :param cubes: column and row of each, row 0 below
    :param agent: likewise
    :param target: the number of a cube
    :param shown: whether the agent sees the cubes; otherwise they are faint
    :param caption: written above
    :param side: of the grid, in pixels
    :return: (height, width, 3) bytes
    """
    canvas, axes = blank_canvas((side + 2 * MARGIN, side + 2 * MARGIN + CAPTION))
    pitch, colours = side / size, list(COLOURS.values())

    def box(place: tuple[int, int], half: float) -> tuple[float, float, float, float]:
        x, y = (MARGIN + (number + 0.5) * pitch for number in place)
        return x - half * pitch, y - half * pitch, x + half * pitch, y + half * pitch

    for column in range(size):
        for row in range(size):
            draw_box(axes, box((column, row), 0.46), 0.06 * pitch, PLACE, PLACES)
    for cube, place in enumerate(cubes):
        draw_box(axes, box(place, 0.34), 0.06 * pitch, colours[cube], BOXES, alpha=1.0 if shown else FAINT)
    x, y = (MARGIN + (number + 0.5) * pitch for number in agent)
    axes.add_artist(Circle((x, y), 0.2 * pitch, facecolor=AGENT, edgecolor="white", linewidth=2, zorder=AGENTS))
    middle = side + MARGIN + 0.6 * CAPTION
    draw_box(axes, (MARGIN + 2, middle - 11, MARGIN + 24, middle + 11), 3, colours[target], BOXES)
    draw_text(axes, MARGIN + 34, middle, f"target; {caption}", 15.0, INK, WORDS, ha="left")
    return to_array(canvas)


def ansi_cubes(
    size: int, cubes: Sequence[tuple[int, int]], agent: tuple[int, int], target: int, shown: bool, caption: str
) -> str:
    """Write the places with the initials of the cubes' colours, small ones while they are hidden, ``@`` for the agent.

    The arguments are those of :func:`draw_cubes`.
    """
    names = list(COLOURS)
    marks = {place: names[cube][0].upper() if shown else names[cube][0] for cube, place in enumerate(cubes)}
    marks[agent] = "@"
    rows = ["".join(marks.get((column, row), "·") for column in range(size)) for row in reversed(range(size))]
    return "\n".join([*rows, f"target {names[target]}; {caption}"])
