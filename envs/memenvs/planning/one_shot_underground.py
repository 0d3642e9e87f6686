"""One-shot navigation in neighbourhoods of the London Underground, after One-Shot StreetLearn (arXiv:2006.03662)."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import flag, within
from memenvs.compilation import njit
from memenvs.engine.defaults import always_decides
from memenvs.planning.neighbourhood import IDS, LEVEL, digest, draw_task, generate, params_of, sound_level, way_to

LEAST_JUNCTIONS, MOST_JUNCTIONS = 3, 10  # fewer have too few neighbourhoods for a split, more too often over 60 states
MOST_STEPS = 10_000
MAP = 2  # where the map begins in an observation that shows it

STATE = np.dtype(
    [
        ("key", np.uint64),
        ("position", np.int16),  # a state of the neighbourhood
        ("goal", np.int16),  # likewise
        ("begun", np.int16),  # where the present task began
        ("steps", np.int16),
        ("needed", np.int16),  # the fewest steps of the present task
        ("goals", np.int16),
        ("shortest", np.int16),  # the fewest steps of the tasks that are done
    ]
)


@njit
def reset(state, level):
    state.position = state.begun = level.start
    state.goal = level.goal
    state.steps = state.goals = state.shortest = 0
    state.needed = way_to(level, level.start, level.goal)[1]


@njit
def step(state, level, action):
    state.steps += 1
    state.position = level.after[state.position, action]
    arrived = state.position == state.goal
    if arrived:
        state.goals += 1
        state.shortest += state.needed
        state.key, state.position, state.goal = draw_task(state.key, level)
        state.begun = state.position
        state.needed = way_to(level, state.position, state.goal)[1]
    return 1.0 if arrived else 0.0, state.steps >= level.steps, False


@njit
def observe(state, level, out):
    out.observation[0] = level.ids[state.position]
    out.observation[1] = level.ids[state.goal]


@njit
def observe_map(state, level, out):
    observe(state, level, out)
    out.observation[MAP:] = IDS
    for here in range(level.states):
        place = MAP + 3 * level.ids[here]
        for action in range(3):
            out.observation[place + action] = level.ids[level.after[here, action]]


@njit
def oracle(state, level):
    """The first action of a shortest way."""
    return way_to(level, state.position, state.goal)[0]


@njit
def legal(state, level, mask):
    for action in range(3):
        mask[action] = level.after[state.position, action] != state.position


@njit
def measure(state, level, out):
    economy = state.shortest / state.steps
    out[0] = economy >= 0.5
    out[1] = state.goals
    out[2] = economy


@njit
def sound(params, state, level):
    return (
        sound_level(params, level)
        and 0 <= state.position < level.states
        and 0 <= state.goal < level.states
        and 0 <= state.begun < level.states
        and state.position != state.goal
        and 0 <= state.steps <= level.steps
        and 0 <= state.goals <= state.steps
    )


def define(junctions: int = 5, steps: int = 200, observable: bool = False) -> Definition:
    """The definition of a task; the parameters are those of :class:`OneShotUnderground`."""
    junctions = within("junctions", junctions, LEAST_JUNCTIONS, MOST_JUNCTIONS)
    steps = within("steps", steps, 1, MOST_STEPS)
    observable = flag("observable", observable)
    sizes = [IDS, IDS, *([IDS + 1] * (3 * IDS) if observable else [])]
    return Definition(
        name=f"OneShotUnderground(junctions={junctions}, steps={steps}{', observable=True' if observable else ''})",
        params=params_of(junctions, steps),
        level=LEVEL,
        state=STATE,
        out=np.dtype([("observation", np.uint8, (len(sizes),))]),
        observation_space=MultiDiscrete(sizes, dtype=np.uint8),
        action_space=Discrete(3),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_map if observable else observe,
        oracle=oracle,
        decides=always_decides,
        legal=legal,
        metrics=("success", "goals", "economy"),
        measure=measure,
        digest=digest,
        sound=sound,
        draw=draw,
        text=text,
        frames_per_second=2,
        action_names=("forward", "left", "right"),
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the neighbourhood with where the agent is and looks to, the goal and a shortest way, (H, W, 3) uint8."""
    from memenvs.planning.draw_neighbourhood import draw_neighbourhood

    return draw_neighbourhood(state, level)


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.planning.draw_neighbourhood import ansi_neighbourhood

    return ansi_neighbourhood(state, level)


class OneShotUnderground(SingleEnv):
    """``memenvs/OneShotUnderground-v0``: find way after way in a part of the London Underground never seen before.

    One-Shot StreetLearn of Ritter et al. (2021, "Rapid Task-Solving in Novel Environments", arXiv:2006.03662) on
    another map: theirs are the streets of twelve cities, this is the London Underground, so that scores are not
    comparable.

    In each episode the agent is in a neighbourhood of stations where lines meet; all stations on the way between two
    of them are left out. It stands at a station and looks along one of the ways from there: that is a state. Each state
    has a number, drawn anew in every episode, and the agent sees its own and the goal's, nothing else. When the goal is
    reached, the agent is put into another state, with another goal. So it has to remember what actions lead to, and
    plan ways that it never took out of ways that it did.

    - Observation: ``MultiDiscrete([60, 60])`` of bytes: the number of the state, and the goal's.
    - Action: 0 forward, to the station that the agent looks to, where it looks along the way whose bearing is nearest
      to the one that it came with; 1 left, to look along the next way anticlockwise; 2 right, the next one clockwise.
    - Reward: 1 for reaching the goal, its station and its direction. No other step costs or brings anything.
    - End: terminated after ``steps`` steps.
    - ``info``: ``goals``, how many were reached; ``economy``, the steps they needed at the least over the steps of the
      episode; ``success``, 1 if ``economy`` is at least 0.5.

    As published: the states, the actions, 5 junctions and 200 steps; the neighbourhood, grown breadth first from a
    random station with three neighbours or more until ``junctions`` stations have three ways or more in it, so that it
    has ends, too; of several ways between two stations one is left; numbers in place of pictures, 60 of them, as in the
    authors' program. Where paper and program differ we follow the paper: arriving pays, and start and goal are drawn
    anew then; in the program a fourth action collects the goal, and the agent stays where it is. Ours: the map;
    stations of equal distance are visited in random order; angles are compared around the circle; a neighbourhood with
    more than 60 states is drawn again; the metrics, the split and ``observable``.

    Who knows the neighbourhood needs 3.85 steps a goal on the average over neighbourhoods (``junctions=5``), which
    makes 52 goals in 200 steps, from 41 to 63 by the neighbourhood: that is the oracle, and out of reach for agents
    that still have to explore. (With 3 junctions it is 64, with 8, the default of the authors' program, 44.) Who
    remembers what every action led to, and tries untried ones until there is a known way to the goal, reaches 28; who
    walks at random, 4.

    The split of a level follows from the ways of its neighbourhood, whatever their numbers. There are a few hundred
    neighbourhoods of a size, which overlap: the Underground has 53 stations with three neighbours or more.

    :param junctions: stations with three ways or more in a neighbourhood, from 3 to 10, at the least: the last station
        visited may bring several
    :param steps: of an episode, from 1 to 10,000
    :param observable: show behind the two numbers the whole map: for each of the 60 numbers the ones to which forward,
        left and right lead (60 where no state has the number), so that ways have to be planned, but nothing remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedOneShotUnderground(BatchedEnv):
    """The batched :class:`OneShotUnderground`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
