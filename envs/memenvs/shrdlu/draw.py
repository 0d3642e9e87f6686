"""A board and goals, drawn or written as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_line, draw_text, to_array

BLOCKS = ("#D7503E", "#2F6FBF", "#2E9B63", "#E0962B", "#7D55B3", "#1F98A6")  # of the numbers from 1
TABLE, SLOT, RIM, CARD = "#B9A78C", "#F1EDE4", "#DDDAD2", "#FFFFFF"
FAINT, DONE, ASKED, SHOWN = "#A9AFBC", "#188A42", "#1769E0", "#D6E6FF"
BACK, FRONT, CHIPS, MARKS = range(1, 5)  # what covers what

# Pixels, where the picture is as wide and high as by default.
WIDTH, HEIGHT = 1040, 540
MARGIN, SIDE = 28, 88  # at the left, of a block
CARDS, GAP = 330, 12  # where the cards begin, between them
CARDS_IN_ROW = 5
WIDEST_CARD = 150
HEAD, LINE = 48, 31  # of a card: the letter, a constraint


@dataclass
class Constraint:
    """A constraint of a goal, as a picture shows it."""

    first: int
    relation: str
    second: int
    read: bool  # shown to the agent already
    shown: bool  # to it at this step
    satisfied: bool


@dataclass
class Goal:
    """A goal, as a picture shows it."""

    letter: str
    constraints: list[Constraint]
    asked: bool  # the agent has been asked for it


def draw_puzzle(
    columns: list[list[int]], goals: list[Goal], title: str, note: str, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> NDArray[np.uint8]:
    """Draw the board at the left and the goals as cards at the right, the queried one framed.

    :param columns: of the board, blocks from the bottom
    :param goals: up to ten, in the order in which they stand
    :param title: the current phase, in words
    :param note: a line below the board
    :param size: width and height in pixels
    :return: (height, width, 3) bytes
    """
    canvas, axes = blank_canvas(size)
    unit = min(size[0] / WIDTH, size[1] / HEIGHT)
    left, low = MARGIN * unit, size[1] / 2 - 150 * unit
    _draw_board(axes, columns, left, low, SIDE * unit)
    draw_text(axes, left, low + 335 * unit, title, 22 * unit, INK, MARKS, ha="left", weight="bold")
    draw_text(axes, left, low - 44 * unit, note, 14 * unit, INK, MARKS, ha="left")
    rows = -(-len(goals) // CARDS_IN_ROW)
    in_row = -(-len(goals) // rows)
    wide = min((size[0] / unit - CARDS - MARGIN + GAP) / in_row - GAP, WIDEST_CARD) * unit
    tall = (HEAD + LINE * (max(len(goal.constraints) for goal in goals) + 0.25)) * unit
    top = (size[1] + rows * tall + (rows - 1) * GAP * unit) / 2
    for i, goal in enumerate(goals):
        x = (CARDS + i % in_row * GAP) * unit + i % in_row * wide
        y = top - i // in_row * (tall + GAP * unit)
        _draw_goal(axes, goal, (x, y - tall, x + wide, y), unit)
    return to_array(canvas)


def _draw_board(axes: Axes, columns: list[list[int]], left: float, low: float, side: float) -> None:
    gap = 0.05 * side
    draw_box(axes, (left - gap, low - 2.5 * gap, left + 3 * side + gap, low - 0.5 * gap), gap, TABLE, BACK)
    for i, column in enumerate(columns):
        for h in range(3):
            x, y = left + i * side, low + h * side
            box = (x + gap / 2, y, x + side - gap / 2, y + side - gap)
            if h < len(column):
                _draw_block(axes, column[h], box, 2 * gap, 0.45 * side)
            else:
                draw_box(axes, box, 2 * gap, SLOT, BACK)


def _draw_block(
    axes: Axes, number: int, box: tuple[float, float, float, float], corner: float, letters: float, alpha: float = 1.0
) -> None:
    draw_box(axes, box, corner, BLOCKS[number - 1], CHIPS, alpha=alpha)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    draw_text(axes, x, y, str(number), letters, "white", MARKS, weight="bold")


def _draw_goal(axes: Axes, goal: Goal, box: tuple[float, float, float, float], unit: float) -> None:
    left, _, right, top = box
    rim, thick = (ASKED, 3.5) if goal.asked else (RIM, 1.2)
    draw_box(axes, box, 10 * unit, CARD, BACK, edgecolor=rim, linewidth=thick * unit)
    known = any(constraint.read for constraint in goal.constraints)
    ink = ASKED if goal.asked else INK if known else FAINT
    draw_text(axes, left + 14 * unit, top - 24 * unit, goal.letter, 22 * unit, ink, MARKS, ha="left", weight="bold")
    ends = [[left + 12 * unit, top - 44 * unit], [right - 12 * unit, top - 44 * unit]]
    draw_line(axes, np.array(ends), RIM, unit, FRONT)
    for i, constraint in enumerate(goal.constraints):
        _draw_constraint(axes, constraint, left, right, top - (HEAD + LINE * (i + 0.5)) * unit, unit)


def _draw_constraint(axes: Axes, constraint: Constraint, left: float, right: float, y: float, unit: float) -> None:
    half = 9.5 * unit
    if constraint.shown:
        draw_box(axes, (left + 5 * unit, y - 14 * unit, right - 5 * unit, y + 14 * unit), 5 * unit, SHOWN, FRONT)
    if constraint.satisfied:
        tick = DONE if constraint.read else FAINT
        draw_text(axes, left + 16 * unit, y, "✓", 15 * unit, tick, MARKS, weight="bold")
    chips = left + 34 * unit, right - 18 * unit
    for x, number in zip(chips, (constraint.first, constraint.second), strict=True):
        box = (x - half, y - half, x + half, y + half)
        _draw_block(axes, number, box, 3 * unit, 13 * unit, 1.0 if constraint.read else 0.35)
    ink = INK if constraint.read else FAINT
    draw_text(axes, sum(chips) / 2, y, constraint.relation, 12 * unit, ink, MARKS)


def ansi_puzzle(columns: list[list[int]], goals: list[Goal], title: str, note: str) -> str:
    """Return the same as text: the queried goal after ``>``, the current constraint in [ ], those to come in ( )."""
    lines = [title, ""]
    for h in reversed(range(3)):
        lines.append("  " + " ".join(str(column[h]) if h < len(column) else "·" for column in columns))
    lines.append("")
    for goal in goals:
        lines.append(f"{'>' if goal.asked else ' '} {goal.letter}: {', '.join(map(_said, goal.constraints))}")
    return "\n".join([*lines, "", note])


def _said(constraint: Constraint) -> str:
    said = f"{constraint.first} {constraint.relation} {constraint.second}" + (" ✓" if constraint.satisfied else "")
    if constraint.shown:
        return f"[{said}]"
    return said if constraint.read else f"({said})"
