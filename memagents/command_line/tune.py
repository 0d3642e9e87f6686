"""Command ``memagents tune``: hyperparameters for one environment and one memory."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from memagents.command_line.errors import plain_errors
from memagents.experiments.jobs import Job, only_one
from memagents.experiments.options import as_words, parse_options
from memagents.experiments.tuning import STUDY_FILE, TuningSettings, best, claim, failures, search

if TYPE_CHECKING:
    import optuna


def main(argv: Sequence[str]) -> None:
    """Search for hyperparameters.

    :param argv: the words after ``tune``
    """
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    with plain_errors(ValueError, OSError, KeyboardInterrupt):
        settings = parse_options(TuningSettings, words[:end], "memagents tune")
        tune(replace(settings, words=tuple(words[end + 1 :])))


def tune(settings: TuningSettings) -> None:
    """Run a search, or go on with it, and print the best settings as a command.

    :raises ValueError: for an environment, a core or a setting that there is not, before anything is trained
    """
    if importlib.util.find_spec("optuna") is None:
        raise ValueError("tune needs Optuna: pip install optuna")
    check(settings)
    claim(settings)
    with only_one(settings.place):
        study = _watched(settings)
    found, failed = best(study), failures(study)
    for number, reason in failed.items():
        print(f"trial {number} failed: {reason}")
    if found is None:
        raise ValueError(f"no trial has finished; what each of them printed is in {settings.place}/trial-*.log")
    score, chosen = found
    options = shlex.join(word for name, value in chosen.items() for word in as_words(name, value))
    print(f"best of the finished trials: {score:.3f} by sampled actions, with {options}")
    print(f"all of them are in {settings.place}; {STUDY_FILE} is Optuna's, for its dashboard too")


def check(settings: TuningSettings) -> None:
    """Make the environment, and agents with every value that is searched (of a range its ends), without training.

    :raises ValueError: for what cannot be trained
    """
    from memagents.experiments.rehearsal import Rehearsal

    rehearsal = Rehearsal(settings.env, settings.env_kwargs, settings.imports)
    own = {"core": settings.core, **{name: values[0] for name, values in settings.searched.items()}}
    tried = [own, *({**own, name: value} for name, values in settings.searched.items() for value in values[1:])]
    for one in tried:
        words = [word for name, value in one.items() for word in as_words(name, value)]
        rehearsal.weights(rehearsal.settings([*settings.words, *words]))


def _watched(settings: TuningSettings) -> optuna.Study:
    """Run the search beside a table that shows how far it is."""
    from rich import box
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    with Live(console=Console(stderr=True), refresh_per_second=1, transient=True) as live:

        def show(study: optuna.Study, running: Sequence[Job]) -> None:
            table = Table(box=box.SIMPLE)
            for head in ("trials", "ended early", "failed", "running", "best"):
                table.add_column(head)
            states = [trial.state.name for trial in study.trials]
            shares = ", ".join(f"{min(1.0, job.steps() / settings.total_timesteps):.0%}" for job in running)
            found = best(study)
            counts = (
                f"{states.count('COMPLETE')}/{settings.trials}",
                *(str(states.count(s)) for s in ("PRUNED", "FAIL")),
            )
            table.add_row(*counts, shares, "" if found is None else f"{found[0]:.3f}")
            live.update(table)

        return search(settings, show)
