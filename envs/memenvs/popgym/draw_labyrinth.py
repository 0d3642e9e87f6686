"""A labyrinth of POPGym, drawn or written as text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memenvs.grid import cells
from memenvs.grid.draw import ansi_grid, draw_grid
from memenvs.maze.maze import trodden
from memenvs.popgym.carving import GOAL

# The codes of a labyrinth's squares as cells: free, wall, start, goal.
KINDS = np.array([cells.EMPTY, cells.WALL, cells.FLOOR, cells.GOAL])
KINDS |= np.array([0, cells.GREY, cells.YELLOW, cells.GREEN]) << cells.COLOUR_AT
DIRECTIONS = (cells.LEFT, cells.RIGHT, cells.UP, cells.DOWN)  # of the actions


def draw_labyrinth(state: np.void, level: np.void) -> NDArray[np.uint8]:
    """Draw the maze with the agent, its view and the squares that it has visited, (H, W, 3) uint8."""
    return draw_grid(**plan(state, level))


def ansi_labyrinth(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    return ansi_grid(**plan(state, level))


def plan(state: np.void, level: np.void) -> dict[str, Any]:
    """Return a picture's contents, as :func:`memenvs.grid.draw.draw_grid` takes it."""
    size, row, column = int(level["size"]), int(state["row"]), int(state["column"])
    seen = np.zeros((size, size), np.bool_)
    seen[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    bits = np.left_shift(1, np.arange(size))
    grid = level["grid"][:size, :size]
    left_over = "" if (grid == GOAL).any() else f", {state['left']} of {level['squares']} squares left"
    return {
        "cells": KINDS[grid],
        "agent": (column, row, _direction(state, level)),
        "seen": seen,
        "path": trodden(state["visited"][:size, :size].astype(np.int64) @ bits),
        "caption": f"step {state['steps']}{left_over}",
    }


def _direction(state: np.void, level: np.void) -> int:
    """Where the agent looks: as it went, at first into the maze."""
    if state["last"] < len(DIRECTIONS):
        return DIRECTIONS[state["last"]]
    row, column = level["start"].tolist()
    if row in (0, level["size"] - 1):
        return cells.DOWN if row == 0 else cells.UP
    return cells.RIGHT if column == 0 else cells.LEFT
