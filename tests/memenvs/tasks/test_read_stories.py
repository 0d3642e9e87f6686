"""StoryQA with stories of files: what is shown, where words have their codes from, faults by file and line."""

import gymnasium as gym
import numpy as np
import pytest

from memenvs.tasks.story_files import stories_of
from memenvs.testing import check_environment

TRAIN = """\
1 Ada strolled to the attic.
2 Boris fetched the kettle there.
3 Where is Ada?\tattic\t1
4 Ada fetched the rope.
5 What is Ada holding? \tkettle,rope\t2 4
6 Boris strolled off.
1 Boris strolled to the shed.
2 Where is Boris?\tshed\t1
"""
TEST = """\
1 Boris strolled to the attic.
2 Ada strolled to the shed.
3 Where is Boris?\tattic\t1
"""
OTHER = """\
1 Wool is soft.
2 Is wool soft?\tyes
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "qa1_where-things-are_train.txt").write_text(TRAIN)
    (tmp_path / "qa1_where-things-are_test.txt").write_text(TEST)
    (tmp_path / "qa2_what-they-are-like_train.txt").write_text(OTHER)
    return tmp_path


def make(*files, **parameters):
    return gym.make("memenvs/StoryQA-v0", path=list(files), **parameters).unwrapped


def episode(env, seed):
    """The lines shown, in words, and the answers to them, of an episode that is answered right."""
    words = dict(enumerate(["", *env.definition.text.args[0].vocabulary]))
    observation, _ = env.reset(seed=seed)
    shown, said, total, end = [], [], 0.0, False
    while not end:
        assert env.observation_space.contains(observation)
        *codes, asked = observation.tolist()
        shown.append(" ".join(words[code] for code in codes).strip())
        action = env.oracle()
        assert asked == (action >= 0)
        said.append(env.definition.action_names[action] if asked else None)
        observation, reward, end, cut, info = env.step(max(action, 0))
        assert not cut
        assert reward == 0 or asked
        total += reward
    assert not observation.any()
    assert (total, info["success"], info["accuracy"]) == (pytest.approx(1), 1.0, 1.0)
    return shown, said


def test_stories_are_read_line_by_line(folder):
    env = make(folder / "qa1_where-things-are_train.txt")
    stories = {len(shown): (shown, said) for shown, said in (episode(env, seed) for seed in range(10))}
    assert stories == {
        5: (
            [
                "ada strolled to the attic",
                "boris fetched the kettle there",
                "where is ada",
                "ada fetched the rope",
                "what is ada holding",
            ],
            [None, None, "attic", None, "kettle,rope"],
        ),
        2: (["boris strolled to the shed", "where is boris"], [None, "shed"]),
    }
    assert env.definition.action_names == ("attic", "kettle,rope", "shed")
    assert env.action_space.n == 3
    words = "ada attic boris fetched holding is kettle rope shed strolled the there to what where"
    assert env.definition.text.args[0].vocabulary == words.split()  # "off" comes after the last question
    assert env.observation_space.nvec.tolist() == [16] * 5 + [2]
    assert env.observation_space.dtype == np.uint8


def test_the_codes_are_those_of_the_training_file(folder):
    train, test = (make(folder / f"qa1_where-things-are_{name}.txt") for name in ("train", "test"))
    assert train.observation_space == test.observation_space
    assert train.action_space == test.action_space
    assert episode(test, 0)[1] == [None, None, "attic"]
    (folder / "qa1_where-things-are_valid.txt").write_text(TEST)
    assert episode(make(folder / "qa1_where-things-are_valid.txt"), 0) == episode(test, 0)
    assert make(folder / "qa1_where-things-are_valid.txt").observation_space == train.observation_space


def test_many_files_share_one_vocabulary(folder):
    together = make(folder)
    assert together.definition.action_names == ("attic", "kettle,rope", "shed", "yes")
    assert {len(episode(together, seed)[0]) for seed in range(20)} == {5, 2}
    assert sum("wool" in episode(together, seed)[0][0] for seed in range(60)) in range(8, 33)  # one story of three
    for one in (
        make(str(folder / "qa*_train.txt")),
        make(*sorted(folder.glob("*_train.txt"))),
        make(folder / "qa1_where-things-are_test.txt", vocabulary=folder),
        make(folder / "qa2_what-they-are-like_train.txt", vocabulary=str(folder / "*.txt")),
    ):
        assert one.observation_space == together.observation_space
        assert one.definition.action_names == together.definition.action_names


def test_a_file_that_has_changed_is_read_again(folder):
    file = folder / "qa1_where-things-are_test.txt"
    assert episode(make(file), 0)[1] == [None, None, "attic"]
    file.write_text(TEST.replace("3 Where is Boris?\tattic", "3 Where is Ada?\tshed"))
    assert episode(make(file), 0)[1] == [None, None, "shed"]


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("1 Ada strolled.\nWhere is Ada?\tshed\n", 2, "a line must be a number"),
        ("1 Ada strolled.\n2 Where is Ada?\t\t1\n", 2, "a line must be a number"),
        ("1 Ada strolled.\n2 Where is Ada?\t \t1\n", 2, "a line must be a number"),
        ("1 Ada strolled.\n2 Where is Ada?\tshed\tone\n", 2, "a line must be a number"),
        ("1 Ada strolled.\n2 Where is Ada?\tshed\t1\t1\n", 2, "a line must be a number"),
        ("1 Ada strolled.\n2 ?\tshed\t1\n", 2, "a line must be a number"),
        ("1\n", 1, "a line must be a number"),
        ("9" * 5000 + " Ada strolled.\n", 1, "a line must be a number"),
        ("2 Ada strolled.\n", 1, "the number must be 1, not 2"),
        ("1 Ada strolled.\n\n3 Where is Ada?\tshed\n", 3, "the number must be 1 or 2, not 3"),
        ("1 Is it?\tno\n1 Ada strolled.\n2 Boris strolled.\n", 2, "must ask something"),
    ],
)
def test_a_broken_line_is_named(tmp_path, text, line, fault):
    file = tmp_path / "broken.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"broken.txt, line {line}: .*{fault}"):
        make(file)


def test_files_that_are_no_stories(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"empty.txt has no stories"):
        make(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match=r"picture.txt cannot be read as text"):
        make(tmp_path / "picture.txt")
    with pytest.raises(ValueError, match=r"path must be .*\*_train.txt"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "1 Ada sprinted to the shed.\n2 Where is Ada?\tshed\n",
            "line 1: the word 'sprinted' must be in the vocabulary",
        ),
        ("1 Where is Ada?\tkettle\n", "line 1: the answer 'kettle' must be in the vocabulary"),
        ("1 Is Ada to the shed there?\tshed\n", "line 1: a line must have at most the 5 words .* not 6"),
    ],
)
def test_what_the_vocabulary_lacks_is_named(folder, text, fault):
    file = folder / "qa1_where-things-are_test.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"qa1_where-things-are_test.txt, {fault}"):
        make(file)
    assert len(stories_of(file, [folder, file]).words) == text.count("\n")


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": 3},
        {"path": []},
        {"path": ["nowhere.txt"]},
        {"path": "nowhere/at all"},
        {"vocabulary": "nowhere.txt"},
        {"vocabulary": 1.5},
        {"task": 2},
        {"people": 5},
        {"sentences": (3, 4)},
        {"questions": 2},
    ],
    ids=str,
)
def test_wrong_parameters_are_named(folder, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        gym.make("memenvs/StoryQA-v0", **({"path": str(folder)} | wrong))


def test_a_vocabulary_needs_a_path(folder):
    with pytest.raises(ValueError, match="vocabulary must be None"):
        gym.make("memenvs/StoryQA-v0", vocabulary=str(folder))


@pytest.fixture
def many(tmp_path):
    """A file of 150 stories, enough to hold some out, of more than 255 words."""
    lines = [f"1 Ada saw number n{i}.\n2 What did Ada see?\tn{i}\t1\n" for i in range(150)]
    lines += [f"1 Boris is number{i}.\n2 Who is number{i}?\tboris\n" for i in range(150)]
    (tmp_path / "many.txt").write_text("".join(lines))
    return str(tmp_path / "many.txt")


def test_what_the_engine_promises(many):
    found = check_environment("memenvs/StoryQA-v0", path=many)
    assert found["splits"] == "passed"
    envs = gym.make_vec("memenvs/StoryQA-v0", num_envs=3000, path=many)
    assert envs.single_observation_space.dtype == np.uint16
    envs.reset(seed=0)
    counts = np.bincount(envs.unwrapped.batch.rows["level"]["story"], minlength=300)
    assert counts.min() > 0
    assert counts.max() < 30


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("level", "story", -1),
        ("level", "story", 300),
        ("level", "steps", 3),
        ("level", "questions", 2),
        ("level", "words", 1),
        ("level", "answers", 0),
        ("state", "time", 3),
        ("state", "time", -1),
        ("state", "right", 2),
        ("state", "said", 151),
    ],
)
def test_a_damaged_snapshot_is_refused(many, record, name, value):
    envs = gym.make_vec("memenvs/StoryQA-v0", num_envs=4, path=many)
    envs.reset(seed=0)
    envs.restore(envs.snapshot())
    envs.unwrapped.batch.rows[record][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        envs.restore(envs.snapshot())


def test_a_snapshot_of_other_stories_is_refused(folder):
    first, second = (
        gym.make_vec("memenvs/StoryQA-v0", path=str(folder / f"qa1_where-things-are_{name}.txt"))
        for name in ("train", "test")
    )
    first.reset(seed=0)
    with pytest.raises(ValueError, match="snapshot is of"):
        second.restore(first.snapshot())


def test_pictures(folder):
    text, picture = (make(folder / "qa1_where-things-are_test.txt", render_mode=mode) for mode in ("ansi", "rgb_array"))
    for env in (text, picture):
        env.reset(seed=0)
        for action in (1, 1, 2):
            env.step(action)
    assert text.render().splitlines() == [
        "Boris strolled to the attic.",
        "Ada strolled to the shed.",
        "Where is Boris? shed (wrong: attic)",
    ]
    assert picture.render().shape == (480, 640, 3)
