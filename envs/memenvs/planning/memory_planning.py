"""Memory&Planning Game (Ritter et al. 2021, arXiv:2006.03662): find symbol after symbol on a torus of unknown order."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.engine.defaults import always_decides
from memenvs.random import advance, fold, integer, permute

UP, DOWN, LEFT, RIGHT, COLLECT = range(5)
LEAST_SIZE, MOST_SIZE = 2, 15  # so that symbols are bytes
MOST_STEPS = 10_000

PARAMS = np.dtype([("size", np.int64), ("steps", np.int64)])
LEVEL = np.dtype(
    [
        ("size", np.int16),
        ("steps", np.int16),
        ("start", np.int16),  # a place is column + size · row, row 0 below
        ("goal", np.int16),
        ("symbols", np.uint8, (MOST_SIZE * MOST_SIZE,)),  # of the places
    ]
)
STATE = np.dtype(
    [
        ("key", np.uint64),
        ("position", np.int16),
        ("goal", np.int16),
        ("steps", np.int16),
        ("needed", np.int16),  # the fewest steps from where the present goal was given to collecting it
        ("goals", np.int16),
        ("shortest", np.int16),  # the fewest steps that the goals collected needed
        ("seen", np.uint8, (MOST_SIZE * MOST_SIZE,)),  # 1 for the places where the agent has been
    ]
)
OUT = np.dtype([("observation", np.uint8, (2,))])


@njit
def generate(params, key, level):
    level.size, level.steps = params.size, params.steps
    places = params.size * params.size
    key = permute(key, level.symbols, places)
    key = advance(key)
    level.start = integer(key, places)
    key, level.goal = draw_goal(key, places, level.start)
    return True


@njit
def draw_goal(key, places, position):
    """Draw one of the other places.

    :return: the next key, and the goal
    """
    key = advance(key)
    drawn = integer(key, places - 1)
    return key, drawn + (drawn >= position)


@njit
def reset(state, level):
    state.position = level.start
    state.goal = level.goal
    state.steps = state.goals = state.shortest = 0
    state.needed = steps_to_collect(level, state.position, state.goal)
    state.seen[: level.size * level.size] = 0
    state.seen[state.position] = 1


@njit
def ahead(level, position, goal):
    """Return how many steps right and up a goal is, from 0 to size - 1 each."""
    right = (goal % level.size - position % level.size) % level.size
    up = (goal // level.size - position // level.size) % level.size
    return right, up


@njit
def steps_to_collect(level, position, goal):
    """Return the fewest steps to a goal, with the one that collects it."""
    right, up = ahead(level, position, goal)
    return min(right, level.size - right) + min(up, level.size - up) + 1


@njit
def moved(level, position, action):
    """Return the place to which an action leads."""
    size = level.size
    column, row = position % size, position // size
    column = (column + (action == RIGHT) - (action == LEFT)) % size
    row = (row + (action == UP) - (action == DOWN)) % size
    return column + size * row


@njit
def step(state, level, action):
    state.steps += 1
    state.position = moved(level, state.position, action)
    state.seen[state.position] = 1
    collected = action == COLLECT and state.position == state.goal
    if collected:
        state.goals += 1
        state.shortest += state.needed
        state.key, state.goal = draw_goal(state.key, level.size * level.size, state.position)
        state.needed = steps_to_collect(level, state.position, state.goal)
    return 1.0 if collected else 0.0, state.steps >= level.steps, False


@njit
def observe(state, level, out):
    out.observation[0] = level.symbols[state.position]
    out.observation[1] = level.symbols[state.goal]


@njit
def observe_places(state, level, out):
    out.observation[0] = state.position
    out.observation[1] = state.goal


@njit
def oracle(state, level):
    """The next step of a shortest way, across before upwards or down, and the goal when it is reached."""
    return step_towards(level, state.position, state.goal)


@njit
def oracle_of_seen(state, level):
    """The same where the goal has been seen; else the next step to the nearest place that has not."""
    if state.seen[state.goal] != 0:
        return step_towards(level, state.position, state.goal)
    return step_towards(level, state.position, nearest_new(state, level))


@njit
def nearest_new(state, level):
    """Return the nearest place where the agent has not been, of several the one least upwards, then least rightwards.

    Counted from the agent, not from place 0, so that it follows from what was seen.
    """
    size = level.size
    column, row = state.position % size, state.position // size
    nearest, fewest = state.goal, 2 * size
    for up in range(size):
        for right in range(size):
            place = (column + right) % size + size * ((row + up) % size)
            needed = steps_to_collect(level, state.position, place)
            if needed < fewest and state.seen[place] == 0:
                nearest, fewest = place, needed
    return nearest


@njit
def step_towards(level, position, goal):
    right, up = ahead(level, position, goal)
    if right > 0:
        return RIGHT if 2 * right <= level.size else LEFT
    if up > 0:
        return UP if 2 * up <= level.size else DOWN
    return COLLECT


@njit
def legal(state, level, mask):
    mask[:COLLECT] = True
    mask[COLLECT] = state.position == state.goal


@njit
def measure(state, level, out):
    economy = state.shortest / state.steps
    out[0] = economy >= 0.5
    out[1] = state.goals
    out[2] = economy


@njit
def digest(level):
    """Return a hash of the torus, the same from wherever one counts its places: nobody who walks there can tell."""
    places, size = level.size * level.size, level.size
    origin = 0
    while level.symbols[origin] != 0:
        origin += 1
    result = np.uint64(0)
    for place in range(places):
        column, row = (origin + place) % size, (origin // size + place // size) % size
        result = fold(result, level.symbols[column + size * row])
    return result


@njit
def sound(params, state, level):
    places = params.size * params.size
    if level.size != params.size or level.steps != params.steps:
        return False
    if not (0 <= level.start < places and 0 <= level.goal < places):
        return False
    origins = 0
    for place in range(places):
        if level.symbols[place] >= places:
            return False
        origins += level.symbols[place] == 0
    return (
        origins == 1
        and 0 <= state.position < places
        and 0 <= state.goal < places
        and 0 <= state.steps <= level.steps
        and 0 <= state.goals <= state.steps
        and state.seen[state.position] == 1
    )


def define(size: int = 4, steps: int = 100, observable: bool = False, informed: bool = True) -> Definition:
    """The definition of a game; the parameters are those of :class:`MemoryPlanning`."""
    size = within("size", size, LEAST_SIZE, MOST_SIZE)
    steps = within("steps", steps, 1, MOST_STEPS)
    observable, informed = flag("observable", observable), flag("informed", informed)
    flags = f"{', observable=True' if observable else ''}{'' if informed else ', informed=False'}"
    return Definition(
        name=f"MemoryPlanning(size={size}, steps={steps}{flags})",
        params=np.array([(size, steps)], PARAMS),
        level=LEVEL,
        state=STATE,
        out=OUT,
        observation_space=MultiDiscrete([size * size] * 2, dtype=np.uint8),
        action_space=Discrete(5),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_places if observable else observe,
        oracle=oracle if informed else oracle_of_seen,
        decides=always_decides,
        legal=legal,
        metrics=("success", "goals", "economy"),
        measure=measure,
        digest=digest,
        distinct_levels=math.factorial(size * size - 1),
        sound=sound,
        draw=draw,
        text=text,
        action_names=("up", "down", "left", "right", "collect"),
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the torus with its symbols, the agent and the goal, (H, W, 3) uint8."""
    from memenvs.planning.draw import draw_torus

    return draw_torus(*scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.planning.draw import ansi_torus

    return ansi_torus(*scene(state, level))


def scene(state: np.void, level: np.void) -> tuple[np.ndarray, tuple[int, int], tuple[int, int], str]:
    """Return the contents of a picture: symbols (rows, columns), row 0 below, agent, goal as (column, row), caption."""
    size = int(level["size"])
    symbols = level["symbols"][: size * size].reshape(size, size)
    agent, goal = ((place % size, place // size) for place in (int(state["position"]), int(state["goal"])))
    return symbols, agent, goal, f"step {state['steps']} of {level['steps']}, goals collected: {state['goals']}"


class MemoryPlanning(SingleEnv):
    """``memenvs/MemoryPlanning-v0``: find symbol after symbol on a torus whose order is new in every episode.

    The Memory&Planning Game of Ritter et al. (2021, "Rapid Task-Solving in Novel Environments", arXiv:2006.03662). On a
    grid of ``size`` × ``size`` places, whose opposite borders meet, each place has a symbol of its own. The agent sees
    the symbol where it is and the one that it should go to and collect; where that is, it has to know from having been
    there. The goals go on to the end, so that early steps are for exploring, and later ones for planning short ways
    through what is remembered.

    - Observation: ``MultiDiscrete([size ** 2] * 2)`` of bytes: the symbol of the place, and the goal's. (The authors
      show each as a vector with a single 1, which is what agents here make of them.)
    - Action: 0 up, 1 down, 2 left, 3 right, 4 collect.
    - Reward: 1 for collecting at the goal, which is a new one then, any of the other places. No other action costs or
      brings anything.
    - End: terminated after ``steps`` steps.
    - ``info``: ``goals``, how many were collected; ``economy``, the steps they needed at the least over the steps of
      the episode; ``success``, 1 if ``economy`` is at least 0.5.

    Rules and defaults are those of the authors' program; the metrics, the split, ``observable`` and ``informed`` are
    ours.

    Who knows the torus needs 47/15 = 3.13 steps a goal on the average (``size=4``), one to collect and 32/15 on the
    way, which makes 31.6 goals in 100 steps: that is the oracle, and out of reach for agents that still have to
    explore. Who remembers where each symbol was, and looks for others in the nearest new place, collects 29: that is
    the oracle with ``informed=False``. Who walks at random collects 5. In general the way has
    size³ / 2 / (size² − 1) steps where ``size`` is even, and size / 2 where it is odd.

    The split of a level follows from the order of its symbols, wherever the agent and the goals are. Orders that differ
    only by where one begins to count are one, since they look the same to the agent.

    :param size: places in a row and in a column, from 2 to 15
    :param steps: of an episode, from 1 to 10,000
    :param observable: show the places by their numbers (column + ``size`` · row), which are the same in every episode,
        so that nothing has to be remembered
    :param informed: whether the oracle knows the torus from the beginning; else it knows what the agent has seen, so
        that whoever imitates it can know what it does
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedMemoryPlanning(BatchedEnv):
    """The batched :class:`MemoryPlanning`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
