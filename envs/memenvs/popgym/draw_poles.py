"""The cart-pole and the pendulum of POPGym, drawn or written as text."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.patches import Circle
from numpy.typing import NDArray

from memenvs.render import INK, blank_canvas, draw_box, draw_head, draw_line, draw_text, to_array

CART, ROD, AXLE, GROUND, TORQUE = "#2B3245", "#E0921A", "#1769E0", "#B9B5AA", "#188A42"
GROUNDS, CARTS, RODS, AXLES = range(1, 5)
COLUMNS = 41  # of a track in text


def draw_cartpole(place: float, angle: float, words: str) -> NDArray[np.uint8]:
    """Draw a cart on its track with the pole, (H, W, 3) uint8.

    :param place: of the cart, from -1 to 1 on the track, a little beyond it after the end
    :param angle: of the pole, in radians to the right of upright
    :param words: a line below
    """
    canvas, axes = blank_canvas((640, 400))
    middle, track, ground = 320.0, 260.0, 110.0
    draw_line(axes, np.array([[middle - track, ground], [middle + track, ground]]), GROUND, 4, GROUNDS)
    for end in (-track, track):
        draw_line(axes, np.array([[middle + end, ground - 12], [middle + end, ground + 12]]), GROUND, 4, GROUNDS)
    x = middle + track * place
    draw_box(axes, (x - 40, ground, x + 40, ground + 40), 6, CART, CARTS)
    foot = np.array([x, ground + 34])
    top = foot + 180 * np.array([math.sin(angle), math.cos(angle)])
    draw_line(axes, np.stack([foot, top]), ROD, 12, RODS, solid_capstyle="round")
    axes.add_artist(Circle((float(foot[0]), float(foot[1])), 6, color=AXLE, linewidth=0, zorder=AXLES))
    draw_text(axes, middle, 40, words, 16, INK, AXLES)
    return to_array(canvas)


def ansi_cartpole(place: float, angle: float, words: str) -> str:
    """A cart-pole as text: the track with the cart, the pole's slant above it, its angle in degrees."""
    column = min(max(round((place + 1) / 2 * (COLUMNS - 1)), 0), COLUMNS - 1)
    slant = "|" if abs(angle) < math.radians(2) else "/" if angle > 0 else "\\"
    track = ["-"] * COLUMNS
    track[column] = "▄"
    return "\n".join([" " * column + slant, "".join(track), f"{words}, pole at {math.degrees(angle):+.1f}°"])


def draw_pendulum(angle: float, torque: float, words: str) -> NDArray[np.uint8]:
    """Draw a pendulum with the last torque as an arrow at its axle, (H, W, 3) uint8.

    :param angle: in radians counterclockwise from upright
    :param torque: from -1 to 1, counterclockwise if positive
    :param words: a line below
    """
    canvas, axes = blank_canvas((480, 520))
    axle = np.array([240.0, 290.0])
    tip = axle + 170 * np.array([-math.sin(angle), math.cos(angle)])
    draw_line(axes, np.stack([axle, tip]), ROD, 28, RODS, solid_capstyle="round")
    axes.add_artist(Circle((240.0, 290.0), 9, color=CART, linewidth=0, zorder=AXLES))
    if abs(torque) > 0.02:
        turn = np.linspace(0, 1.6 * math.pi * torque, 40) + math.pi / 2
        arc = axle + 60 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        draw_line(axes, arc, TORQUE, 5, CARTS)
        along = math.copysign(1.0, torque) * np.array([-math.sin(turn[-1]), math.cos(turn[-1])])
        draw_head(axes, arc[-1] + 12 * along, along, 10, TORQUE, CARTS)
    draw_text(axes, 240, 40, words, 16, INK, AXLES)
    return to_array(canvas)


def ansi_pendulum(angle: float, torque: float, words: str) -> str:
    """A pendulum as text: an arrow from the axle to its end, angle in degrees from upright, and the torque."""
    arrows = "↑↖←↙↓↘→↗"
    arrow = arrows[round(angle / (math.pi / 4)) % len(arrows)]
    degrees = math.degrees(math.remainder(angle, 2 * math.pi))
    return f"{arrow}\n{words}, at {degrees:+.0f}°, torque {torque:+.2f} of 1"
