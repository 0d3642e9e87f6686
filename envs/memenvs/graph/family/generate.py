"""A family or a random graph with questions about it: the record, and the generators that fill it."""

from __future__ import annotations

import numpy as np

from memenvs.compilation import njit
from memenvs.graph.codes import draw_unused
from memenvs.graph.family.relations import (
    BROTHERS,
    DAUGHTERS,
    FATHER,
    LABELS,
    LABELS_BY_CODE,
    LONGEST,
    MOTHER,
    SEARCH,
    SISTERS,
    SONS,
    TREE,
    is_asked_for,
    search,
)
from memenvs.graph.level import CODES
from memenvs.random import advance, between, bits, fold, integer, permute

MOST_QUERIES = 16
MOST_NODES = 64
GENERATIONS = 5  # the most in a family
LAYOUTS = ((8, 32), (MOST_NODES, MOST_NODES * LABELS))  # of levels: up to so many nodes and edges
SQUARE = 2**20  # side of the square in which the points of a random graph lie
FAR = 2**62
ATTEMPTS = 50  # for each person of a family, to find somebody who can have a child

PARAMS = np.dtype(
    [
        ("nodes", np.int64, (2,)),
        ("degree", np.int64, (2,)),
        ("length", np.int64, (2,)),
        ("queries", np.int64),
        ("planning", np.int64),
        ("stepwise", np.bool_),
        ("family", np.bool_),
        *TREE,
    ]
)


def level_dtype(nodes: int, edges: int) -> np.dtype:
    """The layout of a level for up to so many nodes and edges: the smaller of two."""
    s, e = next(layout for layout in LAYOUTS if nodes <= layout[0] and edges <= layout[1])
    i2 = np.int16
    return np.dtype(
        [
            ("nodes", i2),
            ("edges", i2),
            ("queries", i2),
            ("planning", i2),  # blank steps after each query
            ("stepwise", i2),  # whether the oracle thinks aloud before answers are due
            ("codes", i2, (s,)),
            ("after", i2, (s, LABELS)),  # where the edge with each label leads from each node, or -1
            ("leaving", i2, (s,)),  # bits: the labels that there are at each node
            ("sources", i2, (e,)),  # the edges once more, as a list
            ("labels", i2, (e,)),
            ("destinations", i2, (e,)),
            ("order", i2, (e,)),  # of the edges in the description
            ("asked", i2, (MOST_QUERIES,)),  # the nodes that the queries begin at
            ("relations", i2, (MOST_QUERIES,)),  # the codes of the relations that they ask for
            ("answers", i2, (MOST_QUERIES,)),  # the nodes that those lead to
            # Of a random graph: what made the edges, and where to draw the nodes.
            ("x", np.int32, (s,)),
            ("y", np.int32, (s,)),
            # Of a family.
            ("male", i2, (s,)),  # or 0
            ("partner", i2, (s,)),  # or -1
            ("generation", i2, (s,)),
        ]
    )


# What a generator needs beside the level.
WORK = np.dtype(
    [
        ("ranks", np.int64, (MOST_NODES,)),  # of nodes by their distance
        ("counts", np.int16, (MOST_NODES + 1, LONGEST + 1)),  # of relations by length, from the nodes before each
        *SEARCH,
    ]
)


@njit
def clear(level, nodes):
    """Make so many nodes without edges."""
    level.nodes = nodes
    level.edges = 0
    for u in range(nodes):
        level.leaving[u] = 0
        for label in range(LABELS):
            level.after[u, label] = -1


@njit
def add_edge(level, source, label, destination):
    edge = level.edges
    level.sources[edge], level.labels[edge], level.destinations[edge] = source, label, destination
    level.after[source, label] = destination
    level.leaving[source] |= 1 << label
    level.edges = edge + 1


# --- random graphs ----------------------------------------------------------------------------------------------------


