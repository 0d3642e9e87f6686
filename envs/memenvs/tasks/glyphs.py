"""Characters that nobody has seen before: a few curved strokes, which depend on the character's number alone."""

from __future__ import annotations

import math

import numpy as np

from memenvs.compilation import njit
from memenvs.random import advance, fold, integer, permute, uniform

STROKES = 3  # quadratic Bézier curves
LATTICE = 4  # whose points are different places of a lattice of so many rows and columns
MARGIN = 1.5  # pixels around a character that is not distorted
PEN = 0.2  # half the width of the pen in pixels

_CHARACTERS = np.uint64(0x6A09E667F3BCC908)  # no key that an environment has, so that no level tells of the characters


@njit
def draw_glyph(glyph, size, shift, rotation, jitter, noise, key, pixels):
    """Draw a character, distorted at random.

    :param glyph: its number
    :param size: height and width of the image
    :param shift: the character is moved by up to so many whole pixels in both directions
    :param rotation: and turned about its middle by up to this angle, in radians
    :param jitter: each point that a curve is made from is moved by up to so many pixels in both directions
    :param noise: the probability that a pixel is turned over
    :param key: of the distortions
    :param pixels: size · size bytes, which become 0 or 1, row by row from the top
    """
    pixels[:] = 0
    key = advance(key)
    angle = rotation * either_way(key)
    cosine, sine = math.cos(angle), math.sin(angle)
    key = advance(key)
    column = size / 2.0 + integer(key, 2 * shift + 1) - shift
    key = advance(key)
    row = size / 2.0 + integer(key, 2 * shift + 1) - shift
    spacing = (size - 2.0 * MARGIN) / (LATTICE - 1)
    points = np.empty(LATTICE * LATTICE, np.int8)
    permute(fold(_CHARACTERS, glyph), points, points.size)
    x, y = np.empty(3), np.empty(3)
    for stroke in range(STROKES):
        for end in range(3):
            point = points[3 * stroke + end]
            key = advance(key)
            across = (point % LATTICE - 0.5 * (LATTICE - 1)) * spacing + jitter * either_way(key)
            key = advance(key)
            down = (point // LATTICE - 0.5 * (LATTICE - 1)) * spacing + jitter * either_way(key)
            x[end] = column + cosine * across - sine * down
            y[end] = row + sine * across + cosine * down
        draw_curve(x, y, size, pixels)
    if noise > 0:
        for place in range(pixels.size):
            key = advance(key)
            pixels[place] ^= uniform(key) < noise


@njit
def either_way(key):
    """A number from −1 to below 1."""
    return 2.0 * uniform(key) - 1.0


@njit
def draw_curve(x, y, size, pixels):
    """Draw the quadratic Bézier curve of three points, as far as it lies in the image."""
    samples = 2 * size
    for sample in range(samples + 1):
        t = sample / samples
        first, second, third = (1 - t) * (1 - t), 2 * t * (1 - t), t * t
        column = first * x[0] + second * x[1] + third * x[2]
        row = first * y[0] + second * y[1] + third * y[2]
        top, bottom = math.floor(row - PEN), math.floor(row + PEN)
        left, right = math.floor(column - PEN), math.floor(column + PEN)
        set_pixel(top, left, size, pixels)
        set_pixel(top, right, size, pixels)
        set_pixel(bottom, left, size, pixels)
        set_pixel(bottom, right, size, pixels)


@njit
def set_pixel(row, column, size, pixels):
    """Blacken a pixel if it lies in the image."""
    if 0 <= row < size and 0 <= column < size:
        pixels[row * size + column] = 1
