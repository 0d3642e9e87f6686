"""Tables for planning: the distances between all boards, and the facts that hold on each.

A distance does not change when blocks are renamed. So a board is looked at from its own point of view: its blocks are
renamed 0, 1, ... in reading order (column by column, each from the bottom), and nothing but its *shape* remains, the
heights of its three columns. There are 50 shapes of 2 to 6 blocks. For each, all boards with as many blocks stand in a
row by their distance from it, and for each fact (one block on top of another, one at the left of another) a string of
bits says on which boards of that row it holds. The nearest board on which several facts hold is then the first bit that
is set in all of their strings.

The tables are constants of the compiled code, 0.7 MB; they are computed at import, in about 0.1 s.
"""

from __future__ import annotations

from itertools import pairwise, permutations, product

import numpy as np
from numpy.typing import NDArray

COLUMNS, HEIGHT = 3, 3
FEWEST_BLOCKS, MOST_BLOCKS = 2, 6
MOVES = tuple((i, j) for i in range(COLUMNS) for j in range(COLUMNS) if i != j)  # from which column to which
FARTHEST = 19  # no two boards of up to 6 blocks are further apart
ON_TOP, AT_LEFT = range(2)  # facts


def shapes_of(blocks: int) -> list[tuple[int, ...]]:
    """Return all heights that three columns of so many blocks can have."""
    return [heights for heights in product(range(HEIGHT + 1), repeat=COLUMNS) if sum(heights) == blocks]


def all_boards(blocks: int) -> NDArray[np.int64]:
    """The blocks of a board in reading order, (n!, n), in all orders, sorted. Board r of shape s is s · n! + r."""
    return np.array(list(permutations(range(blocks))))


def neighbours(blocks: int) -> NDArray[np.int64]:
    """The board after each move from each board, (boards, 6); -1 where it cannot be made."""
    shapes, orders = shapes_of(blocks), all_boards(blocks)
    powers = blocks ** np.arange(blocks)
    rank = np.zeros(blocks**blocks, np.int64)
    rank[orders @ powers] = np.arange(len(orders))
    after = np.full((len(shapes), len(orders), len(MOVES)), -1)
    for s, heights in enumerate(shapes):
        for m, (i, j) in enumerate(MOVES):
            if heights[i] == 0 or heights[j] == HEIGHT:
                continue
            columns = np.split(np.arange(blocks), np.cumsum(heights)[:-1])
            columns[j] = np.append(columns[j], columns[i][-1])
            columns[i] = columns[i][:-1]
            shape = shapes.index(tuple(map(len, columns)))
            after[s, :, m] = shape * len(orders) + rank[orders[:, np.concatenate(columns)] @ powers]
    return after.reshape(-1, len(MOVES))


def distances(after: NDArray[np.int64], start: int) -> NDArray[np.int64]:
    """The fewest moves from one board to each, (boards,)."""
    distance = np.full(len(after), -1)
    fresh, moves = np.array([start]), 0
    while fresh.size:
        distance[fresh] = moves
        reached = np.unique(after[fresh])
        fresh, moves = reached[(reached >= 0) & (distance[reached] < 0)], moves + 1
    return distance


def facts(blocks: int) -> NDArray[np.bool_]:
    """Return the facts that hold on each board, (2 n², boards): one on another, and one at the left of another."""
    shapes, orders = shapes_of(blocks), all_boards(blocks)
    true = np.zeros((2, blocks, blocks, len(shapes), len(orders)), np.bool_)
    every = np.arange(len(orders))
    for s, heights in enumerate(shapes):
        columns = np.split(np.arange(blocks), np.cumsum(heights)[:-1])
        for column in columns:
            for below, above in pairwise(column):
                true[ON_TOP, orders[:, above], orders[:, below], s, every] = True
        for left, right in pairwise(columns):
            for a, b in zip(left, right, strict=False):
                true[AT_LEFT, orders[:, a], orders[:, b], s, every] = True
    return true.reshape(2 * blocks**2, -1)


def words_of(blocks: int) -> int:
    """Return the number of 64-bit words that have a bit for each board."""
    return -(-len(shapes_of(blocks)) * len(all_boards(blocks)) // 64)


def as_words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return bits (rows, boards) as words (rows, words), bit i of word w for board 64 w + i."""
    padded = np.zeros((len(bits), -(-bits.shape[1] // 64) * 64), np.bool_)
    padded[:, : bits.shape[1]] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8")


NUMBERS = range(FEWEST_BLOCKS, MOST_BLOCKS + 1)
SHAPES = np.array([heights for n in NUMBERS for heights in shapes_of(n)], np.int8)  # (50, 3) heights
SHAPE_OF = np.full((HEIGHT + 1,) * COLUMNS, -1, np.int8)  # by heights
SHAPE_OF[tuple(SHAPES.T)] = np.arange(len(SHAPES))
FIRST_SHAPE = np.array([sum(SHAPES.sum(axis=1) < n) for n in range(MOST_BLOCKS + 2)])  # (8,) by number of blocks
WORDS = np.array([words_of(n) for n in SHAPES.sum(axis=1)])  # (50,) words of each string of bits
WITHIN = np.zeros((len(SHAPES), FARTHEST + 1), np.int16)  # how many boards are at most so many moves away


def _strings() -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the starts of the strings of each shape, and the words of all: by shape, then fact, then word."""
    first, parts = [0], []
    for n in NUMBERS:
        after, true, boards = neighbours(n), facts(n), len(all_boards(n))
        for s in range(len(shapes_of(n))):
            distance = distances(after, s * boards)
            shape = FIRST_SHAPE[n] + s
            WITHIN[shape] = np.searchsorted(np.sort(distance), np.arange(FARTHEST + 1), side="right")
            parts.append(as_words(true[:, np.argsort(distance, kind="stable")]).ravel())
            first.append(first[-1] + parts[-1].size)
    return np.array(first), np.concatenate(parts)


FIRST_WORD, STRINGS = _strings()


def nearest_boards(blocks: int) -> NDArray[np.int64]:
    """The fewest moves from a board of each shape to one on which a fact holds, for every fact, (shapes, facts)."""
    away = []
    for shape in range(FIRST_SHAPE[blocks], FIRST_SHAPE[blocks + 1]):
        strings = STRINGS[FIRST_WORD[shape] : FIRST_WORD[shape + 1]].reshape(-1, WORDS[shape])
        bits = np.unpackbits(strings.view(np.uint8), axis=1, bitorder="little")
        bits = bits[bits.any(axis=1)]  # without those of a block and itself
        away.append(np.searchsorted(WITHIN[shape], bits.argmax(axis=1), side="right"))
    return np.array(away)