@njit
def generate_random(params, key, level):
    """Draw points uniform in a square, each with edges to its K nearest, K uniform for each (Graves et al. 2016)."""
    work = np.empty(1, WORK)[0]
    key = advance(key)
    clear(level, between(key, params.nodes))
    for u in range(level.nodes):
        key = advance(key)
        level.x[u] = integer(fold(key, 0), SQUARE)
        level.y[u] = integer(fold(key, 1), SQUARE)
    for u in range(level.nodes):
        key = advance(key)
        wanted = min(between(key, params.degree), level.nodes - 1)
        rank_by_distance(level, work, u)
        for _ in range(wanted):
            least = FAR
            for v in range(level.nodes):
                least = min(least, work.ranks[v])
            nearest = least % MOST_NODES
            work.ranks[nearest] = FAR
            label = -1
            while label < 0 or level.after[u, label] >= 0:
                key = advance(key)
                label = integer(key, LABELS)
            add_edge(level, u, label, nearest)
    return finish(params, key, level, work)


@njit
def rank_by_distance(level, work, u):
    """Write into ``work.ranks`` the squared distance of every other node and, below it, the node itself."""
    for v in range(level.nodes):
        dx, dy = np.int64(level.x[v] - level.x[u]), np.int64(level.y[v] - level.y[u])
        work.ranks[v] = (dx * dx + dy * dy) * MOST_NODES + v
    work.ranks[u] = FAR


# --- families ---------------------------------------------------------------------------------------------------------


@njit
def generate_family(params, key, level):
    """The descendants of a couple and whom they marry: again and again somebody, drawn uniformly, has a child.

    Who has no partner marries a newcomer first, unless in the last generation.
    """
    work = np.empty(1, WORK)[0]
    key = advance(key)
    people = between(key, params.nodes)
    clear(level, people)
    level.nodes = 0
    add_person(level, False, 0)
    add_person(level, True, 0)
    marry(level, 0, 1)
    for _ in range(ATTEMPTS * people):
        if level.nodes == people:
            add_siblings(level)
            list_edges(level)
            return finish(params, key, level, work)
        key = advance(key)
        parent = integer(key, level.nodes)
        if level.partner[parent] < 0:
            if level.nodes + 2 > people or level.generation[parent] == GENERATIONS - 1:
                continue
            add_person(level, not level.male[parent], level.generation[parent])
            marry(level, parent, level.nodes - 1)
        key = advance(key)
        add_child(level, parent, integer(key, 2) == 0)
    return False


@njit
def add_person(level, male, generation):
    """Add a node without parents."""
    level.male[level.nodes] = male
    level.generation[level.nodes] = generation
    level.partner[level.nodes] = -1
    level.nodes += 1


@njit
def marry(level, one, other):
    level.partner[one] = other
    level.partner[other] = one


@njit
def add_child(level, parent, son):
    """A couple has a child, of the other sex where they have two of this one already, none where they have four."""
    if level.after[parent, (SONS if son else DAUGHTERS) + 1] >= 0:
        son = not son
    label = SONS if son else DAUGHTERS
    label += level.after[parent, label] >= 0
    if level.after[parent, label] >= 0:
        return
    child = level.nodes
    add_person(level, son, level.generation[parent] + 1)
    other = level.partner[parent]
    level.after[parent, label] = child
    level.after[other, label] = child
    level.after[child, FATHER if level.male[parent] else MOTHER] = parent
    level.after[child, FATHER if level.male[other] else MOTHER] = other


@njit
def add_siblings(level):
    """The brothers and the sisters of everybody, each in the order of birth."""
    for person in range(level.nodes):
        mother = level.after[person, MOTHER]
        if mother >= 0:
            brothers, sisters = BROTHERS, SISTERS
            for i in range(2):
                brother, sister = level.after[mother, SONS + i], level.after[mother, DAUGHTERS + i]
                if brother >= 0 and brother != person:
                    level.after[person, brothers] = brother
                    brothers += 1
                if sister >= 0 and sister != person:
                    level.after[person, sisters] = sister
                    sisters += 1


@njit
def list_edges(level):
    """The edges in ``after`` as a list."""
    for u in range(level.nodes):
        for label in range(LABELS):
            if level.after[u, label] >= 0:
                add_edge(level, u, label, level.after[u, label])


# --- what follows the graph: codes, order and questions ---------------------------------------------------------------


