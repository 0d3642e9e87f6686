"""The Underground tasks of Graves et al. (2016) on random graphs and on the real network, and two in which one travels."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.engine.definition import all_legal, always_decides
from memenvs.graph import explore, navigate, shortest_path, traversal
from memenvs.graph.fixed import queries
from memenvs.graph.level import digest_of_graph, digest_of_nodes, digest_of_query
from memenvs.graph.parameters import Task, resolve
from memenvs.graph.pictures import draw, text

MODULES: dict[str, ModuleType] = {
    "navigate": navigate,
    "traversal": traversal,
    "shortest_path": shortest_path,
    "explore": explore,
}
DIGITS = [11, 11, 11]  # a code, or blank
PHASES = 4


def define(
    map: str = "random",
    stations: int | tuple[int, int] | None = None,
    exits: int | tuple[int, int] | None = None,
    distance: int | tuple[int, int] | None = None,
    *,
    task: str = "navigate",
    path: int | tuple[int, int] | None = None,
    lesson: int | None = None,
    two_way: bool | None = None,
    labels: int | str | None = None,
    labels_by: str | None = None,
    fixed: int | None = None,
    description: bool | None = None,
    planning: int | None = None,
    slack: int | None = None,
    step_cost: float | None = None,
    budget: int | None = None,
) -> Definition:
    """The definition of a task; the parameters are those of :class:`Underground`."""
    asked = resolve(
        task,
        map,
        stations,
        exits,
        two_way,
        labels,
        labels_by,
        fixed,
        distance=distance,
        path=path,
        lesson=lesson,
        description=description,
        planning=planning,
        slack=slack,
        step_cost=step_cost,
        budget=budget,
    )
    module = MODULES[task]
    observation = observation_sizes(task, asked.labels)
    by_code = task == "traversal" or not asked.labels
    more = {"decides": always_decides} if task == "explore" else {}
    return Definition(
        name="Underground(" + ", ".join(f"{name}={value!r}" for name, value in asked.parameters.items()) + ")",
        params=asked.params,
        level=asked.level,
        state=explore.state_dtype(asked.stations, asked.steps) if task == "explore" else module.state_dtype(asked.steps),
        out=np.dtype([("observation", np.uint8, (len(observation),))]),
        observation_space=MultiDiscrete(observation, dtype=np.uint8),
        action_space=MultiDiscrete([10, 10, 10]) if by_code else Discrete(asked.labels),
        generate=asked.generate,
        reset=module.reset,
        step=module.step,
        observe=module.observe,
        oracle=module.oracle,
        legal=all_legal if by_code else module.legal,
        metrics=module.METRICS,
        measure=module.measure,
        sound=module.sound,
        draw=draw,
        text=text,
        frames_per_second=2,
        **more,
        **split_of(asked, task, map),
    )


def observation_sizes(task: str, labels: int) -> list[int]:
    """How many values each entry of an observation has; ``labels`` is 0 for codes."""
    if task == "explore":
        return [*DIGITS, labels + 1, *DIGITS, *[2] * labels]
    return [*DIGITS, *([labels + 1] if labels else DIGITS), *DIGITS, PHASES]


def split_of(asked: Task, task: str, map: str) -> dict[str, Any]:
    """What decides on the split of a level, and how many different levels there are."""
    if asked.fixed_graph:
        return {"digest": digest_of_query, "distinct_levels": queries(asked.params, task)}
    if map == "underground":
        whole = asked.params["stations"][0, 0] == asked.params["degree"].shape[1]
        return {"digest": digest_of_nodes, "distinct_levels": 1 if whole else math.inf}
    return {"digest": digest_of_graph, "distinct_levels": math.inf}


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
