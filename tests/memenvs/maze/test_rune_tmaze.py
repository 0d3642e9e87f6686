"""The T-maze with runes against its rules in plain Python, and against examples worked by hand."""

import gymnasium as gym
import numpy as np
import pytest

from memenvs.maze.rune_tmaze import RUNES
from memenvs.testing import check_environment
from tests.memenvs.support.scripts import refuses

FORWARD, LEFT, RIGHT = range(3)
NAME = "memenvs/RuneTMaze-v0"
OTHER = {LEFT: RIGHT, RIGHT: LEFT}


def cue_after(runes, cue):
    """The cue after runes, from the history of all cues and of the runes that acted."""
    cues, acted = [cue], []
    for rune in runes:
        if rune == "repeat":
            if not acted:
                continue
            rune = acted[-1]
        before = cues[-2] if acted else cues[-1]
        cues.append({"invert": OTHER[cues[-1]], "cancel": before, "reset": cues[0]}[rune])
        acted.append(rune)
    return cues[-1]


@pytest.mark.parametrize(
    ("runes", "same"),
    [
        ("", True),
        ("invert", False),
        ("invert invert", True),
        ("cancel", True),
        ("invert cancel", True),
        ("invert cancel cancel", False),  # the second brings back what the first took away
        ("invert invert cancel", False),
        ("reset", True),
        ("invert reset", True),
        ("invert reset cancel", False),
        ("repeat", True),
        ("invert repeat", True),
        ("invert repeat repeat", False),
        ("invert cancel repeat", False),
        ("invert reset repeat", True),
        ("repeat invert", False),
        ("cancel repeat invert repeat cancel", False),
    ],
)
def test_examples_worked_by_hand(runes, same):
    assert cue_after(runes.split(), LEFT) == (LEFT if same else RIGHT)
    assert walked(runes.split(), LEFT) == (LEFT if same else RIGHT)
    assert walked(runes.split(), RIGHT) == (RIGHT if same else LEFT)


def walked(runes, cue):
    """The cue at the junction behind runes that lie in a row."""
    env = gym.make(NAME, length=12, observable=True).unwrapped
    env.reset(seed=0)
    level, state = env.batch.rows["level"][0], env.batch.rows["state"][0]
    level["cue"] = state["cue"] = state["before"] = cue
    level["runes"] = 0
    level["runes"][1 : len(runes) + 1] = [RUNES.index(rune) + 1 for rune in runes]
    for _ in range(12):
        observation, *_ = env.step(FORWARD)
    assert observation[2] == 1
    return int(observation[0])


@pytest.mark.parametrize(
    ("runes", "length", "density"),
    [(RUNES, (5, 9), 0.5), (("invert",), 6, 1.0), (("invert", "reset"), 7, 0.8), (RUNES[::-1], 2, 0.3)],
)
def test_every_step_is_that_of_the_rules(runes, length, density):
    env, twin = (gym.make(NAME, runes=runes, length=length, density=density, observable=all) for all in (False, True))
    drawn, ends, lengths, flips, met = np.random.default_rng(0), set(), set(), 0, set()
    for seed in range(300):
        (observation, _), (shown, _) = env.reset(seed=seed), twin.reset(seed=seed)
        level = env.unwrapped.batch.rows["level"][0]
        first, there = int(level["cue"]), int(level["length"])
        on_the_way = [(RUNES[rune - 1] if rune else None) for rune in level["runes"].tolist()[:there]]
        assert on_the_way[0] is None
        lengths.add(there)
        met |= set(on_the_way) - {None}
        position, steps, arrived, ended, cut = 0, 0, False, False, False
        careless = seed % 5 * 0.2 if seed % 7 else 1.0
        while not (ended or cut):
            cue = cue_after([rune for rune in on_the_way[: position + 1] if rune], first)
            rune = on_the_way[position] if arrived and position < there else None
            rest = [RUNES.index(rune) + 1 if rune else 0, int(position == there)]
            assert observation.tolist() == [0 if steps else first, *rest]
            assert shown.tolist() == [cue, *rest]
            best = cue if position == there else FORWARD
            assert env.unwrapped.oracle() == best
            action = int(drawn.integers(3)) if drawn.random() < careless else best
            observation, reward, ended, cut, info = env.step(action)
            shown, *same, _ = twin.step(action)
            assert same == [reward, ended, cut]
            arrived = action == FORWARD and position < there
            turned = action != FORWARD and position == there
            position, steps = position + arrived, steps + 1
            right = turned and action == cue
            assert (reward, ended, cut) == (float(right), turned, not turned and steps >= 2 * (there + 1))
        if turned:
            assert info["success"] == right
            flips += cue != first
        ends.add((ended, cut, info["success"]))
    assert {(True, False, 1.0), (True, False, 0.0), (False, True, 0.0)} <= ends
    assert lengths == set(range(length[0], length[1] + 1)) if isinstance(length, tuple) else {length}
    assert met == set(runes)
    assert flips > 5 or length == 2


