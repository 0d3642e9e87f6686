"""Underground, shortest path: the answers against networkx, what is fed back, when it ends, its lessons."""

from collections import Counter
from itertools import product

import networkx as nx
import numpy as np
import pytest
from scipy.stats import chisquare

from tests.memenvs.support.undergrounds import (
    DESCRIPTION,
    PLANNING,
    QUERY,
    TRAVEL,
    Notes,
    digits,
    edges_of,
    graph_of,
    level_of,
    levels_of,
    parse_lesson,
    read,
    single,
)

CASES = [
    {},
    {"lesson": 15},
    {"planning": "edges"},
    pytest.param({"map": "zone1", "distance": 4, "planning": 2}, marks=pytest.mark.slow),
]
# Extended Data Table 5 of the paper: stations, exits, path.
LESSONS = """1: 5-10 1-2 2-2; 2: 5-20 1-2 2-2; 3: 10-20 1-2 2-2; 4: 10-20 1-2 2-3; 5: 10-20 1-3 2-3; 6: 10-20 2-3 2-3;
7: 10-20 2-3 2-4; 8: 10-20 2-4 2-4; 9: 10-25 2-4 2-4; 10: 10-25 2-4 2-5; 11: 10-25 2-4 2-5; 12: 15-25 2-4 2-5;
13: 15-25 2-5 2-5; 14: 20-25 2-5 2-5; 15: 20-25 2-6 2-5"""


def listen(env, seed, planning=10):
    """Play to the first answer: the notes, and the start and goal that were asked for."""
    (observation, info), notes, query, phases = env.reset(seed=seed), Notes(), None, []
    while True:
        source, label, destination, phase = read(observation)
        phases.append(phase)
        assert info["decision"] == (phase == TRAVEL)
        if phase == DESCRIPTION:
            notes.write(source, label, destination)
        elif phase == QUERY:
            assert label is None
            query = source, destination
        else:
            assert (source, label, destination) == (None, None, None)
        if phase == TRAVEL:
            planning = len(notes.exits) if planning == "edges" else planning
            assert phases == [DESCRIPTION] * len(notes.exits) + [QUERY] + [PLANNING] * planning + [TRAVEL]
            return notes, query
        observation, reward, end, cut, info = env.step(env.action_space.sample())
        assert (reward, end, cut) == (0.0, False, False)


def answer(env, label):
    """A label as the action it is."""
    return label if env.action_space.shape == () else digits(label)


def number(entries):
    """What digits, or a single entry, stand for."""
    return int("".join(map(str, entries)))


@pytest.mark.parametrize("parameters", CASES, ids=str)
def test_the_exits_of_a_shortest_path_are_the_answer(parameters):
    env = single(task="shortest_path", **parameters)
    for seed in range(8):
        notes, (start, goal) = listen(env, seed, parameters.get("planning", 10))
        length = nx.shortest_path_length(notes.graph(), start, goal)
        assert length == level_of(env)["distance"]
        here, end, total = start, False, 0.0
        for i in range(length):
            label, left = notes.way(here, goal)
            assert left == length - i
            observation, reward, end, cut, info = env.step(answer(env, label))
            after = notes.exits[here, label]
            assert read(observation) == (here, label, after, TRAVEL)
            assert (reward, end, cut) == (float(i == length - 1), i == length - 1, False)
            here, total = after, total + reward
        assert (here, total) == (goal, 1.0)
        assert (info["success"], info["accuracy"]) == (1.0, 1.0)


def test_what_ends_an_episode():
    """A label that the station does not have ends it at once; so does the last answer that a shortest path has."""
    env = single(task="shortest_path", stations=5, distance=(2, 3), labels=8)
    ends = set()
    for seed in range(30):
        notes, (start, goal) = listen(env, seed)
        kept, distance = env.snapshot(), int(level_of(env)["distance"])
        to_goal = dict(nx.shortest_path_length(notes.graph(), target=goal))
        for labels in product(range(8), repeat=2):
            env.restore(kept)
            here, right, wrong = start, 0, False
            for t, label in enumerate(labels):
                after = notes.exits.get((here, label))
                _, reward, end, cut, info = env.step(label)
                wrong = after is None
                if not wrong:
                    right += to_goal.get(after, 99) < to_goal.get(here, 99)
                    here = after
                assert reward == (not wrong and here == goal)
                assert (end, cut) == (wrong or here == goal or t + 1 == distance, False)
                if end:
                    ends.add((wrong, here == goal))
                    assert (info["success"], info["accuracy"]) == (here == goal, right / distance)
                    break
    assert ends == {(True, False), (False, True), (False, False)}


