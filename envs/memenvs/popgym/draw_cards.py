"""Pictures of cards in rows of thirteen, open or face down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memenvs.popgym.cards import face
from memenvs.render import INK, blank_canvas, draw_box, draw_text, to_array

IN_A_ROW, MOST_ROWS = 13, 8
RED, BACK, FRONT, MARK, EDGE = "#C2293A", "#8FA8C8", "#FFFFFF", "#E0921A", "#B9BDC7"
WIDTH, HEIGHT, GAP, TOP = 52, 72, 8, 44  # pixels of a card, between cards, above for words

CARDS, LETTERS = range(1, 3)  # what covers what


def draw_cards(cards: list[int], opened: list[bool], marked: list[int], words: str) -> NDArray[np.uint8]:
    """Draw cards in rows; of many decks those rows that are around the first marked one.

    :param cards: numbers from 0 to 51
    :param opened: which lie face up
    :param marked: places of those to be framed
    :param words: written above
    :return: (height, width, 3) bytes
    """
    first, rows = _window(len(cards), marked)
    size = (GAP + IN_A_ROW * (WIDTH + GAP), TOP + rows * (HEIGHT + GAP))
    canvas, axes = blank_canvas(size)
    draw_text(axes, GAP, size[1] - TOP / 2, words, 15.0, INK, LETTERS, ha="left")
    for place in range(first, min(first + rows * IN_A_ROW, len(cards))):
        row, column = divmod(place - first, IN_A_ROW)
        left, top = GAP + column * (WIDTH + GAP), size[1] - TOP - row * (HEIGHT + GAP)
        box = (left, top - HEIGHT, left + WIDTH, top)
        frame = {"edgecolor": MARK, "linewidth": 4} if place in marked else {"edgecolor": EDGE, "linewidth": 1}
        draw_box(axes, box, 6, FRONT if opened[place] else BACK, CARDS, **frame)
        if opened[place]:
            card = face(cards[place])
            colour = RED if card[-1] in "♦♥" else INK
            draw_text(axes, left + WIDTH / 2, top - 0.3 * HEIGHT, card[:-1], 20.0, colour, LETTERS, weight="bold")
            draw_text(axes, left + WIDTH / 2, top - 0.7 * HEIGHT, card[-1], 24.0, colour, LETTERS)
    return to_array(canvas)


def ansi_cards(cards: list[int], opened: list[bool], marked: list[int], words: str) -> str:
    """Return the same as text: ``··`` is a card that lies face down, brackets stand around a marked one."""
    first, rows = _window(len(cards), marked)
    shown = [face(card) if up else "··" for card, up in zip(cards, opened, strict=True)]
    entries = [f"[{one:>3}]" if place in marked else f" {one:>3} " for place, one in enumerate(shown)]
    starts = range(first, min(first + rows * IN_A_ROW, len(cards)), IN_A_ROW)
    return "\n".join([words, *("".join(entries[start : start + IN_A_ROW]) for start in starts)])


def _window(count: int, marked: list[int]) -> tuple[int, int]:
    """Return the first card that is drawn, and the number of rows."""
    rows = -(-count // IN_A_ROW)
    before = marked[0] // IN_A_ROW - MOST_ROWS // 2 if marked else 0
    return IN_A_ROW * max(0, min(before, rows - MOST_ROWS)), min(rows, MOST_ROWS)
