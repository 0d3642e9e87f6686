"""Relations in random graphs and families, against a plain walk over what an agent has been shown."""

import re
from collections import Counter, defaultdict
from itertools import pairwise, product

import gymnasium as gym
import numpy as np
import pytest

from memenvs.graph.family.relations import STEPS, in_steps, kind_of, kinship, labels_by_code, relations

DESCRIPTION, QUERY, PLANNING = range(3)
FAMILY = {"graph": "family"}
CASES = [{}, {"lesson": 14, "queries": 5}, {"lesson": 17, "planning": 2}, FAMILY, FAMILY | {"nodes": (30, 40)}]

# Extended data table 4 of Graves et al. (2016): nodes, out-degree, length of the relations.
TABLE = """
1 3-3 2-2 2-2, 2 3-5 2-2 2-2, 3 4-6 2-4 2-2, 4 4-6 2-4 2-2, 5 6-12 2-4 2-2, 6 12-18 2-4 2-2, 7 4-6 2-4 2-3,
8 6-12 2-4 2-3, 9 12-18 2-4 2-3, 10 4-6 2-4 2-4, 11 4-6 2-4 2-4, 12 6-12 2-4 2-4, 13 12-18 2-4 2-4, 14 4-6 2-4 2-5,
15 6-12 2-4 2-5, 16 12-18 2-4 2-5, 17 20-25 2-4 2-5"""
RANGES = {
    int(row.split()[0]): [tuple(map(int, text.split("-"))) for text in row.split()[1:]]
    for row in TABLE.strip().replace("\n", " ").split(", ")
}


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/FamilyTree-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def levels_of(n=200, **parameters):
    return make(n, **parameters).batch.rows["level"]


def graph_of(level):
    """Where each label leads from each node: from the list of edges, which is what is described."""
    e = int(level["edges"])
    columns = (level[name][:e].tolist() for name in ("sources", "labels", "destinations"))
    return {(source, label): destination for source, label, destination in zip(*columns, strict=True)}


def walk(graph, node, labels):
    """Where labels lead from a node, or None."""
    for label in labels:
        if node is None:
            return None
        node = graph.get((node, label))
    return node


