"""OneShot: labels from nothing but observations, the splits of glyphs, the metrics, the glyphs themselves."""

import gymnasium as gym
import numpy as np
import pytest

from memenvs.tasks.glyphs import draw_glyph

CLEAN = {"shift": 0, "rotation": 0, "jitter": 0, "noise": 0}


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec("memenvs/OneShot-v0", num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


class Namer:
    """What an agent with a perfect memory does: takes the label of the most alike glyph, or one that has no glyph.

    :param tolerance: how many pixels may differ, or the glyph is a new one
    """

    def __init__(self, classes, pixels, tolerance):
        self.classes, self.pixels, self.tolerance = classes, pixels, tolerance
        self.known, self.last, self.labels = [], None, []

    def act(self, observation):
        glyph, label = observation[: self.pixels].astype(int), observation[self.pixels :]
        assert observation.dtype == np.uint8
        assert label.sum() == (self.last is not None)
        if self.last is not None:
            self.labels.append(int(label.argmax()))
            self.known.append((self.last, self.labels[-1]))
        self.last = glyph
        distances = [np.abs(glyph - other).sum() for other, _ in self.known]
        if distances and min(distances) <= self.tolerance:
            return self.known[int(np.argmin(distances))][1]
        return min(set(range(self.classes)) - set(self.labels), default=0)


def play(env, seed, classes, pixels, tolerance=0):
    """An episode: the final info, the agent, and which label was right at each step."""
    observation, info = env.reset(seed=seed)
    namer, right, total, end = Namer(classes, pixels, tolerance), [], 0.0, False
    while not end:
        assert info["decision"]
        right.append(env.oracle())
        action = namer.act(observation)
        observation, reward, end, cut, info = env.step(action)
        assert not cut
        total += reward
    assert env.oracle() == -1
    assert not observation[:pixels].any()
    namer.act(observation)
    assert total == pytest.approx(info["accuracy"])
    return info, namer, right


@pytest.mark.parametrize("parameters", [{}, {"classes": 3, "presentations": 3, "size": 8}], ids=str)
def test_a_perfect_memory_is_enough_for_glyphs_that_stay_as_they_are(parameters):
    classes, pixels = parameters.get("classes", 5), parameters.get("size", 10) ** 2
    shots = parameters.get("presentations", 10)
    env = gym.make("memenvs/OneShot-v0", **CLEAN, **parameters).unwrapped
    firsts = []
    for seed in range(40):
        info, namer, right = play(env, seed, classes, pixels)
        assert namer.labels == right
        assert len(right) == classes * shots
        assert sorted(right) == sorted(list(range(classes)) * shots)
        glyphs = {}  # from pixels to label, with no two labels for one glyph and no two glyphs for one label
        for glyph, label in namer.known:
            assert glyphs.setdefault(glyph.tobytes(), label) == label
        assert sorted(glyphs.values()) == list(range(classes))
        assert (info["success"], info["accuracy_2"], info.get("accuracy_10", 1)) == (1, 1, 1)
        firsts.append(info["accuracy_1"])
    best = sum(1 / k for k in range(1, classes + 1)) / classes
    assert np.mean(firsts) == pytest.approx(best, abs=0.12)


def test_distorted_glyphs_can_be_told_apart():
    env = gym.make("memenvs/OneShot-v0").unwrapped
    accuracies = [play(env, seed, 5, 100, tolerance=100)[0] for seed in range(30)]
    assert np.mean([info["accuracy_2"] for info in accuracies]) > 0.9
    assert np.mean([info["accuracy_10"] for info in accuracies]) > 0.97
    images = {env.reset(seed=seed)[0][:100].tobytes() for seed in range(30)}
    assert len(images) == 30


def test_the_metrics_count_presentations():
    env = gym.make("memenvs/OneShot-v0").unwrapped

    def episode(wrong):
        """Play, answering wrong where ``wrong(presentation, class label)`` says so."""
        env.reset(seed=4)
        counts, end = [0] * 5, False
        while not end:
            label = env.oracle()
            counts[label] += 1
            _, _, end, _, info = env.step((label + wrong(counts[label], label)) % 5)
        return [info[name] for name in ("success", "accuracy", *(f"accuracy_{k}" for k in (1, 2, 5, 10)))]

    assert episode(lambda k, label: False) == [1, 1, 1, 1, 1, 1]
    assert episode(lambda k, label: k == 1) == pytest.approx([1, 0.9, 0, 1, 1, 1])
    assert episode(lambda k, label: k == 10) == pytest.approx([0, 0.9, 1, 1, 1, 0])  # 5 of 45
    assert episode(lambda k, label: k == 2 and label > 0) == pytest.approx([1, 0.92, 1, 0.2, 1, 1])  # 4 of 45
    assert episode(lambda k, label: k == 5 and label < 2) == pytest.approx([1, 0.96, 1, 1, 0.6, 1])
    assert episode(lambda k, label: True) == [0, 0, 0, 0, 0, 0]


def test_only_presentations_that_exist_are_measured():
    definition = make(1, presentations=4).unwrapped.definition
    assert definition.metrics == ("success", "accuracy", "accuracy_1", "accuracy_2")
    once = make(4, presentations=1)
    for _ in range(5):
        infos = once.step(once.oracle())[4]
    assert infos["accuracy_1"].tolist() == [1.0] * 4
    assert infos["success"].tolist() == [0.0] * 4


def test_episodes_cut_short_are_measured_by_what_was_shown():
    envs = make(32, max_episode_steps=7)
    for _ in range(7):
        infos = envs.step(envs.oracle())[4]
    assert infos["accuracy"].tolist() == infos["accuracy_1"].tolist() == [1.0] * 32
    assert infos["accuracy_10"].tolist() == [0.0] * 32


def test_chance_and_the_oracle():
    for name, expected in (("oracle", 1.0), ("walk", 0.2)):
        envs, rng, returns = make(256), np.random.default_rng(0), []
        for _ in range(50):
            actions = envs.oracle() if name == "oracle" else envs.random_walk(rng)
            infos = envs.step(actions)[4]
        returns = infos["episode"]["r"]
        assert np.mean(returns) == pytest.approx(expected, abs=0.01)
        assert np.allclose(returns, infos["accuracy"])


def test_no_glyph_is_in_both_splits():
    glyphs = {}
    for split in ("train", "test", None):
        envs = make(256, split=split)
        glyphs[split] = set()
        for _ in range(40):
            envs.reset()
            levels = envs.batch.rows["level"]
            glyphs[split] |= set(levels["chosen"][:, :5].ravel().tolist())
            assert ((levels["chosen"][:, :5] % 8 == 0).sum(axis=1) % 5 == 0).all()  # all of one split
    assert not glyphs["train"] & glyphs["test"]
    assert glyphs[None] == glyphs["train"] | glyphs["test"] == set(range(1000))
    assert len(glyphs["test"]) == 125
    images = {split: {image(glyph) for glyph in glyphs[split]} for split in ("train", "test")}
    assert not images["train"] & images["test"]


def test_glyphs_and_labels_are_drawn_anew():
    levels = make(4000).batch.rows["level"]
    assert all(len(set(row)) == 5 for row in levels["chosen"][:, :5].tolist())
    assert (np.sort(levels["labels"][:, :5], axis=1) == np.arange(5)).all()
    for counted in (levels["labels"][:, 0], levels["order"][:, 0], levels["order"][:, 49]):
        assert np.all(np.abs(np.bincount(counted, minlength=5) / 800 - 1) < 0.15)
    small = {"classes": 3, "presentations": 3, "size": 8}
    few = make(2000, **small, glyphs=24, split="test").batch.rows["level"]["chosen"][:, :3]
    assert (np.sort(few, axis=1) == [0, 8, 16]).all()
    odd = make(3000, **small, glyphs=27, split="train").batch.rows["level"]["chosen"][:, :3]
    assert set(odd.ravel().tolist()) == set(range(27)) - {0, 8, 16, 24}


# --- glyphs -----------------------------------------------------------------------------------------------------------


def image(glyph, key=0, size=10, shift=0, rotation=0.0, jitter=0.0, noise=0.0):
    pixels = np.full(size * size, 7, np.uint8)
    draw_glyph(glyph, size, shift, rotation, jitter, noise, np.uint64(key), pixels)
    return pixels.tobytes()


def test_every_glyph_is_another_one():
    images = [image(glyph) for glyph in range(1000)]
    assert len(set(images)) == 1000
    assert images[5] == image(5, key=99)
    ink = np.array([np.frombuffer(glyph, np.uint8) for glyph in images])
    assert set(ink.ravel().tolist()) == {0, 1}
    assert ink.sum(axis=1).min() > 15
    assert ink.sum(axis=1).max() < 60
    framed = ink.reshape(-1, 10, 10)
    assert not framed[:, [0, 9]].any()
    assert not framed[:, :, [0, 9]].any()


def test_strokes_have_no_gaps():
    for glyph in range(40):
        pixels = np.frombuffer(image(glyph, size=20), np.uint8).reshape(20, 20)
        padded = np.pad(pixels, 1)
        neighbours = sum(np.roll(padded, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1))[1:-1, 1:-1]
        assert (neighbours[pixels == 1] >= 2).all()


def test_distortions_do_what_they_say():
    clean = np.frombuffer(image(3), np.uint8).reshape(10, 10)
    moved = {image(3, key=key, shift=1) for key in range(200)}
    assert moved == {np.roll(clean, (i, j), (0, 1)).tobytes() for i in (-1, 0, 1) for j in (-1, 0, 1)}
    flips = [(np.frombuffer(image(3, key=key, noise=0.1), np.uint8) != clean.ravel()).mean() for key in range(200)]
    assert np.mean(flips) == pytest.approx(0.1, abs=0.01)
    for distortion in ({"rotation": 0.3}, {"jitter": 0.8}):
        changed = [np.frombuffer(image(3, key, **distortion), np.uint8) != clean.ravel() for key in range(100)]
        assert 0.02 < np.mean(changed) < 0.25
        assert len({change.tobytes() for change in changed}) > 10
    turned = np.frombuffer(image(3, size=20, rotation=np.pi, key=1), np.uint8)
    assert turned.sum() > 20
    assert image(3, key=5, shift=10, jitter=9.0, rotation=3.0)  # far out of the image, and nothing breaks


# --- parameters, snapshots, pictures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": 1},
        {"classes": 21},
        {"presentations": 0},
        {"presentations": 21},
        {"glyphs": 39},
        {"glyphs": 1e3},
        {"size": 7},
        {"size": 21},
        {"shift": -1},
        {"shift": 6},
        {"rotation": -1},
        {"rotation": "much"},
        {"jitter": np.nan},
        {"jitter": 11},
        {"noise": 1.1},
        {"noise": True},
    ],
    ids=str,
)
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        gym.make("memenvs/OneShot-v0", **wrong)


