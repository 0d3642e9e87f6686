"""POPGym's Concentration: turn cards over two at a time, and find those that are alike."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.popgym.cards import (
    MOST_DECKS,
    RANKS,
    SIZE,
    are_cards,
    begin,
    capacity,
    class_of,
    hashed,
    level_dtype,
    orders,
)

COLOURS = 2
WAITS, FOUND = 2, 3  # how a card lies where all is shown; 0 is face down, 1 open until the next flip

PARAMS = np.dtype([("n", np.int32), ("classes", np.int32)])


def state_dtype(decks: int) -> np.dtype:
    """The dtype of a state with room for so many decks, and behind the n cards for a place where none is.

    That place, number n, counts as open: what is done to it changes nothing.
    """
    cards = (capacity(decks) + 1,)
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("found", np.int32),  # cards that lie open for good
            ("first", np.int32),  # the place that was turned over and waits for its like, or n
            ("shown", np.int32, (2,)),  # the places that the last turn showed, or n
            ("up", np.uint8, cards),  # 1 for the cards that lie open for good
            ("seen", np.uint8, cards),  # the class that is seen at each place; the number of classes for a back
        ]
    )


@njit
def generate(params, key, level):
    begin(params.n, key, level)
    level.classes = params.classes
    return True


@njit
def reset(state, level):
    n = level.n
    state.time = 0
    state.found = 0
    state.first = state.shown[0] = state.shown[1] = n
    state.up[:n] = 0
    state.up[n] = 1
    state.seen[: n + 1] = level.classes


@njit
def step(state, level, action):
    """Flip a card. Without branches, since what players do is hard to guess for a processor."""
    n, first = level.n, state.first
    waiting = first < n
    for entry in range(2):
        place = n if waiting else state.shown[entry]
        state.seen[place] = state.seen[place] if state.up[place] else level.classes
    state.seen[action] = class_at(level, action)
    up = state.up[action] != 0
    found = waiting & (not up) & (action != first) & (state.seen[action] == state.seen[first])
    state.up[action] |= found
    state.up[first] |= found
    state.found += 2 * found
    failure = -1.0 / time_limit(level)
    second = 1.0 / (n >> 1) if found else 2 * failure
    reward = second if waiting else failure if up else 0.0
    state.shown[0] = first
    state.shown[1] = action if waiting else n
    state.first = n if waiting or up else action
    state.time += 1
    return reward, state.found == n, state.time >= time_limit(level)


@njit
def class_at(level, place):
    return class_of(np.int64(level.cards[place]), level.classes)


@njit
def time_limit(level):
    """The number of flips after which time is up."""
    return 2 * level.n


@njit
def observe(state, level, out):
    # Not the constant length of the array, for which the compiler writes out place after place instead of vectors.
    for place in range(np.uintp(level.n)):
        out.observation[place] = state.seen[place]


@njit
def observe_all(state, level, out):
    for place in range(level.n):
        look = FOUND if state.up[place] else WAITS if place == state.first else state.seen[place] != level.classes
        out.observation[place] = 4 * class_at(level, place) + look


@njit
def oracle(state, level):
    for place in range(level.n):
        alike = state.first == level.n or class_at(level, place) == class_at(level, state.first)
        if alike and not state.up[place] and place != state.first:
            return np.int64(place)
    return np.int64(-1)


@njit
def decides(state, level):
    return state.found < level.n


@njit
def legal(state, level, mask):
    for place in range(level.n):
        mask[place] = not state.up[place] and place != state.first
    if state.found == level.n:
        mask[0] = True


@njit
def measure(state, level, out):
    out[0] = state.found == level.n
    out[1] = state.found / level.n
    out[2] = state.found / max(state.time, 1)


@njit
def digest(level):
    return hashed(np.uint64(0), level.cards, level.n, level.classes)


@njit
def sound(params, state, level):
    n, found = params.n, 0
    if level.n != n or level.classes != params.classes or not are_cards(level.cards, n):
        return False
    for place in range(n):
        if state.up[place] > 1 or not (
            state.seen[place] == level.classes or state.seen[place] == class_at(level, place)
        ):
            return False
        found += state.up[place]
    for entry in range(2):
        if not 0 <= state.shown[entry] <= n:
            return False
    first = state.first
    waits = first == n or (0 <= first < n and not state.up[first] and oracle(state, level) >= 0)
    return state.up[n] == 1 and found == state.found and waits and state.time >= 0


def define(decks: int = 1, classes: int = 13, observable: bool = False) -> Definition:
    """The definition of the game; the parameters are those of :class:`Concentration`."""
    decks = within("decks", decks, 1, MOST_DECKS)
    classes = within("classes", classes, COLOURS, RANKS)
    if classes not in (COLOURS, RANKS):
        raise ValueError(f"classes must be 2 (colours) or 13 (ranks), not {classes}")
    observable = flag("observable", observable)
    n = SIZE * decks
    return Definition(
        name=f"Concentration(decks={decks}, classes={classes}{', observable=True' if observable else ''})",
        params=np.array([(n, classes)], PARAMS),
        level=level_dtype(decks, ("classes", np.int32)),
        state=state_dtype(decks),
        out=np.dtype([("observation", np.int64, (n,))]),
        observation_space=MultiDiscrete([4 * classes if observable else classes + 1] * n),
        action_space=Discrete(n),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        decides=decides,
        legal=legal,
        metrics=("success", "found", "economy"),
        measure=measure,
        digest=digest,
        distinct_levels=orders(n, classes),
        both_ends=True,
        sound=sound,
        draw=draw,
        text=text,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the cards as they lie, (H, W, 3) uint8."""
    from memenvs.popgym.draw_cards import draw_cards

    return draw_cards(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_cards import ansi_cards

    return ansi_cards(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[list[int], list[bool], list[int], str]:
    """Return the cards, which of them lie open, those of this turn, and a line of words."""
    n = int(level["n"])
    opened = (state["seen"][:n] != level["classes"]).tolist()
    turned = sorted({int(place) for place in (state["first"], *state["shown"]) if place < n})
    kind = "ranks" if level["classes"] == RANKS else "colours"
    words = f"pairs of {kind}: {state['found']} of {n} cards found with {state['time']} flips of {2 * n}"
    return level["cards"][:n].tolist(), opened, turned, words


class Concentration(SingleEnv):
    """``memenvs/popgym-ConcentrationEasy-v0``, Medium and Hard: turn cards over two at a time, and find those alike.

    POPGym's Concentration (Morad et al. 2023, arXiv:2303.01859), bit for bit. Two cards are alike if they have the same
    colour or, in the hard one, the same rank. Two that are stay open; others are turned back before the next flip. The
    paper's agents were also shown their last action (``condition_on=["action"]`` for the agents of memagents).

    - Observation: ``MultiDiscrete([classes + 1] * n)``: at each of the n = 52 ``decks`` places the class of the card
      there, or ``classes`` where it lies face down.
    - Action: ``Discrete(n)``, the place to turn over.
    - Reward: 2 / n for the second card of two alike; -1 / n for a second one that is not, or that is the same card or
      lies open; -1 / 2n for a first one that lies open, which ends the turn; 0 for any other first card.
    - End: terminated when all lie open; truncated after 2 n flips, which may be both.
    - ``info``: ``success``, 1 if all were found; ``found``, the share that was; ``economy``, the flips that the cards
      found needed at the least over the flips made.

    The oracle knows the cards and gets 1 in n flips. A player with a perfect memory gets 0.83 in the easy game, which
    is the best possible, and a simple one at least 0.81 and 0.70 in the others; random actions get -0.19, -0.19 and
    -0.84.

    The split of a level follows from the classes of its cards.

    :param decks: of 52 cards, from 1 to 16
    :param classes: 2 for colours, 13 for ranks
    :param observable: show of every card four times its class, plus 1 if it lies open until the next flip, 2 if it
        waits for its like, 3 if it has been found
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedConcentration(BatchedEnv):
    """The batched :class:`Concentration`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
