"""Underground, traversal: its answers against a walk in plain Python, its phases, its lessons."""

import numpy as np
import pytest

from memenvs.graph.fixed import paths
from memenvs.graph.pictures import traversed
from tests.memenvs.support.undergrounds import (
    DESCRIPTION,
    PLANNING,
    QUERY,
    TRAVEL,
    Notes,
    digits,
    edges_of,
    level_of,
    levels_of,
    make,
    parse_lesson,
    read,
    single,
)

CASES = [
    {},
    {"path": (2, 6), "planning": 3},
    {"path": (2, 6), "planning": "edges"},
    {"lesson": 1},
    {"lesson": 14},
    pytest.param({"map": "zone1", "lesson": 14, "path": 7}, marks=pytest.mark.slow),
]
# Extended Data Table 3 of the paper: stations, exits, path.
LESSONS = """1: 3-10 2-4 1-1; 2: 3-10 2-4 1-2; 3: 5-10 2-4 1-3; 4: 5-10 2-4 1-4; 5: 10-15 2-4 1-4; 6: 10-15 2-4 1-5;
7: 10-20 2-4 1-5; 8: 10-20 2-4 1-6; 9: 10-30 2-4 1-6; 10: 10-30 2-4 1-7; 11: 10-30 2-4 1-8; 12: 10-30 2-4 1-9;
13: 10-40 2-6 1-10; 14: 10-40 2-6 1-20"""


def listen(env, seed):
    """Play to the first answer: the notes, the query, and the phases seen on the way."""
    (observation, info), notes, query, phases = env.reset(seed=seed), Notes(), [], []
    while True:
        source, label, destination, phase = read(observation)
        phases.append(phase)
        assert info["decision"] == (phase == TRAVEL)
        if phase == DESCRIPTION:
            notes.write(source, label, destination)
        elif phase == QUERY:
            assert destination is None
            assert (source is None) == (len(query) > 0)
            query.append((source, label))
        else:
            assert (source, label, destination) == (None, None, None)
        if phase == TRAVEL:
            return notes, query, phases
        assert np.all(env.oracle() == -1)
        observation, reward, end, cut, info = env.step(digits(123))
        assert (reward, end, cut) == (0.0, False, False)


@pytest.mark.parametrize("parameters", CASES, ids=str)
def test_a_walk_by_the_labels_gives_the_answers(parameters):
    env = single(task="traversal", **parameters)
    for seed in range(10):
        notes, query, phases = listen(env, seed)
        level = level_of(env)
        length = int(level["asked"])
        planning = parameters.get("planning", 0)
        planning = int(level["edges"]) if planning == "edges" else planning
        assert phases == [DESCRIPTION] * int(level["edges"]) + [QUERY] * length + [PLANNING] * planning + [TRAVEL]
        assert len(notes.exits) == level["edges"]
        stations = notes.walk(query[0][0], [label for _, label in query])
        total = 0.0
        for i, station in enumerate(stations):
            assert np.array_equal(env.oracle(), digits(station))
            observation, reward, end, cut, info = env.step(digits(station))
            assert (end, cut) == (i == length - 1, False)
            assert read(observation) == (None, None, None, TRAVEL)
            total += reward
        assert total == pytest.approx(1)
        assert (info["success"], info["accuracy"]) == (1.0, 1.0)


def test_the_oracle_follows_a_path_while_it_is_asked():
    parameters = {"lesson": 2, "path": (2, 4), "planning": 1, "questions": 3}
    plain, stepwise = single(task="traversal", **parameters), single(task="traversal", stepwise=True, **parameters)
    for seed in range(10):
        notes, end, station, followed = Notes(), False, None, []
        observations = [env.reset(seed=seed)[0] for env in (plain, stepwise)]
        while not end:
            assert np.array_equal(*observations)
            source, label, destination, phase = read(observations[0])
            if phase == DESCRIPTION:
                notes.write(source, label, destination)
            if phase == QUERY:
                station = notes.walk(station if source is None else source, [label])[0]
                followed = [station] if source is not None else [*followed, station]
                assert np.array_equal(plain.oracle(), [-1, -1, -1])
                assert np.array_equal(stepwise.oracle(), digits(station))
            else:
                assert np.array_equal(stepwise.oracle(), plain.oracle())
            if phase == TRAVEL:
                assert np.array_equal(plain.oracle(), digits(followed.pop(0)))
            action = np.maximum(plain.oracle(), 0)
            results = [env.step(action) for env in (plain, stepwise)]
            observations = [result[0] for result in results]
            assert results[0][1:4] == results[1][1:4]
            end = results[0][2]
        assert results[0][4]["success"] == results[1][4]["success"] == 1


