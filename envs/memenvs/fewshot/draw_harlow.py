"""Two objects left and right, and below them the trials so far."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_line, draw_text, to_array

Object = NDArray[np.int64]  # (bits,) of 0 and 1

CARD, EMPTY = "#FFFFFF", "#EFEDE7"
COLOURS = ("#1769E0", "#E0921A", "#8E3FB0", "#0E8C8C", "#C2406E", "#5B6B2F")
RIGHT, WRONG = "#188A42", "#C43B1D"
MUTED = "#7C8190"

CARDS, CELLS, WORDS = range(1, 4)  # what covers what

MOST_SHOWN = 8  # of the trials that are over, the last ones


def draw_trials(
    objects: list[Object],
    sides: list[int],
    choices: list[int],
    fixated: bool,
    words: str,
    size: tuple[int, int] = (960, 480),
) -> NDArray[np.uint8]:
    """Draw the current observation, with a green line below the rewarded object, and the last trials below it.

    Of a trial that is over, the object that was chosen has a frame, green if it was the rewarded one, else red.

    :param objects: the rewarded one, the other one
    :param sides: the side of the rewarded object, 0 left and 1 right, in each trial that has begun
    :param choices: the sides chosen, in each trial that is over
    :param fixated: whether the objects are seen, or a cross
    :param words: written above
    :param size: width and height in pixels
    :return: (height, width, 3) bytes
    """
    canvas, axes = blank_canvas(size)
    width, height = size
    draw_text(axes, 26, height - 22, words, 15.0, INK, WORDS, ha="left")
    tall, middle = 0.44 * height, 0.62 * height
    going_on = len(choices) < len(sides)
    if going_on and fixated:
        for side, x in enumerate((0.3 * width, 0.7 * width)):
            draw_object(axes, objects, side != sides[-1], x, middle, tall)
        x = (0.3, 0.7)[sides[-1]] * width
        below = middle - tall / 2 - 14
        draw_line(axes, np.array([[x - tall / 2, below], [x + tall / 2, below]]), RIGHT, 5.0, CELLS)
    elif going_on:
        for across in ([[-1, 0], [1, 0]], [[0, -1], [0, 1]]):
            cross = np.array([width / 2, middle]) + 0.09 * height * np.array(across)
            draw_line(axes, cross, INK, 9.0, CELLS)
    begin = max(len(choices) - MOST_SHOWN, 0)
    slot = (width - 40) / MOST_SHOWN
    small = 0.36 * slot
    low = 0.07 * height + small / 2
    for place, (side, chosen) in enumerate(zip(sides[begin:], choices[begin:], strict=False)):
        x = 20 + slot * (place + 0.5)
        frame = RIGHT if chosen == side else WRONG
        for where in range(2):
            centre = x + (where - 0.5) * 0.42 * slot
            draw_object(axes, objects, where != side, centre, low, small, frame if where == chosen else None)
        draw_text(axes, x, low + small / 2 + 16, str(begin + place + 1), 13.0, MUTED, WORDS)
    return to_array(canvas)


def draw_object(
    axes: Axes, objects: list[Object], which: int, x: float, y: float, side: float, frame: str | None = None
) -> None:
    """A pattern of bits as a card of cells, in a colour of its own."""
    pattern = cells(objects[which])
    half = side / 2
    if frame is not None:
        wide = half + 5
        draw_box(axes, (x - wide, y - wide, x + wide, y + wide), 5, frame, CARDS)
    draw_box(axes, (x - half, y - half, x + half, y + half), 0.04 * side, CARD, CARDS)
    rows, columns = pattern.shape
    pitch, gap = 0.92 * side / max(rows, columns), 0.02 * side
    left, top = x - pitch * columns / 2, y + pitch * rows / 2
    colour = colours(objects)[which]
    for row in range(rows):
        for column in range(columns):
            if pattern[row, column] >= 0:
                box = (
                    left + pitch * column + gap / 2,
                    top - pitch * (row + 1) + gap / 2,
                    left + pitch * (column + 1) - gap / 2,
                    top - pitch * row - gap / 2,
                )
                draw_box(axes, box, 0.08 * pitch, colour if pattern[row, column] else EMPTY, CELLS)


def cells(bits: Object) -> NDArray[np.int64]:
    """The bits of an object in rows, almost a square, with -1 where there are none left."""
    rows = math.isqrt(len(bits))
    columns = -(-len(bits) // rows)
    return np.append(bits, np.full(rows * columns - len(bits), -1)).reshape(rows, columns)


def colours(objects: list[Object]) -> list[str]:
    """Return two different colours that depend on the objects alone."""
    first, second = (int("".join(map(str, bits)), 2) * 2654435761 >> 16 for bits in objects)
    first %= len(COLOURS)
    second %= len(COLOURS) - 1
    return [COLOURS[first], COLOURS[second + (second >= first)]]


def ansi_trials(objects: list[Object], sides: list[int], choices: list[int], fixated: bool, words: str) -> str:
    """The same as text: the objects, the rewarded one with ``*`` above, and ``+`` or ``-`` for each trial so far."""
    lines = [words]
    if len(choices) < len(sides):
        if fixated:
            order = objects if sides[-1] == 0 else objects[::-1]
            left, right = (["".join("·█ "[bit] * 2 for bit in row) for row in cells(bits)] for bits in order)
            wide = len(left[0]) + 4
            lines.append(("*" if sides[-1] == 0 else "").ljust(wide) + ("*" if sides[-1] == 1 else ""))
            lines += [first.ljust(wide) + second for first, second in zip(left, right, strict=True)]
        else:
            lines.append("+")
    shown = [f"{'LR'[choice]}{'+' if choice == side else '-'}" for side, choice in zip(sides, choices, strict=False)]
    return "\n".join([*lines, "trials: " + " ".join(shown)])
