"""Pictures of what was learned: learning curves, comparisons, films. No state of pyplot is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from PIL import Image

from memagents.experiments.evaluation import Interval
from memagents.runs.files import write_bytes
from memagents.runs.progress import PROGRESS_FILE, SECONDS, STEPS, logged_number, read_progress

INK, FAINT, PAPER = "#1B2130", "#C9CDD6", "#FCFBF8"
COLOURS = ("#0B5FA5", "#D1495B", "#2E933C", "#EDAE49", "#7B4B94", "#00798C", "#8D6A4A")
_DASHES: tuple[Any, ...] = ("-", (0, (4, 3)), (0, (1, 2)))  # by the order in which curves are drawn over one another
_MARKERS = ("o", "s", "^")
_LESSON = "curriculum/lesson"
_SUCCESS, _RETURN, _ACCURACY = "rollout/success_rate", "rollout/ep_rew_mean", "train/accuracy"
MEASURES = (_SUCCESS, _RETURN)
LABELS = {_ACCURACY: "as the oracle", _SUCCESS: "success", _RETURN: "return"}


def learning_curve(run_dirs: Sequence[Path], path: Path, over: str = "steps") -> None:
    """Success and return (of imitation, how often it does as the oracle) in the course of one or more runs.

    The thin line is the mean over recent episodes as it was logged, the thick one its moving average; dotted lines are
    the beginnings of lessons where a single run is shown. Success and return are one panel where they are equal.

    :param run_dirs: folders of runs
    :param path: of the PNG or SVG
    :param over: ``"steps"`` of the environments or ``"minutes"`` of the clock
    """
    folders = [Path(folder) for folder in run_dirs]
    unique = len({folder.name for folder in folders}) == len(folders)
    runs = {folder.name if unique else str(folder): read_progress(folder / PROGRESS_FILE) for folder in folders}
    curves = {name: _curves(folder, rows, over) for folder, (name, rows) in zip(folders, runs.items(), strict=True)}
    panels = [column for column in LABELS if any(column in logged for logged in curves.values())]
    one = equal_throughout([[logged.get(column) for column in MEASURES] for logged in curves.values()])
    panels = [column for column in panels if not (one and column == _RETURN)]
    figure = Figure((8, 1 + 2.8 * max(1, len(panels))), dpi=130, layout="constrained", facecolor=PAPER)
    axes = figure.subplots(max(1, len(panels)), 1, sharex=True, squeeze=False)[:, 0]
    for ax, column in zip(axes, panels, strict=False):
        for colour, logged in zip(cycle(len(runs)), curves.values(), strict=True):
            if column in logged:
                _draw_curve(ax, logged[column], colour)
        dress(ax, "success = return" if one and column == _SUCCESS else LABELS[column])
        if column != _RETURN:
            ax.set_ylim(-0.02, 1.02)
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if len(runs) == 1 and over == "steps":
        _draw_lessons(axes.tolist(), next(iter(runs.values())))
        axes[0].set_title(next(iter(runs)), loc="left", color=INK, weight="bold")
    else:
        legend(figure, runs)
    label_moments(axes[-1], over)
    write(figure, path)


def curves_over_seeds(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], path: Path, wanted: Mapping[str, float]
) -> None:
    """Returns over steps: the mean of several runs, and from the worst to the best of them.

    :param panels: ``{task: {agent: (steps (N,), returns (runs, N))}}``; steps are drawn by their logarithms
    :param path: of the PNG or SVG
    :param wanted: the return that a task asks for, a dotted line
    """
    agents = list(dict.fromkeys(agent for panel in panels.values() for agent in panel))
    colours = dict(zip(agents, cycle(len(agents)), strict=True))
    figure = Figure((4.2 * len(panels), 3.6), dpi=130, layout="constrained", facecolor=PAPER)
    for ax, (task, panel) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for agent, (steps, returns) in panel.items():
            ax.fill_between(steps, returns.min(0), returns.max(0), color=colours[agent], alpha=0.15, linewidth=0)
            ax.plot(steps, returns.mean(0), color=colours[agent], linewidth=2, solid_capstyle="round")
        ax.axhline(wanted[task], color=INK, linewidth=1, linestyle=":")
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: short_number(steps)))
        ax.set_title(task, loc="left", color=INK, weight="bold")
        dress(ax, "return")
        ax.set_xlabel("environment steps", color=INK)
    legend(figure, agents)
    write(figure, path)


def score_over(
    name: str, values: Sequence[Any], curves: Mapping[str, Sequence[Interval]], path: Path, measure: str = "success"
) -> None:
    """Scores over the values of a parameter, each with its 95% interval; numbers by their logarithms where they grow.

    Each curve is thinner than the one below it, and all but the first are dashed, so that equal ones are both seen.

    :param name: of the parameter
    :param values: in the order in which they are drawn
    :param curves: ``{agent: a score for each value}``
    :param path: of the PNG or SVG
    :param measure: what the scores are, the axis' label
    """
    figure = Figure((7, 4), dpi=130, layout="constrained", facecolor=PAPER)
    ax = figure.subplots()
    numbers = all(isinstance(value, int | float) and value > 0 for value in values)
    places = list(values) if numbers else list(range(len(values)))
    shown = []
    for place, (colour, (agent, scores)) in enumerate(zip(cycle(len(curves)), curves.items(), strict=True)):
        means = np.array([score.mean for score in scores])
        reach = np.abs(np.array([[score.low, score.high] for score in scores]).T - means)
        above = len(curves) - 1 - place  # curves that are drawn over this one
        style: dict[str, Any] = {"color": colour, "linestyle": _DASHES[place % len(_DASHES)], "label": agent}
        style |= {"marker": _MARKERS[place % len(_MARKERS)], "markersize": 4 + 4 * above, "capsize": 3 + 3 * above}
        style |= {"linewidth": 1.5 + 2.5 * above, "elinewidth": 1.5 + 2.5 * above}
        shown.append(ax.errorbar(places, means, reach, **style))
    if numbers and max(places) >= 20 * min(places):
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    elif not numbers:
        ax.set_xticks(places, [str(value) for value in values])
    dress(ax, measure)
    if measure == "success":
        ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel(name, color=INK)
    legend(figure, list(curves), shown)
    write(figure, path)


def comparison(scores: Mapping[str, Mapping[str, Interval]], path: Path, measure: str = "success") -> None:
    """Bars with 95% intervals: groups side by side, in each a bar an agent.

    :param scores: ``{group: {agent: interval}}``, a group being for example a setting of the environment
    :param path: of the PNG or SVG
    :param measure: what the scores are, the axis' label
    """
    agents = list(dict.fromkeys(agent for group in scores.values() for agent in group))
    figure = Figure((max(5.0, 1.2 + 0.55 * len(scores) * (len(agents) + 1)), 4), dpi=130, layout="constrained")
    figure.set_facecolor(PAPER)
    ax = figure.subplots()
    width = 1 / (len(agents) + 1)
    for colour, (i, agent) in zip(cycle(len(agents)), enumerate(agents), strict=True):
        places = [g + (i - (len(agents) - 1) / 2) * width for g, group in enumerate(scores.values()) if agent in group]
        shown = [group[agent] for group in scores.values() if agent in group]
        means = np.array([interval.mean for interval in shown])
        reach = np.abs(np.array([[interval.low, interval.high] for interval in shown]).T - means)  # (2, groups)
        ax.bar(places, means, 0.9 * width, color=colour, zorder=2)
        ax.errorbar(places, means, reach, fmt="none", ecolor=INK, elinewidth=1, capsize=3, zorder=3)
    ax.set_xticks(range(len(scores)), list(scores))
    dress(ax, measure)
    if measure == "success":
        ax.set_ylim(0, 1.04)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    legend(figure, agents)
    write(figure, path)


def write_png(picture: np.ndarray, path: Path) -> None:
    """A picture (H, W, 3) uint8 as a file."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())


