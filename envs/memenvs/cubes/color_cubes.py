"""Color-Cubes (Memory rewriting, arXiv:2601.15086), with rules of ours where the paper tells none."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import MOST, flag, number, within
from memenvs.compilation import njit
from memenvs.engine.defaults import always_decides
from memenvs.random import advance, fold, integer, uniform

UP, DOWN, LEFT, RIGHT = range(4)
HIDDEN, UPDATE, TARGET = range(3)  # what the last step gave to see: nothing, where the cubes are, and which is sought
UPDATES = ("full", "positions")
LEAST_SIZE, MOST_SIZE = 2, 15  # so that places are bytes
MOST_CUBES, MOST_PHASES = 8, 1000

PARAMS = np.dtype([("size", np.int64), ("phases", np.int64), ("max_steps", np.int64), ("teleport", np.float32)])
OUT_FIELDS = 2  # entries of an observation before its map: the agent's place, the target


def level_dtype(cubes: int) -> np.dtype:
    """The dtype of a level with so many cubes. A place is column + size · row, row 0 below."""
    return np.dtype(
        [
            ("size", np.int16),
            ("phases", np.int16),
            ("max_steps", np.int32),
            ("teleport", np.float32),
            ("start", np.int16),
            ("target", np.int16),  # the number of a cube
            ("cubes", np.int16, (cubes,)),  # their places
        ]
    )


def state_dtype(cubes: int) -> np.dtype:
    """The dtype of a state with so many cubes."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("steps", np.int32),
            ("agent", np.int16),
            ("target", np.int16),
            ("found", np.int16),
            ("shown", np.int8),
            ("cubes", np.int16, (cubes,)),
        ]
    )


@njit
def generate(params, key, level):
    level.size, level.phases, level.max_steps = params.size, params.phases, params.max_steps
    level.teleport = params.teleport
    level.cubes[:] = -1
    key, level.start = draw_free(key, level.cubes, -1, level.size)
    for cube in range(len(level.cubes)):
        key, level.cubes[cube] = draw_free(key, level.cubes, level.start, level.size)
    key = advance(key)
    level.target = integer(key, len(level.cubes))
    return True


@njit
def draw_free(key, cubes, agent, size):
    """Draw a place where neither a cube nor the agent is.

    :return: the next key, and the place
    """
    while True:
        key = advance(key)
        place = integer(key, size * size)
        free = place != agent
        for cube in range(len(cubes)):
            free &= place != cubes[cube]
        if free:
            return key, place


@njit
def reset(state, level):
    state.agent, state.target = level.start, level.target
    state.cubes[:] = level.cubes
    state.steps = state.found = 0
    state.shown = TARGET


@njit
def moved(size, place, action):
    """Return the place to which an action leads; over the border the agent does not go."""
    column, row = place % size, place // size
    column = min(max(column + (action == RIGHT) - (action == LEFT), 0), size - 1)
    row = min(max(row + (action == UP) - (action == DOWN), 0), size - 1)
    return column + size * row


@njit
def teleport(state, level, cube):
    """Put a cube somewhere else."""
    state.key, state.cubes[cube] = draw_free(state.key, state.cubes, state.agent, level.size)


@njit
def step(state, level, action):
    state.steps += 1
    state.agent = moved(level.size, state.agent, action)
    state.shown = HIDDEN
    found = state.agent == state.cubes[state.target]
    if found:
        state.found += 1
        teleport(state, level, state.target)
        state.key = advance(state.key)
        state.target = integer(state.key, len(state.cubes))
        state.shown = TARGET
    elif len(state.cubes) > 1:
        state.key = advance(state.key)
        if uniform(state.key) < level.teleport:
            state.key = advance(state.key)
            other = integer(state.key, len(state.cubes) - 1)
            teleport(state, level, other + (other >= state.target))
            state.shown = UPDATE
    return 1.0 if found else 0.0, state.found == level.phases, state.steps >= level.max_steps


