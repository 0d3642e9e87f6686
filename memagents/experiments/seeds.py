"""Runs that differ in their seeds alone, drawn as one: learning curves with bands, and scores by core and task."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from memagents.experiments.configuration import check_folder, of_run
from memagents.experiments.evaluation import AGENT, FEW_SEEDS, MEASURES_OF, Interval, mean_interval
from memagents.experiments.evaluation_file import read_means
from memagents.experiments.figures import (
    INK,
    LABELS,
    MEASURES,
    PAPER,
    comparison,
    curve_of,
    cycle,
    dress,
    equal_throughout,
    label_moments,
    legend,
    smooth,
    write,
)
from memagents.runs import layout
from memagents.runs.files import CheckpointError
from memagents.runs.layout import CONFIG_FILE, EVALUATION_FILE, PROGRESS_FILE
from memagents.runs.progress import read_progress

SHARES = ("rollout/success_rate", "train/accuracy")  # of which no interval goes beyond 0 and 1
POINTS = 200  # of a curve


class Band(NamedTuple):
    """A measure over seeds, (N,) each.

    :param places: steps or minutes, as far as all seeds go
    :param mean: over the seeds
    :param low: end of the 95% interval of the mean; of fewer than five seeds, the least of them
    :param high: the other end, or the greatest
    """

    places: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def groups_of(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Group runs that differ in nothing but their seeds; the name of a group is what its folders have in common.

    :raises CheckpointError: if one of them is no run
    :raises ValueError: if one of them is given twice
    """
    groups: dict[str, list[Path]] = {}
    names: dict[str, str] = {}
    for place, folder in enumerate(folders):
        if not folder.is_dir():
            raise CheckpointError(layout.unknown(folder))
        if folder.resolve() in [other.resolve() for other in folders[:place]]:
            raise ValueError(f"runs: {folder} is given twice; each counts as a seed")
        check_folder(folder)
        if not (folder / PROGRESS_FILE).is_file():
            raise CheckpointError(f"{folder} is no run of a training: it has no {PROGRESS_FILE}")
        stem = re.sub(r"[-_]?(seed[-_]?)?\d+$", "", folder.name) or folder.name
        key = f"{stem} {_apart_from_seed(folder)}"
        groups.setdefault(key, []).append(folder)
        names[key] = stem
    counts = list(names.values())
    told = {key: name if counts.count(name) == 1 else str(groups[key][0]) for key, name in names.items()}
    return {told[key]: members for key, members in groups.items()}


def _apart_from_seed(folder: Path) -> str:
    """Return a word for the settings of a run without its seed and its folder."""
    if not (folder / CONFIG_FILE).is_file():
        return ""
    settings = vars(of_run(folder))
    return repr({name: value for name, value in settings.items() if name not in ("seed", "run_dir", "resume")})


def band_of(folders: Sequence[Path], measure: str, over: str = "steps") -> Band | None:
    """Return a measure over the seeds of a group; None if none of them logged it.

    :param measure: a column of ``progress.csv``
    :param over: ``"steps"`` of the environments or ``"minutes"`` of the clock
    :raises ValueError: if some had ended before others began to log it
    """
    return _band(folders, _curves(folders, [measure], over)[measure], measure, over)


def _band(folders: Sequence[Path], logged: Mapping[Path, np.ndarray], measure: str, over: str) -> Band | None:
    """Return :func:`band_of` runs by what each of them logged of the measure, (N, 2)."""
    curves = [logged[folder] for folder in folders if len(logged[folder])]
    if not curves:
        return None
    first, last = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    if first > last:
        names = ", ".join(map(str, folders))
        raise ValueError(f"runs: {names} logged {measure!r} at no {over} in common; draw them one by one")
    places = np.linspace(first, last, POINTS)
    values = np.stack([np.interp(places, curve[:, 0], smooth(curve[:, 1])) for curve in curves])
    if len(values) < FEW_SEEDS:
        return Band(places, values.mean(0), values.min(0), values.max(0))
    intervals = [mean_interval(column) for column in values.T]
    ends = (np.array([getattr(one, end) for one in intervals]) for end in ("mean", "low", "high"))
    return Band(places, *(np.clip(end, 0, 1) if measure in SHARES else end for end in ends))


def _curves(folders: Sequence[Path], measures: Sequence[str], over: str) -> dict[str, dict[Path, np.ndarray]]:
    """Return what each run logged of each measure, as :func:`memagents.experiments.figures.curve_of`."""
    logs = {folder: read_progress(folder / PROGRESS_FILE) for folder in folders}
    return {name: {folder: curve_of(folder, rows, name, over) for folder, rows in logs.items()} for name in measures}


