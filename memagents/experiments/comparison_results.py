"""Results of a comparison of memories: what every training came to, with statistics over the seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from memagents.experiments.comparison import ComparisonSettings, Trial
from memagents.experiments.evaluation import AGENT, SAMPLED, Interval
from memagents.experiments.evaluation_file import read_means
from memagents.experiments.jobs import DONE, FAILED, Job
from memagents.experiments.statistics import bootstrap, interquartile_mean, mean, probability_of_improvement
from memagents.runs.agent_files import read_weights
from memagents.runs.files import CheckpointError
from memagents.runs.layout import PROGRESS_FILE
from memagents.runs.progress import SECONDS, logged_number, read_progress

_AGENTS = (AGENT, SAMPLED)
_SOURCES = {"success": ("rollout/success_rate", "success"), "return": ("rollout/ep_rew_mean", "returns")}
"""Of each measure the column of the log, and the field of an evaluation."""
_LAST = 0.1  # share of a training by whose success the learning rate is chosen


@dataclass
class Row:
    """What a core with a learning rate came to, over its seeds.

    ``likely`` and ``sampled`` are scores of the finished seeds by most likely and by sampled actions.
    """

    core: str
    learning_rate: float
    parameters: int | None
    steps_per_second: float | None
    seconds: float | None
    seeds: list[int]
    likely: list[float]
    sampled: list[float]
    at_the_end: list[float | None]  # of training, by which the learning rate is chosen; None where no episode ended
    failed: dict[int, str]
    chosen: bool = False  # whether its learning rate is the core's best
    mean: Interval | None = None
    interquartile: Interval | None = None
    improvement: Interval | None = None  # probability that a run of it beats one of the first core


class Comparison(NamedTuple):
    """Results: the measure, success or return, and a row for each core and learning rate."""

    measure: str
    rows: list[Row]

    def chosen(self) -> list[Row]:
        """Return the row of each core's best learning rate, of those with a finished seed."""
        return [row for row in self.rows if row.chosen]

    def to_json(self, settings: ComparisonSettings) -> dict[str, Any]:
        """Return everything as plain values."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"settings": settings.plain(), "measure": self.measure, "rows": rows}


def results(given: Sequence[Trial]) -> Comparison:
    """Gather what the finished jobs came to, with statistics over the seeds."""
    evaluated = {
        id(job): read_means(job.folder, _AGENTS)[1] for trial in given for job in trial.jobs if job.status == DONE
    }
    alike = evaluated and all("success" in own[name] for own in evaluated.values() for name in _AGENTS)
    measure = "success" if alike else "return"
    rows = [_row(trial, evaluated, measure) for trial in given]
    for core in dict.fromkeys(row.core for row in rows):
        own = [row for row in rows if row.core == core and row.likely]
        if own:
            max(own, key=_standing).chosen = True
    first = next((row for row in rows if row.chosen and row.core == rows[0].core), None)
    for row in rows:
        if row.likely:
            row.mean, row.interquartile = bootstrap(mean, row.likely), bootstrap(interquartile_mean, row.likely)
        if row.chosen and first is not None and row is not first:
            row.improvement = bootstrap(probability_of_improvement, row.likely, first.likely)
    return Comparison(measure, rows)


def _standing(row: Row) -> tuple[float, float]:
    """What the learning rate is chosen by: how training ended or, where it saw no end of an episode, the evaluation."""
    ends = [end for end in row.at_the_end if end is not None]
    return (float(np.mean(ends)) if len(ends) == len(row.likely) else -np.inf, float(np.mean(row.sampled)))


def _scores(job: Job, evaluated: dict[str, Any], measure: str) -> dict[str, Any]:
    """Read what a finished job came to.

    :raises CheckpointError: if its log cannot be read
    """
    path = job.folder / PROGRESS_FILE
    if not (path.is_file() and (progress := read_progress(path))):
        raise CheckpointError(f"{path} must hold the log of a finished training, and holds none")
    column, field = _SOURCES[measure]
    logged = [logged_number(path, row, column) for row in progress if row.get(column)]
    last = progress[-1]
    return {
        **{name: evaluated[name][field] for name in _AGENTS},
        "end": float(np.mean(logged[-max(1, round(_LAST * len(logged))) :])) if logged else None,
        "parameters": _size(job.folder),
        "steps_per_second": logged_number(path, last, "time/fps"),
        "seconds": logged_number(path, last, SECONDS),
    }


def _size(folder: Path) -> int:
    """Return the number of an agent's weights."""
    return sum(weights.numel() for weights in read_weights(folder).values())


def _row(trial: Trial, evaluated: dict[int, dict[str, Any]], measure: str) -> Row:
    failed = {seed: job.reason for seed, job in enumerate(trial.jobs) if job.status == FAILED}
    done = {}
    for seed, job in enumerate(trial.jobs):
        if job.status == DONE:
            own = _scores(job, evaluated[id(job)], measure)
            if None in (own[AGENT], own[SAMPLED]):  # as JSON has what is no number
                failed[seed] = f"its {measure} in the evaluation is not a finite number"
            else:
                done[seed] = own

    def middle(name: str) -> float | None:
        return float(np.median([own[name] for own in done.values()])) if done else None

    return Row(
        trial.core,
        trial.learning_rate,
        next((own["parameters"] for own in done.values()), None),
        middle("steps_per_second"),
        middle("seconds"),
        list(done),
        [own[AGENT] for own in done.values()],
        [own[SAMPLED] for own in done.values()],
        [own["end"] for own in done.values()],
        failed,
    )
