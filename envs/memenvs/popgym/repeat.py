"""POPGym's RepeatFirst and RepeatPrevious: name the suit of a card that was dealt before, at every card."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

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

FIRST = 0  # in the place of k, where the first card is asked for

PARAMS = np.dtype([("n", np.int32), ("k", np.int32)])
STATE = np.dtype([("key", np.uint64), ("time", np.int32), ("right", np.int32)])
OUT = np.dtype([("observation", np.int64)])
OUT_ALL = np.dtype([("observation", np.int64, (2,))])


@njit
def generate(params, key, level):
    begin(params.n, key, level)
    level.k = params.k
    return True


@njit
def reset(state, level):
    state.time = 0
    state.right = 0


@njit
def asked_turn(state, level):
    """The turn of the card that is asked for; negative before there is one."""
    return np.int64(0) if level.k == FIRST else np.int64(state.time + 1 - level.k)


@njit
def answers(level):
    """The number of answers in an episode."""
    return level.n - max(level.k, 1)


@njit
def step(state, level, action):
    turn = asked_turn(state, level)
    state.time += 1
    reward = 0.0
    if turn >= 0:
        right = action == suit(dealt(level, turn))
        state.right += right
        scale = 1.0 / answers(level)
        reward = scale if right else -scale
    return reward, state.time == level.n - 1, False


@njit
def observe(state, level, out):
    out.observation = suit(dealt(level, state.time))


@njit
def observe_all(state, level, out):
    out.observation[0] = suit(dealt(level, state.time))
    out.observation[1] = oracle(state, level) + 1


@njit
def oracle(state, level):
    return suit(dealt(level, asked_turn(state, level))) if decides(state, level) else np.int64(-1)


@njit
def decides(state, level):
    return asked_turn(state, level) >= 0 and state.time < level.n - 1


@njit
def measure(state, level, out):
    scored = min(state.time, state.time + 1 - level.k)
    out[0] = state.right == answers(level)
    out[1] = state.right / max(scored, 1)


@njit
def digest(level):
    return hashed(np.uint64(0), level.cards, level.n, SUITS)


@njit
def sound(params, state, level):
    fits = level.n == params.n and level.k == params.k
    return fits and are_cards(level.cards, level.n) and 0 <= state.time < level.n


def define_first(decks: int = 1, observable: bool = False) -> Definition:
    """The definition with the first card; the parameters are those of :class:`RepeatFirst`."""
    decks = within("decks", decks, 1, MOST_DECKS)
    return _define("RepeatFirst", f"decks={decks}", decks, FIRST, observable)


def define_previous(decks: int = 1, k: int = 4, observable: bool = False) -> Definition:
    """The definition with a card before; the parameters are those of :class:`RepeatPrevious`."""
    decks = within("decks", decks, 1, MOST_DECKS)
    k = within("k", k, 1, SIZE * decks - 1)
    return _define("RepeatPrevious", f"decks={decks}, k={k}", decks, k, observable)


def _define(family: str, shown: str, decks: int, k: int, observable: bool) -> Definition:
    observable = flag("observable", observable)
    return Definition(
        name=f"{family}({shown}{', observable=True' if observable else ''})",
        params=np.array([(SIZE * decks, k)], PARAMS),
        level=level_dtype(decks, ("k", np.int32)),
        state=STATE,
        out=OUT_ALL if observable else OUT,
        observation_space=MultiDiscrete([SUITS, SUITS + 1]) if observable else Discrete(SUITS),
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
    """Draw the cards dealt so far, and which is asked for, (H, W, 3) uint8."""
    from memenvs.popgym.draw_cards import draw_cards

    return draw_cards(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_cards import ansi_cards

    return ansi_cards(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[list[int], list[bool], list[int], str]:
    """Return the cards in the order of dealing, which of them lie open, those that matter, and a line of words."""
    n, time, k = int(level["n"]), int(state["time"]), int(level["k"])
    asked = 0 if k == FIRST else time + 1 - k
    cards = level["cards"][:n][::-1].tolist()
    wanted = f", asked: {SUIT_NAMES[cards[asked] % SUITS]} of card {asked + 1}" if asked >= 0 and time < n - 1 else ""
    words = f"card {time + 1} of {n}{wanted}, {state['right']} right"
    return cards, [turn <= time for turn in range(n)], [time, *([asked] if wanted else [])], words


class RepeatFirst(SingleEnv):
    """``memenvs/popgym-RepeatFirstEasy-v0``, Medium and Hard: name the suit of the first card at every card.

    POPGym's RepeatFirst (Morad et al. 2023, arXiv:2303.01859), bit for bit. One thing has to be kept, for up to 831
    steps. Nothing in the observation says which card is the first.

    - Observation: ``Discrete(4)``, the suit of the card just dealt.
    - Action: a suit, ♠, ♦, ♣ or ♥; the first one is asked for while the first card is on the screen.
    - Reward: 1 / (n - 1) for the right suit, the negative for a wrong one, with n = 52 ``decks`` cards.
    - End: terminated when the last card is dealt, after n - 1 steps.
    - ``info``: ``right``, the share of right answers, and ``success``, 1 if all were.

    The oracle gets 1, and so can any agent that keeps two bits. Random actions get -0.5. In the paper a GRU gets 1, 1
    and 0.94 at the three levels.

    The split of a level follows from the order of its suits.

    :param decks: of 52 cards, from 1 to 16
    :param observable: show beside the suit the one asked for, as its number + 1, so that nothing has to be remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_first)


class BatchedRepeatFirst(BatchedEnv):
    """The batched :class:`RepeatFirst`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_first)


class RepeatPrevious(SingleEnv):
    """``memenvs/popgym-RepeatPreviousEasy-v0``, Medium and Hard: name the suit of the card k - 1 cards ago.

    POPGym's RepeatPrevious (Morad et al. 2023, arXiv:2303.01859), bit for bit. With ``k`` = 1 the card on the screen is
    asked for, with 4 the one three before: a queue of k suits has to be kept.

    - Observation: ``Discrete(4)``, the suit of the card just dealt.
    - Action: a suit, ♠, ♦, ♣ or ♥. It does not matter before there are k cards.
    - Reward: 1 / (n - k) for the right suit, the negative for a wrong one, with n = 52 ``decks`` cards; 0 before there
      are k of them.
    - End: terminated when the last card is dealt, after n - 1 steps.
    - ``info``: ``right``, the share of right answers, and ``success``, 1 if all were.

    The oracle gets 1, and so can any agent that keeps the last k suits. Random actions get -0.5. In the paper a GRU
    gets 1, -0.32 and -0.43 at the three levels, and the best of its models 1, 0.79 and 0.19.

    The split of a level follows from the order of its suits.

    :param decks: of 52 cards, from 1 to 16
    :param k: which card is asked for, counted back from the one on the screen, which is 1; less than there are cards
    :param observable: show beside the suit the one asked for, as its number + 1 (0 for none), so that nothing has to be
        remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define_previous)


class BatchedRepeatPrevious(BatchedEnv):
    """The batched :class:`RepeatPrevious`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define_previous)
