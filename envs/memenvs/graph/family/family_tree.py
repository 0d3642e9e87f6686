"""Relations in a graph that is described once, after the family tree task of Graves et al. (2016)."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import MultiDiscrete

from memenvs.batched import BatchedEnv, Definition, SingleEnv
from memenvs.checks import bounds, flag, within
from memenvs.compilation import njit
from memenvs.graph.family.generate import (
    MOST_NODES,
    MOST_QUERIES,
    PARAMS,
    digest,
    follow,
    generate_family,
    generate_random,
    level_dtype,
    sound_level,
)
from memenvs.graph.family.relations import LABELS, LABELS_BY_CODE, LONGEST, relation_tree
from memenvs.graph.level import CODES
from memenvs.graph.phases import write_code

DESCRIPTION, QUERY, PLANNING = range(3)
PHASE, ANSWER = 9, 10  # the places in an observation that follow the nine digits
MOST_PLANNING = 1000

# Nodes, out-degree and length of the relations, as (low, high) (Graves et al. 2016, extended data table 4).
LESSONS = {
    1: ((3, 3), (2, 2), (2, 2)),
    2: ((3, 5), (2, 2), (2, 2)),
    3: ((4, 6), (2, 4), (2, 2)),
    4: ((4, 6), (2, 4), (2, 2)),
    5: ((6, 12), (2, 4), (2, 2)),
    6: ((12, 18), (2, 4), (2, 2)),
    7: ((4, 6), (2, 4), (2, 3)),
    8: ((6, 12), (2, 4), (2, 3)),
    9: ((12, 18), (2, 4), (2, 3)),
    10: ((4, 6), (2, 4), (2, 4)),
    11: ((4, 6), (2, 4), (2, 4)),
    12: ((6, 12), (2, 4), (2, 4)),
    13: ((12, 18), (2, 4), (2, 4)),
    14: ((4, 6), (2, 4), (2, 5)),
    15: ((6, 12), (2, 4), (2, 5)),
    16: ((12, 18), (2, 4), (2, 5)),
    17: ((20, 25), (2, 4), (2, 5)),
}
RANDOM_DEFAULTS = LESSONS[3]
FAMILY_DEFAULTS = ((15, 25), (1, LABELS), (2, 4))

STATE = np.dtype(
    [
        ("key", np.uint64),
        ("time", np.int32),
        ("right", np.int16),  # queries answered right
        ("said", np.int16, (MOST_QUERIES,)),  # the codes answered so far, then -1
    ]
)
OUT = np.dtype([("observation", np.uint8, (11,))])


@njit
def reset(state, level):
    state.time = 0
    state.right = 0
    state.said[:] = -1


@njit
def query_at(state, level):
    """Return the current query and its age in steps; before the first one both are -1, at the end it is none."""
    time = state.time - level.edges
    if time < 0:
        return -1, -1
    steps = np.int32(1) + level.planning
    return time // steps, time % steps


@njit
def oracle(state, level):
    query, since = query_at(state, level)
    if query < 0 or query == level.queries:
        return -1
    if since == level.planning:
        return np.int64(level.codes[level.answers[query]])
    if not level.stepwise:
        return -1
    edge = min(since // 2, LONGEST)
    label = LABELS_BY_CODE[level.relations[query], edge]
    if since % 2 == 0 and label >= 0:
        return np.int64(label)
    return np.int64(level.codes[follow(level, query, edge + 1)])


@njit
def step(state, level, action):
    query, since = query_at(state, level)
    if query == level.queries:
        return 0.0, True, False
    state.time += 1
    if since != level.planning:
        return 0.0, False, False
    right = action == level.codes[level.answers[query]]
    state.right += right
    state.said[query] = action
    return right / level.queries, query == level.queries - 1, False


@njit
def observe(state, level, out):
    observation = out.observation
    query, since = query_at(state, level)
    if query < 0:
        edge = level.order[state.time]
        write_code(observation, 0, level.codes[level.sources[edge]])
        write_code(observation, 3, level.labels[edge])
        write_code(observation, 6, level.codes[level.destinations[edge]])
        observation[PHASE] = DESCRIPTION
        observation[ANSWER] = False
        return
    observation[:] = 0
    if query == level.queries:
        return
    observation[PHASE] = PLANNING
    observation[ANSWER] = since == level.planning
    if since == 0:
        write_code(observation, 0, level.codes[level.asked[query]])
        write_code(observation, 3, level.relations[query])
        observation[PHASE] = QUERY


@njit
def measure(state, level, out):
    answered = 0
    for query in range(level.queries):
        answered += state.said[query] >= 0
    out[0] = state.right == level.queries
    out[1] = state.right / max(answered, 1)


@njit
def sound(params, state, level):
    if not sound_level(params, level):
        return False
    if not 0 <= state.time <= level.edges + level.queries * (1 + level.planning):
        return False
    for query in range(state.said.size):
        if not -1 <= state.said[query] < CODES:
            return False
    return 0 <= state.right <= level.queries


# --- parameters -------------------------------------------------------------------------------------------------------


def define(
    graph: str = "random",
    nodes: int | tuple[int, int] | None = None,
    degree: int | tuple[int, int] | None = None,
    length: int | tuple[int, int] | None = None,
    *,
    lesson: int | None = None,
    queries: int = 3,
    planning: int = 0,
    stepwise: bool = False,
) -> Definition:
    """The definition of an inference task; the parameters are those of :class:`FamilyTree`."""
    if graph not in ("random", "family"):
        raise ValueError(f"graph must be 'random' or 'family', not {graph!r}")
    family = graph == "family"
    if family and lesson is not None:
        raise ValueError(f"lesson must be None with graph='family', since lessons are random graphs, not {lesson!r}")
    if family and degree is not None:
        raise ValueError(f"degree must be None with graph='family', where it follows from the family, not {degree!r}")
    if lesson is not None:
        preset = LESSONS[within("lesson", lesson, 1, len(LESSONS))]
    else:
        preset = FAMILY_DEFAULTS if family else RANDOM_DEFAULTS
    nodes = bounds("nodes", preset[0] if nodes is None else nodes, 5 if family else 2, MOST_NODES)
    degree = bounds("degree", preset[1] if degree is None else degree, 1, LABELS)
    length = bounds("length", preset[2] if length is None else length, 1, LONGEST)
    queries = within("queries", queries, 1, MOST_QUERIES)
    planning = within("planning", planning, 0, MOST_PLANNING)
    if flag("stepwise", stepwise) and planning < 2 * length[1] - 1:
        raise ValueError(
            f"planning must be at least {2 * length[1] - 1} with stepwise and up to {length[1]} edges, not {planning}"
        )
    most = 7 * nodes[1] if family else nodes[1] * min(degree[1], nodes[1] - 1)
    tree = relation_tree(*length, family)
    named = f"FamilyTree(graph={graph!r}, nodes={nodes}, " + ("" if family else f"degree={degree}, ")
    return Definition(
        name=named + f"length={length}, queries={queries}, planning={planning}{', stepwise' if stepwise else ''})",
        params=np.array([(nodes, degree, length, queries, planning, stepwise, family, *tree)], PARAMS),
        level=level_dtype(nodes[1], most),
        state=STATE,
        out=OUT,
        observation_space=MultiDiscrete([11] * 9 + [3, 2], dtype=np.uint8),
        action_space=MultiDiscrete([10, 10, 10]),
        generate=generate_family if family else generate_random,
        reset=reset,
        step=step,
        observe=observe,
        oracle=oracle,
        metrics=("success", "accuracy"),
        measure=measure,
        digest=digest,
        sound=sound,
        draw=draw,
        text=text,
        frames_per_second=2,
    )


# --- pictures ---------------------------------------------------------------------------------------------------------


def draw(state: np.void, level: np.void) -> np.ndarray:
    """Draw the family or the graph with its description and queries, (H, W, 3) uint8."""
    from memenvs.graph.family.draw import draw_family

    return draw_family(state, level)


def text(state: np.void, level: np.void) -> str:
    """Write the description and the queries so far, with the answers of the agent."""
    from memenvs.graph.family.wording import lines, scene

    return "\n".join(lines(scene(state, level)))


# --- the environments -------------------------------------------------------------------------------------------------


class FamilyTree(SingleEnv):
    """``memenvs/FamilyTree-v0``: read the description of a family or a graph, then name relatives.

    The inference task of Graves et al. (2016, Nature 538:471). In every episode each node has a fresh random code of
    three digits, and each edge that leaves a node a label from 0 to 9 that no other of its edges has. First comes the
    *description*: the edges, one a step, in random order. Then come the *queries*, each a node and a relation: a short
    name for a sequence of edge labels to follow from that node. The meaning of the 400 relations is never shown. It is
    the same in all episodes, so it must have been learnt by answering; the answer itself is inferred from edges that
    were each seen once.

    ``graph="random"``, for training: points uniform in a square, each with edges to its K nearest, K uniform within
    ``degree``, their labels drawn anew in each episode. Each of the 400 relations can be asked for.

    ``graph="family"``, for testing what was learnt there: the descendants of a couple with those whom they marry, over
    up to five generations, each couple with up to two sons and two daughters. Everybody has edges to the mother and
    the father (labels 0 and 1), the first and second son (2, 3) and daughter (4, 5), the first and second brother (6,
    7) and sister (8, 9), as far as there are such; those who married into the family have children only. Asked are
    relations of kinship alone: grandparents and grandchildren, uncles and aunts, nephews and nieces, cousins, each
    by way of which relatives (the mother's first brother's second son), with any number of ``great-``.

    Left open by the paper and chosen here: the ten labels in a family, numbered so that an answer is unique; that of
    each length from 2 to 5 there are 100 relations, at least 50 of them of kinship, so that those who train on random
    graphs know the relations that families are asked for; random families in place of one; that a query is answered
    when it is put, or ``planning`` steps later; that queries are drawn independently, first a length among those that
    occur in the graph, then one of the relations of that length that exist, with the node they begin at, all uniformly.
    In a random graph a relation may lead back to where it begins (half of them in lesson 1, one in six in lesson 17).
    Graphs without any relation to ask for are drawn again.

    - Observation: ``MultiDiscrete([11] * 9 + [3, 2])`` of bytes. Three digits each of a node, of an edge label (000 to
      009) or a relation (010 to 409), and of the node where the edge leads; the phase (0 description, 1 query, 2
      planning); whether an answer is due now. A digit d is given as d + 1, a blank as 0: the last three digits of
      a query, all nine while planning, everything at the end.
    - Action: ``MultiDiscrete([10, 10, 10])``, the digits of the code of the node that is the answer. Without effect
      where none is due.
    - Reward: 1 / ``queries`` for a right answer, otherwise 0.
    - End: terminated by the answer to the last query.
    - ``info``: ``success``, 1 if all answers were right, and ``accuracy``, the share of them that were.

    The split of a level follows from the triples of its description, with their codes, and its queries.

    :param graph: ``"random"`` or ``"family"``
    :param nodes: number of nodes, as (low, high) or one number, up to 64; by default 4 to 6, in a family 15 to 25. A
        random graph has at least 2, a family 5
    :param degree: number of edges from a node of a random graph, (low, high), up to 10; at most to all others. By
        default 2 to 4
    :param length: edges to follow for a relation, (low, high), from 1 to 5; by default 2, in a family 2 to 4. Of 1
        edge, which the paper does not ask for, the relation is the edge's own label: a first lesson, for who cannot
        follow edges yet cannot learn what relations mean
    :param lesson: from 1 to 17, the paper's curriculum for random graphs: values of ``nodes``, ``degree`` and
        ``length``; those that are given themselves take precedence
    :param queries: number of queries after a description, from 1 to 16
    :param planning: blank steps between a query and its answer, up to 1,000
    :param stepwise: have the oracle think aloud, a help for who imitates it: from the query on it says in turn the
        label of each edge to follow (000 to 009) and the node where that leads, and then the answer until it is due.
        Observations, answers and rewards are the same; ``planning`` must be at least twice the longest ``length``,
        less one
    :param split: ``"train"`` or ``"test"`` for levels that the other never has, ``None`` for all
    :param render_mode: ``"rgb_array"``, ``"human"`` or ``"ansi"``
    """

    define = staticmethod(define)


class BatchedFamilyTree(BatchedEnv):
    """The batched :class:`FamilyTree`; further parameters as in :class:`memenvs.batched.BatchedEnv`."""

    define = staticmethod(define)
