"""A torus of symbols with an agent and a goal."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Circle
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_text, to_array

CARD, GOAL, AGENT = "#EFEDE7", "#D7263D", "#1769E0"
CARDS, MARKS, WORDS = range(1, 4)  # what covers what
MARGIN, CAPTION = 16, 40
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def draw_torus(
    symbols: NDArray[np.uint8], agent: tuple[int, int], goal: tuple[int, int], caption: str, side: int = 480
) -> NDArray[np.uint8]:
    """Draw the places with their symbols, a disc where the agent is, a frame around the goal.

    :param symbols: (rows, columns), row 0 below
    :param agent: column and row
    :param goal: likewise
    :param caption: written above
    :param side: of the torus, in pixels
    :return: (height, width, 3) bytes
    """
    size = len(symbols)
    canvas, axes = blank_canvas((side + 2 * MARGIN, side + 2 * MARGIN + CAPTION))
    pitch = side / size
    for (row, column), symbol in np.ndenumerate(symbols):
        x, y = MARGIN + (column + 0.5) * pitch, MARGIN + (row + 0.5) * pitch
        half = 0.45 * pitch
        frame = {"edgecolor": GOAL, "linewidth": 0.07 * pitch} if (column, row) == goal else {}
        draw_box(axes, (x - half, y - half, x + half, y + half), 0.1 * pitch, CARD, CARDS, **frame)
        here = (column, row) == agent
        if here:
            axes.add_artist(Circle((x, y), 0.32 * pitch, facecolor=AGENT, linewidth=0, zorder=MARKS))
        draw_text(axes, x, y, name(int(symbol), size), 0.3 * pitch, "white" if here else INK, WORDS, weight="bold")
    draw_text(axes, MARGIN + 2, side + MARGIN + 0.65 * CAPTION, caption, 16.0, INK, WORDS, ha="left")
    return to_array(canvas)


def ansi_torus(symbols: NDArray[np.uint8], agent: tuple[int, int], goal: tuple[int, int], caption: str) -> str:
    """Write the places with their symbols, the agent's in brackets, the goal's with stars; arguments as above."""
    size = len(symbols)
    lines = []
    for row in reversed(range(size)):
        line = ""
        for column in range(size):
            left = "[" if (column, row) == agent else "*" if (column, row) == goal else " "
            right = {"[": "]"}.get(left, left)
            line += f"{left}{name(int(symbols[row, column]), size):>{len(name(size * size - 1, size))}}{right}"
        lines.append(line.rstrip())
    return "\n".join([*lines, f"{caption}; goal: {name(int(symbols[goal[1], goal[0]]), size)}"])


def name(symbol: int, size: int) -> str:
    """Return a symbol as a letter, or as a number where there are more than letters."""
    return LETTERS[symbol] if size * size <= len(LETTERS) else str(symbol)
