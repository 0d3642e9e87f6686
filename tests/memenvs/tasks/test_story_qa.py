"""StoryQA: answers from nothing but observations, how stories are told, what an episode is worth."""

import re
from collections import Counter
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest

from memenvs.tasks.stories import OBJECTS, PEOPLE, PLACES

CASES = [
    {"task": 1},
    {"task": 1, "people": 1, "places": 2, "sentences": 1},
    {"task": 1, "questions": 5, "sentences": (10, 100), "people": 8, "objects": 8, "places": 10},
    {"task": 2},
    {"task": 2, "questions": 4, "sentences": (8, 40), "objects": 8},
    {"task": 3},
    {"task": 3, "questions": 3, "sentences": (7, 100), "places": 3},
    {"task": 3, "people": 8, "objects": 8, "places": 10, "sentences": 3},
    {"task": 5},
    {"task": 5, "people": 2, "objects": 1, "questions": 6, "sentences": (7, 100)},
    {"task": 5, "questions": 20, "sentences": 100, "people": 8},
]
VERBS = ("went", "took", "dropped", "gives", "where", "was", "gave", "what", "whom", "received")


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/StoryQA-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


class Reader:
    """What an agent with a perfect memory does: writes all sentences down, and looks for the answer when asked."""

    def __init__(self, people=4, objects=3, places=6, **_):
        self.people = range(1, people + 1)
        self.objects = range(people + 1, people + objects + 1)
        self.places = range(people + objects + 1, people + objects + places + 1)
        self.story = []

    def words(self, observation):
        who, verb, what, where, asks = observation.tolist()
        verb = VERBS[verb - self.places[-1] - 1]
        assert asks == (VERBS.index(verb) >= 4)
        assert who == 0 or who in self.people
        assert what == 0 or what in self.objects
        return who, verb, what, where

    def read(self, observation):
        """The word that answers a question, or ``None`` for another sentence, which must make sense."""
        who, verb, what, where = self.words(observation)
        if VERBS.index(verb) >= 4:
            return self.answer(who, verb, what, where)
        assert who in self.people
        assert (what in self.objects) == (verb != "went")
        if verb == "went":
            assert where in self.places
            assert where != self.place(who)
        elif verb == "took":
            assert where == 0
            assert self.holder(what) is None
            assert self.where(what) in ("nowhere", self.place(who))
        else:
            assert self.holder(what) == who
            if verb == "gives":
                assert where in self.people
                assert where != who
                assert self.place(where) == self.place(who)
            else:
                assert where == 0
        self.story.append((who, verb, what, where))
        return None

    def place(self, who, until=None):
        """Where somebody is after the first ``until`` sentences; 0 for the place in which all begin."""
        return next((s[3] for s in reversed(self.story[:until]) if s[0] == who and s[1] == "went"), 0)

    def holder(self, what, until=None):
        """Who holds an object, or ``None``."""
        who, verb, _, where = next((s for s in reversed(self.story[:until]) if s[2] == what), (0, "", 0, 0))
        return {"took": who, "gives": where}.get(verb)

    def where(self, what, until=None):
        """Where an object is."""
        until = len(self.story) if until is None else until
        holder = self.holder(what, until)
        if holder is not None:
            return self.place(holder, until)
        for i in reversed(range(until)):
            if self.story[i][2] == what:
                return self.place(self.story[i][0], i)
        return "nowhere"

    def answer(self, who, verb, what, where):
        if verb == "where":
            assert where == 0
            assert (who == 0) != (what == 0)
            return self.place(who) if who else self.where(what)
        if verb == "was":
            assert who == 0
            assert where in self.places
            been = [self.where(what, t) for t in range(len(self.story) + 1)]
            last = max(t for t, place in enumerate(been) if place == where)
            return next(place for place in reversed(been[:last]) if place != where)
        gifts = [s for s in self.story if s[1] == "gives"]
        fitting = [g for g in gifts if who in (0, g[0]) and what in (0, g[2]) and where in (0, g[3])]
        given = {"gave": (0, 1, where > 0), "what": (1, 0, 1), "whom": (1, 1, 0), "received": (0, 1, 0)}[verb]
        assert (who > 0, what > 0, where > 0) == given
        return fitting[-1][{"gave": 0, "what": 2}.get(verb, 3)]


