"""Command ``memagents plot``: runs as learning curves with bands over their seeds, or as scores by core and task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from memagents.checks import path_ending
from memagents.command_line.errors import plain_errors
from memagents.experiments.options import parse_options, some_words


@dataclass(kw_only=True)
class PlotCommand:
    """Draw runs; those that differ in nothing but their seeds are one curve with a band.

    :param runs: folders of runs
    :param measures: columns of their progress.csv, such as rollout/success_rate, health/use or train/entropy_loss; by
        default success and return, as far as they were logged, in one panel where they are equal
    :param over: steps of the environments or minutes of the clock
    :param scores: draw what their evaluations found instead, by environment and core
    :param out: path of the picture, which ends in .png or .svg
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    measures: Annotated[tuple[str, ...], some_words("measures", "memagents plot RUN --measures health/use")] = ()
    over: Literal["steps", "minutes"] = "steps"
    scores: bool = False
    out: Path = Path("plot.png")

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs must be one folder of a run at least: memagents plot runs/lstm-* runs/gru-*")
        if len(set(self.measures)) < len(self.measures):
            raise ValueError(f"measures must each be given once, not {' '.join(self.measures)}")
        path_ending("--out", self.out, ".png", ".svg")


def main(argv: Sequence[str]) -> None:
    """Draw runs.

    :param argv: the words after ``plot``
    """
    with plain_errors(ValueError, OSError):
        settings = parse_options(PlotCommand, argv, "memagents plot")
        from memagents.experiments.figures import MEASURES
        from memagents.experiments.seeds import draw_bands, draw_scores, groups_of, measures_of

        groups = groups_of(settings.runs)
        if settings.scores:
            draw_scores(groups, settings.out)
        else:
            logged = measures_of(settings.runs)
            measures = settings.measures or tuple(name for name in MEASURES if name in logged)
            if not logged:
                raise ValueError(f"runs: nothing has been logged yet by {', '.join(map(str, settings.runs))}")
            if not measures:
                raise ValueError(f"--measures must be given: the runs logged {', '.join(logged)}")
            draw_bands(groups, measures, settings.out, settings.over)
        print(f"the picture is in {settings.out}")
