"""Pictures of a bandit's arms: above a line their payouts, below it the numbers of their pulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import NDArray

from memenvs.render import INK, PAPER, blank_canvas, draw_box, draw_head, draw_line, draw_text, text_size, to_array

PAYS, BEST = "#D8D5CC", "#8CCB9E"  # an arm, the best arm
KNOWN = "#1769E0"  # what the agent has had from an arm
PULLED = "#9DBCEB"
MUTED = "#7C8190"

GRID, BARS, MARKS, WORDS = range(1, 5)  # what covers what

EDGE, TOP, LEFT = 26, 86, 92  # pixels at the sides and below; above, for the last reward; at the left, for names
NUMBERS_FROM = 30.0  # pixels an arm has, below which no numbers are written
CELLS = 20  # of a bar of text


def draw_arms(
    numbers: Mapping[str, NDArray[np.float64]],
    words: str,
    last: tuple[int, float] | None,
    size: tuple[int, int] = (960, 480),
) -> NDArray[np.uint8]:
    """Draw the arms as bars, the best one green: its expected reward and, as a dot, its mean reward so far.

    Below the line are the pulls, and in a darker blue the rewards they brought, where these are 0 or 1. An arrow points
    at the arm pulled last.

    :param numbers: ``mean``, ``pulls`` and ``earned``, each (arms,)
    :param words: written above
    :param last: the arm pulled last and its reward, or None
    :param size: width and height in pixels
    :return: (height, width, 3) bytes
    """
    canvas, axes = blank_canvas(size)
    width, height = size
    means, pulls, earned = numbers["mean"], numbers["pulls"], numbers["earned"]
    low, high = limits(numbers)
    floor = EDGE + 0.34 * (height - EDGE - TOP)  # of the upper part
    scale = (height - TOP - floor) / (high - low)
    line = floor - low * scale
    slot = min((width - LEFT - EDGE) / len(means), 150.0)
    left = LEFT + (width - LEFT - EDGE - slot * len(means)) / 2
    middles = left + slot * (np.arange(len(means)) + 0.5)
    half = 0.36 * slot
    numbered = slot >= NUMBERS_FROM
    letters = min(15.0, 0.27 * slot)
    wins = bool(np.all((earned == np.rint(earned)) & (earned >= 0) & (earned <= pulls)))
    base = floor - (34 if numbered else 10)
    deepest = (base - EDGE - 16) / max(int(pulls.max()), 5)
    for arm, x in enumerate(middles):
        colour = BEST if means[arm] == means.max() else PAYS
        ends = sorted((line, line + scale * means[arm]))
        draw_box(axes, (x - half, ends[0], x + half, max(ends[1], ends[0] + 2)), 0, colour, BARS)
        if pulls[arm]:
            depth = base - deepest * pulls[arm]
            draw_box(axes, (x - half, depth, x + half, base), 0, PULLED, BARS)
            if wins:
                draw_box(axes, (x - half, base - deepest * earned[arm], x + half, base), 0, KNOWN, BARS)
            dot = (x, line + scale * earned[arm] / pulls[arm])
            style = {"facecolor": KNOWN, "edgecolor": PAPER, "linewidth": 1.5, "zorder": MARKS}
            axes.add_artist(Circle(dot, min(7.0, 0.8 * half), **style))
        if numbered:
            draw_text(axes, x, floor - 20, str(arm), letters, INK, WORDS)
            count = base - deepest * pulls[arm] - 10
            draw_text(axes, x, count, str(pulls[arm]), letters, MUTED, WORDS)
    right, beside = left + slot * len(means), left - 12
    draw_line(axes, np.array([[left, line], [right, line]]), INK, 1.5, MARKS)
    draw_line(axes, np.array([[left, height - TOP], [right, height - TOP]]), PAYS, 1.0, GRID)
    for y, value in ((line, 0.0), (height - TOP, high)):
        draw_text(axes, beside, y, f"{value:.2g}", 13.0, MUTED, WORDS, ha="right")
    draw_text(axes, beside, (line + height - TOP) / 2, "pays", 14.0, INK, WORDS, ha="right")
    draw_text(axes, beside, (base + EDGE) / 2, "pulls", 14.0, INK, WORDS, ha="right")
    if numbered:
        draw_text(axes, beside, floor - 20, "arm", 14.0, INK, WORDS, ha="right")
    draw_text(axes, EDGE, height - 22, words, 15.0, INK, WORDS, ha="left")
    if last is not None:
        draw_last(axes, float(middles[last[0]]), height - TOP + 16, last[1], width)
    return to_array(canvas)


def draw_last(axes: Axes, x: float, y: float, reward: float, width: int) -> None:
    """An arrow down at a place, and the reward beside it."""
    draw_head(axes, np.array([x, y]), np.array([0.0, -1.0]), 8.0, KNOWN, MARKS)
    draw_line(axes, np.array([[x, y + 12], [x, y + 28]]), KNOWN, 5.0, MARKS)
    said = shown(reward)
    fits = x + 14 + text_size(said, 15.0, True)[0] < width
    style = {"ha": "left" if fits else "right", "weight": "bold"}
    draw_text(axes, x + (14 if fits else -14), y + 16, said, 15.0, KNOWN, WORDS, **style)


def ansi_arms(numbers: Mapping[str, NDArray[np.float64]], words: str, last: tuple[int, float] | None) -> str:
    """Return the same as text: a bar for each arm's payout, ``*`` at the best one and ``<`` at the last one pulled."""
    low, high = limits(numbers)
    lines = [words]
    means = numbers["mean"]
    for arm, (mean, pulls, earned) in enumerate(zip(means, numbers["pulls"], numbers["earned"], strict=True)):
        filled = round((mean - low) / (high - low) * CELLS)
        bar = "█" * filled + "·" * (CELLS - filled)
        best = "*" if mean == means.max() else " "
        average = f", on average {earned / pulls:.2f}" if pulls else ""
        pulled = f"  < {shown(last[1])}" if last is not None and last[0] == arm else ""
        lines.append(f"{best}{arm:2d} {bar} {mean:5.2f}  pulls {pulls}{average}{pulled}")
    return "\n".join(lines)


def limits(numbers: Mapping[str, NDArray[np.float64]]) -> tuple[float, float]:
    """Return the least and the greatest number that bars show: 0 and 1, or values beyond."""
    averages = numbers["earned"] / np.maximum(numbers["pulls"], 1)
    values = np.concatenate([numbers["mean"], averages])
    return min(float(values.min()), 0.0), max(float(values.max()), 1.0)


def shown(reward: float) -> str:
    """A reward in letters."""
    return f"{reward:+.2f}".rstrip("0").rstrip(".")