@njit
def finish(params, key, level, work):
    """Draw the codes of the nodes, the order of the description and the questions.

    :return: whether there is anything to ask
    """
    used = np.zeros(CODES // 64 + 1, np.uint64)
    for u in range(level.nodes):
        key, level.codes[u] = draw_unused(key, CODES, used)
    key = permute(key, level.order, level.edges)
    level.queries, level.planning, level.stepwise = params.queries, params.planning, params.stepwise
    lengths = count_relations(params, level, work)
    if lengths == 0:
        return False
    for query in range(level.queries):
        key = ask(params, key, level, work, query, lengths)
    return True


@njit
def count_relations(params, level, work):
    """Count the relations that exist, by their length.

    :return: the number of lengths that occur
    """
    n = np.int64(level.nodes)
    work.tally[:] = 0
    for u in range(n):
        copy(work.tally, work.counts[u])
        search(params, level, work, u, 0, 0)
    copy(work.tally, work.counts[n])
    lengths = 0
    for length in range(1, LONGEST + 1):
        lengths += work.counts[n, length] > 0
    return lengths


@njit
def copy(source, target):
    """Do the same as ``target[:] = source``, which takes seconds to compile."""
    for i in range(source.size):
        target[i] = source[i]


@njit
def ask(params, key, level, work, query, lengths):
    """Draw one question: a length, uniformly of those that occur, then a node and a relation, uniformly of such pairs.

    :return: the next key
    """
    key = advance(key)
    chosen = integer(key, lengths)
    length = 0
    while chosen >= 0:
        length += 1
        chosen -= work.counts[level.nodes, length] > 0
    key = advance(key)
    number = integer(key, work.counts[level.nodes, length])
    source = 0
    while work.counts[source + 1, length] <= number:
        source += 1
    copy(work.counts[source], work.tally)
    level.asked[query] = source
    level.relations[query], level.answers[query] = search(params, level, work, source, length, number)
    return key


@njit
def follow(level, query, most):
    """Return the node that a query's relation leads to in so many steps at the most, or -1 where an edge is missing."""
    node, labels = level.asked[query], LABELS_BY_CODE[level.relations[query]]
    for i in range(most):
        if labels[i] >= 0 and node >= 0:
            node = level.after[node, labels[i]]
    return node


@njit
def digest(level):
    """Return a hash of the description, whatever its order, and of the queries."""
    total = np.uint64(0)
    for edge in range(level.edges):
        triple = (level.codes[level.sources[edge]] * CODES + level.codes[level.destinations[edge]]) * LABELS
        total += bits(np.uint64(triple + level.labels[edge]))
    for query in range(level.queries):
        total = fold(total, level.codes[level.asked[query]] * CODES + level.relations[query])
    return total


@njit
def sound_level(params, level):
    """Return whether every index in a level points into its arrays, and the graph is the one that is described."""
    n, e = np.int64(level.nodes), np.int64(level.edges)
    if not (params.nodes[0] <= n <= params.nodes[1] and 0 < e <= level.sources.size):
        return False
    if level.queries != params.queries or level.planning != params.planning or level.stepwise != params.stepwise:
        return False
    leading = 0
    for u in range(n):
        if not 0 <= level.codes[u] < CODES or (level.generation[u] > 0 and not params.family):
            return False
        for label in range(LABELS):
            if not -1 <= level.after[u, label] < n:
                return False
            leading += level.after[u, label] >= 0
    if leading != e:
        return False
    for edge in range(e):
        source, label = level.sources[edge], level.labels[edge]
        if not (0 <= source < n and 0 <= label < LABELS and 0 <= level.order[edge] < e):
            return False
        if level.after[source, label] < 0 or level.after[source, label] != level.destinations[edge]:
            return False
    for query in range(level.queries):
        if not (0 <= level.asked[query] < n and is_asked_for(params, level.relations[query])):
            return False
        if level.answers[query] < 0 or level.answers[query] != follow(level, query, LONGEST):
            return False
    return not params.family or sound_family(level)


@njit
def sound_family(level):
    """Return whether couples are two, and children and nobody else stand in the generation after their parents."""
    for person in range(level.nodes):
        partner = level.partner[person]
        if not (-1 <= partner < level.nodes and 0 <= level.generation[person] < GENERATIONS):
            return False
        if partner >= 0 and (partner == person or level.partner[partner] != person):
            return False
        for label in range(SONS, DAUGHTERS + 2):
            child = level.after[person, label]
            if child >= 0 and (level.generation[child] != level.generation[person] + 1 or partner < 0):
                return False
    return True
