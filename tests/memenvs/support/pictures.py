"""Helpers of the tests of pictures."""

import numpy as np
from matplotlib.colors import to_rgb


def pixels(picture, colour):
    """How many pixels are of exactly that colour."""
    wanted = np.round(np.array(to_rgb(colour)) * 255).astype(int)
    return int((np.abs(picture.astype(int) - wanted).max(axis=2) <= 1).sum())
