"""Tools for pictures: a canvas measured in pixels, a few shapes, the picture as an array, a window to show it."""

from __future__ import annotations

import os
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Polygon
from matplotlib.textpath import TextToPath
from numpy.typing import NDArray

PIXELS_PER_INCH = 72  # so that a point, matplotlib's measure of lines and letters, is a pixel
SMALLEST = 64

PAPER = "#FCFBF8"
INK = "#1B2130"


def blank_canvas(size: tuple[int, int], colour: str = PAPER) -> tuple[FigureCanvasAgg, Axes]:
    """Return an empty canvas whose axes count pixels from the lower left corner; pyplot is not touched.

    :param size: width and height in pixels
    :param colour: of the background; ``"none"`` makes a layer to lay over a picture
    :return: the canvas, for :func:`to_array` or :func:`to_layer`, and the axes to draw on
    :raises ValueError: for a size that is no pair of whole numbers of at least 64
    """
    if len(size) != 2 or not all(isinstance(side, int | np.integer) and side >= SMALLEST for side in size):
        raise ValueError(f"size must be (width, height) in whole pixels, each {SMALLEST} or more, not {size!r}")
    width, height = size
    # A hundredth of a pixel more, since the canvas rounds down.
    figure = Figure(((width + 0.01) / PIXELS_PER_INCH, (height + 0.01) / PIXELS_PER_INCH), dpi=PIXELS_PER_INCH)
    figure.set_facecolor(colour)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    return FigureCanvasAgg(figure), axes


def to_array(canvas: FigureCanvasAgg) -> NDArray[np.uint8]:
    """Return the picture on a canvas, (height, width, 3)."""
    return _drawn(canvas)[..., :3].copy()


def to_layer(canvas: FigureCanvasAgg) -> NDArray[np.uint8]:
    """Return the picture on a canvas with its opacity, (height, width, 4)."""
    return _drawn(canvas).copy()


def _drawn(canvas: FigureCanvasAgg) -> NDArray[np.uint8]:
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def laid_over(picture: NDArray[np.uint8], layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) with a layer (height, width, 4) on it."""
    shown = layer[..., 3].nonzero()
    result = picture.copy()
    inked = layer[shown].astype(np.uint32)
    opacity = inked[:, 3:]
    result[shown] = (result[shown] * (255 - opacity) + inked[:, :3] * opacity + 127) // 255
    return result


@lru_cache(maxsize=4096)
def text_size(text: str, font_size: float, bold: bool = False) -> tuple[float, float]:
    """Return width and height in pixels of lines of text, as :func:`blank_canvas` shows them."""
    font = FontProperties(size=font_size, weight="bold" if bold else "normal")
    lines = text.split("\n")
    width = max(TextToPath().get_text_width_height_descent(line, font, ismath=False)[0] for line in lines)
    return width, 1.2 * font_size * len(lines)


# --- shapes, drawn in the order of ``order`` --------------------------------------------------------------------------


def draw_line(axes: Axes, points: NDArray[np.float64], colour: str, width: float, order: float, **style: Any) -> None:
    """A line through points (n, 2)."""
    style = {"solid_capstyle": "butt", "solid_joinstyle": "round"} | style
    axes.plot(*points.T, color=colour, linewidth=width, zorder=order, **style)


def draw_head(
    axes: Axes, tip: NDArray[np.float64], along: NDArray[np.float64], half: float, colour: str, order: float
) -> None:
    """An arrow head as long as it is wide, pointing in the direction ``along`` (of length 1)."""
    base, across = tip - 2 * half * along, half * np.array([-along[1], along[0]])
    axes.add_artist(Polygon([tip, base + across, base - across], closed=True, color=colour, linewidth=0, zorder=order))


def draw_box(
    axes: Axes, box: tuple[float, float, float, float], corner: float, colour: str, order: float, **style: Any
) -> None:
    """A box, given by its left, bottom, right and top, with corners of a radius."""
    left, bottom, right, top = box
    shape = f"round,pad=0,rounding_size={corner}"
    style = {"linewidth": 0} | style
    axes.add_artist(
        FancyBboxPatch((left, bottom), right - left, top - bottom, shape, facecolor=colour, zorder=order, **style)
    )


def draw_text(
    axes: Axes, x: float, y: float, text: str, font_size: float, colour: str, order: float, **style: Any
) -> None:
    """Draw lines of text, centred at y by the height of their capitals, so that a descender moves nothing."""
    lines = text.split("\n")
    style = {"ha": "center", "va": "baseline", "fontsize": font_size, "color": colour, "zorder": order, **style}
    for i, line in enumerate(lines):
        baseline = y - 0.36 * font_size + ((len(lines) - 1) / 2 - i) * 1.2 * font_size
        axes.text(x, baseline, line, parse_math=False, **style)


# --- a window -------------------------------------------------------------------------------------------------------


def show(array: NDArray[np.uint8], title: str) -> None:
    """Show a picture in the one window of this process, opening it or changing its size where needed.

    :param array: (height, width, 3) bytes
    :param title: of the window
    :raises RuntimeError: without pygame, or without a screen to open a window on
    """
    pygame = _pygame()
    size = (array.shape[1], array.shape[0])
    try:
        pygame.display.init()
        if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
            raise pygame.error("there is no screen")  # rather than a window that nobody sees
        window = pygame.display.get_surface()
        if window is None or window.get_size() != size:
            window = pygame.display.set_mode(size)
    except pygame.error as error:
        raise RuntimeError(f"no window can be opened here ({error}); use render_mode='rgb_array'") from error
    pygame.display.set_caption(title)
    pygame.event.pump()  # else the desktop takes the window for one that hangs
    pygame.surfarray.blit_array(window, array.swapaxes(0, 1))
    pygame.display.flip()


def close() -> None:
    """Close the window, if there is one."""
    _pygame().display.quit()


def _pygame() -> ModuleType:
    """Import pygame, only when a window is wanted: it takes half a second and greets on standard output."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise RuntimeError("showing a window needs pygame (pip install pygame); use render_mode='rgb_array'") from error
    return pygame
