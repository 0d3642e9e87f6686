"""Navigation on a graph that is described once, after the London Underground task of Graves et al. (2016)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, within
from memenvs.compilation import njit
from memenvs.engine.definition import Goals
from memenvs.graph.generate import RANDOM_PARAMS, generate_neighbourhood, generate_random, map_params
from memenvs.graph.level import (
    FAR,
    MOST_LABELS,
    MOST_STATIONS,
    capacity,
    digest_of_graph,
    digest_of_nodes,
    exit_labelled,
    level_dtype,
    sound_level,
)
from memenvs.graph.map import load_map

DESCRIPTION, QUERY, PLANNING, TRAVEL = range(4)

OUT = np.dtype([("observation", np.uint8, (8,))])


def state_dtype(steps: int) -> np.dtype:
    """The layout of a state for up to so many travel steps."""
    return np.dtype(
        [
            ("key", np.uint64),
            ("time", np.int32),
            ("position", np.int16),
            ("taken", np.int16),  # travel steps
            ("route", np.int16, (capacity(steps + 1, 8),)),  # the station before each travel step, and the last one
        ]
    )


@njit
def reset(state, level):
    state.time = 0
    state.position = level.start
    state.taken = 0
    state.route[0] = level.start


@njit
def travelling(state, level):
    """Whether the agent chooses exits now, and no longer reads or plans."""
    return state.time > level.edges + level.planning


@njit
def step(state, level, action):
    if not travelling(state, level):
        state.time += 1
        return 0.0, False, False
    destination = exit_labelled(level, state.position, action)
    if destination >= 0:
        state.position = destination
    state.taken += 1
    state.route[state.taken] = state.position
    arrived = state.position == level.goal
    reward = (1.0 if arrived else 0.0) - level.step_cost
    return reward, arrived or state.taken >= level.budget, False


@njit
def observe(state, level, out):
    observation = out.observation
    time = state.time
    if time < level.edges:
        edge = level.order[time]
        write_code(observation, 0, level.codes[level.sources[edge]])
        observation[3] = level.labels[edge] + 1
        write_code(observation, 4, level.codes[level.destinations[edge]])
        observation[7] = DESCRIPTION
        return
    observation[3] = 0
    if time > level.edges and time <= level.edges + level.planning:
        for i in range(7):
            observation[i] = 0
        observation[7] = PLANNING
        return
    write_code(observation, 0, level.codes[state.position])
    write_code(observation, 4, level.codes[level.goal])
    observation[7] = QUERY if time == level.edges else TRAVEL


@njit
def write_code(observation, place, code):
    """Write the three digits of a code, d as d + 1."""
    code = np.uint32(code)
    observation[place] = code // np.uint32(100) + 1
    observation[place + 1] = code // np.uint32(10) % np.uint32(10) + 1
    observation[place + 2] = code % np.uint32(10) + 1


@njit
def oracle(state, level):
    """The exit to the station nearest to the goal; among equals the one that stands first in the list."""
    if not travelling(state, level):
        return -1
    best, nearest = -1, FAR
    edge = level.first[state.position]
    while edge >= 0:
        if level.to_goal[level.destinations[edge]] < nearest:
            best, nearest = level.labels[edge], level.to_goal[level.destinations[edge]]
        edge = level.following[edge]
    return best


@njit
def legal(state, level, mask):
    if not travelling(state, level):
        mask[:] = True
        return
    edge = level.first[state.position]
    while edge >= 0:
        mask[level.labels[edge]] = True
        edge = level.following[edge]


@njit
def measure(state, level, out):
    success = state.position == level.goal
    out[0] = success
    out[1] = success * level.distance / max(state.taken, level.distance)


@njit
def sound(params, state, level):
    return (
        sound_level(level, params.labels)
        and state.time >= 0
        and 0 <= state.position < level.stations
        and 0 <= state.taken <= level.budget < state.route.size
    )


# --- parameters ------------------------------------------------------------------------------------------------------


def define(
    map: str = "random",
    stations: int | tuple[int, int] = (4, 6),
    exits: int | tuple[int, int] = (1, 3),
    distance: int | tuple[int, int] = (1, 2),
    *,
    two_way: bool = False,
    labels: int = 8,
    slack: int = 1,
    step_cost: float = 0.01,
    planning: int = 0,
) -> Definition:
    """The definition of a navigation task; the parameters are those of :class:`Underground`."""
    if map not in ("random", "underground"):
        raise ValueError(f"map must be 'random' or 'underground', not {map!r}")
    real = map == "underground"
    most_stations = min(MOST_STATIONS, load_map().degree.size) if real else MOST_STATIONS
    low, high = bounds("stations", stations, 2, most_stations)
    exits = bounds("exits", exits, 1, MOST_STATIONS)
    distance = bounds("distance", distance, 1, high - 1)
    within("labels", labels, 1, MOST_LABELS)
    within("slack", slack, 0, 10_000)
    within("planning", planning, 0, 10_000)
    if not isinstance(step_cost, (int, float)) or not 0 <= step_cost < 1:
        raise ValueError(f"step_cost must be a number from 0 to below 1, not {step_cost!r}")
    if not isinstance(two_way, (bool, np.bool_)):
        raise ValueError(f"two_way must be True or False, not {two_way!r}")
    most_exits = min(exits[1], high - 1, int(load_map().degree.max()) if real else MOST_STATIONS)
    if labels < most_exits:
        raise ValueError(f"labels must be at least {most_exits}, the most exits a station can have, not {labels}")

    common = ((low, high), exits, distance, two_way, labels, slack, planning, step_cost)
    if real:
        network = load_map()
        params = np.array(
            [(network.degree, network.neighbours, network.positions, *common)], map_params(*network.neighbours.shape)
        )
    else:
        params = np.array([common], RANDOM_PARAMS)
    both_ways = 2 if two_way and not real else 1
    return Definition(
        name=f"Underground(map={map!r}, stations={(low, high)}, exits={exits}, distance={distance}, two_way={two_way}, "
        f"labels={labels}, slack={slack}, step_cost={step_cost}, planning={planning})",
        params=params,
        level=level_dtype(high, min(high * most_exits * both_ways, high * (high - 1))),
        state=state_dtype(distance[1] + slack),
        out=OUT,
        observation_space=MultiDiscrete([11, 11, 11, labels + 1, 11, 11, 11, 4], dtype=np.uint8),
        action_space=Discrete(labels),
        generate=generate_neighbourhood if real else generate_random,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        legal=legal,
        metrics=("success", "spl"),
        measure=measure,
        digest=digest_of_nodes if real else digest_of_graph,
        distinct_levels=1 if real and low == most_stations else math.inf,
        sound=sound,
        draw=draw,
        text=text,
        frames_per_second=2,
        goals=Goals(MultiDiscrete([11] * 3, dtype=np.uint8), goals_of, partial(goal_reward, step_cost), hide_goal),
    )


# --- as a goal-conditioned task ---------------------------------------------------------------------------------------


def goals_of(state: np.void, level: np.void) -> tuple[np.ndarray, np.ndarray]:
    """The code of the station to which the last travel step led, all 0 before the first; that of the goal."""
    achieved, desired = np.zeros((2, 3), np.uint8)
    if state["taken"] > 0:
        write_code(achieved, 0, level["codes"][state["position"]])
    write_code(desired, 0, level["codes"][level["goal"]])
    return achieved, desired


def goal_reward(step_cost: float, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """What the step brought after which a code was achieved; 0 where that step was no travel."""
    travelled = np.any(achieved != 0, axis=-1)
    arrived = travelled & np.all(achieved == desired, axis=-1)
    return arrived * 1.0 - travelled * step_cost


def hide_goal(observation: np.ndarray) -> np.ndarray:
    """An observation without the code of the goal."""
    hidden = observation.copy()
    if hidden[7] in (QUERY, TRAVEL):
        hidden[4:7] = 0
    return hidden


# --- pictures --------------------------------------------------------------------------------------------------------


def draw(state: np.void, level: np.void) -> np.ndarray:
    """The journey as a map, (H, W, 3) uint8."""
    from memenvs.graph.draw import draw_journey

    journey = journey_of(state, level)
    colours = None
    if level["nodes"][0] >= 0:
        nodes = level["nodes"].tolist()
        colours = [load_map().colours(nodes[u], nodes[v]) for u, v, _ in journey["edges"]]
    points = np.stack([level["x"], level["y"]], axis=1)[: level["stations"]]  # (n, 2)
    return draw_journey(points, edge_colours=colours, **journey)


def text(state: np.void, level: np.void) -> str:
    """The journey as text."""
    from memenvs.graph.draw import ansi_journey

    return ansi_journey(**journey_of(state, level))


def journey_of(state: np.void, level: np.void) -> dict[str, Any]:
    """What a picture shows: the graph with names and labels, where the agent has been and could have been."""
    n, e = int(level["stations"]), int(level["edges"])
    nodes, codes = level["nodes"][:n].tolist(), level["codes"][:n].tolist()
    return {
        "edges": list(
            zip(
                level["sources"][:e].tolist(),
                level["destinations"][:e].tolist(),
                level["labels"][:e].astype(str).tolist(),
                strict=True,
            )
        ),
        "names": [
            load_map().names[node] if node >= 0 else f"{code:03d}" for node, code in zip(nodes, codes, strict=True)
        ],
        "start": int(level["start"]),
        "goal": int(level["goal"]),
        "position": int(state["position"]),
        "route": state["route"][: state["taken"] + 1].tolist(),
        "best": best_route(level),
    }


def best_route(level: np.void) -> list[int]:
    """The stations of a shortest path from start to goal."""
    route = [int(level["start"])]
    while route[-1] != level["goal"]:
        leaving = np.flatnonzero(level["sources"][: level["edges"]] == route[-1])
        destinations = level["destinations"][leaving]
        route.append(int(destinations[level["to_goal"][destinations].argmin()]))
    return route


# --- the environments ------------------------------------------------------------------------------------------------


class Underground(SingleEnv):
    """``memenvs/Underground-v0``: read the description of a graph, then travel in it.

    In every episode each station has a fresh random code of three digits and each exit of a station a label that no
    other of its exits has. Three phases follow each other. *Description*: the directed edges, one a step, in random
    order. *Query*: one step with start and goal; then ``planning`` blank steps. *Travel*: the agent sees where it is
    and where it should go, and chooses the label of an exit.

    - Observation: ``MultiDiscrete([11, 11, 11, labels + 1, 11, 11, 11, 4])`` of bytes. Three digits of a source, a
      label, three digits of a destination, the phase (0 description, 1 query, 2 planning, 3 travel). A digit d is given
      as d + 1, a label l as l + 1, what is blank as 0. In the query the start, in travel the current station stands as
      the source, the goal as the destination.
    - Action: ``Discrete(labels)``, the exit to take; without effect before travel. A label that the station does not
      have leaves the agent where it is, at the cost of a step.
    - Reward: 0 before travel; each travel step costs ``step_cost``, and the one that arrives brings 1.
    - End: terminated on arrival, and after ``slack`` travel steps more than the shortest way takes. That budget is part
      of the task, so running out of it is an end and no truncation.
    - ``info``: ``success`` (1 on arrival) and ``spl``, success weighted by the length of the shortest path over that of
      the path taken (Anderson et al. 2018, arXiv:1807.06757).

    ``map="random"`` draws points uniformly in the unit square and gives each station edges to its K nearest, K uniform
    within ``exits``, as Graves et al. (2016) do. ``map="underground"`` grows a connected neighbourhood of the London
    Underground from a random station, adding uniformly drawn adjacent stations, with all connections between them. The
    start and goal are a distance drawn uniformly from those within ``distance`` that occur, and then a pair of stations
    that far apart. A graph without any such pair is drawn again.

    The split of a random graph follows from the codes, labels, start and goal; that of a neighbourhood from the set of
    its stations, so that a test neighbourhood is never seen in training, whatever its codes.

    :param map: ``"random"`` or ``"underground"``
    :param stations: how many, as (low, high) or one number, from 2 to 500 (270 for the Underground)
    :param exits: how many edges leave a station, (low, high); at most all other stations. On the Underground only the
        upper bound counts: a neighbourhood in which a station has more is drawn again
    :param distance: travel steps on a shortest way from start to goal, (low, high)
    :param two_way: with each edge of a random graph also its reverse; a graph in which a station then has more exits
        than there are labels is drawn again. The Underground has all its connections in both directions
    :param labels: size of the alphabet of labels, from the most exits a station can have to 64
    :param slack: travel steps beyond the shortest way before the episode ends
    :param step_cost: what a travel step costs
    :param planning: blank steps between query and travel
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedUnderground(BatchedEnv):
    """The batched :class:`Underground`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
