"""The functions that a definition has unless it brings its own."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit


@njit
def no_oracle(state, level):
    """Default of ``oracle``: every step is a decision, and no action is known to be best."""
    return 0


@njit
def always_decides(state, level):
    """Value of ``decides`` for environments in which every action matters."""
    return True


@njit
def all_legal(state, level, mask):
    """Default of ``legal``: every action does something."""
    mask[:] = True


@njit
def no_metrics(state, level, out):
    """Default of ``measure``: no metrics."""


@njit
def no_digest(level):
    """Default of ``digest``: no level differs from another."""
    return np.uint64(0)


@njit
def always_sound(params, state, level):
    """Default of ``sound``: no records could do harm."""
    return True


DEFAULTS = (no_oracle, always_decides, all_legal, no_metrics, no_digest, always_sound)