def write_gif(scenes: Sequence[Sequence[np.ndarray]], path: Path, frames_per_second: float = 3) -> None:
    """An endless film; the last picture of each scene stays for a while.

    All pictures have the same 128 colours, those of some of them: a file then holds only what changes from one to the
    next.

    :param scenes: pictures (H, W, 3) uint8, all of one size
    :param path: of the GIF
    """
    duration = 1000 / frames_per_second
    pictures = [frame for scene in scenes for frame in scene]
    some = [pictures[i] for i in np.linspace(0, len(pictures) - 1, min(len(pictures), 16)).astype(int)]
    palette = Image.fromarray(np.concatenate(some)).quantize(128)
    frames = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in pictures]
    durations = [max(1500, duration) if i == len(s) - 1 else duration for s in scenes for i in range(len(s))]
    buffer = BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    write_bytes(path, buffer.getvalue())


def short_number(value: float) -> str:
    """``1_500_000`` as ``1.5M``."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def smooth(values: np.ndarray, share: float = 0.05) -> np.ndarray:
    """The centred moving average over a share of the points, narrower at both ends; (N,) to (N,)."""
    half = int(share * len(values) / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(half, np.minimum(places, places[::-1]))  # the same on both sides, so that a slope stays
    return (sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1)


def _curves(folder: Path, rows: list[dict[str, str]], over: str) -> dict[str, np.ndarray]:
    """Return the curves that a run logged: steps or minutes, and values (N, 2), by column.

    Success and return of a run that imitates are partly the oracle's own, so only its accuracy counts.
    """
    columns = (_ACCURACY,) if any(row.get(_ACCURACY) for row in rows) else MEASURES
    logged = {column: curve_of(folder, rows, column, over) for column in columns}
    return {column: points for column, points in logged.items() if len(points)}


def curve_of(folder: Path, rows: Sequence[dict[str, str]], column: str, over: str) -> np.ndarray:
    """Return what a run logged, (N, 2): steps or minutes, and the values of a column where they were finite numbers.

    :param rows: of its log
    :raises CheckpointError: if what is there is no number
    """
    path, logged = folder / PROGRESS_FILE, [row for row in rows if row.get(column)]
    points = [(_moment(path, row, over), logged_number(path, row, column)) for row in logged]
    return np.array([point for point in points if np.isfinite(point).all()]).reshape(-1, 2)


def label_moments(ax: Axes, over: str) -> None:
    """Label an axis of steps or minutes, which begins at 0."""
    ax.set_xlabel({"steps": "environment steps", "minutes": "minutes"}[over], color=INK)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda place, _: short_number(place)))


def _moment(path: Path, row: dict[str, str], over: str) -> float:
    """Return the steps or minutes at which a row of a log was logged."""
    return logged_number(path, row, STEPS) if over == "steps" else logged_number(path, row, SECONDS) / 60


def equal_throughout(curves: Sequence[Sequence[np.ndarray | None]]) -> bool:
    """Return whether two measures are equal in all runs and at all points, so that one picture shows both.

    :param curves: of each run the one and the other, (N, 2) each; None or (0, 2) where it was not logged
    """
    none = np.empty((0, 2))
    pairs = [tuple(none if curve is None else curve for curve in curves_of_run) for curves_of_run in curves]
    logged = [(one, other) for one, other in pairs if len(one) or len(other)]
    alike = (one.shape == other.shape and np.allclose(one, other, rtol=0, atol=1e-6) for one, other in logged)
    return bool(logged) and all(alike)


def _draw_curve(ax: Axes, points: np.ndarray, colour: str) -> None:
    """A run's curve (N, 2), as logged and smoothed."""
    ax.plot(points[:, 0], points[:, 1], color=colour, alpha=0.25, linewidth=1)
    ax.plot(points[:, 0], smooth(points[:, 1]), color=colour, linewidth=2, solid_capstyle="round")


