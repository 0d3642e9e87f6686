"""Command ``memagents evaluate``: a run's agent beside a random agent, a random walk and the oracle."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from memagents.checks import in_range, path_ending, positive_int
from memagents.command_line.errors import plain_errors
from memagents.experiments.evaluation_settings import EvaluationSettings
from memagents.experiments.options import parse_options

if TYPE_CHECKING:
    from memagents.experiments.run import Run


@dataclass(kw_only=True)
class EvaluateCommand(EvaluationSettings):
    """Print return, success, SPL and oracle-normalised return of a run's agent, with 95% confidence intervals.

    :param run: folder of the run
    :param imports: packages to import first; those that the run's training imported have to be among them
    :param json: print JSON and nothing else on the standard output
    :param video: write a film of the first episodes to this path, which ends in .gif
    :param video_episodes: episodes in the film
    :param video_fps: pictures a second in the film, from 0.01 to 100
    """

    run: tyro.conf.Positional[Path]
    imports: tuple[str, ...] = ()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    video: Path | None = None
    video_episodes: int = 5
    video_fps: float = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("video_episodes", self.video_episodes)
        in_range("video_fps", self.video_fps, 0.01, 100)  # a GIF counts hundredths of a second, and up to 655 seconds
        if self.video is not None:
            path_ending("--video", self.video, ".gif")
            if self.over:
                raise ValueError("--video is of one environment: leave out --over, and give its value by --env-kwargs")


def main(argv: Sequence[str]) -> None:
    """Evaluate a run.

    :param argv: the words after ``evaluate``
    """
    with plain_errors(ValueError, FloatingPointError, OSError):
        settings = parse_options(EvaluateCommand, argv, "memagents evaluate")
        from memagents.experiments.evaluate_run import check_filmed, evaluate_run, show_scores
        from memagents.experiments.run import Run
        from memagents.experiments.training import prepare

        run = Run.open(settings.run)
        run.check_imports(settings.imports, settings.env)
        prepare(settings.imports, device=settings.device)
        run.say_unfinished()
        run.say_what_does_not_apply(settings.env)
        if settings.over:
            over(run, settings)
            return
        if settings.video is not None:
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window opens; pygame complains of a missing screen
            check_filmed(run, settings)  # before anything is played
        evaluation = evaluate_run(run, settings)
        if settings.json:
            print(json.dumps({"run": str(settings.run), **evaluation.to_json()}, indent=2))
        else:
            show_scores(evaluation)
        if settings.video is not None:
            film(run, settings, settings.video)


def over(run: Run, settings: EvaluateCommand) -> None:
    """Print and draw a run's scores over the values of a parameter, and leave them in its folder."""
    from memagents.experiments.evaluate_run import evaluate_over, show_over
    from memagents.runs.files import write_json

    evaluations = evaluate_over(run, settings)
    found = {"run": str(settings.run), "over": settings.over, "evaluations": [e.to_json() for e in evaluations]}
    if settings.json:
        print(json.dumps(found, indent=2))
        return
    stem = f"over_{next(iter(settings.over))}"
    show_over(evaluations, settings.over, run.outputs / f"{stem}.png")
    write_json(run.outputs / f"{stem}.json", found)
    print(f"{stem}.png and {stem}.json are in {run.outputs}")


def film(run: Run, settings: EvaluateCommand, path: Path) -> None:
    """Write the film of a run's episodes, and say where it is."""
    from memagents.experiments.evaluate_run import scenes
    from memagents.experiments.figures import write_gif

    write_gif(scenes(run, replace(settings, episodes=settings.video_episodes)), path, settings.video_fps)
    print(f"the film is in {path}", file=sys.stderr if settings.json else sys.stdout)