@pytest.mark.parametrize("labels", [8, "codes"])
def test_an_answer_that_names_an_edge_is_the_exit_that_agrees_most(labels):
    """In the label, as one, and in each digit of the destination; the oracle names the edges of a shortest way."""
    env, rng = single(task="shortest_path", labels=labels, answers="edges", planning=0), np.random.default_rng(0)
    assert env.action_space.nvec.tolist() == ([8] if labels == 8 else [10] * 3) + [10] * 3
    doubtful = 0
    for seed in range(40):
        notes, (here, goal) = listen(env, seed, planning=0)
        end = False
        while not end:
            best = env.oracle()
            label, after = number(best[:-3]), number(best[-3:])
            assert notes.exits[here, label] == after
            assert after == goal or notes.way(after, goal)[1] == notes.way(here, goal)[1] - 1
            exits = {label: digits(v) for (u, label), v in notes.exits.items() if u == here}
            said = rng.integers(0, env.action_space.nvec) if rng.random() < 0.5 else best
            label = number(said[:-3])
            agreeing = {one: (one == label) + int((v == said[-3:]).sum()) for one, v in exits.items()}
            observation, reward, end, _, _ = env.step(said)
            source, taken, after, phase = read(observation)
            assert (source, phase) == (here, TRAVEL) and notes.exits[here, taken] == after
            assert agreeing[taken] == max(agreeing.values())
            doubtful += list(agreeing.values()).count(max(agreeing.values())) > 1
            here = after
            assert reward == (here == goal)
    assert doubtful > 3


def test_the_oracle_thinks_of_all_that_leads_to_the_goal():
    """In the n-th step of planning a station n steps before it, and a label by which a shortest way goes on."""
    parameters = {"lesson": 9, "distance": (1, 5), "answers": "edges", "planning": 6, "questions": 4}
    plain, stepwise = (single(task="shortest_path", stepwise=on, **parameters) for on in (False, True))
    distances, several, drawn = Counter(), 0, set()
    for seed in range(20):
        observations, notes, end = [env.reset(seed=seed)[0] for env in (plain, stepwise)], Notes(), False
        while not end:
            assert np.array_equal(*observations)
            source, label, destination, phase = read(observations[0])
            said = stepwise.oracle()
            assert stepwise.batch.decision[0] == (phase == TRAVEL)
            if phase == DESCRIPTION:
                notes.write(source, label, destination)
            if phase == QUERY:
                start, goal, away = source, destination, 0
            if phase == PLANNING:
                away += 1
                distance = notes.way(start, goal)[1]
                if away > distance:
                    assert np.all(said == -1)
                else:
                    ahead = nx.shortest_path_length(notes.graph(), target=goal)
                    nearer = [
                        (u, label)
                        for (u, label), v in notes.exits.items()
                        if ahead.get(u) == away and ahead.get(v) == away - 1
                    ]
                    thought = number(said[3:]), number(said[:3])
                    assert thought in nearer
                    several += len(nearer) > 1
                    drawn.add(nearer.index(thought))
                    distances[distance] += away == distance
                assert np.all(plain.oracle() == -1)
            if phase == TRAVEL:
                assert np.array_equal(said, plain.oracle())
            results = [env.step(np.maximum(said, 0)) for env in (plain, stepwise)]
            observations = [result[0] for result in results]
            assert results[0][1:4] == results[1][1:4]
            end = results[0][2]
    assert set(distances) == {1, 2, 3, 4, 5}
    assert several > 50 and drawn >= {0, 1, 2, 3}


def test_the_oracle_is_right_by_edges():
    env = single(task="shortest_path", lesson=12, answers="edges")
    for seed in range(5):
        listen(env, seed)
        end = False
        while not end:
            _, _, end, _, info = env.step(env.oracle())
        assert info["success"] == 1.0


def test_no_answers_beat_the_oracle():
    env = single(task="shortest_path", stations=5, distance=(2, 3), labels=3)
    for seed in range(10):
        listen(env, seed)
        kept, distance = env.snapshot(), int(level_of(env)["distance"])

        def play(choose, kept=kept):
            env.restore(kept)
            total, end, t = 0.0, False, 0
            while not end:
                _, reward, end, _, _ = env.step(choose(t))
                total, t = total + reward, t + 1
            return total

        best = max(play(lambda t, labels=labels: labels[t]) for labels in product(range(3), repeat=distance))
        assert play(lambda t: env.oracle()) == best == 1.0