def _draw_lessons(axes: Sequence[Axes], rows: list[dict[str, str]]) -> None:
    """Mark where each lesson but the first begins: after the row that was the last of the one before."""
    numbers = [int(float(row.get(_LESSON) or 0)) for row in rows]
    for before, (number, next_number) in zip(rows, pairwise(numbers), strict=False):
        if number == next_number:
            continue
        steps = float(before[STEPS])
        for ax in axes:
            ax.axvline(steps, color=INK, linewidth=1, linestyle=":", alpha=0.6)
        style: dict[str, Any] = {"rotation": 90, "va": "bottom", "ha": "right", "color": INK, "fontsize": 8}
        axes[0].text(steps, 0.03, f"lesson {next_number + 1} ", transform=axes[0].get_xaxis_transform(), **style)


def legend(figure: Figure, names: Iterable[str], shown: Sequence[Any] | None = None) -> None:
    """Names in the order of their colours, above all panels.

    :param shown: what stands beside each; by default a patch of its colour
    """
    names = list(names)
    patches = [Patch(color=colour) for colour in cycle(len(names))] if shown is None else shown
    widest = max(map(len, names), default=0) + 6  # with its colour, in letters, of which an inch holds about ten
    columns = max(1, min(5, len(names), int(10 * figure.get_figwidth()) // widest))
    figure.legend(patches, names, loc="outside upper left", ncols=columns, frameon=False, labelcolor=INK)


def dress(ax: Axes, label: str) -> None:
    """The look that all figures share."""
    ax.set_facecolor(PAPER)
    ax.set_ylabel(label, color=INK)
    ax.grid(axis="y", color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.tick_params(colors=INK, length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)


def cycle(count: int) -> list[str]:
    """So many colours, repeated where they run out."""
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def write(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, or as SVG where the path ends so, whole or not at all."""
    buffer = BytesIO()
    if path.suffix.lower() == ".svg":
        FigureCanvasSVG(figure).print_svg(buffer)
    else:
        FigureCanvasAgg(figure).print_png(buffer)
    write_bytes(path, buffer.getvalue())