@njit
def write_map(state, out, coloured):
    """Write which cube is where, or no more than that there is one."""
    for cube in range(len(state.cubes)):
        out.observation[OUT_FIELDS + state.cubes[cube]] = cube + 1 if coloured else len(state.cubes) + 1


@njit
def write_agent(state, out):
    out.observation[:] = 0
    out.observation[0] = state.agent


@njit
def write_view(state, out, coloured):
    """Write what the last step gave to see."""
    write_agent(state, out)
    if state.shown != HIDDEN:
        write_map(state, out, coloured)
    if state.shown == TARGET:
        out.observation[1] = state.target + 1


@njit
def observe(state, level, out):
    write_view(state, out, True)


@njit
def observe_positions(state, level, out):
    write_view(state, out, state.steps == 0)


@njit
def observe_all(state, level, out):
    write_agent(state, out)
    write_map(state, out, True)
    out.observation[1] = state.target + 1


@njit
def oracle(state, level):
    """The next step of a shortest way to the target, across before upwards or down."""
    target, size = state.cubes[state.target], level.size
    across, up = target % size - state.agent % size, target // size - state.agent // size
    if across != 0:
        return RIGHT if across > 0 else LEFT
    return UP if up > 0 else DOWN


@njit
def legal(state, level, mask):
    for action in range(len(mask)):
        mask[action] = moved(level.size, state.agent, action) != state.agent


@njit
def measure(state, level, out):
    out[0] = state.found == level.phases
    out[1] = state.found


@njit
def digest(level):
    result = fold(np.uint64(level.start), level.target)
    for cube in range(len(level.cubes)):
        result = fold(result, level.cubes[cube])
    return result


@njit
def sound(params, state, level):
    places, cubes = params.size * params.size, len(level.cubes)
    if level.size != params.size or level.phases != params.phases or level.max_steps != params.max_steps:
        return False
    if not (0 <= level.start < places and 0 <= level.target < cubes and 0 <= level.teleport <= 1):
        return False
    if not (0 <= state.agent < places and 0 <= state.target < cubes and 0 <= state.found <= level.phases):
        return False
    return apart(level.cubes, places) and apart(state.cubes, places)


@njit
def apart(cubes, places):
    """Return whether all cubes have places of their own."""
    for cube in range(len(cubes)):
        if not 0 <= cubes[cube] < places:
            return False
        for other in range(cube):
            if cubes[other] == cubes[cube]:
                return False
    return True


