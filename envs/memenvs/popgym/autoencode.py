"""POPGym's Autoencode: watch a deck, then name the suits from the last card to the first."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete, Tuple

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.popgym.cards import (
    MOST_DECKS,
    SIZE,
    SUIT_NAMES,
    SUITS,
    are_cards,
    begin,
    dealt,
    hashed,
    level_dtype,
    orders,
    suit,
)

PARAMS = np.dtype([("n", np.int32)])
STATE = np.dtype([("key", np.uint64), ("time", np.int32), ("right", np.int32)])
OUT = np.dtype([("watch", np.int64), ("suit", np.int64)])


@njit
def generate(params, key, level):
    begin(params.n, key, level)
    return True


@njit
def reset(state, level):
    state.time = 0
    state.right = 0


@njit
def asked(state, level):
    """The suit to be named now, or -1: what was dealt last is asked for first, and lies first in the array."""
    answers = state.time - (level.n - 1)
    return np.int64(suit(level.cards[answers])) if 0 <= answers < level.n else np.int64(-1)


@njit
def step(state, level, action):
    wanted = asked(state, level)
    state.time += 1
    reward = 0.0
    if wanted >= 0:
        right = action == wanted
        state.right += right
        reward = 1.0 / level.n if right else -1.0 / level.n
    return reward, state.time == 2 * level.n - 1, False


@njit
def observe(state, level, out):
    watching = state.time < level.n
    out.suit = suit(dealt(level, state.time)) if watching else 0
    out.watch = state.time < level.n - 1  # it falls with the last card, which is the first to be named


@njit
def observe_all(state, level, out):
    observe(state, level, out)
    if state.time >= level.n - 1:
        out.suit = max(asked(state, level), 0)


@njit
def oracle(state, level):
    return asked(state, level)


@njit
def decides(state, level):
    return level.n - 1 <= state.time < 2 * level.n - 1


@njit
def measure(state, level, out):
    out[0] = state.right == level.n
    out[1] = state.right / level.n


@njit
def digest(level):
    return hashed(np.uint64(0), level.cards, level.n, SUITS)


@njit
def sound(params, state, level):
    return level.n == params.n and are_cards(level.cards, level.n) and 0 <= state.time < 2 * level.n


def define(decks: int = 1, observable: bool = False) -> Definition:
    """The definition of a deck to recite; the parameters are those of :class:`Autoencode`."""
    decks = within("decks", decks, 1, MOST_DECKS)
    observable = flag("observable", observable)
    return Definition(
        name=f"Autoencode(decks={decks}{', observable=True' if observable else ''})",
        params=np.array([(SIZE * decks,)], PARAMS),
        level=level_dtype(decks),
        state=STATE,
        out=OUT,
        observation_space=Tuple((Discrete(2), Discrete(SUITS))),
        action_space=Discrete(SUITS),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        decides=decides,
        metrics=("success", "right"),
        measure=measure,
        digest=digest,
        distinct_levels=orders(SIZE * decks, SUITS),
        sound=sound,
        draw=draw,
        text=text,
        action_names=SUIT_NAMES,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the cards, those of which the suit has been named turned over again, (H, W, 3) uint8."""
    from memenvs.popgym.draw_cards import draw_cards

    return draw_cards(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_cards import ansi_cards

    return ansi_cards(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[list[int], list[bool], list[int], str]:
    """Return the cards in the order of dealing, which of them lie open, the one that matters, and a line of words."""
    n, time = int(level["n"]), int(state["time"])
    cards = level["cards"][:n][::-1].tolist()
    answers = max(time - (n - 1), 0)
    opened = min(time + 1, n) - answers
    place = n - 1 - answers if answers or time == n - 1 else time
    words = f"card {time + 1} of {n}" if time < n - 1 else f"{state['right']} right of {answers} named, of {n}"
    return cards, [turn < opened for turn in range(n)], [place] if place >= 0 else [], words


class Autoencode(SingleEnv):
    """``memenvs/popgym-AutoencodeEasy-v0``, Medium and Hard: watch cards, then name their suits from the last one back.

    POPGym's Autoencode (Morad et al. 2023, arXiv:2303.01859), bit for bit. The cards of one to three decks are shown
    one by one; the agent then names their suits in the reverse order.

    - Observation: ``Tuple(Discrete(2), Discrete(4))``: whether to watch, and the suit of the card just dealt. The first
      falls to 0 with the last card, which is the first to be named; after it both are 0.
    - Action: the suit, ♠, ♦, ♣ or ♥. It does not matter while cards are dealt.
    - Reward: 1 / n for the right suit, -1 / n for a wrong one, with n = 52 ``decks`` cards; 0 while watching.
    - End: terminated after n - 1 steps of watching and n of naming.
    - ``info``: ``right``, the share of the cards that were named rightly, and ``success``, 1 if all were.

    The oracle gets 1, and so can any agent with a memory for n suits. Random actions get -0.5. In the paper a GRU gets
    -0.28, -0.43 and -0.46 at the three levels.

    The split of a level follows from the order of its suits.

    :param decks: of 52 cards, from 1 to 16
    :param observable: show the suit to be named while it is asked for, so that nothing has to be remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedAutoencode(BatchedEnv):
    """The batched :class:`Autoencode`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
