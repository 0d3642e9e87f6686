"""T-maze with runes, a reading of ours of ALER's task (arXiv:2610.00592): what lies on the way changes the cue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, flag, number
from memenvs.compilation import njit
from memenvs.random import advance, between, fold, integer, uniform

FORWARD, LEFT, RIGHT = range(3)
NOTHING, INVERT, CANCEL, RESET, REPEAT = range(5)
RUNES = ("invert", "cancel", "reset", "repeat")
MARKS = " ¬×0="  # in pictures, by the numbers of the runes
LEAST_LENGTH, MOST_LENGTH = 2, 10_000

PARAMS = np.dtype([("length", np.int64, (2,)), ("density", np.float32), ("kinds", np.int8), ("runes", np.int8, (4,))])
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("position", np.int32),
        ("steps", np.int32),
        ("arrived", np.int8),  # whether the last action led to where the agent is
        ("turn", np.int8),
        ("cue", np.int8),  # as the runes have left it
        ("before", np.int8),  # what it was before the last rune
        ("last", np.int8),  # the last rune that was not to repeat
    ]
)
OUT = np.dtype([("observation", np.uint8, (3,))])


def level_dtype(longest: int) -> np.dtype:
    """The dtype of a level of at most so many steps."""
    return np.dtype([("length", np.int32), ("cue", np.int8), ("runes", np.int8, (longest,))])


@njit
def generate(params, key, level):
    level.cue = LEFT + integer(key, 2)
    key = advance(key)
    level.length = between(key, params.length)
    level.runes[:] = NOTHING
    for place in range(1, level.length):
        key = advance(key)
        if uniform(key) < params.density:
            level.runes[place] = params.runes[integer(advance(key), params.kinds)]
        key = advance(key)
    return True


@njit
def reset(state, level):
    state.position = state.steps = 0
    state.arrived = state.turn = 0
    state.cue = state.before = level.cue
    state.last = NOTHING


@njit
def changed(rune, cue, before, first):
    """Return the cue that a rune makes of one.

    :param before: the cue before the last rune
    :param first: the cue at the start
    """
    if rune == INVERT:
        return LEFT + RIGHT - cue
    if rune == CANCEL:
        return before
    return first if rune == RESET else cue


@njit
def meet(state, level, rune):
    """Let a rune act on the cue."""
    acting = state.last if rune == REPEAT else rune
    cue = changed(acting, state.cue, state.before, level.cue)
    if acting != NOTHING:
        state.before = state.cue
    state.cue = cue
    state.last = acting


@njit
def step(state, level, action):
    state.steps += 1
    junction = state.position == level.length
    state.arrived = action == FORWARD and not junction
    if state.arrived:
        state.position += 1
        if state.position < level.length and level.runes[state.position] != NOTHING:
            meet(state, level, level.runes[state.position])
    turned = junction and action != FORWARD
    if turned:
        state.turn = action
    return 1.0 if turned and action == state.cue else 0.0, turned, state.steps >= time_limit(level.length)


@njit
def time_limit(length):
    """Return twice the steps of the best way."""
    return 2 * (length + 1)


@njit
def observe_rest(state, level, out):
    """Write all but the cue."""
    lies = state.arrived != 0 and state.position < level.length
    out.observation[1] = level.runes[state.position] if lies else NOTHING
    out.observation[2] = state.position == level.length


@njit
def observe(state, level, out):
    out.observation[0] = level.cue if state.steps == 0 else 0
    observe_rest(state, level, out)


@njit
def observe_all(state, level, out):
    out.observation[0] = state.cue
    observe_rest(state, level, out)


@njit
def oracle(state, level):
    return state.cue if state.position == level.length else FORWARD


@njit
def legal(state, level, mask):
    junction = state.position == level.length
    mask[FORWARD] = not junction
    mask[LEFT] = mask[RIGHT] = junction


@njit
def measure(state, level, out):
    out[0] = state.turn == state.cue


@njit
def digest(level):
    result = fold(np.uint64(level.length), level.cue)
    for place in range(1, level.length):
        result = fold(result, level.runes[place])
    return result


@njit
def sound(params, state, level):
    if not params.length[0] <= level.length <= params.length[1] or not 0 <= state.position <= level.length:
        return False
    for place in range(len(level.runes)):
        if not NOTHING <= level.runes[place] <= REPEAT:
            return False
    return LEFT <= level.cue <= RIGHT and LEFT <= state.cue <= RIGHT and LEFT <= state.before <= RIGHT


def define(
    length: int | tuple[int, int] = 10,
    runes: Sequence[str] = RUNES,
    density: float = 0.5,
    observable: bool = False,
) -> Definition:
    """The definition of a T-maze with runes; the parameters are those of :class:`RuneTMaze`."""
    low, high = bounds("length", length, LEAST_LENGTH, MOST_LENGTH)
    kinds = _kinds(runes)
    density = number("density", density, 0, 1)
    observable = flag("observable", observable)
    numbers = [RUNES.index(kind) + 1 for kind in kinds]
    ways = len(kinds) + (density < 1) if density > 0 else 1  # in which a place may be
    shown = f"length={low if low == high else (low, high)}, runes={kinds}, density={density:g}"
    return Definition(
        name=f"RuneTMaze({shown}{', observable=True' if observable else ''})",
        params=np.array([((low, high), density, len(kinds), numbers + [0] * (4 - len(kinds)))], PARAMS),
        level=level_dtype(high),
        state=STATE,
        out=OUT,
        observation_space=MultiDiscrete([3, 1 + len(RUNES), 2], dtype=np.uint8),
        action_space=Discrete(3),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else observe,
        oracle=oracle,
        legal=legal,
        metrics=("success",),
        measure=measure,
        digest=digest,
        distinct_levels=sum(2 * ways ** (steps - 1) for steps in range(low, high + 1)),
        sound=sound,
        draw=draw,
        text=text,
        action_names=("forward", "left", "right"),
    )


def _kinds(runes: Sequence[str]) -> tuple[str, ...]:
    """Return the runes in their own order.

    :raises ValueError: for others, and for one that is named twice
    """
    named = tuple(runes) if not isinstance(runes, str) else (runes,)
    if not named or any(named.count(rune) != 1 for rune in named) or not set(named) <= set(RUNES):
        raise ValueError(f"runes must be one or more of {', '.join(RUNES)}, each once, not {runes!r}")
    return tuple(rune for rune in RUNES if rune in named)


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the corridor with the cue of the start, the runes, the agent and the right arm, (H, W, 3) uint8."""
    from memenvs.maze.draw import draw_tmaze

    return draw_tmaze(*_scene(state, level), goal=_side(_cue_at_the_end(state, level)), marks=_marks(level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.maze.draw import ansi_tmaze

    shown = ansi_tmaze(*_scene(state, level), goal=_side(_cue_at_the_end(state, level)), marks=_marks(level))
    return f"{shown}\ncue now {_side(int(state['cue']))}; ¬ inverts, × cancels, 0 resets, = repeats"


def _side(cue: int) -> str:
    """Return where a cue points: left is up, as one walks to the right."""
    return "up" if cue == LEFT else "down"


def _scene(state: np.void, level: np.void) -> tuple[int, str, tuple[int, int]]:
    """Return length, cue of the start, and where the agent is."""
    turn = {LEFT: 1, RIGHT: -1}.get(int(state["turn"]), 0)
    return int(level["length"]), _side(int(level["cue"])), (int(state["position"]), turn)


def _marks(level: np.void) -> dict[int, str]:
    """Return the signs of the runes by their places."""
    return {place: MARKS[rune] for place, rune in enumerate(level["runes"][: level["length"]]) if rune != NOTHING}


def _cue_at_the_end(state: np.void, level: np.void) -> int:
    """Return what the runes that are still ahead make of the cue."""
    ahead = np.array([state], STATE)
    for rune in level["runes"][state["position"] + 1 : level["length"]]:
        if rune != NOTHING:
            meet(ahead[0], level, rune)
    return int(ahead["cue"][0])


class RuneTMaze(SingleEnv):
    """``memenvs/RuneTMaze-v0``: remember a cue that runes on the way change.

    A cue, left or right, shows at the start of a corridor. On the places between the start and the junction lie runes,
    each of which changes the cue; at the junction the agent must turn the way that the cue points by then. So there is
    something to be done with what is remembered, and for ``cancel``, ``reset`` and ``repeat`` more to be remembered
    than the cue.

    - ``invert``: left becomes right, right becomes left. A number of these is a parity, which no linear recurrence
      whose eigenvalues are all from 0 to 1 can keep for every length (arXiv:2411.12537).
    - ``cancel``: the cue is again what it was before the last rune; before any rune nothing happens. To cancel a
      ``cancel`` brings its change back.
    - ``reset``: the cue is again what it was at the start.
    - ``repeat``: the last rune that was none of these acts again; before any rune nothing happens.

    This is our reading. The abstract of ALER (arXiv:2610.00592) names runes that invert, cancel, reset or repeat the
    update of a hidden cue, and five compositions; which they are and the rules in detail were not found.

    - Observation: ``MultiDiscrete([3, 5, 2])`` of bytes: the cue (0 none, 1 left, 2 right), at the start only; the rune
      that the agent has just come upon (0 none, 1 invert, 2 cancel, 3 reset, 4 repeat), once; whether this is the
      junction.
    - Action: 0 forward, 1 left, 2 right. In the corridor there is no turning, at the junction no way forward: the agent
      stays.
    - Reward: 1 for the right turn, otherwise 0.
    - End: terminated by a turn at the junction, truncated after ``2 * (length + 1)`` steps.
    - ``info``: ``success``, 1 for the right turn.

    The split of a level follows from its length, its cue and its runes.

    :param length: steps from the start to the junction, from 2 to 10,000; as ``(least, most)`` it is drawn anew in
        every episode
    :param runes: those that there are, some of ``"invert"``, ``"cancel"``, ``"reset"``, ``"repeat"``, one as likely as
        another
    :param density: how likely a place has a rune, from 0 to 1
    :param observable: show at every step the cue as it is now, so that nothing has to be remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedRuneTMaze(BatchedEnv):
    """The batched :class:`RuneTMaze`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
