"""A T-maze, drawn or written as text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_head, draw_line, draw_text, to_array

CUES = {"up": 1, "down": -1}

FLOOR, WALL, SEAM = "#FFFFFF", "#2B3245", "#E4E2DC"
CUE = "#E0921A"
GOAL = "#188A42"
AGENT = "#1769E0"

# What covers what.
WALLS, FLOORS, SEAMS, SIGNS, AGENTS = range(1, 6)

TILES_FROM = 8.0  # pixels between two steps of the corridor, below which its tiles are not drawn


def draw_tmaze(
    length: int,
    cue: str,
    position: tuple[int, int],
    size: tuple[int, int] = (960, 360),
    goal: str | None = None,
    marks: Mapping[int, str] | None = None,
) -> NDArray[np.uint8]:
    """Draw a T-maze: the cue on a sign above the start, the goal in the arm that it points to, the agent.

    A corridor too long for the picture is drawn to scale, without its tiles.

    :param length: steps from the start to the junction
    :param cue: "up" or "down"
    :param position: (x, y) of the agent, x from 0 at the start to ``length`` at the junction; y is 1 in the upper arm,
        -1 in the lower one, otherwise 0
    :param size: width and height in pixels
    :param goal: the arm of the goal, "up" or "down", if it is not where the cue points
    :param marks: signs on the floor by their x, left out where the tiles are
    :return: (height, width, 3) bytes
    :raises ValueError: for another cue or goal, a position outside the maze, or a size that is none
    """
    goal = cue if goal is None else goal
    _check(length, cue, position, goal)
    canvas, axes = blank_canvas(size)
    width, height = size
    tile = min(height / 4.4, width / 6.5)
    step = min((width - 2.4 * tile) / length, tile)
    left, middle = (width - length * step) / 2, height / 2
    junction = left + length * step

    def place(x: int, y: int) -> tuple[float, float]:
        return left + x * step, middle + y * tile

    corridor = (left - tile / 2, middle - tile / 2, junction, middle + tile / 2)
    arms = (junction - tile / 2, middle - 1.5 * tile, junction + tile / 2, middle + 1.5 * tile)
    wall = 0.13 * tile
    for box in (corridor, arms):
        grown = (box[0] - wall, box[1] - wall, box[2] + wall, box[3] + wall)
        draw_box(axes, grown, 1.6 * wall, WALL, WALLS)
        draw_box(axes, box, 0.6 * wall, FLOOR, FLOORS)
    _draw_seams(axes, left, junction, middle, tile, step)
    _draw_sign(axes, (left, middle + 1.05 * tile), tile, CUES[cue])
    _draw_goal(axes, place(length, CUES[goal]), tile)
    if step >= TILES_FROM:
        for x, mark in (marks or {}).items():
            draw_text(axes, *place(x, 0), mark, min(0.7 * step, 0.5 * tile), INK, SIGNS, weight="bold")
    _draw_agent(axes, place(*position), tile)
    return to_array(canvas)


def ansi_tmaze(
    length: int,
    cue: str,
    position: tuple[int, int],
    goal: str | None = None,
    marks: Mapping[int, str] | None = None,
) -> str:
    """A T-maze as text: ``↑`` or ``↓`` is the cue at the start, ``G`` the goal, ``@`` the agent.

    The arguments are those of :func:`draw_tmaze`.
    """
    goal = cue if goal is None else goal
    _check(length, cue, position, goal)
    cells = {(x, 0): "·" for x in range(length + 1)} | {(length, 1): "·", (length, -1): "·"}
    cells |= {(x, 0): mark for x, mark in (marks or {}).items()}
    cells[0, 0] = "↑" if cue == "up" else "↓"
    cells[length, CUES[goal]] = "G"
    cells[position] = "@"
    rows = ["".join(cells.get((x, y), "█") for x in range(-1, length + 2)) for y in (2, 1, 0, -1, -2)]
    here = "the start" if position[0] == 0 else "the junction" if position == (length, 0) else f"{position}"
    return "\n".join([*rows, f"cue {cue}, agent at {here}"])


def _check(length: int, cue: str, position: tuple[int, int], goal: str) -> None:
    if length < 1:
        raise ValueError(f"length must be 1 or more, not {length!r}")
    for name, side in (("cue", cue), ("goal", goal)):
        if side not in CUES:
            raise ValueError(f"{name} must be one of {sorted(CUES)}, not {side!r}")
    x, y = position
    if not ((0 <= x <= length and y == 0) or (x == length and y in (-1, 1))):
        raise ValueError(
            f"position must be in the corridor, (0 to {length}, 0), or an arm, ({length}, ±1), not {position}"
        )


def _draw_seams(axes: Axes, left: float, junction: float, middle: float, tile: float, step: float) -> None:
    """The lines between tiles."""
    across = np.array([-tile / 2, tile / 2])
    if step >= TILES_FROM:
        for x in np.arange(left + step / 2, junction - tile / 2 + 1e-6, step):
            draw_line(axes, np.stack([[x, x], middle + across], axis=1), SEAM, 0.02 * tile, SEAMS)
    for y in (middle - tile / 2, middle + tile / 2):
        draw_line(axes, np.stack([junction + across, [y, y]], axis=1), SEAM, 0.02 * tile, SEAMS)


def _draw_sign(axes: Axes, centre: tuple[float, float], tile: float, way: int) -> None:
    """The cue: an arrow on a square board."""
    x, y = centre
    half = 0.36 * tile
    draw_box(axes, (x - half, y - half, x + half, y + half), 0.1 * tile, CUE, SIGNS)
    tip = np.array([x, y + 0.29 * tile * way])
    draw_head(axes, tip, np.array([0.0, float(way)]), 0.15 * tile, "white", SIGNS)
    draw_line(axes, np.array([[x, y - 0.28 * tile * way], [x, y + 0.06 * tile * way]]), "white", 0.11 * tile, SIGNS)


def _draw_goal(axes: Axes, centre: tuple[float, float], tile: float) -> None:
    """A ring, so that an agent which arrives shows inside."""
    for radius, colour in ((0.4, GOAL), (0.31, FLOOR)):
        axes.add_artist(Circle(centre, radius * tile, color=colour, linewidth=0, zorder=SIGNS))


def _draw_agent(axes: Axes, centre: tuple[float, float], tile: float) -> None:
    style = {"facecolor": AGENT, "edgecolor": "white", "linewidth": 0.05 * tile, "zorder": AGENTS}
    axes.add_artist(Circle(centre, 0.27 * tile, **style))
