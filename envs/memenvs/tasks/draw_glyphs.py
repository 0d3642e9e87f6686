"""A picture of a glyph, enlarged, with lines of text."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_text, to_array

PAGE = "#FFFFFF"


def draw_card(pixels: NDArray[np.uint8], lines: list[str], size: tuple[int, int] = (640, 360)) -> NDArray[np.uint8]:
    """Draw a glyph on the left and lines of text beside it.

    :param pixels: (height, width) of 0 and 1
    :param lines: of text
    :param size: width and height in pixels
    :return: (height, width, 3) bytes
    """
    canvas, axes = blank_canvas(size)
    axes.autoscale(False)
    height = size[1]
    edge = 0.08 * height
    extent = (edge, height - edge, edge, height - edge)
    axes.imshow(
        pixels, ListedColormap([PAGE, INK]), vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="nearest"
    )
    for i, line in enumerate(lines):
        y = height / 2 + ((len(lines) - 1) / 2 - i) * 0.1 * height
        draw_text(axes, height, y, line, 0.05 * height, INK, 3, ha="left")
    return to_array(canvas)


def ansi_card(pixels: NDArray[np.uint8], lines: list[str]) -> str:
    """The same as text, each pixel two letters wide."""
    return "\n".join(["".join("·█"[pixel] * 2 for pixel in row) for row in pixels] + lines)
