"""Command ``memagents compare``: which memory serves a task."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from memagents.command_line.errors import plain_errors
from memagents.experiments.cluster import pool_of
from memagents.experiments.comparison import (
    FIGURE_FILE,
    RESULTS_FILE,
    TABLE_FILE,
    ComparisonSettings,
    Trial,
    claim,
    trials,
)
from memagents.experiments.jobs import only_one, run_jobs
from memagents.experiments.options import parse_options
from memagents.runs.files import write_bytes, write_json

if TYPE_CHECKING:
    from memagents.experiments.comparison_results import Comparison

PROG = "memagents compare"


def main(argv: Sequence[str] | None = None) -> None:
    """Compare memories on one environment.

    :param argv: the words after ``compare``; by default those of this process
    """
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    with plain_errors(ValueError, OSError, KeyboardInterrupt):
        settings = parse_options(ComparisonSettings, words[:end], PROG)
        compare(replace(settings, words=tuple(words[end + 1 :])))


def compare(settings: ComparisonSettings) -> Comparison:
    """Run a comparison, or go on with it, and show what came of it; exit code 1 if a training failed.

    :return: the results
    :raises ValueError: for an environment, a core or a setting that there is not, before anything is trained
    """
    core_kwargs = checked(settings)
    claim(settings)
    with only_one(settings.place):
        given = trials(settings, core_kwargs)
        run(settings, given)
    found = show(settings, given)
    if any(row.failed for row in found.rows):
        raise SystemExit(1)
    return found


def checked(settings: ComparisonSettings) -> dict[str, dict[str, Any]]:
    """Make an agent of every core, without training it, and return the cores' parameters.

    :raises ValueError: for what cannot be trained
    """
    from memagents.experiments.rehearsal import Rehearsal
    from memagents.experiments.sizing import sized

    rehearsal, found = Rehearsal(settings.env, settings.env_kwargs, settings.imports, settings.algorithm), {}
    for core in settings.cores:
        shared = rehearsal.settings([*settings.words, "--core", core])
        rehearsal.weights(shared)
        found[core] = shared.core_kwargs
        if settings.parameters is not None:
            weights = partial(rehearsal.weights, shared)
            found[core] = sized(core, shared.core_kwargs, settings.parameters, weights)
    return found


def run(settings: ComparisonSettings, given: Sequence[Trial]) -> None:
    """Run what is not done yet, beside a table that shows how far it is."""
    from rich.console import Console
    from rich.live import Live

    from memagents.experiments.comparison_report import progress_table

    console = Console(stderr=True)
    jobs = [job for trial in sorted(given, key=lambda trial: trial.learning_rate) for job in trial.jobs]
    jobs.sort(key=lambda job: int(job.folder.name.removeprefix("seed-")))  # a first answer comes early
    pool = pool_of(settings.processes, settings.ray)
    with Live(console=console, refresh_per_second=1, transient=True) as live:
        run_jobs(jobs, pool, lambda: live.update(progress_table(given, settings.total_timesteps)))


def show(settings: ComparisonSettings, given: Sequence[Trial]) -> Comparison:
    """Print the table of results, and leave it with the figure and the numbers in the folder."""
    from rich.console import Console

    from memagents.experiments.comparison_report import draw_comparison, print_results, results_markdown, seeds
    from memagents.experiments.comparison_results import results

    comparison, folder = results(given), settings.place
    write_json(folder / RESULTS_FILE, comparison.to_json(settings))
    write_bytes(folder / TABLE_FILE, results_markdown(comparison).encode())
    made = [TABLE_FILE, RESULTS_FILE]
    if comparison.chosen():
        draw_comparison(comparison, folder / FIGURE_FILE)
        made.append(FIGURE_FILE)
    print_results(comparison, Console())
    print("\n".join(seeds(comparison)))
    print(f"{', '.join(made)} and all runs are in {folder}")
    return comparison