@pytest.mark.parametrize("runes", [RUNES, ("invert",), ("cancel", "invert")])
def test_runes_are_drawn_as_asked(runes):
    envs = gym.make_vec(NAME, num_envs=4000, runes=runes, density=0.25, length=11)
    envs.reset(seed=0)
    level = envs.unwrapped.batch.rows["level"]
    counts = np.bincount(level["runes"][:, 1:].ravel(), minlength=5)
    share = 0.25 / len(runes)
    expected = 40_000 * np.array([0.75, *(share if rune in runes else 0 for rune in RUNES)])
    assert (counts[expected == 0] == 0).all()
    seen = expected > 0
    assert ((counts[seen] - expected[seen]) ** 2 / expected[seen]).sum() < 20  # chi-squared, at most 4 degrees
    assert abs(np.mean(level["cue"] == LEFT) - 0.5) < 0.03


def test_who_takes_no_notice_of_the_runes_guesses():
    envs = gym.make_vec(NAME, num_envs=4000, runes=("invert",), length=8, density=0.5)
    envs.reset(seed=0)
    level = envs.unwrapped.batch.rows["level"]
    for _ in range(8):
        observations, *_ = envs.step(np.full(4000, FORWARD))
    assert observations[:, 2].all()
    *_, infos = envs.step(level["cue"].astype(int).copy())
    assert abs(infos["success"].mean() - 0.5) < 0.03


def test_levels_are_told_apart():
    assert gym.make(NAME, length=8, split="test").unwrapped is not None
    with pytest.raises(ValueError, match="split"):
        gym.make(NAME, length=6, runes=("invert",), split="test")  # 64
    assert gym.make(NAME, length=7, density=1.0, runes=RUNES, split="train").unwrapped is not None
    with pytest.raises(ValueError, match="split"):
        gym.make(NAME, length=200, density=0.0, split="test")


@pytest.mark.parametrize("field", ["position", "cue", "runes"])
def test_a_damaged_snapshot_is_refused(field):
    for value in (-1, 11):
        assert refuses(NAME, "level" if field == "runes" else "state", field, value)


def test_pictures():
    env = gym.make(NAME, length=6, render_mode="ansi").unwrapped
    env.reset(seed=1)
    level, state = env.batch.rows["level"][0], env.batch.rows["state"][0]
    level["cue"] = state["cue"] = state["before"] = LEFT
    level["runes"][:6] = [0, 1, 2, 3, 4, 1]
    env.step(FORWARD)
    assert env.render().splitlines() == [
        "█████████",
        "███████·█",
        "█↑@×0=¬·█",
        "███████G█",
        "█████████",
        "cue up, agent at (1, 0)",
        "cue now down; ¬ inverts, × cancels, 0 resets, = repeats",
    ]
    env = gym.make(NAME, render_mode="rgb_array").unwrapped
    env.reset(seed=1)
    before = env.render()
    env.batch.rows["level"][0]["runes"][:] = 0
    assert (before != env.render()).any()


def test_it_keeps_what_environments_promise():
    check_environment(NAME, length=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 1},
        {"length": 10_001},
        {"runes": ()},
        {"runes": ("invert", "invert")},
        {"runes": ("turn",)},
        {"density": 1.5},
        {"density": True},
        {"observable": 1},
    ],
)
def test_a_wrong_parameter_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make(NAME, **wrong)


def test_one_rune_needs_no_list():
    assert "runes=('invert',)" in gym.make(NAME, runes="invert").unwrapped.definition.name