def test_several_questions_after_one_description():
    """Each has its own start and goal, and ends by itself; the score is over all of them."""
    rng, questions = np.random.default_rng(0), 5
    env = single(task="shortest_path", stations=(6, 9), exits=(1, 3), distance=(1, 3), planning=1, questions=questions)
    for seed in range(30):
        notes, (start, goal) = listen(env, seed, planning=1)
        wrong, total, edges, right = set(rng.integers(0, questions, seed % 3).tolist()), 0.0, 0, 0
        for question in range(questions):
            _, left = notes.way(start, goal)
            here, edges = start, edges + left
            assert 1 <= left <= 3
            while left > 0:
                label = env.oracle()
                if question in wrong and left == 1:
                    label = next(label for label in range(8) if (here, label) not in notes.exits)
                observation, reward, end, _, info = env.step(label)
                here, left, total = notes.exits.get((here, label)), left - 1, total + reward
                right += here is not None
                assert here is None or left == 0 or notes.way(here, goal)[1] == left
                assert reward == (here == goal) and end == (left == 0 and question == questions - 1)
            if not end:
                start, label, goal, phase = read(observation)
                assert (label, phase) == (None, QUERY) and start != goal
                for wanted in (PLANNING, TRAVEL):
                    observation, reward, end, _, _ = env.step(0)
                    assert read(observation) == (None, None, None, wanted) and (reward, end) == (0.0, False)
        assert total == questions - len(wrong)
        assert info["success"] == pytest.approx(1 - len(wrong) / questions)
        assert info["accuracy"] == pytest.approx(right / edges)


def test_later_questions_are_drawn_as_the_first_one():
    """A distance uniformly among those that occur, then a start and goal so far apart."""
    env = single(task="shortest_path", stations=6, exits=(1, 2), distance=(1, 4), planning=0, questions=4000, fixed=2)
    notes, asked = listen(env, 0, planning=0)[0], []
    end = False
    while not end:
        observation, _, end, _, _ = env.step(env.oracle())
        source, _, destination, phase = read(observation)
        if phase == QUERY and not end:
            asked.append((source, destination))
            env.step(0)
    lengths = dict(nx.all_pairs_shortest_path_length(notes.graph()))
    pairs = {(u, v): d for u, reached in lengths.items() for v, d in reached.items() if 1 <= d <= 4}
    counts = Counter(pairs.values())
    assert len(counts) > 1, "a graph where the distances matter"
    expected = np.array([len(asked) / len(counts) / counts[d] for d in pairs.values()])
    found = Counter(asked)
    assert found.keys() <= pairs.keys()
    assert chisquare([found[pair] for pair in pairs], expected).pvalue > 1e-3


@pytest.mark.parametrize("row", LESSONS.replace("\n", " ").split("; "))
def test_lessons_are_those_of_the_paper(row):
    lesson, ((few, many), (least, most), (short, long)) = parse_lesson(row)
    levels = levels_of({"task": "shortest_path", "lesson": lesson}, 600)
    assert (levels["stations"].min(), levels["stations"].max()) == (few, many)
    assert (levels["distance"].min(), levels["distance"].max()) == (short, long)
    exits = np.concatenate([level["exits"][: level["stations"]] for level in levels])
    assert (exits.min(), exits.max()) == (least, most)
    for level in levels[:20]:
        assert nx.shortest_path_length(graph_of(level), level["start"], level["goal"]) == level["distance"]
        assert len({label for _, label, _ in edges_of(level)}) <= level["stations"]


def test_legal_answers_are_the_exits():
    env, rng = single(task="shortest_path"), np.random.default_rng(0)
    notes, (start, _) = listen(env, 0)
    drawn = {env.random_walk(rng) for _ in range(60)}
    assert drawn == {label for u, label in notes.exits if u == start}


def test_pictures_follow_the_answers():
    env, words = (single(task="shortest_path", render_mode=mode) for mode in ("rgb_array", "ansi"))
    _, (start, goal) = listen(env, 3)
    words.restore(env.snapshot())
    before = env.render()
    assert f"shortest path: {start:03d} to {goal:03d}" in words.render()
    env.step(env.oracle())
    assert not np.array_equal(before, env.render())
    env.reset(seed=3)
    words.restore(env.snapshot())
    assert "description 1 of" in words.render()


def test_damaged_snapshots_are_refused():
    env = single(task="shortest_path")
    listen(env, 0)
    env.step(env.oracle())
    kept = env.snapshot()
    for part, field, value in (
        ("state", "position", -1),
        ("state", "position", 6),
        ("state", "taken", 99),
        ("state", "right", 2),
        ("state", "last", 64),
        ("state", "start", 6),
        ("state", "goal", -1),
        ("state", "question", 2),
        ("state", "distance", 99),
        ("level", "goal", 6),
        ("level", "distance", 0),
        ("level", "budget", 0),
        ("level", "planning", -1),
        ("level", "stepwise", 1),
    ):
        row = env.batch.rows.copy()
        row[part][field] = value
        with pytest.raises(ValueError, match="damaged"):
            env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    env.restore(kept)
