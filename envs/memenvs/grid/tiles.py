"""One cell of a grid world as a picture of some size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from memenvs.grid.cells import (
    BALL,
    BOX,
    COLOURS,
    DOOR,
    EMPTY,
    FLOOR,
    GOAL,
    GREY,
    KEY,
    LAVA,
    LOCKED,
    OPEN,
    UNSEEN,
    WALL,
    ahead,
    colour_of,
    kind_of,
    state_of,
)
from memenvs.render import INK, PAPER

PAINTS = {
    "red": "#D7263D",
    "green": "#188A42",
    "blue": "#2C9BE6",
    "purple": "#7A2BF5",
    "yellow": "#FFC62E",
    "grey": "#8B909D",
}
DARK, LIT = "#ECEAE3", "#FFF8DC"  # floors: out of sight, in sight
SEAM_DARK, SEAM_LIT = "#DFDCD3", "#F0E6BF"
WALL_DARK, WALL_LIT = "#2B3245", "#4A5470"
MOLTEN, CRUST = "#F2701D", "#FFD08A"
AGENT = "#1769E0"
ROUTE = "#7A2BF5"
WHITE = "#FFFFFF"

FINER = 256  # pixels, at the least, of a side before the picture is made smaller, which smooths its edges
SEAMS_FROM = 10  # pixels of a tile, below which nothing parts it from the next


@lru_cache(maxsize=4096)
def tile(
    size: int, code: int, lit: bool, path: int = 0, ring: bool = False, direction: int = -1, carried: int = 0
) -> NDArray[np.uint8]:
    """The picture of a cell, (size, size, 3) bytes, which must not be written to.

    :param code: of the cell, :data:`UNSEEN` for what is outside
    :param lit: whether it is in sight
    :param path: towards which neighbours a path leads from here, bit i for direction i
    :param ring: whether it is marked
    :param direction: of the agent, -1 where it is not
    :param carried: the object that the agent carries, 0 for nothing
    """
    side = -(-FINER // size) * size
    image = Image.new("RGB", (side, side))
    pen = Pen(ImageDraw.Draw(image), 0, 0, side)
    _draw_ground(pen, code, lit, size >= SEAMS_FROM)
    _draw_thing(pen, code, lit)
    if path:
        _draw_path(pen, path)
    if ring:
        pen.ring(0.5, 0.5, 0.36, PAINTS["green"], 0.12)
    if direction >= 0:
        _draw_agent(pen, direction)
        if carried:
            _draw_thing(Pen(pen.image, side / 2, side / 2, side / 2), carried, True)
    picture = np.array(image.resize((size, size), Image.Resampling.BOX))
    picture.flags.writeable = False
    return picture


class Pen:
    """A square to draw shapes on; places and widths are shares of its side, from its upper left corner.

    :param image: to draw on
    :param left: of the square, in pixels, as ``top`` and ``side``
    """

    def __init__(self, image: ImageDraw.ImageDraw, left: float, top: float, side: float):
        self.image, self.left, self.top, self.side = image, left, top, side

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return self.left + self.side * x, self.top + self.side * y

    def box(self, box: tuple[float, float, float, float], colour: str, corner: float = 0.0) -> None:
        """A box with round corners."""
        (left, top), (right, bottom) = self._place(*box[:2]), self._place(*box[2:])
        self.image.rounded_rectangle((left, top, right - 1, bottom - 1), corner * self.side, fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        """A disc around a place."""
        (x, y), radius = self._place(x, y), radius * self.side
        self.image.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def ring(self, x: float, y: float, radius: float, colour: str, width: float) -> None:
        """A ring, its radius that of its middle."""
        (x, y), radius = self._place(x, y), (radius + width / 2) * self.side
        self.image.ellipse(
            (x - radius, y - radius, x + radius, y + radius), outline=colour, width=round(width * self.side)
        )

    def line(self, points: list[tuple[float, float]], colour: str, width: float) -> None:
        """A line with round joints and ends."""
        places = [self._place(*point) for point in points]
        self.image.line(places, colour, round(width * self.side), joint="curve")
        for point in (points[0], points[-1]):
            self.disc(*point, width / 2, colour)

    def shape(self, points: list[tuple[float, float]], colour: str) -> None:
        """A polygon."""
        self.image.polygon([self._place(*point) for point in points], fill=colour)


def _draw_ground(pen: Pen, code: int, lit: bool, seams: bool) -> None:
    kind, colour = kind_of(code), COLOURS[colour_of(code)]
    ground = LIT if lit else DARK
    if kind == UNSEEN:
        ground = PAPER
    elif kind == WALL:
        ground = WALL_LIT if lit else WALL_DARK
        if colour != COLOURS[GREY]:
            ground = mixed(PAINTS[colour], ground, 0.35)
    elif kind == FLOOR:
        ground = mixed(PAINTS[colour], ground, 0.65)
    pen.box((0, 0, 1, 1), ground)
    if seams and kind not in (UNSEEN, WALL):
        seam = mixed(ground, INK, 0.15) if kind == FLOOR else SEAM_LIT if lit else SEAM_DARK
        pen.box((0, 0, 1, 0.03), seam)
        pen.box((0, 0, 0.03, 1), seam)


def _draw_thing(pen: Pen, code: int, lit: bool) -> None:
    kind, colour = kind_of(code), PAINTS[COLOURS[colour_of(code)]]
    # What leaves no floor to be seen tells by itself whether it is in sight.
    if kind == DOOR:
        _draw_door(pen, colour if lit else dim(colour), state_of(code))
    elif kind == LAVA:
        _draw_lava(pen, *((MOLTEN, CRUST) if lit else (dim(MOLTEN), dim(CRUST))))
    elif kind not in (UNSEEN, EMPTY, FLOOR, WALL):
        {KEY: _draw_key, BALL: _draw_ball, BOX: _draw_box, GOAL: _draw_goal}[kind](pen, colour)


def _draw_door(pen: Pen, colour: str, state: int) -> None:
    """Draw a door: a frame, filled if closed, with a keyhole if locked."""
    if state == OPEN:
        for box in ((0, 0, 1, 0.17), (0, 0.83, 1, 1), (0, 0, 0.17, 1), (0.83, 0, 1, 1)):
            pen.box(box, colour)
        return
    pen.box((0, 0, 1, 1), edge(colour))
    pen.box((0.09, 0.09, 0.91, 0.91), colour, 0.05)
    if state == LOCKED:
        pen.disc(0.5, 0.39, 0.16, INK)
        pen.line([(0.5, 0.44), (0.5, 0.7)], INK, 0.14)
    else:
        pen.box((0.22, 0.2, 0.78, 0.8), mixed(colour, INK, 0.15), 0.04)
        pen.disc(0.64, 0.5, 0.09, WHITE)


def _draw_key(pen: Pen, colour: str) -> None:
    for paint, width in ((edge(colour), 0.17), (colour, 0.09)):
        pen.line([(0.43, 0.5), (0.86, 0.5)], paint, width)
        for x in (0.66, 0.83):
            pen.line([(x, 0.5), (x, 0.68)], paint, width)
        pen.ring(0.28, 0.5, 0.145, paint, width + 0.02)


def _draw_ball(pen: Pen, colour: str) -> None:
    pen.disc(0.5, 0.5, 0.345, edge(colour))
    pen.disc(0.5, 0.5, 0.295, colour)
    pen.disc(0.39, 0.39, 0.07, pale(colour))


def _draw_box(pen: Pen, colour: str) -> None:
    pen.box((0.14, 0.17, 0.86, 0.86), edge(colour), 0.08)
    pen.box((0.19, 0.22, 0.81, 0.4), colour, 0.04)
    pen.box((0.19, 0.45, 0.81, 0.81), colour, 0.04)
    pen.box((0.41, 0.34, 0.59, 0.55), edge(colour), 0.03)
    pen.box((0.45, 0.38, 0.55, 0.51), pale(colour), 0.01)


def _draw_goal(pen: Pen, colour: str) -> None:
    """A ring, so that an agent which arrives shows inside."""
    pen.box((0.04, 0.04, 0.96, 0.96), colour, 0.14)
    pen.ring(0.5, 0.5, 0.31, WHITE, 0.07)


def _draw_lava(pen: Pen, colour: str, waves: str) -> None:
    pen.box((0, 0, 1, 1), colour)
    across = np.linspace(0, 1, 33)
    for height in (0.22, 0.5, 0.78):
        wave = height + 0.06 * np.sin(2 * np.pi * across)
        pen.line(list(zip(across.tolist(), wave.tolist(), strict=True)), waves, 0.055)


def _draw_path(pen: Pen, path: int) -> None:
    for direction in range(4):
        if path >> direction & 1:
            dx, dy = ahead(direction)
            pen.line([(0.5, 0.5), (0.5 + dx, 0.5 + dy)], ROUTE, 0.16)


def _draw_agent(pen: Pen, direction: int) -> None:
    """An arrow head with a notch, pointing in its direction."""
    dx, dy = ahead(direction)
    for colour, reach in ((WHITE, 0.07), (AGENT, 0.0)):
        corners = [(0.37 + 1.6 * reach, 0.0), (-0.33 - reach, 0.33 + 1.2 * reach), (-0.18 - reach, 0.0)]
        corners.append((corners[1][0], -corners[1][1]))
        pen.shape([(0.5 + along * dx - side * dy, 0.5 + along * dy + side * dx) for along, side in corners], colour)


def dim(colour: str) -> str:
    """Return a slightly darker colour, for cells out of sight."""
    return mixed(colour, INK, 0.15)


def edge(colour: str) -> str:
    """Return a darker colour, for the edges of things."""
    return mixed(colour, INK, 0.45)


def pale(colour: str) -> str:
    """Return a paler colour, for lights on things."""
    return mixed(colour, WHITE, 0.6)


def mixed(colour: str, other: str, share: float) -> str:
    """A colour with a share of another one in it."""
    red, green, blue = (1 - share) * np.array(to_rgb(colour)) + share * np.array(to_rgb(other))
    return to_hex((red, green, blue))
