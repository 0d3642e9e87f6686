"""Command ``memagents evaluate``: a run's agent beside a random agent, a random walk and the oracle."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from memagents.checks import positive_int
from memagents.command_line.errors import plain_errors
from memagents.experiments.settings import EvaluationSettings


@dataclass(kw_only=True)
class EvaluateCommand(EvaluationSettings):
    """Print return, success, SPL and oracle-normalised return of a run's agent, with 95% confidence intervals.

    :param run: folder of the run
    :param imports: packages to import first, beside those that the run imported
    :param json: print JSON and nothing else on the standard output
    :param video: write a GIF of the first episodes to this path
    :param video_episodes: episodes in the GIF
    :param video_fps: pictures a second in the GIF
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


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate a run.

    :param argv: the words after ``evaluate``; by default those of this process
    """
    with plain_errors(ValueError):
        settings = tyro.cli(EvaluateCommand, prog="memagents evaluate", args=sys.argv[1:] if argv is None else argv)
        from memagents.experiments.evaluate_run import evaluate_run, scenes, show_scores
        from memagents.experiments.figures import write_gif
        from memagents.experiments.run import Run
        from memagents.experiments.training import prepare

        run = Run.open(settings.run)
        prepare([*run.imports, *settings.imports], device=settings.device)
        evaluation = evaluate_run(run, settings)
        if settings.json:
            print(json.dumps({"run": str(settings.run), **evaluation.to_json()}, indent=2))
        else:
            show_scores(evaluation)
        if settings.video is not None:
            played = scenes(run, replace(settings, episodes=settings.video_episodes))
            write_gif(played, settings.video, settings.video_fps)
