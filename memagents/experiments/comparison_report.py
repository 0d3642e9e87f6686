"""Comparison of memories for people: its table while it runs and at its end, and its figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.measure import Measurement
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


_ANY_WIDTH = 1000
_LEFT_OUT = ("minutes", "steps/s", "weights", "sampled actions", "interquartile mean")
"""Columns that a narrow screen does without, the first of them first."""


def print_results(comparison: Comparison, console: Console) -> None:
    """Print the table of results: on a screen as many columns as it has room for, into a file all of them."""
    heads, rows = _cells(comparison)
    for number in range(len(_LEFT_OUT) + 1):
        shown = [head for head in heads if head not in ("every seed", *_LEFT_OUT[:number])]
        table = _table(_title(comparison), heads, rows, shown)
        wanted = Measurement.get(console, console.options.update(width=_ANY_WIDTH), table).maximum
        if wanted <= console.width:
            break
        if not console.is_terminal:
            console.width = wanted
            break
    console.print(table)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[str]) -> Table:
    """Return a table of some columns, in two lines rather than on a wide screen."""
    table = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False, padding=(0, 1))
    for head in shown:
        table.add_column(head.replace(" ", "\n"), no_wrap=True)
    for row in rows:
        cells = dict(zip(heads, row, strict=True))
        table.add_row(*(cells[head].replace(" (", "\n(") for head in shown))
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
    notes = "".join(f"- {note}\n" for note in failures(comparison))
    return f"{_title(comparison)}\n\n{table}\n" + (f"\n{notes}" if notes else "")


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
    if any(row.mean is not None for row in comparison.rows):
        of_them = "intervals (95%) are over seeds, by stratified bootstrap"
    else:
        of_them = f"{FEW_SEEDS} seeds would have intervals"
    return f"{comparison.measure} of the most likely actions; {of_them}"


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