@pytest.mark.parametrize(
    ("record", "name", "value"),
    [
        ("level", "classes", 20),
        ("level", "presentations", 20),
        ("level", "size", 20),
        ("level", "shift", -1),
        ("level", "rotation", np.nan),
        ("level", "jitter", 1e30),
        ("level", "noise", 1.0),
        ("level", "chosen", -1),
        ("level", "labels", 5),
        ("level", "order", 5),
        ("level", "order", 0),
        ("state", "time", -1),
        ("state", "time", 51),
        ("state", "time", 4),
        ("state", "seen", 100),
        ("state", "right", 9),
        ("state", "answer", 5),
    ],
)
def test_a_damaged_snapshot_is_refused(record, name, value):
    envs = make(4)
    envs.step(envs.oracle())
    envs.restore(envs.snapshot())
    envs.batch.rows[record][name][2] = value
    with pytest.raises(ValueError, match="damaged"):
        make(4).restore(envs.snapshot())


def test_pictures():
    env = gym.make("memenvs/OneShot-v0", render_mode="rgb_array", **CLEAN).unwrapped
    text = gym.make("memenvs/OneShot-v0", render_mode="ansi", **CLEAN).unwrapped
    observation, _ = env.reset(seed=0)
    text.reset(seed=0)
    first = env.render()
    assert first.shape == (360, 640, 3)
    glyph = observation[:100].reshape(10, 10)
    pitch = 0.84 * 360 / 10
    centres = (0.08 * 360 + (np.arange(10) + 0.5) * pitch).astype(int)
    assert np.array_equal(first[centres][:, centres].max(axis=2) < 128, glyph == 1)
    lines = text.render().splitlines()
    assert [[cell == "█" for cell in line[::2]] for line in lines[:10]] == (glyph == 1).tolist()
    label = text.oracle()
    assert lines[10:] == ["glyph 1 of 50", f"label {label}, seen 0 times before", "right 0 of 0"]
    env.step(0)
    text.step((label + 1) % 5)
    assert (env.render() != first).any()
    assert text.render().splitlines()[-2:] == [f"last label {label}, answered {(label + 1) % 5}", "right 0 of 1"]
    for _ in range(49):
        text.step(text.oracle())
    assert text.render().splitlines()[-1] == "right 49 of 50"
