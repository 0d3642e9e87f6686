"""POPGym's CountRecall: how often has a colour, a suit or a rank been dealt so far?"""

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
    dealt,
    face,
    hashed,
    level_dtype,
    orders,
    shuffle_decks,
)

CLASSES = (2, 4, 13)

PARAMS = np.dtype([("n", np.int32), ("classes", np.int32)])
STATE = np.dtype([("key", np.uint64), ("time", np.int32), ("right", np.int32), ("counts", np.int32, (RANKS,))])


@njit
def generate(params, key, level):
    begin(params.n, key, level)
    level.classes = params.classes
    shuffle_decks(level.random, level.queries, level.n)
    return True


@njit
def reset(state, level):
    state.time = 0
    state.right = 0
    state.counts[:] = 0
    state.counts[class_of(dealt(level, 0), level.classes)] = 1


@njit
def query(state, level):
    """The class that is asked for."""
    return class_of(np.int64(level.queries[level.n - 1 - state.time]), level.classes)


@njit
def step(state, level, action):
    right = action == state.counts[query(state, level)]
    state.right += right
    state.time += 1
    state.counts[class_of(dealt(level, state.time), level.classes)] += 1
    scale = 1.0 / (level.n - 1)
    return scale if right else -scale, state.time == level.n - 1, False


@njit
def observe(state, level, out):
    out.observation[0] = class_of(dealt(level, state.time), level.classes)
    out.observation[1] = query(state, level)


@njit
def observe_all(state, level, out):
    observe(state, level, out)
    out.observation[2] = state.counts[query(state, level)]


@njit
def oracle(state, level):
    return np.int64(state.counts[query(state, level)]) if decides(state, level) else np.int64(-1)


@njit
def decides(state, level):
    return state.time < level.n - 1


@njit
def measure(state, level, out):
    out[0] = state.right == level.n - 1
    out[1] = state.right / max(state.time, 1)


@njit
def digest(level):
    return hashed(hashed(np.uint64(0), level.cards, level.n, level.classes), level.queries, level.n, level.classes)


@njit
def sound(params, state, level):
    n = params.n
    if level.n != n or level.classes != params.classes or not 0 <= state.time < n:
        return False
    if not (are_cards(level.cards, n) and are_cards(level.queries, n)):
        return False
    most = n // level.classes
    counted = True
    for number in range(level.classes):  # the oracle answers with one of them
        counted &= 0 <= state.counts[number] <= most
    return counted


def define(decks: int = 1, classes: int = 2, observable: bool = False) -> Definition:
    """The definition of a deck to count; the parameters are those of :class:`CountRecall`."""
    decks = within("decks", decks, 1, MOST_DECKS)
    classes = within("classes", classes, min(CLASSES), max(CLASSES))
    if classes not in CLASSES:
        raise ValueError(f"classes must be 2 (colours), 4 (suits) or 13 (ranks), not {classes}")
    observable = flag("observable", observable)
    n = SIZE * decks
    answers = n // classes + 1
    sizes = [classes, classes, answers] if observable else [classes, classes]
    return Definition(
        name=f"CountRecall(decks={decks}, classes={classes}{', observable=True' if observable else ''})",
        params=np.array([(n, classes)], PARAMS),
        level=level_dtype(decks, ("classes", np.int32), ("queries", np.uint8, (capacity(decks),))),
        state=STATE,
        out=np.dtype([("observation", np.int64, (len(sizes),))]),
        observation_space=MultiDiscrete(sizes),
        action_space=Discrete(answers),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        decides=decides,
        metrics=("success", "right"),
        measure=measure,
        digest=digest,
        distinct_levels=orders(n, classes) ** 2,
        sound=sound,
        draw=draw,
        text=text,
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the cards dealt so far, and the question, (H, W, 3) uint8."""
    from memenvs.popgym.draw_cards import draw_cards

    return draw_cards(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_cards import ansi_cards

    return ansi_cards(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[list[int], list[bool], list[int], str]:
    """Return the cards in the order of dealing, which of them lie open, the newest one, and a line of words."""
    n, time, classes = int(level["n"]), int(state["time"]), int(level["classes"])
    asked = int(level["queries"][n - 1 - time])
    count = state["counts"][asked // 4 if classes == RANKS else asked % classes]
    words = f"card {time + 1} of {n}, how many {face(asked, classes)} so far? {count}; {state['right']} right"
    return level["cards"][:n][::-1].tolist(), [turn <= time for turn in range(n)], [time], words


class CountRecall(SingleEnv):
    """``memenvs/popgym-CountRecallEasy-v0``, Medium and Hard: say how often a class of cards has been dealt so far.

    POPGym's CountRecall (Morad et al. 2023, arXiv:2303.01859), bit for bit. Beside each card stands a class, from a
    second deck: how many of it have been dealt, the card on the screen included? A counter for each class is enough.

    - Observation: ``MultiDiscrete([classes, classes])``: the class of the card just dealt, and the class asked for.
    - Action: ``Discrete(n / classes + 1)``, the number, with n = 52 ``decks`` cards.
    - Reward: 1 / (n - 1) for the right number, the negative for any other, however close.
    - End: terminated when the last card is dealt, after n - 1 steps.
    - ``info``: ``right``, the share of right answers, and ``success``, 1 if all were. POPGym's own ``info`` has the
      true counts, which are left out here.

    The oracle gets 1, and so can any agent that counts. Random actions get -0.93, -0.93 and -0.88 at the three levels.
    In the paper a GRU gets 0.18, -0.53 and -0.48, with action spaces that lacked the largest number.

    The split of a level follows from the orders of the classes in both decks.

    :param decks: of 52 cards, from 1 to 16
    :param classes: 2 for colours, 4 for suits, 13 for ranks
    :param observable: show the right number as a third entry, so that nothing has to be remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedCountRecall(BatchedEnv):
    """The batched :class:`CountRecall`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
