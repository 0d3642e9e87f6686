"""The bits of a memory experiment, and how far off the question is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_text, to_array

A_ROW = 16  # cells
ZERO, ONE = "#E4E2DC", INK
ASKED = "#E0921A"
TRACK, NOW = "#E4E2DC", "#1769E0"
RIGHT, WRONG = "#188A42", "#C43B1D"

BOXES, LETTERS = 1, 2


def draw_memory(
    bits: list[int],
    query: int,
    time: int,
    length: int,
    answer: int | None,
    size: tuple[int, int] = (640, 320),
) -> NDArray[np.uint8]:
    """Draw the bits as cells, the one that is asked for framed, a bar of the time, and in the end the answer.

    :param bits: of the context, 0 or 1 each
    :param query: place of the bit that is asked for
    :param time: of the present observation, from 0 to ``length``
    :param length: of the wait
    :param answer: the agent's, if it has been given
    :param size: width and height in pixels
    :return: (height, width, 3) bytes
    """
    canvas, axes = blank_canvas(size)
    width, height = size
    columns = min(len(bits), A_ROW)
    side = min(0.9 * width / A_ROW, 0.15 * height)
    left, top = (width - columns * side) / 2, 0.62 * height + side * math.ceil(len(bits) / A_ROW) / 2
    for i, bit in enumerate(bits):
        x, y = left + i % A_ROW * side, top - (i // A_ROW + 1) * side
        cell = (x + 2, y + 2, x + side - 2, y + side - 2)
        frame = {"edgecolor": ASKED, "linewidth": 3} if i == query else {}
        draw_box(axes, cell, 4, ONE if bit else ZERO, BOXES, **frame)
    low, high, middle = 0.05 * width, 0.95 * width, 0.2 * height
    draw_box(axes, (low, middle - 5, high, middle + 5), 5, TRACK, BOXES)
    draw_box(axes, (low, middle - 5, low + 10 + (high - low - 10) * time / length, middle + 5), 5, NOW, BOXES)
    caption, colour = f"step {time} of {length}", INK
    if answer is not None:
        caption, colour = f"answer {answer}", RIGHT if answer == bits[query] else WRONG
    draw_text(axes, width / 2, 0.09 * height, caption, 16, colour, LETTERS)
    return to_array(canvas)
