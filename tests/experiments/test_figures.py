"""Pictures show what was measured, and leave nothing behind in pyplot."""

import csv

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageSequence

from memagents.experiments import figures
from memagents.experiments.evaluation import Interval
from memagents.experiments.figures import (
    COLOURS,
    comparison,
    learning_curve,
    score_over,
    short_number,
    smooth,
    write_gif,
    write_png,
)

STEPS, SUCCESS, RETURN = "time/total_timesteps", "rollout/success_rate", "rollout/ep_rew_mean"


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is drawn."""
    written, write = [], figures.write
    monkeypatch.setattr(figures, "write", lambda figure, path: (written.append(figure), write(figure, path)))
    return written


def run(folder, rows):
    folder.mkdir()
    with open(folder / "progress.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def points(line):
    return np.stack(line.get_data(), axis=1).tolist()


def test_a_learning_curve_shows_what_was_logged(tmp_path, drawn):
    rows = [{STEPS: 100 * i, SUCCESS: i / 10, RETURN: -i, "curriculum/lesson": i // 4} for i in range(1, 10)]
    del rows[0][SUCCESS]  # no episode has ended yet
    learning_curve([run(tmp_path / "mine", rows)], tmp_path / "curve.png")
    success, returns = drawn[0].axes
    assert (success.get_ylabel(), returns.get_ylabel()) == ("success", "return")
    assert points(success.lines[0]) == [[100 * i, i / 10] for i in range(2, 10)]
    assert points(returns.lines[0]) == [[100 * i, -i] for i in range(1, 10)]
    assert [text.get_text().strip() for text in success.texts] == ["lesson 2", "lesson 3"]
    assert [text.get_position()[0] for text in success.texts] == [300, 700]
    assert returns.get_xlabel() == "environment steps" and success.get_title(loc="left") == "mine"
    picture = np.asarray(Image.open(tmp_path / "curve.png").convert("L"))
    assert min(picture.shape) > 500 and picture.std() > 5


def test_a_learning_curve_shows_what_is_equal_once(tmp_path, drawn):
    learning_curve(
        [run(tmp_path / "a", [{STEPS: i, SUCCESS: i / 9, RETURN: i / 9} for i in range(9)])], tmp_path / "c.png"
    )
    assert [ax.get_ylabel() for ax in drawn[0].axes] == ["success = return"]


def test_several_runs_share_their_colours_with_the_legend(tmp_path, drawn):
    runs = [
        run(tmp_path / name, [{STEPS: 1, SUCCESS: 0}, {STEPS: 2, SUCCESS: height}])
        for name, height in zip("ab", (1, 0.5), strict=True)
    ]
    learning_curve(runs, tmp_path / "curve.png")
    (ax,), (legend,) = drawn[0].axes, drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    colours = [ax.lines[0].get_color(), ax.lines[2].get_color()]
    assert colours == [figures.COLOURS[0], figures.COLOURS[1]]
    assert [points(ax.lines[i])[-1] for i in (0, 2)] == [[2, 1], [2, 0.5]]


def test_the_success_of_imitation_is_not_the_agents_own(tmp_path, drawn):
    rows = [{STEPS: i, SUCCESS: 1, RETURN: 1, "train/accuracy": 0.1 * i} for i in range(3)]
    learning_curve([run(tmp_path / "imitation", rows)], tmp_path / "curve.png")
    (ax,) = drawn[0].axes
    assert ax.get_ylabel() == "as the oracle" and points(ax.lines[0])[-1] == [2, 0.2]


def test_a_curve_over_minutes(tmp_path, drawn):
    rows = [{STEPS: 1000 * i, "time/time_elapsed": 30 * i, RETURN: i} for i in range(5)]
    learning_curve([run(tmp_path / "timed", rows)], tmp_path / "curve.png", over="minutes")
    (ax,) = drawn[0].axes
    assert points(ax.lines[0])[-1] == [2, 4]
    assert ax.get_xlabel() == "minutes"


def test_a_run_without_episodes_has_an_empty_curve(tmp_path):
    learning_curve([run(tmp_path / "short", [{STEPS: 5, "time/fps": 3}])], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_bars_and_their_intervals(tmp_path, drawn):
    scores = {
        "near": {"dnc": Interval(0.9, 0.8, 0.95), "none": Interval(0.3, 0.2, 0.5)},
        "far": {"dnc": Interval(0.7, 0.6, 0.75)},
    }
    comparison(scores, tmp_path / "bars.png")
    (ax,) = drawn[0].axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["near", "far"]
    assert sorted(patch.get_height() for patch in ax.patches) == [0.3, 0.7, 0.9]
    reaches = [
        segment[:, 1].tolist() for c in ax.containers if hasattr(c, "has_yerr") for segment in c[2][0].get_segments()
    ]
    assert np.array(reaches) == pytest.approx(np.array([[0.8, 0.95], [0.6, 0.75], [0.2, 0.5]]))
    near, far, control = ax.patches
    assert near.get_x() < control.get_x() < far.get_x()
    assert not plt.get_fignums()


def test_equal_scores_over_a_parameter_are_both_seen(tmp_path):
    scores = [Interval(mean, mean - 0.1, mean + 0.1) for mean in (0.9, 0.5, 0.2)]
    score_over("length", [10, 100, 1000], {"agent": scores, "agent, sampled": scores}, tmp_path / "over.png")
    picture = np.asarray(Image.open(tmp_path / "over.png").convert("RGB"))[60:]  # below the legend
    for colour in COLOURS[:2]:
        assert (picture == to_rgb255(colour)).all(2).sum() > 300


def to_rgb255(colour):
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def test_smoothing_keeps_a_slope_and_averages_noise():
    slope = np.linspace(0, 1, 40)
    assert smooth(slope, 0.3) == pytest.approx(slope)
    noise = np.random.default_rng(0).normal(size=30)
    slow = [noise[i - k : i + k + 1].mean() for i in range(30) for k in [min(3, i, 29 - i)]]
    assert smooth(noise, 0.2) == pytest.approx(slow)
    assert smooth(np.array([2.0])).tolist() == [2] and smooth(np.zeros(0)).size == 0


def test_short_numbers():
    assert [short_number(v) for v in (0, 950, 1500, 2_000_000, 3e9)] == ["0", "950", "1.5k", "2M", "3B"]


def test_a_film_holds_the_last_picture_of_each_scene(tmp_path):
    scenes = [[np.full((20, 30, 3), 40 * k + 5, np.uint8) for k in range(n)] for n in (3, 2)]
    write_gif(scenes, tmp_path / "film.gif", frames_per_second=4)
    film = Image.open(tmp_path / "film.gif")
    assert film.size == (30, 20) and film.info["loop"] == 0
    shown = [
        (frame.convert("RGB").getpixel((0, 0))[0], frame.info["duration"]) for frame in ImageSequence.Iterator(film)
    ]
    assert shown == [(5, 250), (45, 250), (85, 1500), (5, 250), (45, 1500)]
    write_png(scenes[0][1], tmp_path / "picture.png")
    assert (np.asarray(Image.open(tmp_path / "picture.png")) == scenes[0][1]).all()


def test_a_film_holds_only_what_changes(tmp_path):
    """Noise that stays costs its bytes once, whatever the length of the film."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    scene = [noise.copy() for _ in range(40)]
    for step, picture in enumerate(scene):
        picture[:4, step : step + 4] = 255
    for length in (2, 40):
        write_gif([scene[:length]], tmp_path / f"{length}.gif")
    assert (tmp_path / "40.gif").stat().st_size < 2 * (tmp_path / "2.gif").stat().st_size
