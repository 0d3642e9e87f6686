"""Command ``memagents health``: what a run's memory is worth, and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from memagents.checks import positive_int
from memagents.command_line.errors import plain_errors
from memagents.experiments.options import Pairs, parse_options
from memagents.experiments.settings import EVALUATION_SEED


@dataclass(kw_only=True)
class HealthCommand:
    """Examine the memory of a run's agent: how it reads and writes, and what the agent is worth when it forgets.

    :param run: folder of the run
    :param env: id of an environment with the run's spaces, or "package:Id"; by default the run's own, as in its last
        lesson
    :param env_kwargs: its parameters, as key=value with values in YAML; they add to the run's where --env is the run's
    :param split: levels to play; by default test, where the environment has splits
    :param steps: steps of each environment by which the memory is examined
    :param ages: steps that memories go back in further evaluations; 0 is one wiped in every step
    :param episodes: episodes of each of these evaluations
    :param seed: seed of the environments and of sampled actions
    :param device: auto, cpu, cuda or cuda:N
    :param imports: packages to import first, beside those that the run imported
    """

    run: tyro.conf.Positional[Path]
    env: str | None = None
    env_kwargs: Pairs = field(default_factory=dict)
    split: Literal["train", "test"] | None = None
    steps: int = 256
    ages: tuple[int, ...] = (0, 1, 2, 4, 8, 16)
    episodes: int = 100
    seed: int = EVALUATION_SEED
    device: str = "auto"
    imports: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> None:
    """Examine a run.

    :param argv: the words after ``health``
    """
    with plain_errors(ValueError):
        settings = parse_options(HealthCommand, argv, "memagents health")
        positive_int("episodes", settings.episodes)
        positive_int("steps", settings.steps)
        if any(age < 0 for age in settings.ages):
            raise ValueError(f"ages must be 0 or more steps, not {' '.join(map(str, settings.ages))}")
        from rich.console import Console

        from memagents.experiments.run import Run
        from memagents.experiments.training import prepare
        from memagents.inspection.health import examine_run

        run = Run.open(settings.run)
        prepare([*run.imports, *settings.imports], device=settings.device)
        run.say_what_does_not_apply(settings.env)
        env, env_kwargs = run.evaluation_env(settings.env, settings.env_kwargs, settings.split)
        how = {name: getattr(settings, name) for name in ("steps", "ages", "episodes", "seed", "device")}
        Console().print(examine_run(run, env, env_kwargs, **how).table())
