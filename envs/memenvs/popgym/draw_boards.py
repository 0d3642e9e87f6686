"""Pictures of a board of squares, each with a sign."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Circle
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_text, to_array

WATER, SHIP, MINE, OPEN, MARK, EDGE = "#C9DCEF", "#4A5468", "#1B2130", "#FFFFFF", "#E0921A", "#FCFBF8"
HIT, MUTED = "#C2293A", "#7C8190"
# By its sign the colour of a square, and that of the disc on it, if there is one.
SQUARES = {
    "·": (WATER, ""),
    "■": (SHIP, ""),
    "o": (WATER, OPEN),
    "x": (SHIP, HIT),
    "*": (WATER, MINE),
}
SIDE, GAP, TOP, LEAST = 44, 12, 44, 380  # pixels of a square, at the edge, above for words, and in width

TILES, FRAMES, SIGNS = range(1, 4)  # what covers what


def draw_board(signs: list[list[str]], last: int, words: str) -> NDArray[np.uint8]:
    """Draw a board: ships and mines dark, shots as discs, red where they hit, numbers on squares that are open.

    :param signs: a sign for each square, row by row: those of ``SQUARES``, or a number
    :param last: the square of the last action, which is framed, or -1
    :param words: written above
    :return: (height, width, 3) bytes
    """
    board = len(signs)
    size = (max(2 * GAP + SIDE * board, LEAST), TOP + SIDE * board + GAP)
    canvas, axes = blank_canvas(size)
    draw_text(axes, GAP, size[1] - TOP / 2, words, 15.0, INK, SIGNS, ha="left")
    margin = (size[0] - SIDE * board) / 2
    for row, line in enumerate(signs):
        for column, sign in enumerate(line):
            left, top = margin + SIDE * column, size[1] - TOP - SIDE * row
            box, middle = (left, top - SIDE, left + SIDE, top), (left + SIDE / 2, top - SIDE / 2)
            colour, disc = SQUARES.get(sign, (OPEN, ""))
            framed = row * board + column == last
            frame = {"edgecolor": MARK, "linewidth": 3} if framed else {"edgecolor": EDGE, "linewidth": 1.5}
            draw_box(axes, box, 3, colour, FRAMES if framed else TILES, **frame)
            if disc:
                axes.add_artist(Circle(middle, 0.24 * SIDE, color=disc, linewidth=0, zorder=SIGNS))
            elif sign.isdigit():
                draw_text(axes, *middle, sign, 18.0, INK if sign != "0" else MUTED, SIGNS, weight="bold")
    return to_array(canvas)


def ansi_board(signs: list[list[str]], last: int, words: str) -> str:
    """Return the same as text; brackets stand around the square of the last action."""
    board = len(signs)
    lines = [
        "".join(f"[{sign}]" if row * board + column == last else f" {sign} " for column, sign in enumerate(line))
        for row, line in enumerate(signs)
    ]
    return "\n".join([words, *lines])
