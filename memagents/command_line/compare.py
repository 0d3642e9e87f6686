"""Command ``memagents compare``: which memory serves a task."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from memagents.command_line.errors import plain_errors
from memagents.experiments.comparison import (
    FIGURE_FILE,
    RESULTS_FILE,
    TABLE_FILE,
    ComparisonSettings,
    Trial,
    claim,
    trials,
)
from memagents.experiments.configuration import command_line
from memagents.experiments.jobs import only_one, run_jobs
from memagents.experiments.options import parse_options
from memagents.experiments.settings import PPOSettings
from memagents.runs.files import write_bytes, write_json

PROG = "memagents compare"


def main(argv: Sequence[str] | None = None) -> None:
    """Compare memories on one environment.

    :param argv: the words after ``compare``; by default those of this process
    """
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    with plain_errors(ValueError, KeyboardInterrupt):
        settings = parse_options(ComparisonSettings, words[:end], PROG)
        compare(replace(settings, words=tuple(words[end + 1 :])))


def compare(settings: ComparisonSettings) -> None:
    """Run a comparison, or go on with it, and show what came of it.

    :raises ValueError: for an environment, a core or a setting that there is not, before anything is trained
    """
    core_kwargs = checked(settings)
    claim(settings)
    with only_one(settings.place):
        given = trials(settings, core_kwargs)
        run(settings, given)
    show(settings, given)


def checked(settings: ComparisonSettings) -> dict[str, dict[str, Any]]:
    """Make an agent of every core, without training it, and return the cores' parameters.

    :raises ValueError: for what cannot be trained
    """
    from memagents.algorithms.ppo import RecurrentPPO
    from memagents.cores import core_class
    from memagents.environments.make import make_env
    from memagents.experiments.sizing import sized
    from memagents.experiments.training import prepare

    prepare(settings.imports, 1)
    env = make_env(settings.env, 1, **settings.env_kwargs)
    found = {}
    for core in settings.cores:
        core_class(core)
        shared = command_line(PPOSettings, [*settings.words, "--env", settings.env, "--core", core])
        arguments = {**shared.hyperparameters(), "n_minibatches": None, "device": "cpu"}

        def weights(kwargs: dict[str, Any], arguments: dict[str, Any] = arguments) -> int:
            policy_kwargs = {**arguments["policy_kwargs"], "core_kwargs": kwargs}
            agent = RecurrentPPO("MlpPolicy", env, **{**arguments, "policy_kwargs": policy_kwargs})
            return sum(parameter.numel() for parameter in agent.policy.parameters())

        weights(shared.core_kwargs)
        found[core] = shared.core_kwargs
        if settings.parameters is not None:
            found[core] = sized(core, shared.core_kwargs, settings.parameters, weights)
    env.close()
    return found


def run(settings: ComparisonSettings, given: Sequence[Trial]) -> None:
    """Run what is not done yet, beside a table that shows how far it is."""
    from rich.console import Console
    from rich.live import Live

    from memagents.experiments.comparison_report import progress_table

    console = Console(stderr=True)
    jobs = [job for trial in sorted(given, key=lambda trial: trial.learning_rate) for job in trial.jobs]
    jobs.sort(key=lambda job: int(job.folder.name.removeprefix("seed-")))  # a first answer comes early
    with Live(console=console, refresh_per_second=1, transient=True) as live:
        run_jobs(
            *(jobs, settings.processes or os.cpu_count() or 1),
            lambda: live.update(progress_table(given, settings.total_timesteps)),
        )


def show(settings: ComparisonSettings, given: Sequence[Trial]) -> None:
    """Print the table of results, and leave it with the figure and the numbers in the folder."""
    from rich.console import Console

    from memagents.experiments.comparison_report import draw_comparison, results_markdown, results_table, seeds
    from memagents.experiments.comparison_results import results

    comparison, folder = results(given), settings.place
    write_json(folder / RESULTS_FILE, comparison.to_json(settings))
    write_bytes(folder / TABLE_FILE, results_markdown(comparison).encode())
    if comparison.chosen():
        draw_comparison(comparison, folder / FIGURE_FILE)
    Console().print(results_table(comparison))
    print("\n".join(seeds(comparison)))
    print(f"{TABLE_FILE}, {RESULTS_FILE}, {FIGURE_FILE} and all runs are in {folder}")
