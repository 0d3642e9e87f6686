"""The 400 relations of the inference task: short names for fixed sequences of edge labels, and how to look for them.

Graves et al. (2016) train on random graphs and test on a family tree, with the same edge labels 0 to 9 and the same
relations, of two to five steps, which the agent must have learnt by then. Here the ten labels are the parents, children
and siblings of a family, and the relations are, of each length, 50 or more of kinship and further random ones, fixed
once and for all by a seed. Of two steps there are all 100 that there can be. Beside them the code of a label may stand
for the label itself.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import product

import numpy as np

from memenvs.compilation import njit
from memenvs.random import advance, integer, permute

STEPS = (
    "mother",
    "father",
    "first son",
    "second son",
    "first daughter",
    "second daughter",
    "first brother",
    "second brother",
    "first sister",
    "second sister",
)  # what the edge labels 0 to 9 mean in a family
LABELS = len(STEPS)
MOTHER, FATHER, SONS, DAUGHTERS, BROTHERS, SISTERS = 0, 1, 2, 4, 6, 8  # the first of the labels of a kind
UP, DOWN, SIDE = range(SONS), range(SONS, BROTHERS), range(BROTHERS, LABELS)

SHORTEST, LONGEST = 2, 5
OF_EACH_LENGTH = 100
OF_KINSHIP = 50  # of each length, at the least
FIRST_CODE = LABELS  # the codes of relations follow those of the edge labels
MOST_ENTRIES = 768  # of a tree of all relations

SEED = np.uint64(400)


@functools.cache
def relations() -> dict[int, tuple[int, ...]]:
    """Return all relations by their codes, from 10 to 409: the edge labels to follow, one after another."""
    key, chosen = SEED, []
    for length in range(SHORTEST, LONGEST + 1):
        key, kinship = draw_kinship(key, length)
        of_length = dict.fromkeys(kinship[:OF_KINSHIP])
        while len(of_length) < OF_EACH_LENGTH:
            key = np.uint64(advance(key))
            number = integer(key, LABELS**length)
            of_length[tuple(number // LABELS**i % LABELS for i in range(length))] = None
        chosen += list(of_length)
    _, order = draw_order(key, len(chosen))
    return {FIRST_CODE + i: chosen[place] for i, place in enumerate(order)}


@functools.cache
def labels_by_code() -> dict[int, tuple[int, ...]]:
    """Return all that can be asked for: single edges, by their labels from 0 to 9, and the relations."""
    return {label: (label,) for label in range(LABELS)} | relations()


def draw_kinship(key: np.uint64, length: int) -> tuple[np.uint64, list[tuple[int, ...]]]:
    """Return all sequences of kinship of a length in the order of choice: each kind in turn, first before second sons.

    :return: the next key, and the sequences
    """
    ranked = []
    for up, side in product(range(length + 1), range(2)):
        kind = list(sequences_of_kind(up, side, length - up - side))
        key, order = draw_order(key, len(kind))
        ranked += list(enumerate(sorted((kind[place] for place in order), key=seconds)))
    ranked.sort(key=lambda pair: pair[0])
    return key, [labels for _, labels in ranked]


def seconds(labels: Sequence[int]) -> int:
    """Return how many of the labels are of second sons, daughters, brothers or sisters."""
    return sum(STEPS[label].startswith("second") for label in labels)


def sequences_of_kind(up: int, side: int, down: int) -> Sequence[tuple[int, ...]]:
    """The sequences that go to parents, then perhaps to a sibling, then to children; none where that is no kinship."""
    if down < 0 or (up and down and not side):
        return []
    return list(product(*[UP] * up, *[SIDE] * side, *[DOWN] * down))


def draw_order(key: np.uint64, n: int) -> tuple[np.uint64, list[int]]:
    """The next key, and 0 to n - 1 in a random order."""
    order = np.empty(n, np.int64)
    return np.uint64(permute(key, order, n)), order.tolist()


# --- kinship in words -------------------------------------------------------------------------------------------------


def kind_of(labels: Sequence[int]) -> tuple[int, int, int] | None:
    """Return how often a sequence goes to parents, siblings and children, or None if no single word names that."""
    up = next((i for i, label in enumerate(labels) if label not in UP), len(labels))
    side = int(up < len(labels) and labels[up] in SIDE)
    down = len(labels) - up - side
    known = all(label in DOWN for label in labels[up + side :]) and (side or not (up and down))
    return (up, side, down) if known else None


def kinship(labels: Sequence[int]) -> str:
    """The word for a relation of kinship of two steps or more, such as ``maternal great-uncle``."""
    kind = kind_of(labels)
    if kind is None or len(labels) < SHORTEST:
        raise ValueError(f"labels must be a relation of kinship of at least two steps, not {labels}")
    up, side, down = kind
    male = labels[-1] in (FATHER, *range(SONS, DAUGHTERS), *range(BROTHERS, SISTERS))
    if up and side and down:
        removed = ["", " once removed", " twice removed"][abs(up - down)]
        word = ["", "", "second "][min(up, down)] + "cousin" + removed
    elif side:
        great = "great-" * (max(up, down) - 1)
        word = great + (("uncle" if male else "aunt") if up else ("nephew" if male else "niece"))
    else:
        great = "great-" * (max(up, down) - 2) + "grand"
        word = great + (("father" if male else "mother") if up else ("son" if male else "daughter"))
    return f"{'maternal' if labels[0] == MOTHER else 'paternal'} {word}" if up else word


def in_steps(labels: Sequence[int]) -> str:
    """A relation in words, step by step, such as ``mother's first brother``."""
    return "'s ".join(STEPS[label] for label in labels)


