"""A grid world, drawn or written as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import label

from memenvs.grid.cells import (
    BALL,
    BOX,
    COLOURS,
    DOOR,
    DOWN,
    EMPTY,
    FLOOR,
    GOAL,
    GREY,
    KEY,
    LAVA,
    LEFT,
    RIGHT,
    TYPES,
    UNSEEN,
    UP,
    WALL,
    ahead,
    colour_of,
    kind_of,
    state_of,
)
from memenvs.grid.tiles import tile
from memenvs.render import INK, blank_canvas, draw_text, text_size, to_array

SIDE = 640  # pixels of the longer side, or nearly so
STRIP, SLOT = 64, 48  # pixels, below the grid: the height of the caption, and of what is carried beside it
MARGIN, LARGEST, SMALLEST_IN_ONE_LINE = 14, 17.0, 12.0  # of the caption; the others are sizes of its letters

ARROWS = {RIGHT: "▶", DOWN: "▼", LEFT: "◀", UP: "▲"}
SIGNS = {FLOOR: "░", KEY: "k", BALL: "●", BOX: "■", GOAL: "G", LAVA: "≈"}
DOORS = "/+‡"  # open, closed, locked


def draw_grid(
    cells: ArrayLike,
    agent: tuple[int, int, int] | None,
    seen: ArrayLike | None = None,
    *,
    carried: int = 0,
    ring: tuple[int, int] | None = None,
    path: Sequence[tuple[int, int]] = (),
    caption: str | None = None,
) -> NDArray[np.uint8]:
    """Draw a grid world.

    :param cells: (height, width) codes of :mod:`memenvs.grid.cells`
    :param agent: (x, y, direction), or None
    :param seen: (height, width), what is in the agent's view and drawn in a brighter light; by default everything
    :param carried: the code of what the agent carries, 0 for nothing
    :param ring: (x, y) of a place to mark, such as a goal that the agent does not see, or None
    :param path: (x, y) of places visited, in order; a line joins those that are neighbours
    :param caption: a line of text below; beside it is what the agent carries
    :return: (H, W, 3) bytes, of the same size for the same shape of ``cells`` with a caption or without
    :raises ValueError: for an agent, a ring or a path outside the grid, or a ``seen`` of another shape
    """
    cells, seen = _checked(cells, agent, seen, ring, path)
    height, width = cells.shape
    size = 2 * max(1, round(SIDE / 2 / max(height, width)))  # even, as films want it
    looks = np.zeros((height, width), np.int64)
    looks[:] = np.where(outside(cells, agent), UNSEEN, cells)
    looks |= seen.astype(np.int64) << 16 | _steps(path, height, width) << 17
    kinds, which = np.unique(looks, return_inverse=True)
    tiles = np.stack([tile(size, kind & 0xFFFF, bool(kind >> 16 & 1), kind >> 17) for kind in kinds.tolist()])
    picture = tiles[which.reshape(height, width)].swapaxes(1, 2).reshape(height * size, width * size, 3)
    for x, y in {place for place in (ring, agent and agent[:2]) if place is not None}:
        kind, here = int(looks[y, x]), agent is not None and (x, y) == agent[:2]
        direction = agent[2] if agent is not None and here else -1
        picture[y * size : (y + 1) * size, x * size : (x + 1) * size] = tile(
            size, kind & 0xFFFF, bool(kind >> 16 & 1), kind >> 17, (x, y) == ring, direction, carried if here else 0
        )
    return picture if caption is None else np.concatenate([picture, _strip(width * size, caption, carried)])


def ansi_grid(
    cells: ArrayLike,
    agent: tuple[int, int, int] | None,
    seen: ArrayLike | None = None,
    *,
    carried: int = 0,
    ring: tuple[int, int] | None = None,
    path: Sequence[tuple[int, int]] = (),
    caption: str | None = None,
) -> str:
    """A grid world as text, two letters a cell: what it is, and the first letter of its colour.

    An arrow head is the agent, followed by what it carries; ``██`` a wall, ``/ + ‡`` a door (open, closed, locked),
    ``k`` a key, ``●`` a ball, ``■`` a box, ``G`` a goal, ``≈`` lava, ``◎`` the ring, ``•`` the path, ``·`` an empty
    place in view. The arguments are those of :func:`draw_grid`.
    """
    cells, seen = _checked(cells, agent, seen, ring, path)
    away = outside(cells, agent)
    words = [
        [_letters(code, lit) for code, lit in zip(*row, strict=True)]
        for row in zip(cells.tolist(), seen.tolist(), strict=True)
    ]
    for y, x in np.argwhere(away):
        words[y][x] = "  "
    for x, y in path:
        if kind_of(int(cells[y, x])) == EMPTY:
            words[y][x] = "• "
    if ring is not None:
        words[ring[1]][ring[0]] = "◎ "
    if agent is not None:
        x, y, direction = agent
        words[y][x] = ARROWS[direction] + (_letters(carried, True)[0] if carried else " ")
    lines = ["".join(row) for row in words]
    if caption is not None:
        lines.append(caption)
    if carried:
        lines.append(f"carries a {name_of(carried)}")
    return "\n".join(lines)


def seen_cells(image: NDArray[np.uint8], agent: tuple[int, int, int], height: int, width: int) -> NDArray[np.bool_]:
    """Return a mask of the cells that an agent sees, (height, width).

    :param image: its view, as :func:`memenvs.grid.view.look` writes it
    :param agent: (x, y, direction)
    """
    n = image.shape[0]
    x, y, direction = agent
    dx, dy = ahead(direction)
    across, down = np.nonzero(image[..., 0] != UNSEEN)
    side, depth = across - n // 2, n - 1 - down  # steps to the right and ahead
    xs, ys = x + depth * dx - side * dy, y + depth * dy + side * dx
    inside = (xs >= 0) & (xs < width) & (ys >= 0) & (ys < height)
    seen = np.zeros((height, width), np.bool_)
    seen[ys[inside], xs[inside]] = True
    return seen


def name_of(code: int) -> str:
    """A thing in words: its colour and its type."""
    return f"{COLOURS[colour_of(code)]} {TYPES[kind_of(code)]}"


def outside(cells: NDArray[np.integer], agent: tuple[int, int, int] | None) -> NDArray[np.bool_]:
    """Return the empty cells connected to the border of the grid, but not to the agent: between and around rooms."""
    if not (cells[[0, -1]] == EMPTY).any() and not (cells[:, [0, -1]] == EMPTY).any():
        return np.zeros(cells.shape, np.bool_)
    if agent is None:
        return np.zeros(cells.shape, np.bool_)
    pieces, _ = label(cells == EMPTY)
    border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    return np.isin(pieces, border[(border > 0) & (border != pieces[agent[1], agent[0]])])


def _letters(code: int, lit: bool) -> str:
    kind, colour = int(kind_of(code)), int(colour_of(code))
    if kind == EMPTY:
        return "· " if lit else "  "
    if kind == WALL:
        return "██" if colour == GREY else "█" + COLOURS[colour][0]
    if kind == LAVA:
        return "≈≈"
    if kind == GOAL:
        return "G "
    if kind == DOOR:
        return DOORS[state_of(code)] + COLOURS[colour][0]
    return SIGNS[kind] + COLOURS[colour][0] if kind in SIGNS else "  "


def _checked(
    cells: ArrayLike,
    agent: tuple[int, int, int] | None,
    seen: ArrayLike | None,
    ring: tuple[int, int] | None,
    path: Sequence[tuple[int, int]],
) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    cells = np.asarray(cells)
    if cells.ndim != 2 or not cells.size or cells.dtype.kind not in "ui":
        raise ValueError(f"cells must be (height, width) codes, not {cells.dtype} {cells.shape}")
    height, width = cells.shape
    shown = np.ones(cells.shape, np.bool_) if seen is None else np.asarray(seen, np.bool_)
    if shown.shape != cells.shape:
        raise ValueError(f"seen must have the shape of cells, {cells.shape}, not {shown.shape}")
    places = {"agent": [] if agent is None else [agent[:2]], "ring": [] if ring is None else [ring], "path": list(path)}
    for name, several in places.items():
        for x, y in several:
            if not (0 <= x < width and 0 <= y < height):
                raise ValueError(f"{name} must be within a grid of width {width} and height {height}, not at {(x, y)}")
    if agent is not None and agent[2] not in ARROWS:
        raise ValueError(f"the agent's direction must be one of {sorted(ARROWS)}, not {agent[2]!r}")
    return cells, shown


def _steps(path: Sequence[tuple[int, int]], height: int, width: int) -> NDArray[np.int64]:
    """Return for each cell the neighbours to which a path leads, bit i for direction i."""
    steps = np.zeros((height, width), np.int64)
    directions = {ahead(direction): direction for direction in (RIGHT, DOWN, LEFT, UP)}
    for (x0, y0), (x1, y1) in pairwise(path):
        direction = directions.get((x1 - x0, y1 - y0))
        if direction is not None:
            steps[y0, x0] |= 1 << direction
            steps[y1, x1] |= 1 << (direction + 2) % 4
    return steps


@lru_cache(maxsize=256)
def _strip(width: int, caption: str, carried: int) -> NDArray[np.uint8]:
    """The line below a grid."""
    canvas, axes = blank_canvas((width, STRIP))
    room = width - 3 * MARGIN - SLOT
    text, font_size = caption, LARGEST * min(1.0, room / max(text_size(caption, LARGEST)[0], 1.0))
    if font_size < SMALLEST_IN_ONE_LINE:
        spaces = [place for place, letter in enumerate(caption) if letter == " "]
        if spaces:
            middle = min(spaces, key=lambda place: abs(place - len(caption) // 2))
            text = caption[:middle] + "\n" + caption[middle + 1 :]
            font_size = min(LARGEST, SMALLEST_IN_ONE_LINE, LARGEST * room / text_size(text, LARGEST)[0])
    draw_text(axes, MARGIN, STRIP / 2, text, font_size, INK, 2, ha="left")
    strip = to_array(canvas)
    if carried:
        top, left = (STRIP - SLOT) // 2, width - MARGIN - SLOT
        strip[top : top + SLOT, left : left + SLOT] = tile(SLOT, carried, True)
    return strip
