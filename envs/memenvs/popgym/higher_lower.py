"""POPGym's HigherLower: is the next card higher or lower?"""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.popgym.cards import MOST_DECKS, RANKS, SIZE, are_cards, begin, dealt, hashed, level_dtype, orders, rank

HIGHER, LOWER = range(2)

PARAMS = np.dtype([("n", np.int32)])
STATE = np.dtype([("key", np.uint64), ("time", np.int32), ("right", np.int32), ("wrong", np.int32)])
OUT = np.dtype([("observation", np.int64)])
OUT_ALL = np.dtype([("observation", np.int64, (2,))])


@njit
def generate(params, key, level):
    begin(params.n, key, level)
    return True


@njit
def reset(state, level):
    state.time = 0
    state.right = state.wrong = 0


@njit
def step(state, level, action):
    before = rank(dealt(level, state.time))
    state.time += 1
    now = rank(dealt(level, state.time))
    right = (now > before) if action == HIGHER else (now < before)
    wrong = (now != before) & ~right
    state.right += right
    state.wrong += wrong
    scale = 1.0 / level.n
    return scale if right else -scale if wrong else 0.0, state.time == level.n - 1, False


@njit
def observe(state, level, out):
    out.observation = rank(dealt(level, state.time))


@njit
def observe_all(state, level, out):
    out.observation[0] = rank(dealt(level, state.time))
    out.observation[1] = rank(dealt(level, min(state.time + 1, level.n - 1)))


@njit
def oracle(state, level):
    if not decides(state, level):
        return np.int64(-1)
    lower = rank(dealt(level, state.time + 1)) < rank(dealt(level, state.time))
    return np.int64(LOWER) if lower else np.int64(HIGHER)


@njit
def decides(state, level):
    return state.time < level.n - 1  # before equal ranks too, or the player would be told of them


@njit
def measure(state, level, out):
    out[0] = state.right > 0 and state.wrong == 0
    out[1] = state.right / max(state.right + state.wrong, 1)


@njit
def digest(level):
    return hashed(np.uint64(0), level.cards, level.n, RANKS)


@njit
def sound(params, state, level):
    return level.n == params.n and are_cards(level.cards, level.n) and 0 <= state.time < level.n


def define(decks: int = 1, observable: bool = False) -> Definition:
    """The definition of the game; the parameters are those of :class:`HigherLower`."""
    decks = within("decks", decks, 1, MOST_DECKS)
    observable = flag("observable", observable)
    return Definition(
        name=f"HigherLower(decks={decks}{', observable=True' if observable else ''})",
        params=np.array([(SIZE * decks,)], PARAMS),
        level=level_dtype(decks),
        state=STATE,
        out=OUT_ALL if observable else OUT,
        observation_space=MultiDiscrete([RANKS, RANKS]) if observable else Discrete(RANKS),
        action_space=Discrete(2),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        decides=decides,
        metrics=("success", "right"),
        measure=measure,
        digest=digest,
        distinct_levels=orders(SIZE * decks, RANKS),
        sound=sound,
        draw=draw,
        text=text,
        action_names=("higher", "lower"),
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the cards dealt so far, (H, W, 3) uint8."""
    from memenvs.popgym.draw_cards import draw_cards

    return draw_cards(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.popgym.draw_cards import ansi_cards

    return ansi_cards(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[list[int], list[bool], list[int], str]:
    """Return the cards in the order of dealing, which of them lie open, the newest one, and a line of words."""
    n, time = int(level["n"]), int(state["time"])
    words = f"card {time + 1} of {n}, {state['right']} right, {state['wrong']} wrong"
    return level["cards"][:n][::-1].tolist(), [turn <= time for turn in range(n)], [time], words


class HigherLower(SingleEnv):
    """``memenvs/popgym-HigherLowerEasy-v0``, Medium and Hard: say whether the next card is higher or lower.

    POPGym's HigherLower (Morad et al. 2023, arXiv:2303.01859), bit for bit. The ace is the lowest rank, the king the
    highest. Who remembers what has been dealt knows better what is left, but not by much.

    - Observation: ``Discrete(13)``, the rank of the card just dealt.
    - Action: 0 higher, 1 lower.
    - Reward: 1 / n if it is so, -1 / n if not, with n = 52 ``decks`` cards; 0 for an equal rank.
    - End: terminated when the last card is dealt, after n - 1 steps.
    - ``info``: ``right``, the share of right answers where the rank was not equal, and ``success``, 1 if all were.

    The oracle knows the deck, and gets 12 / 13 in the mean, since equal ranks pay nothing. Who counts all cards and
    chooses what is likelier, which is the best that can be done without, gets 0.527, 0.516 and 0.511 at the three
    levels; without a memory, higher below a 7 and else lower, 0.50. Random actions get 0.

    The split of a level follows from the order of its ranks.

    :param decks: of 52 cards, from 1 to 16
    :param observable: show the rank of the next card as a second entry
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedHigherLower(BatchedEnv):
    """The batched :class:`HigherLower`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
