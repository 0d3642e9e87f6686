"""Decks of cards as POPGym has them: shuffled by NumPy's generator and dealt from the end of the array.

A card is a number from 0 to 51, of which all else follows: its suit is the remainder by 4, its rank the rest, its
colour the remainder by 2. So a colour is two of the suits.
"""

from __future__ import annotations

import math

import numpy as np

from memenvs.compilation import njit
from memenvs.pcg64 import seeded, shuffle
from memenvs.random import fold

SIZE, SUITS, RANKS = 52, 4, 13
MOST_DECKS = 16
SUIT_NAMES, RANK_NAMES = ("♠", "♦", "♣", "♥"), ("A", *map(str, range(2, 11)), "J", "Q", "K")
COLOUR_NAMES = ("black", "red")

_DECK = np.arange(SIZE, dtype=np.uint8)


def capacity(decks: int) -> int:
    """Return the length of arrays for so many decks: two lengths, so that no more than two layouts are compiled."""
    return SIZE * (4 if decks <= 4 else MOST_DECKS)


def level_dtype(decks: int, *fields: tuple) -> np.dtype:
    """The dtype of a level: its seed, the generator after all draws, the number of cards, ``fields``, and the cards."""
    begin = [("seed", np.uint64), ("random", np.uint64, (6,)), ("n", np.int32)]
    return np.dtype([*begin, *fields, ("cards", np.uint8, (capacity(decks),))])


@njit
def begin(n, key, level):
    """Write what every level of cards has, but for further decks."""
    level.seed = key
    level.n = n
    seeded(level.random, key)
    shuffle_decks(level.random, level.cards, n)


@njit
def shuffle_decks(random, cards, n):
    """Write n cards, whole decks in a random order."""
    for first in range(0, n, SIZE):
        cards[first : first + SIZE] = _DECK
    shuffle(random, cards[:n])


@njit
def dealt(level, turn):
    """The card that is dealt in a turn, the first in turn 0."""
    return np.int64(level.cards[level.n - 1 - turn])


@njit
def suit(card):
    """The suit of a card, 0 to 3."""
    return card & 3


@njit
def rank(card):
    """The rank of a card, 0 for the ace to 12 for the king."""
    return card >> 2


@njit
def class_of(card, classes):
    """The class of a card among 2 colours, 4 suits or 13 ranks."""
    return card >> 2 if classes == RANKS else card & (classes - 1)


@njit
def hashed(total, cards, n, classes):
    """A hash of the classes of n cards, and of ``total``."""
    for place in range(n):
        total = fold(total, np.int64(class_of(cards[place], classes)))
    return total


@njit
def are_cards(cards, n):
    """Return whether n numbers are cards."""
    good = True
    for place in range(n):
        good &= cards[place] < SIZE
    return good


def orders(n: int, classes: int) -> int:
    """Return the number of orders of n cards of which only the class is seen."""
    return math.factorial(n) // math.factorial(n // classes) ** classes


def face(card: int, classes: int = 0) -> str:
    """Return a card as people write it, or only its class among 2 colours, 4 suits or 13 ranks."""
    if classes == 2:
        return COLOUR_NAMES[card % 2]
    name = RANK_NAMES[card // SUITS], SUIT_NAMES[card % SUITS]
    return {0: "".join(name), RANKS: name[0], SUITS: name[1]}[classes]