@pytest.mark.parametrize("parameters", CASES, ids=str)
def test_a_perfect_memory_is_enough(parameters):
    env = gym.make("memenvs/StoryQA-v0", **parameters).unwrapped
    questions, lengths = parameters.get("questions", 1), set()
    for seed in range(40):
        observation, info = env.reset(seed=seed)
        reader, end, asked, total = Reader(**parameters), False, [], 0.0
        while not end:
            assert env.observation_space.contains(observation)
            answer = reader.read(observation)
            assert info["decision"] == (answer is not None) == bool(observation[4])
            asked.append(answer is not None)
            assert env.oracle() == (-1 if answer is None else answer - 1)
            observation, reward, end, cut, info = env.step(env.action_space.sample() if answer is None else answer - 1)
            assert not cut
            assert reward == (0 if answer is None else 1 / questions)
            total += reward
        assert not observation.any()
        assert env.oracle() == -1
        assert asked[-1]
        assert sum(asked) == questions
        assert (info["success"], info["accuracy"]) == (1.0, 1.0)
        assert total == pytest.approx(1)
        sentences = len(asked) - questions
        lengths.add(sentences)
        before = np.cumsum([not a for a in asked])[asked].tolist()
        assert before == [-(-sentences * (i + 1) // questions) for i in range(questions)]
    low, high = np.broadcast_to(parameters.get("sentences", (4, 12)), 2)
    assert low <= min(lengths) <= max(lengths) <= high
    assert len(lengths) == high - low + 1 or (high - low > 20 and len(lengths) > 15)


@pytest.mark.parametrize("task", [1, 2, 3, 5])
def test_lengths_answers_and_questions_are_drawn_evenly(task):
    levels = make(6000, task=task).batch.rows["level"]
    counts = np.bincount(levels["steps"] - 1, minlength=13)[4:]
    assert np.all(np.abs(counts / (6000 / 9) - 1) < 0.2)
    last = np.arange(6000), levels["steps"] - 1
    answers = Counter(levels["answers"][last].tolist())
    groups = {1: [range(7, 13)], 2: [range(7, 13)], 3: [range(7, 13)], 5: [range(4), range(4, 7)]}[task]
    assert set(answers) == {word for group in groups for word in group}
    for group in groups:
        share = np.array([answers[word] for word in group])
        assert np.all(np.abs(share / share.mean() - 1) < 0.2)
    verbs = Counter((levels["words"][last][:, 1] - 14).tolist())
    assert {VERBS[verb] for verb in verbs} == {
        1: {"where"},
        2: {"where"},
        3: {"was"},
        5: {"gave", "what", "whom", "received"},
    }[task]
    if task == 5:
        assert verbs[6] / 6000 == pytest.approx(0.4, abs=0.03)  # with and without the receiver
        named = levels["words"][last][levels["words"][last][:, 1] == 14 + 6][:, 3] > 0
        assert np.mean(named) == pytest.approx(0.5, abs=0.05)


def test_things_happen_evenly():
    """In long stories of task 5 nobody and nothing is preferred."""
    levels = make(300, task=5, sentences=100).batch.rows["level"]
    words = levels["words"][:, :100].reshape(-1, 4)
    for column, first, n in ((0, 1, 4), (2, 5, 3)):
        counts = np.bincount(words[:, column], minlength=first + n)[first : first + n]
        assert np.all(np.abs(counts / counts.mean() - 1) < 0.1)
    gone = words[words[:, 1] == 14]
    assert 0.25 < len(gone) / len(words) < 0.5
    counts = np.bincount(gone[:, 3], minlength=14)[8:14]
    assert np.all(np.abs(counts / counts.mean() - 1) < 0.1)


def test_wrong_answers_are_counted():
    env = gym.make("memenvs/StoryQA-v0", questions=4, sentences=8).unwrapped
    env.reset(seed=0)
    asked, end, rewards = 0, False, []
    while not end:
        right = env.oracle()
        wrong = asked == 1
        asked += right >= 0
        _, reward, end, _, info = env.step((max(right, 0) + wrong) % 13)
        rewards.append(reward)
    assert sum(rewards) == 0.75
    assert (info["success"], info["accuracy"]) == (0.0, 0.75)


def test_an_episode_cut_short_is_measured_by_what_was_asked():
    envs = make(16, questions=2, sentences=4, max_episode_steps=4)
    for _ in range(4):
        infos = envs.step(np.maximum(envs.oracle(), 0))[4]
    assert infos["accuracy"].tolist() == [1.0] * 16
    assert infos["success"].tolist() == [0.0] * 16


def test_the_oracle_is_always_right_and_chance_is_not():
    for name, expected in (("oracle", 1.0), ("walk", 1 / 13)):
        envs, rng, success = make(256, task=2), np.random.default_rng(0), []
        for _ in range(80):
            actions = np.maximum(envs.oracle(), 0) if name == "oracle" else envs.random_walk(rng)
            _, _, terminated, _, infos = envs.step(actions)
            if terminated.any():
                success += infos["success"][terminated].tolist()
        assert np.mean(success) == pytest.approx(expected, abs=0.03 * (name == "walk"))


def test_spaces_do_not_depend_on_the_task():
    spaces = {(str(env.observation_space), str(env.action_space)) for env in map(task_env, (1, 2, 3, 5))}
    assert spaces == {("MultiDiscrete([24 24 24 24  2])", "Discrete(13)")}


def task_env(task):
    return gym.make("memenvs/StoryQA-v0", task=task)


def test_splits_never_share_a_story():
    stories = {}
    for split in ("train", "test"):
        levels = make(3000, split=split, sentences=(3, 4), people=2, places=3).batch.rows["level"]
        stories[split] = {
            words[:steps].tobytes() for words, steps in zip(levels["words"], levels["steps"].tolist(), strict=True)
        }
    assert not stories["train"] & stories["test"]
    assert len(stories["test"]) > 50
    with pytest.raises(ValueError, match="split must be None"):
        make(split="train", sentences=2, people=1, places=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": 4},
        {"task": "1"},
        {"task": True},
        {"task": 1.0},
        {"task": [1]},
        {"people": 0},
        {"people": 9},
        {"people": 1, "task": 5},
        {"objects": 0},
        {"objects": 9},
        {"places": 1},
        {"places": 11},
        {"sentences": 0},
        {"sentences": 101},
        {"sentences": (5, 4)},
        {"sentences": 1.5},
        {"sentences": 2, "task": 3},
        {"sentences": 3, "task": 2, "questions": 3},
        {"questions": 0},
        {"questions": 21},
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make("memenvs/StoryQA-v0", **wrong)


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("level", "steps", 200),
        ("level", "steps", 2),
        ("level", "questions", 0),
        ("level", "people", 8),
        ("level", "objects", 0),
        ("level", "places", 5),
        ("level", "words", 24),
        ("level", "words", 3),
        ("level", "answers", 13),
        ("level", "answers", 1),
        ("level", "answers", -2),
        ("state", "time", -1),
        ("state", "time", 100),
        ("state", "right", 2),
        ("state", "said", 13),
    ],
)
def test_a_damaged_snapshot_is_refused(record, name, value):
    envs = make(4)
    envs.step(np.zeros(4, int))
    envs.restore(envs.snapshot())
    envs.batch.rows[record][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())


def test_stories_in_english():
    lines = set()
    for task in (1, 2, 3, 5):
        env = gym.make("memenvs/StoryQA-v0", task=task, render_mode="ansi", questions=2, sentences=20).unwrapped
        for seed in range(20):
            env.reset(seed=seed)
            assert len(env.render().splitlines()) == 1
            end = False
            while not end:
                end = env.step(0 if env.oracle() != 0 else 1)[2]
            assert len(env.render().splitlines()) == 22
            lines |= set(env.render().splitlines())
    who, what, where = "(Mary|John|Sandra|Daniel)", "the (football|milk|apple)", "the [a-z]+"
    answer = f"({'|'.join(PEOPLE[:4] + OBJECTS[:3] + PLACES[:6])}) \\((right|wrong: [A-Za-z]+)\\)"
    forms = [
        f"{who} went to {where}\\.",
        f"{who} took {what}\\.",
        f"{who} dropped {what}\\.",
        f"{who} gave {what} to {who}\\.",
        f"Where is {who}\\? {answer}",
        f"Where is {what}\\? {answer}",
        f"Where was {what} before {where}\\? {answer}",
        f"Who gave {what} to {who}\\? {answer}",
        f"Who gave {what}\\? {answer}",
        f"What did {who} give to {who}\\? {answer}",
        f"To whom did {who} give {what}\\? {answer}",
        f"Who received {what}\\? {answer}",
    ]
    found = [sum(re.fullmatch(form, line) is not None for form in forms) for line in lines]
    assert found == [1] * len(lines)
    assert all(any(re.fullmatch(form, line) for line in lines) for form in forms)
    env = gym.make("memenvs/StoryQA-v0", render_mode="ansi", sentences=1).unwrapped
    env.reset(seed=0)
    env.step(0)
    env.step(env.oracle())
    assert env.render().splitlines()[1].endswith("(right)")


def test_pictures():
    env = gym.make("memenvs/StoryQA-v0", render_mode="rgb_array", sentences=20).unwrapped
    env.reset(seed=0)
    pictures = [env.render()]
    for _ in range(21):
        env.step(0)
        pictures.append(env.render())
    assert all(picture.shape == (480, 640, 3) for picture in pictures)
    assert all((before != after).any() for before, after in pairwise(pictures))