def measures_of(folders: Sequence[Path]) -> list[str]:
    """Return the measures that runs logged, in the order of their columns."""
    rows = [row for folder in folders for row in read_progress(folder / PROGRESS_FILE)]
    return list(dict.fromkeys(name for row in rows for name, value in row.items() if value))


def draw_bands(groups: Mapping[str, Sequence[Path]], measures: Sequence[str], path: Path, over: str = "steps") -> None:
    """Draw measures in the course of training, a panel each: the mean of each group, and its band.

    Success and return share a panel, whose title says so, where they are equal in all runs and at all points.

    :param groups: runs by name, see :func:`groups_of`
    :param measures: columns of ``progress.csv``
    :param path: of the PNG or SVG
    :param over: ``"steps"`` of the environments or ``"minutes"`` of the clock
    :raises ValueError: if no run logged one of the measures
    """
    runs = [folder for folders in groups.values() for folder in folders]
    curves = _curves(runs, measures, over)
    one = set(MEASURES) <= set(measures)
    one = one and equal_throughout([[curves[measure][folder] for measure in MEASURES] for folder in runs])
    measures = [measure for measure in measures if not (one and measure == MEASURES[1])]
    figure = Figure((8, 1 + 2.8 * len(measures)), dpi=130, layout="constrained", facecolor=PAPER)
    axes = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
    for ax, measure in zip(axes, measures, strict=True):
        bands = {name: _band(folders, curves[measure], measure, over) for name, folders in groups.items()}
        if not any(bands.values()):
            there = ", ".join(measures_of(runs))
            raise ValueError(f"measure: no run logged {measure!r}; they logged {there}")
        for colour, band in zip(cycle(len(groups)), bands.values(), strict=True):
            if band is not None:
                ax.fill_between(band.places, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
                ax.plot(band.places, band.mean, color=colour, linewidth=2, solid_capstyle="round")
        dress(ax, LABELS.get(measure, measure.split("/")[-1].replace("_", " ")))
        if one and measure == MEASURES[0]:
            of = "in all runs" if len(runs) > 1 else "throughout"
            ax.set_title(f"success and return, which are equal {of}", loc="left", color=INK, fontsize=9)
    begun = {folder for folder in runs if any(len(curves[measure][folder]) for measure in measures)}
    legend(figure, [f"{name} ({_seeds(begun & {*folders})})" for name, folders in groups.items()])
    label_moments(axes[-1], over)
    write(figure, path)


def _seeds(folders: Collection[Path]) -> str:
    """Return how many runs a curve is of, without those that have logged nothing yet."""
    return "1 seed" if len(folders) == 1 else f"{len(folders)} seeds"


def draw_scores(groups: Mapping[str, Sequence[Path]], path: Path) -> None:
    """Draw what evaluations found, a group of bars for each environment, in it one for each core or other group.

    The bar is the mean over seeds, with its 95% interval, or from the least to the greatest of fewer than five.

    :param groups: runs by name, see :func:`groups_of`, each evaluated
    :param path: of the PNG or SVG
    :raises CheckpointError: if a run was not evaluated
    """
    found: dict[str, dict[str, Interval]] = {}
    measures = set()
    for name, folders in groups.items():
        evaluations = [_evaluation(folder) for folder in folders]
        for env in dict.fromkeys(own for own, _ in evaluations):
            measure, values = _scores([means for own, means in evaluations if own == env])
            measures.add(measure)
            interval = mean_interval(values) if len(values) >= FEW_SEEDS else None
            found.setdefault(env, {})[name] = interval or Interval(values.mean(), values.min(), values.max())
    comparison(found, path, measures.pop() if len(measures) == 1 else "success or return")


def _evaluation(folder: Path) -> tuple[str, dict[str, float]]:
    """Read the environment that a run was evaluated in, and its agent's mean success (if it has one) and return.

    :raises CheckpointError: if there is none, or its means are no finite numbers
    """
    env, means = read_means(folder, [AGENT])
    finite = {field: mean for field, mean in means[AGENT].items() if mean is not None and np.isfinite(mean)}
    if finite != means[AGENT]:
        raise CheckpointError(f"{folder / EVALUATION_FILE}: the scores of {AGENT!r} are not finite numbers")
    return env, finite


def _scores(means: Sequence[dict[str, float]]) -> tuple[str, np.ndarray]:
    """Return success, or the return where an environment knows none, and its means, one for each evaluation."""
    field = "success" if all("success" in one for one in means) else "returns"
    return MEASURES_OF[field], np.array([one[field] for one in means])