def digits(code):
    return np.array([code // 100, code // 10 % 10, code % 10])


# --- the relations ----------------------------------------------------------------------------------------------------


def test_the_relations_are_what_they_have_always_been():
    table = relations()
    assert list(table) == list(range(10, 410))
    assert Counter(map(len, table.values())) == {2: 100, 3: 100, 4: 100, 5: 100}
    assert len(set(table.values())) == 400
    assert {label for labels in table.values() for label in labels} == set(range(10))
    # Policies that were trained with them know them by heart: whoever changes one makes those worthless.
    assert [table[code] for code in (10, 123, 234, 345, 409)] == [
        (8, 0, 1, 8),
        (0, 0, 7),
        (1, 1, 1, 0, 0),
        (1, 8, 0, 3, 9),
        (5, 6),
    ]


def test_half_of_the_relations_are_of_kinship():
    for length in range(2, 6):
        of_length = [labels for labels in relations().values() if len(labels) == length]
        kinds = Counter(kind_of(labels) for labels in of_length)
        strangers = kinds.pop(None)
        assert strangers >= 40
        assert all(sum(kind) == length for kind in kinds)
        # From parents to siblings to children, each kind as often as there are such sequences or as any other.
        sizes = {(up, side, down): 2**up * 4 ** (side + down) for up, side, down in kinds}
        assert set(sizes) == {
            (up, side, length - up - side)
            for up, side in product(range(length + 1), range(2))
            if up + side <= length and (side or up in (0, length))
        }
        fair = min(50 // len(sizes), 50)
        assert all(kinds[kind] >= min(size, fair) for kind, size in sizes.items())
    assert all((up, up2) in relations().values() for up, up2 in product(range(10), repeat=2))


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        ((0, 0), "maternal grandmother"),
        ((0, 1, 1), "maternal great-grandfather"),
        ((1, 0, 0, 0), "paternal great-great-grandmother"),
        ((2, 3), "grandson"),
        ((2, 2, 5), "great-granddaughter"),
        ((1, 7), "paternal uncle"),
        ((0, 8), "maternal aunt"),
        ((0, 1, 6), "maternal great-uncle"),
        ((6, 4), "niece"),
        ((8, 3, 2), "great-nephew"),
        ((1, 9, 3), "paternal cousin"),
        ((0, 0, 6, 4), "maternal cousin once removed"),
        ((0, 6, 4, 4), "maternal cousin once removed"),
        ((0, 6, 4, 4, 2), "maternal cousin twice removed"),
        ((0, 0, 6, 4, 2), "maternal second cousin"),
    ],
)
def test_words_of_kinship(labels, word):
    assert kinship(labels) == word


@pytest.mark.parametrize("labels", [(0,), (0, 2), (2, 0), (6, 6), (6, 0), (0, 6, 6), (2, 6)])
def test_what_has_no_word(labels):
    with pytest.raises(ValueError, match="relation of kinship"):
        kinship(labels)


# --- episodes, from nothing but observations --------------------------------------------------------------------------


class Reader:
    """What an agent does that has a perfect memory and has learnt the relations."""

    def __init__(self, queries=3, planning=0, **_):
        self.graph, self.script, self.answer = {}, [], None
        self.cycle = (
            [(QUERY, planning == 0)] + [(PLANNING, False)] * (planning - 1) + [(PLANNING, True)] * (planning > 0)
        )
        self.queries = queries

    def read(self, observation):
        """The code to answer with now, or None."""
        assert observation.dtype == np.uint8
        source, middle, destination = (self.code(observation[i : i + 3]) for i in (0, 3, 6))
        phase, due = int(observation[9]), bool(observation[10])
        self.script.append((phase, due))
        assert (source is None) == (middle is None) == (phase == PLANNING)
        assert (destination is None) == (phase != DESCRIPTION)
        if phase == DESCRIPTION:
            assert 0 <= middle < 10
            assert (source, middle) not in self.graph
            self.graph[source, middle] = destination
        if phase == QUERY:
            assert 10 <= middle < 410
            self.answer = walk(self.graph, source, relations()[middle])
            self.question = source, middle
            assert self.answer is not None
        return self.answer if due else None

    @staticmethod
    def code(three):
        assert np.all(three == 0) or np.all(three > 0)
        return int((three.astype(int) - 1) @ [100, 10, 1]) if three[0] else None

    def check(self, edges):
        """Whether the phases came in their order."""
        assert self.script == [(DESCRIPTION, False)] * edges + self.cycle * self.queries


@pytest.mark.parametrize("parameters", CASES, ids=str)
def test_a_perfect_memory_that_knows_the_relations_is_enough(parameters):
    env = gym.make("memenvs/FamilyTree-v0", **parameters).unwrapped
    orders = set()
    for seed in range(25):
        observation, info = env.reset(seed=seed)
        reader, end, total = Reader(**parameters), False, 0.0
        while not end:
            assert env.observation_space.contains(observation)
            answer = reader.read(observation)
            assert info["decision"] == (answer is not None)
            expected = np.full(3, -1) if answer is None else digits(answer)
            assert np.array_equal(env.oracle(), expected)
            action = env.action_space.sample() if answer is None else expected
            observation, reward, end, cut, info = env.step(action)
            assert not cut
            assert reward == (0 if answer is None else 1 / reader.queries)
            total += reward
        assert not observation.any()
        assert np.array_equal(env.oracle(), np.full(3, -1))
        level = env.batch.rows["level"][0]
        reader.check(int(level["edges"]))
        orders.add(tuple(level["order"][:5].tolist()))
        codes = level["codes"]
        graph = {(int(codes[source]), label): int(codes[to]) for (source, label), to in graph_of(level).items()}
        assert reader.graph == graph
        assert (info["success"], info["accuracy"]) == (1.0, 1.0)
        assert total == pytest.approx(1)
    assert len(orders) > 20


@pytest.mark.parametrize(
    "parameters", [{"lesson": 3, "queries": 16}, {"nodes": 5, "length": 3, "queries": 16}], ids=str
)
def test_the_relations_can_be_learnt_from_answers(parameters):
    """Sequences of labels that do not explain an answer are crossed out until one is left."""
    length = parameters.get("length", 2)
    fitting = defaultdict(lambda: set(product(range(10), repeat=length)))
    levels = levels_of(1500, **parameters)
    for level in levels:
        graph = graph_of(level)
        leaving = defaultdict(list)
        for (source, label), destination in graph.items():
            leaving[source].append((label, destination))
        columns = (level[name].tolist() for name in ("asked", "relations", "answers"))
        for source, relation, answer in zip(*columns, strict=True):
            ways = [((), source)]
            for _ in range(length):
                ways = [((*labels, label), to) for labels, node in ways for label, to in leaving[node]]
            fitting[relation] &= {labels for labels, node in ways if node == answer}
    assert len(fitting) == 100
    assert {code: labels for code, labels in relations().items() if len(labels) == length} == {
        code: next(iter(left)) for code, left in fitting.items() if len(left) == 1
    }


@pytest.mark.parametrize("parameters", [{"degree": [1, 3]}, FAMILY], ids=str)
def test_an_edge_is_asked_for_by_its_label(parameters):
    asked, lengths = Counter(), Counter()
    for level in levels_of(500, length=[1, 2], **parameters):
        graph = graph_of(level)
        for query in range(3):
            source, code = int(level["asked"][query]), int(level["relations"][query])
            labels = (code,) if code < 10 else relations()[code]
            assert walk(graph, source, labels) == level["answers"][query]
            asked[code] += 1
            lengths[len(labels)] += 1
    assert {code for code in asked if code < 10} == set(range(10))
    assert lengths[1] == pytest.approx(750, abs=90)
    env = gym.make("memenvs/FamilyTree-v0", render_mode="ansi", length=1, queries=1, **parameters).unwrapped
    env.reset(seed=0)
    level = env.batch.rows["level"][0]
    play(env, int(level["edges"]))
    label = int(level["relations"][0])
    said = STEPS[label] if parameters == FAMILY else f"edge {label}"
    assert f"'s {said} (" in env.render().splitlines()[-1]


@pytest.mark.parametrize("parameters", [{"lesson": 12}, FAMILY], ids=str)
def test_the_oracle_names_the_edges_and_nodes_on_the_way(parameters):
    episode = {"queries": 8, "planning": 9} | parameters
    plain, stepwise = make(1, **episode), make(1, stepwise=True, **episode)
    level, end, told, lengths = plain.batch.rows["level"][0].copy(), False, [], set()
    while not end:
        given = plain.oracle()
        told.append(stepwise.oracle()[0])
        assert stepwise.batch.decision[0] == (told[-1][0] >= 0)
        assert np.array_equal(told[-1], given[0]) or given[0, 0] < 0
        results = plain.step(np.maximum(given, 0)), stepwise.step(np.maximum(given, 0))
        for one, other in zip(results[0][:4], results[1][:4], strict=True):
            assert np.array_equal(one, other)
        end = results[0][2][0]
    edges, codes = int(level["edges"]), level["codes"]
    assert np.all(np.array(told[:edges]) == -1)
    for query, steps in enumerate(np.array(told[edges:]).reshape(8, 10, 3)):
        labels, expected = relations()[int(level["relations"][query])], []
        lengths.add(len(labels))
        for k, label in enumerate(labels):
            node = walk(graph_of(level), int(level["asked"][query]), labels[: k + 1])
            expected += [digits(label), digits(int(codes[node]))]
        expected += [expected[-1]] * (10 - len(expected))
        assert np.array_equal(steps, expected)
    assert len(lengths) == 3


def test_wrong_answers_are_counted_and_only_what_is_said_when_due():
    env = gym.make("memenvs/FamilyTree-v0", queries=4, planning=2).unwrapped
    env.reset(seed=0)
    answered, end, rewards, answer = 0, False, [], None
    while not end:
        level, state = env.batch.rows["level"][0], env.batch.rows["state"][0]
        query = min(max(int(state["time"] - level["edges"]) // 3, 0), 3)
        answer = digits(int(level["codes"][level["answers"][query]]))
        due = env.oracle()[0] >= 0
        wrong = due and answered == 1
        answered += due
        assert not due or np.array_equal(env.oracle(), answer)
        _, reward, end, _, info = env.step((answer + np.array([0, 0, wrong])) % 10)  # right at all times but one
        rewards.append(reward)
    assert answered == 4
    assert Counter(rewards) == {0.25: 3, 0.0: len(rewards) - 3}
    assert (info["success"], info["accuracy"]) == (0.0, 0.75)


def test_an_episode_cut_short_is_measured_by_what_was_asked():
    envs = make(16, nodes=4, degree=2, queries=5, max_episode_steps=10)  # 8 edges, then queries
    for _ in range(10):
        infos = envs.step(np.maximum(envs.oracle(), 0))[4]
    assert infos["accuracy"].tolist() == [1.0] * 16
    assert infos["success"].tolist() == [0.0] * 16


@pytest.mark.parametrize("parameters", [{}, FAMILY], ids=str)
def test_the_oracle_is_always_right_and_chance_never(parameters):
    for name in ("oracle", "walk"):
        envs, rng, accuracy = make(256, **parameters), np.random.default_rng(0), []
        for _ in range(250):
            actions = np.maximum(envs.oracle(), 0) if name == "oracle" else envs.random_walk(rng)
            _, _, terminated, _, infos = envs.step(actions)
            if terminated.any():
                accuracy += infos["accuracy"][terminated].tolist()
        assert len(accuracy) > 300
        assert np.mean(accuracy) == 1 if name == "oracle" else np.mean(accuracy) < 0.01


# --- random graphs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", range(1, 18))
def test_lessons_have_the_ranges_of_the_paper(lesson):
    nodes, degree, length = RANGES[lesson]
    explicit = gym.make("memenvs/FamilyTree-v0", nodes=nodes, degree=degree, length=length).unwrapped.definition
    given = gym.make("memenvs/FamilyTree-v0", lesson=lesson).unwrapped.definition
    assert given.name == explicit.name
    assert given.params.tobytes() == explicit.params.tobytes()
    assert given.params["queries"] == 3


def test_what_is_given_goes_before_the_lesson():
    name = gym.make("memenvs/FamilyTree-v0", lesson=17, degree=3, queries=1).unwrapped.definition.name
    assert name == "FamilyTree(graph='random', nodes=(20, 25), degree=(3, 3), length=(2, 5), queries=1, planning=0)"


@pytest.mark.parametrize("lesson", [1, 3, 14, 17])
def test_random_graphs_keep_the_rules(lesson):
    levels = levels_of(300, lesson=lesson)
    (low, high), (least, most), (near, far) = RANGES[lesson]
    lengths, labels, degrees = Counter(), Counter(), Counter()
    for level in levels:
        n, graph = int(level["nodes"]), graph_of(level)
        assert len(graph) == level["edges"]
        assert sorted(level["order"][: level["edges"]].tolist()) == list(range(len(graph)))
        assert len(set(level["codes"][:n].tolist())) == n
        points = np.stack([level["x"], level["y"]], axis=1)[:n].astype(np.int64)
        for u in range(n):
            leaving = [to for (source, _), to in graph.items() if source == u]
            distances = ((points - points[u]) ** 2).sum(axis=1)
            assert leaving == np.argsort(distances)[1 : len(leaving) + 1].tolist()
            assert min(least, n - 1) <= len(leaving) <= most
            if n > most:
                degrees[len(leaving)] += 1
        labels.update(label for _, label in graph)
        for query in range(3):
            relation = relations()[int(level["relations"][query])]
            assert walk(graph, int(level["asked"][query]), relation) == level["answers"][query]
            lengths[len(relation)] += 1
    sizes = Counter(levels["nodes"].tolist())
    assert set(sizes) == set(range(low, high + 1))
    assert set(lengths) == set(range(near, far + 1))
    assert len(degrees) == most - least + 1 or not degrees
    for counts in (list(labels.values()), list(degrees.values())):
        assert all(abs(count - np.mean(counts)) < 4.5 * np.sqrt(np.mean(counts)) for count in counts)
    assert levels["x"].min() >= 0
    assert max(levels["x"].max(), levels["y"].max()) < 2**20
    points = np.stack([levels["x"], levels["y"]])[:, :, :low].reshape(2, -1)
    assert np.all(np.abs(points.mean(axis=1) / 2**19 - 1) < 0.1)
    assert np.abs(np.corrcoef(points)[0, 1]) < 0.15


@pytest.mark.parametrize("parameters", [{"lesson": 14}, {"lesson": 13}, FAMILY], ids=str)
def test_queries_are_drawn_by_length_and_then_evenly(parameters):
    low, high = (2, 4) if parameters != {"lesson": 14} else (2, 5)
    expected, drawn, places, rng = np.zeros(6), np.zeros(6), [], np.random.default_rng(0)
    table = {code: labels for code, labels in relations().items() if low <= len(labels) <= high}
    if parameters == FAMILY:
        table = {code: labels for code, labels in table.items() if kind_of(labels)}
    for level in levels_of(200, queries=5, **parameters):
        graph, found = graph_of(level), defaultdict(list)
        for source, (code, labels) in product(range(level["nodes"]), table.items()):
            if walk(graph, source, labels) is not None:
                found[len(labels)].append((source, code))
        for length in found:
            expected[length] += 5 / len(found)
        for query in range(5):
            code = int(level["relations"][query])
            length = len(table[code])
            drawn[length] += 1
            place = found[length].index((int(level["asked"][query]), code))
            places.append((place + rng.random()) / len(found[length]))
    assert np.all(np.abs(drawn - expected) < 4 * np.sqrt(expected + 1))
    counts, _ = np.histogram(places, 5, (0, 1))
    assert np.all(np.abs(counts / 200 - 1) < 0.25)


def test_every_question_about_a_small_graph_is_as_likely():
    places = Counter()
    for level in levels_of(4000, lesson=1):
        graph = graph_of(level)
        ways = [(s, a, b) for (s, a), m in graph.items() for (m2, b) in graph if m2 == m]
        assert len(ways) == 12
        for query in range(3):
            way = int(level["asked"][query]), *relations()[int(level["relations"][query])]
            places[sorted(ways).index(way)] += 1
    assert set(places) == set(range(12))
    assert all(abs(count / 1000 - 1) < 0.15 for count in places.values())


# --- families ---------------------------------------------------------------------------------------------------------


class People:
    """A family, put together from who is described to be whose mother and father."""

    def __init__(self, level):
        self.graph = graph_of(level)
        self.parents = defaultdict(dict)
        for (person, label), other in self.graph.items():
            if label < 2:
                self.parents[person][label] = other
        self.male = {other: label in (1, 2, 3, 6, 7) for (_, label), other in self.graph.items()}

    def edges(self):
        """All that must be described: parents, and children and siblings in the order of birth."""
        edges, children = {}, defaultdict(list)
        for child in sorted(self.parents):
            for label, parent in self.parents[child].items():
                edges[child, label] = parent
                children[parent].append(child)
        for person, own in children.items():
            for first, male in ((2, True), (4, False)):
                of_sex = [child for child in own if self.male[child] == male]
                edges |= {(person, first + i): child for i, child in enumerate(of_sex)}
        for person, parents in self.parents.items():
            siblings = [child for child in children[parents[0]] if child != person]
            for first, male in ((6, True), (8, False)):
                of_sex = [child for child in siblings if self.male[child] == male]
                edges |= {(person, first + i): sibling for i, sibling in enumerate(of_sex)}
        return edges

    def ancestors(self, person):
        """All of them with the number of generations, and the person with 0."""
        found, new, generation = {}, {person}, 0
        while new:
            found |= dict.fromkeys(new, generation)
            new, generation = {p for one in new for p in self.parents[one].values()}, generation + 1
        return found

    def word(self, person, other):
        """How two are related, from how far each is from the nearest ancestor that they share."""
        own, theirs = self.ancestors(person), self.ancestors(other)
        up, down = min(((own[a], theirs[a]) for a in own.keys() & theirs.keys()), key=sum)
        male = self.male[other]
        if min(up, down) == 0:
            base, great = (
                {(True, True): "grandfather", (True, False): "grandmother"}.get(
                    (up > 0, male), "grandson" if male else "granddaughter"
                ),
                up + down - 2,
            )
        elif min(up, down) == 1:
            aunt, niece = ("uncle", "nephew") if male else ("aunt", "niece")
            base, great = aunt if up > 1 else niece, up + down - 3
        else:
            second = "second " if min(up, down) == 3 else ""
            base, great = second + "cousin" + ["", " once removed", " twice removed"][abs(up - down)], 0
        if up > (1 if min(up, down) else 0):
            line = next(p for label, p in sorted(self.parents[person].items()) if up - 1 == self.up_to(p, other, down))
            base = "great-" * great + base
            return f"{'maternal' if line == self.parents[person][0] else 'paternal'} {base}"
        return "great-" * great + base

    def up_to(self, person, other, down):
        """How many generations above somebody the nearest ancestor is that they share with another."""
        own, theirs = self.ancestors(person), self.ancestors(other)
        return min((own[a] for a in own.keys() & theirs.keys() if theirs[a] == down), default=-1)


@pytest.mark.parametrize("nodes", [(5, 7), (15, 25), (60, 64)], ids=str)
def test_families_keep_the_rules(nodes):
    levels = levels_of(150, graph="family", nodes=nodes, length=(2, 5))
    deepest, brothers = 0, 0
    for level in levels:
        n, people = int(level["nodes"]), People(level)
        assert len(people.graph) == level["edges"]
        assert people.edges() == people.graph
        assert all(len(parents) == 2 for parents in people.parents.values() if parents)
        assert len(people.male) == n
        for parents in people.parents.values():
            if parents:
                assert (people.male[parents[0]], people.male[parents[1]]) == (False, True)
        couples = {tuple(parents.values()) for parents in people.parents.values() if parents}
        assert len({person for couple in couples for person in couple}) == 2 * len(couples)
        newcomers = [p for p in range(n) if not people.parents[p]]
        assert len(newcomers) == len(couples) + 1
        deepest = max(deepest, *(max(people.ancestors(p).values()) for p in range(n)))
        brothers += sum(label == 7 for _, label in people.graph)
        for query in range(3):
            person, answer = int(level["asked"][query]), int(level["answers"][query])
            labels = relations()[int(level["relations"][query])]
            assert walk(people.graph, person, labels) == answer
            assert kinship(labels) == people.word(person, answer)
    assert set(levels["nodes"].tolist()) == set(range(nodes[0], nodes[1] + 1))
    assert deepest == (3 if nodes[1] == 7 else 4)
    assert brothers or nodes[1] == 7
    men = levels["male"][:, :5].mean()
    assert 0.4 < men < 0.6


def grow(rng, n):
    """A family by the rule of the generator, told once more.

    :return: couples, couples with four children, men, people of the last generation
    """
    generation, male = [0, 0], [False, True]
    couple, couples, children = {0: 0, 1: 0}, 1, [[0, 0]]  # of each couple the daughters and sons
    while len(generation) < n:
        parent = rng.integers(len(generation))
        if parent not in couple:
            if len(generation) + 2 > n or generation[parent] == 4:
                continue
            couple |= {parent: couples, len(generation): couples}
            couples += 1
            children.append([0, 0])
            generation.append(generation[parent])
            male.append(not male[parent])
        son = rng.random() < 0.5
        own = children[couple[parent]]
        son = not son if own[son] == 2 else son
        if own[son] < 2:
            own[son] += 1
            generation.append(generation[parent] + 1)
            male.append(son)
    return couples, sum(sum(own) == 4 for own in children), sum(male), generation.count(4)


@pytest.mark.parametrize("nodes", [20, 60])
def test_families_grow_as_they_should(nodes):
    rng, grown = np.random.default_rng(0), []
    for level in levels_of(600, graph="family", nodes=nodes, length=(2, 5)):
        generation, after = level["generation"][:nodes], level["after"][:nodes]
        assert np.all(after[(level["generation"][:nodes] == 4), 2:6] == -1)
        four = np.sum((after[:, 2:6] >= 0).all(axis=1)) // 2
        grown.append(
            [np.sum(level["partner"][:nodes] >= 0) // 2, four, level["male"][:nodes].sum(), sum(generation == 4)]
        )
    expected = np.array([grow(rng, nodes) for _ in range(600)])
    grown = np.array(grown)
    error = np.sqrt((grown.var(axis=0) + expected.var(axis=0)) / 600)
    assert np.all(np.abs(grown.mean(axis=0) - expected.mean(axis=0)) < 4 * error)
    assert np.all(error > 0)


def test_families_are_asked_for_many_relations():
    words = Counter()
    for level in levels_of(1000, graph="family"):
        words.update(kinship(relations()[int(code)]).split()[-1] for code in level["relations"][:3])
    for word in (
        "grandmother",
        "grandfather",
        "grandson",
        "granddaughter",
        "uncle",
        "aunt",
        "nephew",
        "niece",
        "cousin",
    ):
        assert words[word] > 50
    assert sum(count for word, count in words.items() if word.startswith("great-")) > 300


# --- parameters, snapshots and pictures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"graph": "tree"}, "graph must be 'random' or 'family'"),
        ({"lesson": 0}, "lesson must be an integer from 1 to 17"),
        ({"lesson": 18}, "lesson"),
        ({"lesson": True}, "lesson"),
        ({"lesson": [1]}, "lesson"),
        ({"lesson": 1, "graph": "family"}, "lesson must be None with graph='family'"),
        ({"degree": 2, "graph": "family"}, "degree must be None with graph='family'"),
        ({"nodes": 1}, "nodes must be within 2 to 64"),
        ({"nodes": 65}, "nodes"),
        ({"nodes": 4, "graph": "family"}, "nodes must be within 5 to 64"),
        ({"nodes": (6, 4)}, "nodes"),
        ({"degree": 0}, "degree"),
        ({"degree": 11}, "degree"),
        ({"length": 0}, "length must be within 1 to 5"),
        ({"length": (2, 6)}, "length"),
        ({"queries": 0}, "queries"),
        ({"queries": 17}, "queries"),
        ({"planning": -1}, "planning"),
        ({"planning": 0.5}, "planning"),
        ({"planning": 2, "stepwise": True}, "planning must be at least 3"),
        ({"stepwise": 1}, "stepwise"),
        ({"nodes": 5, "length": 5, "graph": "family"}, "no level of FamilyTree"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        gym.make("memenvs/FamilyTree-v0", **wrong)


@pytest.mark.parametrize("parameters", [{}, FAMILY], ids=str)
@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("level", "nodes", 0),
        ("level", "nodes", 100),
        ("level", "edges", 0),
        ("level", "edges", 2000),
        ("level", "queries", 2),
        ("level", "planning", 1),
        ("level", "stepwise", 1),
        ("level", "codes", 1000),
        ("level", "after", 70),
        ("level", "after", -2),
        ("level", "after", -1),
        ("level", "sources", 64),
        ("level", "labels", 10),
        ("level", "destinations", 64),
        ("level", "destinations", -1),
        ("level", "order", 1000),
        ("level", "asked", 64),
        ("level", "relations", 9),
        ("level", "relations", 410),
        ("level", "answers", -1),
        ("level", "answers", 64),
        ("level", "generation", 1),
        ("level", "generation", 5),
        ("state", "time", -1),
        ("state", "time", 1000),
        ("state", "right", 4),
        ("state", "said", 1000),
    ],
)
def test_a_damaged_snapshot_is_refused(parameters, record, name, value):
    envs = make(4, **parameters)
    envs.step(np.zeros((4, 3), int))
    envs.restore(envs.snapshot())
    envs.batch.rows[record][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4, **parameters).restore(envs.snapshot())


@pytest.mark.parametrize("parameters", [{}, FAMILY], ids=str)
@pytest.mark.parametrize(("length", "others"), [(1, [2, 3]), (2, [1, 3]), ([1, 2], [3, 4])], ids=str)
def test_a_snapshot_asks_for_relations_of_its_lengths(parameters, length, others):
    envs = make(4, length=length, **parameters)
    envs.restore(envs.snapshot())
    foreign = [code for code, labels in labels_by_code().items() if len(labels) in others]
    for code in (-1, foreign[0], foreign[-1]):
        envs.batch.rows["level"]["relations"][2, 0] = code
        with pytest.raises(ValueError, match="damaged"):
            make(4, length=length, **parameters).restore(envs.snapshot())


@pytest.mark.parametrize(("name", "value"), [("partner", 64), ("partner", -1), ("partner", 0)])
def test_a_family_of_other_couples_is_refused(name, value):
    envs = make(4, **FAMILY)
    envs.batch.rows["level"][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4, **FAMILY).restore(envs.snapshot())


def play(env, steps, wrong=False):
    """So many steps of the oracle, with wrong answers if wanted."""
    for _ in range(steps):
        env.step((np.maximum(env.oracle(), 0) + np.array([0, 0, wrong])) % 10)


@pytest.mark.parametrize("parameters", [{"planning": 1}, FAMILY], ids=str)
def test_episodes_in_words(parameters):
    for seed, wrong in product(range(3), (False, True)):
        env = gym.make("memenvs/FamilyTree-v0", render_mode="ansi", queries=2, **parameters).unwrapped
        env.reset(seed=seed)
        level = env.batch.rows["level"][0]
        e, steps, codes = int(level["edges"]), 1 + parameters.get("planning", 0), level["codes"].tolist()
        assert len(env.render().splitlines()) == 1
        play(env, e, wrong)
        lines = env.render().splitlines()
        assert len(lines) == e + 1
        name = "[A-Z][a-z]+" if parameters == FAMILY else "[0-9]{3}"
        triple = f"({name})'s (.*) is ({name})" if parameters == FAMILY else f"edge (.) of ({name}) leads to ({name})"
        names, told = [f"{code:03d}" for code in codes], set()
        for line in lines[:-1]:
            found = re.fullmatch(triple, line).groups()
            source, label, destination = found if parameters == FAMILY else (found[1], found[0], found[2])
            told.add((source, STEPS.index(label) if parameters == FAMILY else int(label), destination))
        if parameters == FAMILY:  # the same people, by names: as many of each sequence of edges
            assert len(told) == e
            assert len({person for person, _, _ in told}) == level["nodes"]
        else:
            assert told == {(names[s], label, names[to]) for (s, label), to in graph_of(level).items()}
        assert lines[-1].endswith(": ?")
        play(env, 2 * steps, wrong)
        lines = env.render().splitlines()[e:]
        assert len(lines) == 2
        for i, line in enumerate(lines):
            labels = relations()[int(level["relations"][i])]
            assert (f"({in_steps(labels)})" if parameters == FAMILY else f"({str(labels)[1:-1]})") in line
            assert (kinship(labels) if parameters == FAMILY else f"relation {level['relations'][i]} ") in line
            assert ("✗ (" in line) == wrong
            assert ("✓" in line) == (not wrong)


@pytest.mark.parametrize("parameters", [{"planning": 1}, FAMILY | {"nodes": 10}, FAMILY | {"nodes": 40}], ids=str)
def test_pictures_change_with_what_is_told_asked_and_answered(parameters):
    env = gym.make("memenvs/FamilyTree-v0", render_mode="rgb_array", **parameters).unwrapped
    env.reset(seed=0)
    e = int(env.batch.rows["level"][0]["edges"])
    pictures = [env.render()]
    for steps in (1, e // 2, e - 1 - e // 2, 1, 1 + parameters.get("planning", 0)):
        play(env, steps)
        pictures.append(env.render())
    if "planning" in parameters:  # the query stays in view
        assert np.array_equal(pictures[-3], pictures[-2])
        del pictures[-2]
    assert all(picture.shape == (720, 960, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert all((before != after).any() for before, after in pairwise(pictures))


def test_a_wrong_answer_shows_in_the_picture():
    for parameters in ({}, FAMILY | {"nodes": 8}):
        env = gym.make("memenvs/FamilyTree-v0", render_mode="rgb_array", queries=1, **parameters).unwrapped
        env.reset(seed=0)
        level = env.batch.rows["level"][0]
        play(env, int(level["edges"]))
        kept, shown = env.snapshot(), []
        others = [i for i in range(level["nodes"]) if i not in (level["asked"][0], level["answers"][0])]
        for code in (level["codes"][level["answers"][0]], level["codes"][others[0]]):
            env.restore(kept)
            env.step(digits(int(code)))
            shown.append((env.render() == (0xD7, 0x26, 0x3D)).all(axis=2).sum())
        assert shown[0] == 0
        assert shown[1] > 50