def define(
    size: int = 5,
    cubes: int = 3,
    phases: int = 3,
    teleport: float = 0.1,
    updates: str = "full",
    max_steps: int | None = None,
    observable: bool = False,
) -> Definition:
    """The definition of a game; the parameters are those of :class:`ColorCubes`."""
    size = within("size", size, LEAST_SIZE, MOST_SIZE)
    places = size * size
    cubes = within("cubes", cubes, 1, min(MOST_CUBES, places - 2))
    phases = within("phases", phases, 1, MOST_PHASES)
    teleport = number("teleport", teleport, 0, 1)
    if not isinstance(updates, str) or updates not in UPDATES:
        raise ValueError(f"updates must be one of {', '.join(UPDATES)}, not {updates!r}")
    limit = 4 * size * phases if max_steps is None else within("max_steps", max_steps, 1, MOST)
    observable = flag("observable", observable)
    shown = f"size={size}, cubes={cubes}, phases={phases}, teleport={teleport:g}, updates={updates!r}"
    hiding = observe if updates == "full" else observe_positions
    entries = [places, cubes + 1] + [cubes + 2] * places
    return Definition(
        name=f"ColorCubes({shown}, max_steps={limit}{', observable=True' if observable else ''})",
        params=np.array([(size, phases, limit, teleport)], PARAMS),
        level=level_dtype(cubes),
        state=state_dtype(cubes),
        out=np.dtype([("observation", np.uint8, (len(entries),))]),
        observation_space=MultiDiscrete(entries, dtype=np.uint8),
        action_space=Discrete(4),
        generate=generate,
        reset=reset,
        step=step,
        observe=observe_all if observable else hiding,
        oracle=oracle,
        decides=always_decides,
        legal=legal,
        metrics=("success", "found"),
        measure=measure,
        digest=digest,
        distinct_levels=cubes * math.perm(places, cubes + 1),
        sound=sound,
        draw=draw,
        text=text,
        action_names=("up", "down", "left", "right"),
    )


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the grid with its cubes, faint while the agent does not see them, the agent and the target."""
    from memenvs.cubes.draw import draw_cubes

    return draw_cubes(*_scene(state, level))


def text(state: np.void, level: np.void) -> str:
    """The same for a terminal."""
    from memenvs.cubes.draw import ansi_cubes

    return ansi_cubes(*_scene(state, level))


def _scene(state: np.void, level: np.void) -> tuple[int, list[tuple[int, int]], tuple[int, int], int, bool, str]:
    """Return size, places of the cubes and of the agent as (column, row), target, whether all is shown, caption."""
    size = int(level["size"])
    cubes = [(int(place) % size, int(place) // size) for place in state["cubes"]]
    agent = (int(state["agent"]) % size, int(state["agent"]) // size)
    caption = f"step {state['steps']} of {level['max_steps']}, found {state['found']} of {level['phases']}"
    return size, cubes, agent, int(state["target"]), bool(state["shown"] != HIDDEN), caption


class ColorCubes(SingleEnv):
    """``memenvs/ColorCubes-v0``: remember where cubes are that move while they are not seen.

    Cubes of different colours lie on a grid of ``size`` × ``size`` places. In each of ``phases`` phases the agent is
    told a colour and shown the grid, then sees nothing but where it is itself until it stands on that cube. Now and
    then one of the other cubes is put somewhere else, and the grid is shown again: what is remembered of it has to be
    written over. With ``updates="positions"`` it is shown without colours, so that the agent has to compare it with
    what it remembers to find out which cube it was.

    The game is that of "Memory Retention Is Not Enough" (arXiv:2601.15086), whose Trivial is ``cubes=1, phases=1``,
    Medium has more cubes, and Extreme ``updates="positions"``. The paper tells neither the numbers of its Medium and
    Extreme nor the probability, the costs and the limit of time. Ours are: one cube at most moves in a step, with
    probability ``teleport``, never the target, and only to a place that is free; the cube that was found goes to such a
    place, too, and the next target is any cube; steps cost nothing; with ``updates="positions"`` only the very first
    view has colours, which is enough to know all of them to the end.

    - Observation: ``MultiDiscrete([size ** 2, cubes + 1] + [cubes + 2] * size ** 2)`` of bytes: the place of the agent
      (column + ``size`` · row, row 0 below); the target (0 not shown, else its colour from 1), at the beginning of a
      phase; for each place what is there, at the beginning of a phase and when a cube has moved: 0 nothing, a colour,
      or ``cubes + 1`` for a cube whose colour is not shown. All 0 means that nothing is shown.
    - Action: 0 up, 1 down, 2 left, 3 right. At the border the agent stays.
    - Reward: 1 for each target found, otherwise 0.
    - End: terminated when the last phase is over; truncated after ``max_steps`` steps.
    - ``info``: ``success``, 1 if all were found, and ``found``, how many.

    The split of a level follows from where the agent and the cubes are at the start, and from the first target.

    :param size: places in a row and in a column, from 2 to 15
    :param cubes: from 1 to 8, and two less than there are places
    :param phases: from 1 to 1,000
    :param teleport: how likely one of the other cubes moves in a step, from 0 to 1
    :param updates: ``"full"``, or ``"positions"`` for views without colours after the first
    :param max_steps: by default ``4 * size * phases``
    :param observable: show target, cubes and colours at every step, so that nothing has to be remembered
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedColorCubes(BatchedEnv):
    """The batched :class:`ColorCubes`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
