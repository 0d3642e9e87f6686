"""Command ``memagents health``: what a run's memory is worth, and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from memagents.checks import positive_int
from memagents.command_line.errors import plain_errors
from memagents.experiments.evaluation_settings import PlaySettings
from memagents.experiments.options import parse_options


@dataclass(kw_only=True)
class HealthCommand(PlaySettings):
    """Examine the memory of a run's agent: how it reads and writes, and what the agent is worth when it forgets.

    :param run: folder of the run
    :param steps: steps of each environment by which the memory is examined
    :param ages: steps that memories go back in further evaluations; 0 is one wiped in every step
    :param episodes: episodes of each of these evaluations
    :param imports: packages to import first; those that the run's training imported have to be among them
    """

    run: tyro.conf.Positional[Path]
    steps: int = 256
    ages: tuple[int, ...] = (0, 1, 2, 4, 8, 16)
    episodes: int = 100
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("steps", self.steps)
        if any(age < 0 for age in self.ages):
            raise ValueError(f"ages must be 0 or more steps, not {' '.join(map(str, self.ages))}")


def main(argv: Sequence[str]) -> None:
    """Examine a run.

    :param argv: the words after ``health``
    """
    with plain_errors(ValueError, FloatingPointError, OSError):
        settings = parse_options(HealthCommand, argv, "memagents health")
        from rich.console import Console

        from memagents.experiments.run import Run
        from memagents.experiments.training import prepare
        from memagents.inspection.health import examine_run

        run = Run.open(settings.run)
        run.check_imports(settings.imports, settings.env)
        prepare(settings.imports, device=settings.device)
        run.say_unfinished()
        run.say_what_does_not_apply(settings.env)
        env, env_kwargs = run.evaluation_env(settings.env, settings.env_kwargs, settings.split)
        how = {name: getattr(settings, name) for name in ("steps", "ages", "episodes", "seed", "device")}
        Console().print(examine_run(run, env, env_kwargs, **how).table())
