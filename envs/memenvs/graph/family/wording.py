"""A family or a random graph with its questions, in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from memenvs.graph.family.relations import STEPS, in_steps, kinship, labels_by_code

# fmt: off
WOMEN = (
    "Alice", "Anna", "Beth", "Carol", "Clara", "Dora", "Edith", "Ella", "Emma", "Eva", "Fay", "Freya", "Gina",
    "Grace", "Hanna", "Helen", "Ida", "Irene", "Iris", "Jane", "Joan", "Kate", "Lucy", "Mary", "Nina", "Nora",
    "Olive", "Paula", "Rosa", "Ruth", "Sarah", "Tess", "Vera", "Wendy", "Zoe",
)
MEN = (
    "Adam", "Alan", "Ben", "Carl", "Colin", "David", "Dean", "Eric", "Felix", "Frank", "Fred", "Gary", "Hans",
    "Henry", "Hugo", "Ian", "Jack", "James", "John", "Karl", "Leo", "Mark", "Mat", "Max", "Noah", "Oscar", "Otto",
    "Paul", "Peter", "Ralph", "Simon", "Steve", "Tom", "Victor", "Will",
)
# fmt: on
RIGHT, WRONG = "✓", "✗"


class Question(NamedTuple):
    """A query and its answer."""

    relation: str  # that it asks for, in words
    labels: tuple[int, ...]  # the edges to follow
    path: list[int]  # the nodes on that way, from the one asked about to the answer
    said: int  # the code answered, or -1


class Scene(NamedTuple):
    """The contents of a picture."""

    family: bool
    names: list[str]  # of the nodes
    codes: list[int]
    edges: list[tuple[int, int, int]]  # source, label and destination, in the order of the description
    told: int  # how many of these the agent has seen
    questions: list[Question]  # those that the agent has seen
    asking: bool  # whether the last of them is still open


def scene(state: np.void, level: np.void) -> Scene:
    """Return the contents of the picture of an episode at its present step."""
    n, e = int(level["nodes"]), int(level["edges"])
    order = level["order"][:e]
    columns = (level[name][order].tolist() for name in ("sources", "labels", "destinations"))
    codes = level["codes"][:n].tolist()
    family = bool(level["generation"][:n].any())
    queries, steps = int(level["queries"]), 1 + int(level["planning"])
    since = int(state["time"]) - e
    asked = 0 if since < 0 else min(since // steps + 1, queries)
    return Scene(
        family=family,
        names=first_names(level) if family else [f"{code:03d}" for code in codes],
        codes=codes,
        edges=list(zip(*columns, strict=True)),
        told=min(int(state["time"]) + 1, e),
        questions=[question(state, level, family, i) for i in range(asked)],
        asking=0 <= since < steps * queries,
    )


def first_names(level: np.void) -> list[str]:
    """A first name for everybody in a family, which begins somewhere in the lists as the first code says."""
    given, start = {True: 0, False: 0}, int(level["codes"][0])
    names = []
    for male in level["male"][: level["nodes"]].astype(bool).tolist():
        among, count = MEN if male else WOMEN, given[male]
        name = among[(start + count) % len(among)]
        names.append(name if count < len(among) else name + " II")
        given[male] += 1
    return names


def question(state: np.void, level: np.void, family: bool, i: int) -> Question:
    """The query number i."""
    code = int(level["relations"][i])
    labels = labels_by_code()[code]
    path = [int(level["asked"][i])]
    for label in labels:
        path.append(int(level["after"][path[-1], label]))
    if len(labels) == 1:
        name = STEPS[code] if family else f"edge {code}"
    else:
        name = kinship(labels) if family else f"relation {code}"
    return Question(name, labels, path, int(state["said"][i]))


def triple(shown: Scene, edge: int) -> str:
    """Write one edge of the description."""
    source, label, destination = shown.edges[edge]
    if shown.family:
        return f"{shown.names[source]}'s {STEPS[label]} is {shown.names[destination]}"
    return f"edge {label} of {shown.names[source]} leads to {shown.names[destination]}"


def ask(shown: Scene, question: Question) -> str:
    """Write a query with the edges to follow, which the agent does not see."""
    steps = in_steps(question.labels) if shown.family else ", ".join(map(str, question.labels))
    return f"{shown.names[question.path[0]]}'s {question.relation} ({steps})"


def answer(shown: Scene, question: Question) -> str:
    """Write the answer to a query, and whether it is right."""
    if question.said < 0:
        return "?"
    name = shown.names[shown.codes.index(question.said)] if question.said in shown.codes else f"{question.said:03d}"
    right = shown.names[question.path[-1]]
    return f"{name} {RIGHT}" if name == right else f"{name} {WRONG} ({right})"


def lines(shown: Scene) -> list[str]:
    """Write the description and the queries so far, a line each."""
    described = [triple(shown, edge) for edge in range(shown.told)]
    return described + [f"{ask(shown, q)}: {answer(shown, q)}" for q in shown.questions]
