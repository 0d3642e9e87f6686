"""Tasks on graphs, after Graves et al. (2016): random ones and the London Underground."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.engine.defaults import all_legal, always_decides
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
    questions: int | None = None,
    stepwise: bool | None = None,
    lesson: int | None = None,
    two_way: bool | None = None,
    labels: int | str | None = None,
    labels_by: str | None = None,
    label_codes: int | tuple[int, int] | None = None,
    fixed: int | None = None,
    description: bool | None = None,
    planning: int | str | None = None,
    answers: str | None = None,
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
        label_codes,
        fixed,
        distance=distance,
        path=path,
        questions=questions,
        stepwise=stepwise,
        lesson=lesson,
        description=description,
        planning=planning,
        answers=answers,
        slack=slack,
        step_cost=step_cost,
        budget=budget,
    )
    module = MODULES[task]
    observation = observation_sizes(task, asked.labels)
    by_edge = asked.parameters.get("answers") == "edges"
    action = action_sizes(task, asked.labels, by_edge)
    decides = {"explore": always_decides, "shortest_path": shortest_path.decides}.get(task)
    return Definition(
        name="Underground(" + ", ".join(f"{name}={value!r}" for name, value in asked.parameters.items()) + ")",
        params=asked.params,
        level=asked.level,
        state=module.state_dtype(asked),
        out=np.dtype([("observation", np.uint8, (len(observation),))]),
        observation_space=MultiDiscrete(observation, dtype=np.uint8),
        action_space=MultiDiscrete(action) if len(action) > 1 else Discrete(action[0]),
        generate=asked.generate,
        reset=module.reset,
        step=shortest_path.step_by_edge if by_edge else module.step,
        observe=module.observe,
        oracle=shortest_path.oracle_by_edge if by_edge else module.oracle,
        legal=all_legal if len(action) > 1 else module.legal,
        metrics=module.METRICS,
        measure=module.measure,
        sound=module.sound,
        draw=draw,
        text=text,
        frames_per_second=2,
        goals=navigate.goals(asked.parameters["step_cost"]) if task == "navigate" else None,
        decides=decides,
        **split_of(asked, task, map),
    )


def observation_sizes(task: str, labels: int) -> list[int]:
    """Return the number of values of each entry of an observation; ``labels`` is 0 for codes."""
    if task == "explore":
        return [*DIGITS, labels + 1, *DIGITS, *[2] * labels]
    return [*DIGITS, *([labels + 1] if labels else DIGITS), *DIGITS, PHASES]


def action_sizes(task: str, labels: int, by_edge: bool) -> list[int]:
    """Return the number of values of each entry of an action; ``labels`` is 0 for codes."""
    code = [10, 10, 10]
    if task == "traversal":
        return code
    return [*([labels] if labels else code), *(code if by_edge else [])]


def split_of(asked: Task, task: str, map: str) -> dict[str, Any]:
    """Return the digest that decides on the split of a level, and the number of distinct levels."""
    if asked.fixed_graph:
        return {"digest": digest_of_query, "distinct_levels": queries(asked.params, task)}
    if map == "underground":
        whole = asked.params["stations"][0, 0] == asked.params["degree"].shape[1]
        return {"digest": digest_of_nodes, "distinct_levels": 1 if whole else math.inf}
    return {"digest": digest_of_graph, "distinct_levels": math.inf}


# --- the environments ------------------------------------------------------------------------------------------------


class Underground(SingleEnv):
    """``memenvs/Underground-v0``: read the description of a graph, then travel in it or answer questions about it.

    The graph tasks of Graves et al. (2016, Nature 538), on random graphs as theirs and on the real London Underground,
    and two in which an agent travels. Every station has a code of three digits and each exit of a station a label that
    no other of its exits has, by default new ones in every episode. Up to four phases follow each other. *Description*:
    the directed edges, one a step, in random order. *Query*: the question. *Planning*: blank steps. Then the agent
    acts.

    - ``task="navigate"``: the query is a start and a goal. The agent travels, and sees at every step where it is.
    - ``task="traversal"``: the query is a start and the labels of a path, one a step, the start with the first. The
      agent names the stations that the path leads to, one a step. (The paper asks for whole triples; the other two
      thirds of each are the answer before it and the query.)
    - ``task="shortest_path"``: the query is a start and a goal. The agent names the exits of a shortest path, one a
      step, and is shown after each the edge that it took.
    - ``task="explore"``: there is no description. The agent travels from goal to goal, a new one where one is reached.

    Observation: bytes. A digit d is given as d + 1, a label l as l + 1, a blank as 0.

    - ``MultiDiscrete([11, 11, 11, labels + 1, 11, 11, 11, 4])``: the code of a source, a label, the code of a
      destination, the phase (0 description, 1 query, 2 planning, 3 action). With ``labels="codes"`` a label has three
      digits too: ``MultiDiscrete([11] * 9 + [4])``. In the query the start stands as the source, the goal as the
      destination. In phase 3, *navigate* has the current station as the source and the goal as the destination,
      *traversal* is blank, and *shortest path* has the edge of the last answer (at the first answer it is blank).
    - *explore*: ``MultiDiscrete([11, 11, 11, labels + 1, 11, 11, 11] + [2] * labels)``: the code of the current
      station, the label that was chosen last, the code of the goal, and for every label whether there is such an exit.

    Action: ``Discrete(labels)``, the exit to take; with ``labels="codes"`` ``MultiDiscrete([10, 10, 10])``, its digits.
    In *traversal* always the digits of a station's code. Without effect before phase 3. A label that the station does
    not have leaves a traveller where it is, at the cost of a step; in *shortest path* it ends the question.
    With ``answers="edges"`` an action is the label, in one entry or three, and then the digits of the station that the
    edge leads to. It is understood as that exit of the present station which agrees most with it (in the label and in
    each digit; of equals the one that stands first in the level), so that no answer is without effect: the paper asks
    for whole triples, of which the source is known, and excludes those that do not exist.

    Reward, and end (always a termination: the number of steps is part of the task):

    - *navigate*, *explore*: every travel step costs ``step_cost``, and one that reaches a goal brings 1. The end comes
      on arrival or after ``slack`` travel steps more than the shortest way takes; in *explore* after ``budget`` steps.
    - *traversal*: a right answer brings 1 / length of the path. The end comes with the last answer to the last
      question.
    - *shortest path*: arriving brings 1. A question ends on arrival, with a label that the station does not have, and
      after as many answers as a shortest path has edges, so that no other arrives; the episode with the last question.

    ``info``, when an episode ends:

    - *navigate*: ``success`` (1 on arrival) and ``spl``, success weighted by the length of the shortest path over that
      of the path taken (Anderson et al. 2018, arXiv:1807.06757).
    - *traversal*: ``success`` (1 if all answers are right; of several questions the share of those) and ``accuracy``,
      the share of right answers.
    - *shortest path*: ``success`` (1 on arrival; of several questions the share of those) and ``accuracy``, the share
      of a shortest path's edges that were answered by one that leads nearer to the goal.
    - *explore*: ``goals``, how many were reached; ``goals_later``, how many of these at stations that had been visited
      before they became the goal; ``success``, 1 if any goal was reached; ``detour_first`` and ``detour_later``, the
      steps to goals not visited and visited before over those of the shortest ways (1 is best, infinite where no such
      goal was reached). Who remembers has the second near 1 and below the first.

    Graphs:

    - ``map="random"``: points uniform in the unit square, each station with edges to its K nearest, K uniform within
      ``exits``, as in the paper.
    - ``map="underground"``: a connected neighbourhood of the London Underground, grown from a random station by
      uniformly drawn adjacent ones, with all connections between them.
    - ``map="zone1"``: the 43 stations of Zone 1 on two lines or more, with a directed edge for each line and direction
      between them, 212 in all: the size of the paper's test graph. ``map="network"``: all 270 stations, 752 edges.

    *Navigate* and *shortest path* draw a distance uniformly from those within ``distance`` that occur, and then a start
    and goal so far apart; a graph without any such pair is drawn again. *Traversal* draws the length of the path
    uniformly, the start, and at each station one of its exits. *Explore* draws the start, and each goal from the other
    stations that can be reached.

    With ``labels_by="line"`` a label stands for a line and its direction, the same one at all stations of the line;
    every episode draws which. North and east are one direction of a line, south and west the other. Where a line
    branches, two exits can have the same line and direction; all but one of them then have a label that the line keeps
    for this (see :mod:`memenvs.graph.tracks`). With ``labels_by="random"`` each station's labels are drawn by
    themselves.

    The split of a level follows, on a random graph, from the description and the query; on a neighbourhood, from the
    set of its stations, whatever their codes; and where the graph is always the same one, from the query: start and
    goal, or the path (in *explore*, and of several questions, the first one only).

    :param task: ``"navigate"``, ``"traversal"``, ``"shortest_path"`` or ``"explore"``
    :param map: ``"random"``, ``"underground"``, ``"zone1"`` or ``"network"``
    :param stations: number of stations, as (low, high) or one number, from 2 to 500 (270 for the Underground).
        ``"zone1"`` and ``"network"`` have no use for this, ``exits`` and ``two_way``, nor with labels by line for
        ``label_codes``, and ignore them
    :param exits: number of edges from a station, (low, high); at most all other stations. On the Underground only the
        upper bound counts: a neighbourhood in which a station has more is drawn again
    :param distance: *navigate*, *shortest path*: travel steps on a shortest way from start to goal, (low, high)
    :param path: *traversal*: how many labels are asked, (low, high)
    :param questions: *traversal*, *shortest path*: paths that are asked for one after another, each with query,
        planning and answers, after one description
    :param stepwise: *traversal*, *shortest path* with ``answers="edges"``: have the oracle think aloud before answers
        are due, a help for who imitates it; observations, answers and rewards are the same. In *traversal* it says with
        each label that is asked the station that it leads to. In *shortest path* it says in the n-th step of planning
        a station n steps before the goal and the label by which a shortest way goes on from there, drawn from all
        such edges, up to those as far from the goal as the start: who imitates this learns to find all of them at once
    :param lesson: *traversal*: 1 to 14, *shortest path*: 1 to 15: the paper's ``stations``, ``exits``, and ``path`` or
        ``distance`` of that lesson, and ``labels="codes"``; parameters given beside it take precedence
    :param two_way: with each edge of a random graph also its reverse; a graph in which a station then has more exits
        than there are labels is drawn again. By default only in *explore*. The Underground has all its connections in
        both directions
    :param labels: size of the alphabet of labels, from the most exits a station can have (or the number of lines and
        directions) to 64; or ``"codes"``: labels are numbers of three digits, in every episode as many of the 1,000 as
        there are stations, as in the paper (or lines and directions). By default 8, or as many as it takes
    :param labels_by: ``"random"``, or on a real map ``"line"``, with parallel lines as edges of their own; the default
        on ``"zone1"`` and ``"network"``
    :param label_codes: with ``labels="codes"`` and ``labels_by="random"``: how many different codes label the exits of
        a graph, (low, high), from the most exits a station can have to 1,000; by default as many as there are
        stations. Few of them make the same label stand at many stations, as on a map where labels name lines
    :param fixed: a number from which one graph is drawn with its codes and labels, the same in all episodes; only what
        is asked changes, and the order of the description
    :param description: whether there is a description; without one only a memory of earlier episodes helps
    :param planning: blank steps between query and action, by default none and in *shortest path* 10; ``"edges"`` for as
        many as the graph has edges
    :param answers: *shortest path*: ``"labels"``, or ``"edges"``: exits are named by their label and destination
    :param slack: *navigate*: travel steps beyond the shortest way before the episode ends
    :param step_cost: *navigate*, *explore*: the cost of a travel step
    :param budget: *explore*: the steps of an episode
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedUnderground(BatchedEnv):
    """The batched :class:`Underground`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