def test_several_questions_after_one_description():
    """Each is answered by the notes of the description alone, and counts as if it stood alone."""
    questions, starts, lengths, shares = 5, set(), set(), set()
    env = single(task="traversal", stations=6, exits=(1, 3), path=(1, 4), planning=1, questions=questions)
    drawn = np.random.default_rng(0)
    for seed in range(30):
        notes, query, _ = listen(env, seed)
        wrong, total, given, right = set(drawn.integers(0, questions, seed % 3).tolist()), 0.0, 0, 0
        for question in range(questions):
            stations = notes.walk(query[0][0], [label for _, label in query])
            starts.add((seed, question, query[0][0]))
            lengths.add(len(stations))
            for i, station in enumerate(stations):
                assert np.array_equal(env.oracle(), digits(station))
                answer = (station + 1) % 1000 if question in wrong and i == 0 else station
                observation, reward, end, cut, info = env.step(digits(answer))
                assert (reward, cut) == (0.0 if answer != station else 1 / len(stations), False)
                assert end == (question == questions - 1 and i == len(stations) - 1)
                total, given, right = total + reward, given + 1, right + (answer == station)
            if not end:
                query = []
                while (read(observation)[3]) == QUERY:
                    source, label, _, _ = read(observation)
                    assert (source is None) == (len(query) > 0)
                    query.append((source, label))
                    observation, reward, *_ = env.step(digits(123))
                    assert reward == 0
                assert read(observation) == (None, None, None, PLANNING)
                observation, *_ = env.step(digits(123))
                assert read(observation) == (None, None, None, TRAVEL)
        assert info["success"] == 1 - len(wrong) / questions
        assert info["accuracy"] == right / given
        shares.add(info["success"])
    assert lengths == {1, 2, 3, 4}
    assert len(starts) == 30 * questions
    assert len(shares) == 3


def test_wrong_answers_are_counted_and_end_nothing():
    env = single(task="traversal", path=4)
    for wrong in range(5):
        notes, query, _ = listen(env, wrong)
        stations = notes.walk(query[0][0], [label for _, label in query])
        rewards = []
        for i, station in enumerate(stations):
            answer = (station + 1) % 1000 if i < wrong else station
            _, reward, end, _, info = env.step(digits(answer))
            rewards.append(reward)
            assert end == (i == 3)
        assert rewards == [0.0] * wrong + [0.25] * (4 - wrong)
        assert (info["success"], info["accuracy"]) == (wrong == 0, 1 - wrong / 4)


def test_paths_and_their_lengths_are_drawn_uniformly():
    levels = levels_of({"task": "traversal", "stations": 4, "exits": 2, "path": (2, 5)}, 8000)
    assert np.all(np.abs(np.bincount(levels["asked"])[2:] / 2000 - 1) < 0.1)
    assert np.all(np.abs(np.bincount(levels["start"]) / 2000 - 1) < 0.1)
    firsts = []
    for level in levels[:2000]:
        edges, path = edges_of(level), level["path"][: level["asked"]].tolist()
        leaving = [i for i, (u, _, _) in enumerate(edges) if u == level["start"]]
        firsts.append(leaving.index(path[0]))
        stations = [int(level["start"]), *(edges[edge][2] for edge in path)]
        assert stations[:-1] == [edges[edge][0] for edge in path]
        assert stations[-1] == level["goal"]
    assert 0.45 < np.mean(firsts) < 0.55


@pytest.mark.parametrize("row", LESSONS.replace("\n", " ").split("; "))
def test_lessons_are_those_of_the_paper(row):
    lesson, ((few, many), (least, most), (short, long)) = parse_lesson(row)
    levels = levels_of({"task": "traversal", "lesson": lesson}, 600)
    stations, lengths = levels["stations"], levels["asked"]
    assert (stations.min(), stations.max()) == (few, many)
    assert (lengths.min(), lengths.max()) == (short, long)
    exits = [level["exits"][: level["stations"]] for level in levels]
    of_large = np.concatenate([counts for counts in exits if counts.size > most])
    assert (of_large.min(), of_large.max()) == (least, most)
    for level in levels[:30]:
        named = {label for _, label, _ in edges_of(level)}
        assert len(named) <= level["stations"]  # as many numbers as stations
        assert len({(u, label) for u, label, _ in edges_of(level)}) == level["edges"]
    assert levels["links"][:, :20, 1].max() > 500


