"""The view of an agent in a grid: the square before it, as MiniGrid shows it, without the cells that walls hide.

The image has the shape (n, n, 3), n odd. Its first index goes from the agent's left to its right, the second from far
to near: the agent itself is at ``[n // 2, n - 1]`` and looks towards lower second indices. The three numbers of a cell
are type, colour and state; (0, 0, 0) is a cell that cannot be seen, and beyond the grid there are walls. In its own
cell the agent sees what it carries.

Sight needs to know of a row of cells, or a column, only which of them hide nothing. These bits are kept beside the
cells, ``rows[y]`` with bit x and ``columns[x]`` with bit y, so that a look reads no cell but those that it shows. For
these bits and half of a view to fit into a word, a grid may have up to 57 cells a side.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array, populate_array

from memenvs.bitwise import intrinsic, lowest
from memenvs.compilation import njit
from memenvs.grid.cells import (
    AGENT,
    DOWN,
    EMPTY,
    GREY,
    LEFT,
    RED,
    RIGHT,
    WALL,
    cell,
    colour_of,
    kind_of,
    lets_see,
    state_of,
)

MOST_VIEW = 15

_ONE, _TWO, _FOUR, _EIGHT = (np.uint64(shift) for shift in (1, 2, 4, 8))

_SHOWN = [(0, kind_of(code), colour_of(code), state_of(code)) for code in range(512)]
_WORDS = np.array(_SHOWN, np.uint8).view(np.uint32).reshape(-1)
"""What a cell shows, by the bits of it that show: a byte of 0, type, colour, state."""


@njit
def show_all(cells, width, height, x, y, direction, image):
    """Write the whole grid into ``image``, and the agent at (x, y) as an object of type 10, its state the direction.

    :param cells: of the grid, flat
    :param image: (n, m, 3) uint8, n at least the width and m at least the height; what is beyond is (0, 0, 0)
    """
    image[:] = 0
    for j in range(height):
        for i in range(width):
            there = cells[j * width + i]
            image[i, j, 0] = kind_of(there)
            image[i, j, 1] = colour_of(there)
            image[i, j, 2] = state_of(there)
    image[x, y, 0] = AGENT
    image[x, y, 1] = RED
    image[x, y, 2] = direction


@functools.partial(njit, inline=True)  # callers know the size of the image, which saves a fifth
def look(cells, rows, columns, width, height, x, y, direction, carried, through_walls, image):
    """Write the view of an agent at (x, y) into ``image``.

    :param cells: of the grid, flat
    :param rows: (height,) unsigned integers, which cells hide nothing
    :param columns: (width,) likewise
    :param carried: the object that the agent carries, 0 for nothing
    :param through_walls: whether nothing hides anything
    :param image: (n, n, 3) uint8
    """
    n = image.shape[0]
    half = n // 2
    # Places in a row of the view are counted in the direction of growing coordinates, whichever way the agent looks.
    lines, side, size, along, at = rows, width, height, y, x
    forward, sideways = width, 1
    if (direction == RIGHT) | (direction == LEFT):
        lines, side, size, along, at = columns, height, width, x, y
        forward, sideways = 1, width
    backwards = direction >= LEFT
    depth = along if backwards else size - 1 - along  # how many lines of the grid there are before the agent
    way = -1 if backwards else 1
    mirrored = (direction == DOWN) | (direction == LEFT)
    lane = np.uint64(n * (n - 1 if mirrored else 0) * 3)
    step = np.uint64(np.int64(-3 * n if mirrored else 3 * n))
    everything = (_ONE << np.uint64(n)) - _ONE
    inside = (((_ONE << np.uint64(side)) - _ONE) << np.uint64(half) >> np.uint64(at)) & everything
    arriving = everything if through_walls else _ONE << np.uint64(half)
    corner = along * forward + (at - half) * sideways  # the cell, or what would be one, at place 0
    flat = flattened(image)
    for i in range(flat.size):
        flat[i] = 0
    for distance in range(n):
        within = inside if distance <= depth else np.uint64(0)
        shown = arriving
        if not through_walls:
            clear = np.uint64(0)
            if distance <= depth:
                line = np.uint64(lines[np.uintp(along + way * distance)])
                clear = (line << np.uint64(half) >> np.uint64(at)) & everything
            shown = spread(arriving, clear) & everything
            arriving = shown & clear
            arriving = (arriving | arriving << _ONE | arriving >> _ONE) & everything
        start = lane + np.uint64(3 * (n - 1 - distance))
        beyond = shown & ~within
        shown &= within
        if distance < n - 1:
            # Four bytes at once, of which the first lies before the cell: in the one behind it, which comes later.
            # These are loops of their own, since a choice within them would take back what this gains.
            while shown:
                place = lowest(shown)
                code = cells[np.uint64(corner) + place * np.uint64(sideways)]
                store_word(flat, start + place * step - _ONE, _WORDS[np.uint64(code) & np.uint64(511)])
                shown &= shown - _ONE
            while beyond:
                store_word(flat, start + lowest(beyond) * step - _ONE, _WORDS[cell(WALL, GREY)])
                beyond &= beyond - _ONE
        else:  # before these lies the cell nearest to the agent, or another image
            while shown:
                place = lowest(shown)
                write(flat, start + place * step, np.int64(cells[np.uint64(corner) + place * np.uint64(sideways)]))
                shown &= shown - _ONE
            while beyond:
                write(flat, start + lowest(beyond) * step, np.int64(cell(WALL, GREY)))
                beyond &= beyond - _ONE
        if arriving == 0:
            break
        corner += way * forward
    write(flat, np.uint64(3 * (n * half + n - 1)), np.int64(carried) if carried else np.int64(EMPTY))


@njit
def spread(arriving, clear):
    """The cells of a row that are seen, as bits, if some are seen from the row before and some are clear.

    What is seen and clear shows its neighbours. MiniGrid's ``process_vis`` goes through a row twice, first to the right
    and then to the left; where both passes end is the same as what is written here.
    """
    up = down = arriving & clear
    up |= clear & ~(clear + up)  # a sum carries on through all that is clear above
    left = clear >> _ONE  # cells whose upper neighbour hides nothing
    down |= left & (down >> _ONE)
    left &= left >> _ONE
    down |= left & (down >> _TWO)
    left &= left >> _TWO
    down |= left & (down >> _FOUR)
    left &= left >> _FOUR
    down |= left & (down >> _EIGHT)
    return arriving | up | up << _ONE | down


@intrinsic
def flattened(context, array):
    """The entries of a C-contiguous array in a row. ``reshape(-1)`` finds out at length what is known here."""
    row = types.Array(array.dtype, 1, "C")

    def generate(context, builder, signature, arguments):
        source = make_array(signature.args[0])(context, builder, arguments[0])
        result = make_array(row)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array.dtype)))
        populate_array(
            result,
            data=builder.bitcast(source.data, result.data.type),
            shape=cgutils.pack_array(builder, [source.nitems]),
            strides=cgutils.pack_array(builder, [size]),
            itemsize=size,
            meminfo=None,
        )
        return result._getvalue()

    return row(array), generate


flattened.plain = lambda array: array.reshape(-1)  # for interpreted code


@intrinsic
def store_word(context, array, at, word):
    """Write the four bytes of a uint32 into a flat array of bytes, from a place on that need not be aligned."""

    def generate(context, builder, signature, arguments):
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), context.get_value_type(types.uint32).as_pointer())
        builder.store(arguments[2], place, align=1)
        return context.get_dummy_value()

    return types.void(array, types.uint64, types.uint32), generate


def _store_word(array: np.ndarray, at: int, word: int) -> None:
    array[int(at) : int(at) + 4] = np.frombuffer(np.uint32(word).tobytes(), np.uint8)


store_word.plain = _store_word  # for interpreted code


@njit
def write(flat, at, code):
    """Write a cell's type, colour and state into three places of a flat image."""
    flat[at] = kind_of(code)
    flat[at + _ONE] = colour_of(code)
    flat[at + _ONE + _ONE] = state_of(code)


@njit
def survey(cells, width, height, rows, columns):
    """Write which cells of a grid hide nothing into ``rows`` and ``columns``."""
    rows[:height] = np.uint64(0)
    columns[:width] = np.uint64(0)
    for y in range(height):
        for x in range(width):
            if lets_see(cells[y * width + x]):
                rows[y] |= _ONE << np.uint64(x)
                columns[x] |= _ONE << np.uint64(y)


@njit
def put(cells, width, rows, columns, x, y, code):
    """Put something into a cell."""
    cells[y * width + x] = code
    row, column = _ONE << np.uint64(x), _ONE << np.uint64(y)
    if lets_see(code):
        rows[y] |= row
        columns[x] |= column
    else:
        rows[y] &= ~row
        columns[x] &= ~column
