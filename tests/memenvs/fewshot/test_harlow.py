"""Harlow's task: one trial is enough for an agent with a memory, what is seen and paid, the splits of objects."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest

import memenvs  # noqa: F401  (registers the environment)
from memenvs.fewshot.draw_harlow import cells, colours

LEFT, RIGHT, FIXATE = range(3)
EACH = [{}, {"fixation": False}, {"trials": 20, "bits": 32}, {"trials": 2, "bits": 8}]


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/Harlow-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def single(**parameters):
    return gym.make("memenvs/Harlow-v0", **parameters).unwrapped


def parts(observation, bits):
    """An observation by its parts: objects, last action and outcome, and what is seen of a fixation."""
    assert observation.dtype == np.uint8
    left, right, rest = np.split(observation, [bits, 2 * bits])
    names = ("chose_left", "chose_right", "was_right", "was_wrong", "fixated", "cross")
    return {"left": left.tobytes(), "right": right.tobytes()} | dict(zip(names, rest.tolist(), strict=False))


class Learner:
    """What an agent with a perfect memory does: guess once, and then choose the object that it knows to be rewarded."""

    def __init__(self, guess):
        self.guess, self.rewarded, self.seen = guess, None, None

    def act(self, seen, blank):
        if seen["chose_left"] or seen["chose_right"]:
            chosen, other = self.seen if seen["chose_left"] else self.seen[::-1]
            assert seen["was_right"] + seen["was_wrong"] == 1
            found = chosen if seen["was_right"] else other
            assert self.rewarded in (None, found)
            self.rewarded = found
        else:
            assert not seen["was_right"]
            assert not seen["was_wrong"]
        if seen.get("cross"):
            assert seen["left"] == seen["right"] == blank
            return FIXATE
        self.seen = seen["left"], seen["right"]
        if self.rewarded is None:
            return self.guess
        return self.seen.index(self.rewarded)


@pytest.mark.parametrize("parameters", EACH, ids=str)
def test_one_trial_is_enough(parameters):
    env, bits, trials = single(**parameters), parameters.get("bits", 16), parameters.get("trials", 6)
    fixation, firsts, sides = parameters.get("fixation", True), [], []
    assert env.observation_space.shape == (2 * bits + 4 + 2 * fixation,)
    assert env.action_space.n == 2 + fixation == len(env.definition.action_names)
    for seed in range(60):
        observation, info = env.reset(seed=seed)
        learner, end, total, steps, objects = Learner(seed % 2), False, 0.0, 0, set()
        assert not observation[2 * bits :][:4].any()
        while not end:
            assert info["decision"]
            seen = parts(observation, bits)
            action, oracle = learner.act(seen, bytes(bits)), env.oracle()
            if not seen.get("cross"):
                objects.add(frozenset(learner.seen))
                sides.append(oracle)
            if learner.rewarded is not None or action == FIXATE:
                assert action == oracle
            observation, reward, end, cut, info = env.step(action)
            assert reward == (0.2 if action == FIXATE else 1.0 if action == oracle else -1.0)
            assert not cut
            total, steps = total + reward, steps + 1
        assert steps == trials * (1 + fixation)
        assert len(objects) == 1
        assert len(next(iter(objects))) == 2
        first, *later = (info[f"trial_{trial}"] for trial in range(1, trials + 1))
        assert later == [1.0] * (trials - 1)
        assert (info["success"], info["accuracy"]) == (1.0, 1.0)
        assert total == pytest.approx(trials * (1 + 0.2 * fixation) - 2 * (1 - first))
        assert (env.oracle(), info["decision"]) == (-1, False)
        assert parts(observation, bits) | {"left": b"", "right": b""} == {
            "left": b"", "right": b"", "chose_left": int(action == LEFT), "chose_right": int(action == RIGHT),
            "was_right": int(reward == 1), "was_wrong": int(reward == -1),
        } | ({"fixated": 0, "cross": 0} if fixation else {})  # fmt: skip
        assert not observation[: 2 * bits].any()
        firsts.append(first)
    assert 0.3 < np.mean(firsts) < 0.7
    assert abs(np.mean(sides) - 0.5) < 0.15


def test_looking_elsewhere_only_takes_time():
    env = single()
    before, _ = env.reset(seed=0)
    assert parts(before, 16)["cross"] == 1
    for action in (LEFT, RIGHT):
        observation, reward, end, cut, _ = env.step(action)
        assert (reward, end, cut) == (0.0, False, False)
        seen = parts(observation, 16)
        assert (seen["cross"], seen["chose_left"], seen["chose_right"]) == (
            1,
            int(action == LEFT),
            int(action == RIGHT),
        )
        assert (seen["was_right"], seen["was_wrong"], seen["fixated"]) == (0, 0, 0)
        assert env.oracle() == FIXATE
    observation, reward, *_ = env.step(FIXATE)
    shown = parts(observation, 16)
    assert (reward, shown["cross"], shown["fixated"]) == (0.2, 0, 1)
    assert shown["left"] != shown["right"]
    observation, reward, *_ = env.step(FIXATE)
    again = parts(observation, 16)
    assert (reward, again) == (0.0, shown)


def test_time_runs_out():
    env = single(trials=3)
    env.reset(seed=0)
    right = []
    for _ in range(2):
        env.step(FIXATE)
        right.append(env.step(env.oracle())[1])
    for step in range(5, 13):
        assert env.oracle() == FIXATE
        _, reward, end, cut, info = env.step(LEFT)
        assert (reward, end, cut) == (0.0, False, step == 12)
    assert right == [1.0, 1.0]
    assert [info[name] for name in ("success", "accuracy", "trial_1", "trial_2", "trial_3")] == [0, 0.5, 1, 1, 0]
    assert (env.oracle(), info["decision"]) == (-1, False)
    last = single(trials=3)
    last.reset(seed=0)
    for _ in range(6):
        last.step(LEFT)
    for _ in range(3):
        last.step(FIXATE)
        _, _, end, cut, info = last.step(last.oracle())
    assert (end, cut, info["success"]) == (True, False, 1.0)  # finished in the very last step


def test_each_trial_is_measured():
    env = single(trials=4, fixation=False)
    for wrong in ((), (0,), (1,), (3,), (0, 2), (1, 2, 3), (0, 1, 2, 3)):
        env.reset(seed=1)
        for trial in range(4):
            best = env.oracle()
            info = env.step(1 - best if trial in wrong else best)[4]
        assert [info[f"trial_{trial + 1}"] for trial in range(4)] == [float(trial not in wrong) for trial in range(4)]
        later = sum(trial not in wrong for trial in (1, 2, 3))
        assert info["success"] == (later == 3)
        assert info["accuracy"] == pytest.approx(later / 3)


def test_chance_and_the_oracle():
    for name, expected in (("oracle", 1.0), ("walk", 0.5)):
        envs, rng = make(1000), np.random.default_rng(0)
        for _ in range(12):
            infos = envs.step(envs.oracle() if name == "oracle" else envs.random_walk(rng))[4]
        assert "trial_1" in infos
        assert np.mean([infos[f"trial_{i}"] for i in range(1, 7)]) == pytest.approx(expected, abs=0.03)
        assert infos["episode"]["r"].mean() == pytest.approx(6 * 0.2 + 6 * (2 * expected - 1), abs=0.2)
        assert infos["accuracy"].mean() == pytest.approx(expected, abs=0.03)
        assert infos["success"].mean() == pytest.approx(expected**5, abs=0.03)


def test_a_random_walk_does_what_has_an_effect():
    envs, rng = make(200), np.random.default_rng(0)
    assert (envs.random_walk(rng) == FIXATE).all()
    envs.step(envs.random_walk(rng))
    drawn = np.concatenate([envs.random_walk(rng) for _ in range(10)])
    assert np.bincount(drawn, minlength=3).tolist() == pytest.approx([1000, 1000, 0], abs=120)


def test_the_oracle_s_reward_is_never_beaten():
    envs, rng = make(200), np.random.default_rng(0)
    for _ in range(11):
        before = envs.snapshot()
        best = envs.step(envs.oracle())[1]
        for action in range(3):
            envs.restore(before)
            assert (envs.step(np.full(200, action))[1] <= best).all()
        envs.restore(before)
        envs.step(envs.random_walk(rng))


def test_objects_and_sides_are_drawn_anew():
    levels = make(8000, trials=50).batch.rows["level"]
    for name in ("rewarded", "other"):
        assert levels[name].max() < 2**16
        assert len(set(levels[name].tolist())) > 7000
        bits = levels[name][:, None] >> np.arange(16) & 1
        assert bits.mean(axis=0) == pytest.approx(0.5, abs=0.03)
    assert not np.any(levels["rewarded"] == levels["other"])
    sides = levels["sides"][:, None] >> np.arange(50, dtype=np.uint64) & np.uint64(1)
    assert sides.mean(axis=0) == pytest.approx(0.5, abs=0.03)
    assert np.mean(sides[:, 1:] == sides[:, :-1]) == pytest.approx(0.5, abs=0.01)
    few = make(4000, bits=8, split="test").batch.rows["level"]
    assert not np.any(few["rewarded"] == few["other"])


def test_no_object_is_in_both_splits():
    objects = {}
    for split in ("train", "test", None):
        envs = make(4000, bits=8, split=split)
        levels = envs.batch.rows["level"]
        objects[split] = set(levels["rewarded"].tolist()) | set(levels["other"].tolist())
        pairs = set(zip(levels["rewarded"].tolist(), levels["other"].tolist(), strict=True))
        if split is not None:
            assert len({pair[0] for pair in pairs}) == len(objects[split])
    assert not objects["train"] & objects["test"]
    assert objects[None] == objects["train"] | objects["test"] == set(range(256))
    assert 20 < len(objects["test"]) < 45
    tests = sum(first in objects["test"] and second in objects["test"] for first, second in pairs) / len(pairs)
    trains = sum(first in objects["train"] and second in objects["train"] for first, second in pairs) / len(pairs)
    assert tests + trains == 1.0
    large = {split: make(4000, split=split).batch.rows["level"] for split in ("train", "test")}
    train, test = (set(rows["rewarded"].tolist()) | set(rows["other"].tolist()) for rows in large.values())
    assert not train & test
    every = make(8000).batch.rows["level"]
    assert np.isin(every["rewarded"], list(test)).mean() < 0.2


def test_an_eighth_of_all_episodes_is_for_tests():
    objects = make(8000, bits=8, split="test").batch.rows["level"]["rewarded"]
    assert np.isin(make(8000, bits=8).batch.rows["level"]["rewarded"], objects).mean() == pytest.approx(1 / 8, abs=0.02)


# --- parameters, snapshots, pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"trials": 1}, {"trials": 51}, {"trials": 6.0}, {"bits": 7}, {"bits": 33}, {"bits": True}, {"fixation": 1}],
    ids=str,
)
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        single(**wrong)


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("level", "trials", 50),
        ("level", "bits", 8),
        ("level", "fixation", False),
        ("level", "rewarded", 2**16),
        ("level", "other", 2**31),
        ("state", "trial", -1),
        ("state", "trial", 7),
        ("state", "trial", 4),
        ("state", "time", -1),
        ("state", "time", 25),
        ("state", "action", 3),
        ("state", "action", -2),
        ("state", "choices", 4),
    ],
)
def test_a_damaged_snapshot_is_refused(record, name, value):
    envs = make(4)
    for _ in range(3):
        envs.step(envs.oracle())
    make(4).restore(envs.snapshot())
    envs.batch.rows[record][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())


def test_more_damaged_snapshots():
    envs = make(4)
    envs.batch.rows["level"]["other"][1] = envs.batch.rows["level"]["rewarded"][1]
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())
    envs = make(4, fixation=False)
    envs.batch.rows["state"]["fixated"][1] = False
    with pytest.raises(ValueError, match="damaged"):
        make(4, fixation=False).restore(envs.snapshot())


def test_text():
    env = single(render_mode="ansi")
    env.reset(seed=0)
    assert env.render().splitlines() == ["trial 1 of 6", "+", "trials: "]
    observation, *_ = env.step(FIXATE)
    title, star, *rows, told = env.render().splitlines()
    best = env.oracle()
    assert title == "trial 1 of 6, last reward +0.2"
    assert star.index("*") == 12 * best
    assert told == "trials: "
    left = [[cell == "█" for cell in row[:8:2]] for row in rows]
    right = [[cell == "█" for cell in row[12:20:2]] for row in rows]
    assert np.array_equal(left, observation[:16].reshape(4, 4) == 1)
    assert np.array_equal(right, observation[16:32].reshape(4, 4) == 1)
    env.step(1 - best)
    env.step(FIXATE)
    second = env.oracle()
    env.step(second)
    assert env.render().splitlines() == [
        "trial 3 of 6, last reward +1.0",
        "+",
        f"trials: {'LR'[1 - best]}- {'LR'[second]}+",
    ]
    for _ in range(8):
        env.step(env.oracle())
    assert env.render().splitlines()[0] == "all 6 trials are over, last reward +1.0"


@pytest.mark.parametrize("parameters", EACH, ids=str)
def test_pictures_follow_the_trials(parameters):
    env = single(render_mode="rgb_array", **parameters)
    env.reset(seed=0)
    pictures, end = [env.render()], False
    while not end and len(pictures) < 7:
        end = env.step(env.oracle())[2]
        pictures.append(env.render())
    assert pictures[0].shape == (480, 960, 3)
    assert all((first != second).any() for first, second in pairwise(pictures))


def test_pictures_show_what_is_rewarded_and_what_was_chosen():
    env = single(fixation=False, render_mode="rgb_array")
    for seed in range(4):
        env.reset(seed=seed)
        best, picture = env.oracle(), env.render().astype(int)
        line = (picture[:, :, 1] - picture[:, :, 0] > 80) & (picture[:, :, 1] - picture[:, :, 2] > 40)
        assert (line[:, 480:].sum() > line[:, :480].sum()) == (best == RIGHT)
        before, frames = env.snapshot(), {}
        for action in (best, 1 - best):
            env.restore(before)
            env.step(action)
            strip = env.render()[380:].astype(int)
            frames[action] = [
                (np.abs(strip - colour).max(axis=2) < 8).sum() for colour in ((24, 138, 66), (196, 59, 29))
            ]
        assert frames[best][0] > 0 == frames[best][1]
        assert frames[1 - best][1] > 0 == frames[1 - best][0]


def test_cells_and_colours():
    assert cells(np.arange(16)).tolist() == np.arange(16).reshape(4, 4).tolist()
    assert cells(np.arange(8)).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert cells(np.arange(11)).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, -1]]
    rng, seen = np.random.default_rng(0), set()
    for _ in range(200):
        pair = colours(list(rng.integers(0, 2, (2, 16))))
        assert pair[0] != pair[1]
        seen |= set(pair)
    assert len(seen) == 6