# --- looking for relations in a graph ---------------------------------------------------------------------------------

# The relations as a tree of labels: an entry stands for the labels from the root, which is entry 0, to it.
TREE = [
    ("relation", np.int16, (MOST_ENTRIES,)),  # the code of the relation that ends there, or -1
    ("going_on", np.int16, (MOST_ENTRIES,)),  # bits: the labels with which relations go on
    ("child", np.int16, (MOST_ENTRIES, LABELS)),  # the entries to which those lead
]
# For the search: how many relations of each length have been found, and the way to the present entry.
SEARCH = [
    ("tally", np.int16, (LONGEST + 1,)),
    ("nodes", np.int16, (LONGEST,)),
    ("entries", np.int16, (LONGEST,)),
    ("waiting", np.int16, (LONGEST,)),  # bits: the labels not yet followed
]
PADDING = (-1,) * (LONGEST + 1)
LABELS_BY_CODE = np.array([(labels + PADDING)[: LONGEST + 1] for labels in labels_by_code().values()], np.int16)
LOWEST = np.array([(bits & -bits).bit_length() - 1 for bits in range(2**LABELS)], np.int16)  # the lowest bit that is 1


@functools.cache
def relation_tree(low: int, high: int, only_kinship: bool) -> tuple:
    """The values of the fields ``TREE`` for the relations of a range of lengths, of which 1 is of single labels."""
    relation, going_on = np.full(MOST_ENTRIES, -1, np.int16), np.zeros(MOST_ENTRIES, np.int16)
    child = np.full((MOST_ENTRIES, LABELS), -1, np.int16)
    entries = 1
    for code, labels in labels_by_code().items():
        if not low <= len(labels) <= high or (only_kinship and not kind_of(labels)):
            continue
        entry = 0
        for label in labels:
            if child[entry, label] < 0:
                child[entry, label], entries = entries, entries + 1
                going_on[entry] |= 1 << label
            entry = child[entry, label]
        relation[entry] = code
    return relation, going_on, child


@njit
def is_asked_for(params, code):
    """Return whether a relation is one of those in the tree."""
    for entry in range(params.relation.size):
        if params.relation[entry] == code:
            return code >= 0  # where no relation ends there is -1
    return False


@njit
def search(params, level, work, source, length, number):
    """Follow all relations from a node, always in the same order, and count in ``work.tally`` those that exist.

    It stops at one of the given length when so many of that length have been counted before; with a length of 0 never.

    :param level: with ``after``, the node to which each label leads from each node, and ``leaving``, the labels there
        are, as bits
    :return: the code of that relation and where it leads, or -1 twice
    """
    depth = 0
    work.nodes[0], work.entries[0], work.waiting[0] = source, 0, level.leaving[source] & params.going_on[0]
    while depth >= 0:
        waiting = work.waiting[depth]
        if waiting == 0:
            depth -= 1
            continue
        label = LOWEST[waiting]
        work.waiting[depth] = waiting & (waiting - 1)
        node, entry = level.after[work.nodes[depth], label], params.child[work.entries[depth], label]
        if params.relation[entry] >= 0:
            if depth + 1 == length and work.tally[length] == number:
                return params.relation[entry], node
            work.tally[depth + 1] += 1
        ahead = level.leaving[node] & params.going_on[entry]
        if ahead:
            depth += 1
            work.nodes[depth], work.entries[depth], work.waiting[depth] = node, entry, ahead
    return np.int16(-1), np.int16(-1)
