"""Comparison of memories for people: its table while it runs and at its end, and its figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from memagents.experiments.comparison import Trial
from memagents.experiments.comparison_results import Comparison, Row
from memagents.experiments.documents import markdown_table
from memagents.experiments.evaluation import FEW_SEEDS, Interval
from memagents.experiments.figures import COLOURS, INK, PAPER, dress, write
from memagents.experiments.jobs import DONE, FAILED, RUNNING


def progress_table(trials: Sequence[Trial], total_timesteps: int) -> Table:
    """Return the table of a comparison that runs: how far the seeds of each core and learning rate are."""
    table = Table(box=box.SIMPLE)
    for head in ("core", "learning rate", "done", "running", "failed"):
        table.add_column(head)
    for trial in trials:
        by = {status: [job for job in trial.jobs if job.status == status] for status in (DONE, RUNNING, FAILED)}
        shares = ", ".join(f"{min(1.0, job.steps() / total_timesteps):.0%}" for job in by[RUNNING])
        failed = str(len(by[FAILED])) if by[FAILED] else ""
        table.add_row(trial.core, f"{trial.learning_rate:g}", f"{len(by[DONE])}/{len(trial.jobs)}", shares, failed)
    return table


def results_table(comparison: Comparison) -> Table:
    """Return the table of results for a terminal."""
    heads, rows = _cells(comparison)
    table = Table(title=_title(comparison), box=box.SIMPLE, title_justify="left", pad_edge=False, padding=(0, 1))
    for head in heads[:-1]:
        table.add_column(head.replace(" ", "\n"), no_wrap=True)
    for row in rows:
        table.add_row(*(cell.replace(" (", "\n(") for cell in row[:-1]))  # two lines rather than a wide screen
    return table


def seeds(comparison: Comparison) -> list[str]:
    """Return a line for each core and learning rate with the scores of its seeds, and one for each that failed."""
    rows = [row for row in comparison.rows if row.likely]
    lines = [f"{row.core}, learning rate {row.learning_rate:g}: {_seeds(row)}" for row in rows]
    return [*lines, *failures(comparison)]


def results_markdown(comparison: Comparison) -> str:
    """Return the table of results as Markdown, with what failed below it."""
    heads, rows = _cells(comparison)
    table = "\n".join(markdown_table(heads, rows))
    notes = "".join(f"\n- {note}" for note in failures(comparison))
    return f"{_title(comparison)}\n\n{table}\n{notes}"


def failures(comparison: Comparison) -> list[str]:
    """Return a line for each training that failed, with its reason."""
    return [
        f"{row.core}, learning rate {row.learning_rate:g}, seed {seed} failed: {reason}"
        for row in comparison.rows
        for seed, reason in row.failed.items()
    ]


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw every seed of each core's best learning rate as a dot, their mean and its 95% interval beside them."""
    rows = comparison.chosen()
    figure = Figure((max(4.0, 1.5 + 1.1 * len(rows)), 4), dpi=130, layout="constrained", facecolor=PAPER)
    ax = figure.subplots()
    for place, row in enumerate(rows):
        colour = COLOURS[place % len(COLOURS)]
        spread = np.linspace(-0.12, 0.12, len(row.likely)) if len(row.likely) > 1 else np.zeros(1)
        ax.scatter(place - 0.15 + spread, row.likely, color=colour, alpha=0.6, s=26, linewidth=0, zorder=3)
        if row.mean is not None:
            reach = [[row.mean.mean - row.mean.low], [row.mean.high - row.mean.mean]]
            ax.errorbar(place + 0.2, row.mean.mean, reach, color=colour, fmt="o", capsize=4, zorder=3)
    ax.set_xticks(
        range(len(rows)), [f"{row.core}\n{len(row.likely)} seed{'s' * (len(row.likely) > 1)}" for row in rows]
    )
    dress(ax, comparison.measure)
    if comparison.measure == "success":
        ax.set_ylim(-0.02, 1.02)
    ax.set_xlim(-0.6, len(rows) - 0.4)
    beside = ", and the mean with its 95% interval" if any(row.mean is not None for row in rows) else ""
    ax.set_title(f"every seed{beside}", loc="left", color=INK, fontsize=9)
    write(figure, path)


def _title(comparison: Comparison) -> str:
    return f"{comparison.measure} of the most likely actions; intervals (95%) are over seeds, by stratified bootstrap"


def _cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    first = comparison.rows[0].core
    many = len({row.learning_rate for row in comparison.rows}) > 1
    heads = ["core", "learning rate", "weights", "mean", "interquartile mean", "sampled actions"]
    heads += [f"better than {first}", "steps/s", "minutes", "every seed"]
    rows = []
    for row in comparison.rows:
        rate = f"{row.learning_rate:g}" + (" (best)" if many and row.chosen else "")
        sampled = f"{np.mean(row.sampled):.3f}" if row.sampled else ""
        cells = [row.core, rate, _number(row.parameters), _mean(row), _interval(row.interquartile), sampled]
        minutes = "" if row.seconds is None else f"{row.seconds / 60:.1f}"
        rows.append([*cells, _interval(row.improvement), _number(row.steps_per_second), minutes, _seeds(row)])
    return heads, rows


def _seeds(row: Row) -> str:
    return ", ".join(f"{score:.3f}" for score in row.likely) or "none finished"


def _mean(row: Row) -> str:
    """The mean with its interval, or of how few seeds it is."""
    if not row.likely:
        return ""
    if row.mean is not None:
        return _interval(row.mean)
    assert len(row.likely) < FEW_SEEDS
    return f"{np.mean(row.likely):.3f} ({len(row.likely)} seed{'s' * (len(row.likely) > 1)})"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
