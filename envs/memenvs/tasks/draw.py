"""Rows of cells over time, as the figures of Graves et al. (2014) show inputs, targets and outputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from memenvs.render import INK, PAPER, blank_canvas, draw_line, draw_text, to_array

ZERO, ONE = "#E4E2DC", INK
WRONG_ZERO, WRONG_ONE = "#F2B8A8", "#C43B1D"
NOW = "#1769E0"

LEFT, RIGHT, EDGE, GAP = 90, 14, 22, 18  # pixels: for the names, at the right, above and below, between the blocks
BARS = "▁▂▃▄▅▆▇█"


def draw_rows(
    blocks: Mapping[str, NDArray[np.float64]], now: int, size: tuple[int, int] = (960, 480)
) -> NDArray[np.uint8]:
    """Draw blocks of cells below each other; in ``outputs``, cells that differ from ``targets`` are red.

    :param blocks: by name (channels, steps): numbers from dark (the greatest) to light, not a number for no cell
    :param now: the step before which a line is drawn
    :param size: width and height in pixels
    :return: (height, width, 3) bytes
    """
    canvas, axes = blank_canvas(size)
    axes.autoscale(False)  # the cells would else become the limits
    width, height = size
    steps = next(iter(blocks.values())).shape[1]
    channels = sum(map(len, blocks.values()))
    tall = min((height - 2 * EDGE - GAP * (len(blocks) - 1)) / channels, 24.0)
    wide = min((width - LEFT - RIGHT) / steps, 24.0)
    top = (height + tall * channels + GAP * (len(blocks) - 1)) / 2
    wrong = mistakes(blocks)
    for name, values in blocks.items():
        bottom = top - tall * len(values)
        extent = (LEFT, LEFT + wide * steps, bottom, top)
        axes.imshow(
            colours(values, wrong if name == "outputs" else None), extent=extent, aspect="auto", interpolation="nearest"
        )
        draw_text(axes, LEFT - 12, (top + bottom) / 2, name, 14.0, INK, 3, ha="right")
        if min(tall, wide) >= 6:
            axes.hlines(top - tall * np.arange(1, len(values)), extent[0], extent[1], PAPER, linewidth=1.0, zorder=2)
            axes.vlines(LEFT + wide * np.arange(1, steps), bottom, top, PAPER, linewidth=1.0, zorder=2)
        top = bottom - GAP
    x, low = LEFT + wide * now, top + GAP
    draw_line(axes, np.array([[x, low - 6], [x, height - low + 6]]), NOW, 2.0, 4)
    return to_array(canvas)


def ansi_rows(blocks: Mapping[str, NDArray[np.float64]], now: int) -> str:
    """The same as text: ``█`` is 1, ``·`` 0, ``▓`` a wrong 1 and ``○`` a wrong 0; other numbers are bars."""
    wrong, lines = mistakes(blocks), []
    for name, values in blocks.items():
        for i, channel in enumerate(values):
            cells = letters(channel)
            if name == "outputs":
                cells = np.where(wrong[i], np.where(channel == 1, "▓", "○"), cells)
            lines.append(f"{name if i == 0 else '':9}" + "".join(cells.tolist()))
    lines.append(" " * (9 + now) + "^")
    return "\n".join(lines)


def letters(channel: NDArray[np.float64]) -> NDArray[np.str_]:
    """A letter for each number (steps,)."""
    known = ~np.isnan(channel)
    cells = np.full(channel.shape, " ")
    if np.isin(channel[known], (0, 1)).all():
        cells[known] = np.where(channel[known] == 1, "█", "·")
    else:
        cells[known] = np.array(list(BARS))[np.rint(scaled(channel)[known] * (len(BARS) - 1)).astype(int)]
    return cells


def mistakes(blocks: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Return where there is an output that is not the target."""
    return ~np.isnan(blocks["outputs"]) & (blocks["outputs"] != blocks["targets"])


def scaled(channel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers (steps,) from 0 to 1; bits stay as they are."""
    known = channel[~np.isnan(channel)]
    low, high = min(known.min(initial=0), 0), max(known.max(initial=1), 1)
    return (channel - low) / (high - low)


def colours(values: NDArray[np.float64], wrong: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """The colours of cells, (channels, steps, 3)."""
    shares = np.stack([scaled(channel) for channel in values])[..., None]
    painted = np.where(np.isnan(shares), to_rgb(PAPER), (1 - shares) * to_rgb(ZERO) + shares * to_rgb(ONE))
    if wrong is not None:
        painted[wrong] = np.where(values[wrong, None] == 1, to_rgb(WRONG_ONE), to_rgb(WRONG_ZERO))
    return painted