def test_an_unknown_lesson():
    for task, last in (("traversal", 14), ("shortest_path", 15)):
        for lesson in (0, last + 1, 2.0):
            with pytest.raises(ValueError, match=f"lesson must be an integer from 1 to {last}"):
                single(task=task, lesson=lesson)
    with pytest.raises(ValueError, match="lesson must be left out of task 'navigate'"):
        single(lesson=3)


def test_explicit_parameters_override_a_lesson():
    levels = levels_of({"task": "traversal", "lesson": 14, "stations": 12, "exits": 3, "path": 2})
    assert set(levels["stations"].tolist()) == {12}
    assert set(levels["edges"].tolist()) == {36}
    assert set(levels["asked"].tolist()) == {2}


def test_how_many_paths_there_are():
    envs = make(1, task="traversal", map="zone1", labels="codes", path=(1, 3))
    level = envs.batch.rows["level"][0]
    leaving = {u: [v for s, _, v in edges_of(level) if s == u] for u in range(level["stations"])}

    def count(u, length):
        return 1 if length == 0 else sum(count(v, length - 1) for v in leaving[u])

    expected = sum(count(u, length) for u in leaving for length in (1, 2, 3))
    assert envs.definition.distinct_levels == expected == paths(envs.batch.rows["level"][:1], 1, 3)


def test_pictures_follow_the_answers():
    env = single(task="traversal", stations=5, path=3, render_mode="rgb_array")
    words = single(task="traversal", stations=5, path=3, render_mode="ansi")
    notes, query, _ = listen(env, 0)
    stations = notes.walk(query[0][0], [label for _, label in query])
    pictures = []
    for station in (*stations[:1], (stations[1] + 1) % 1000):
        words.restore(env.snapshot())
        pictures.append((env.render(), words.render()))
        env.step(digits(station))
    words.restore(env.snapshot())
    pictures.append((env.render(), words.render()))
    assert not np.array_equal(pictures[0][0], pictures[1][0])
    assert not np.array_equal(pictures[1][0], pictures[2][0])
    asked = " ".join(str(label) for _, label in query)
    assert f"from {query[0][0]:03d} by {asked}" in pictures[0][1]
    assert f"→ {stations[0]:03d}, {(stations[1] + 1) % 1000:03d} (wrong: {stations[1]:03d})" in pictures[2][1]


def test_a_picture_of_a_long_description():
    """Its steps and those of the planning together are more than 16 bits hold."""
    counts = {"told": np.int16(32_000), "planning": np.int16(1000)}
    links = np.zeros((32_000, 4), np.int16)
    links[:, 2] = 1
    level = counts | {"links": links, "codes": np.array([3, 7], np.int16)}
    level["nodes"] = np.full(2, -1, np.int16)
    state = {"said": np.full(32, 7, np.int16), "began": np.int32(32_000), "asked": np.int16(1), "start": np.int16(0)}
    state["path"] = np.zeros(1, np.int16)
    level["order"] = np.arange(32_000, dtype=np.int16)
    for time, caption in ((5, "description 6 of 32000: 003, exit 0 → 007"), (33_002, "answers: from 003 by 0 → 007")):
        assert traversed(state | {"time": np.int32(time)}, level)["caption"] == caption


def test_damaged_snapshots_are_refused():
    env = single(task="traversal", path=2)
    listen(env, 0)
    kept = env.snapshot()
    for field, value in (("time", -1), ("time", 30_000), ("right", -1), ("right", 2)):
        row = env.batch.rows.copy()
        row["state"][field] = value
        with pytest.raises(ValueError, match="damaged"):
            env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    parts = ("asked", 0), ("asked", 40), ("told", 1), ("edges", 500), ("stations", 0), ("task", 0), ("stepwise", 1)
    for field, value in parts:
        row = env.batch.rows.copy()
        row["level"][field] = value
        with pytest.raises(ValueError, match="damaged"):
            env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    for field, value in (("began", 0), ("asked", 0), ("asked", 33), ("start", 30), ("question", 2)):
        row = env.batch.rows.copy()
        row["state"][field] = value
        with pytest.raises(ValueError, match="damaged"):
            env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    for place, value in (((0, 0), 8), ((0, 1), 8), ((0, 2), -1), ((1, 3), 1)):
        row = env.batch.rows.copy()
        row["level"]["links"][0][place] = value
        with pytest.raises(ValueError, match="damaged"):
            env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    row = env.batch.rows.copy()
    row["state"]["path"][0, 1] = 40
    with pytest.raises(ValueError, match="damaged"):
        env.restore(kept | {"rows": row.view(np.uint8).reshape(1, -1)})
    env.restore(kept)
