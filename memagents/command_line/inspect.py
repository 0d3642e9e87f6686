"""Command ``memagents inspect``: a page that shows what the memory of a run's agent does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from memagents.checks import path_ending, positive_int
from memagents.command_line.errors import plain_errors
from memagents.experiments.evaluation_settings import PlaySettings
from memagents.experiments.options import parse_options


@dataclass(kw_only=True)
class InspectCommand(PlaySettings):
    """Play episodes of a run's agent, and write a page that shows them with all that its memory did.

    The page is one file that needs no network and no server; the recording it is made of stays in the run's folder.

    :param run: folder of the run
    :param against: folder of another run, which plays the same episodes and is shown beside it
    :param episodes: episodes to play and to show
    :param stochastic: act by sampled actions, as in training, instead of the most likely ones
    :param max_steps: steps of each episode that the page shows at most; the recording has them all
    :param change: do this to each place of the memory (slot, entry or unit) before each step, and show by how much the
        policy departs; and what return the first episode loses, but for freeze and sampled actions, and where the
        environment can be restored, as those of memenvs
    :param picture: draw tensors of the first episode's trace to this path, which ends in .png or .svg
    :param tensors: which, such as write_weights read_weights; the page shows all of them, and an unknown name lists
        them
    :param out: path of the page, which ends in .html; by default inspection.html in the run's folder
    :param slots: slots of the memory; by default as many as it was trained with
    :param imports: packages to import first; those that the runs' trainings imported have to be among them
    """

    run: tyro.conf.Positional[Path]
    against: Path | None = None
    episodes: int = 3
    stochastic: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    max_steps: int = 2000
    change: Literal["erase", "noise", "swap", "freeze"] | None = None
    picture: Path | None = None
    tensors: tuple[str, ...] = ()
    out: Path | None = None
    slots: int | None = None
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("max_steps", self.max_steps)
        if (self.picture is None) != (not self.tensors):
            raise ValueError("--picture and --tensors belong together: --picture memory.png --tensors write_weights")
        if self.picture is not None:
            path_ending("--picture", self.picture, ".png", ".svg")
        if self.out is None:
            return
        if self.out.suffix.lower() not in (".html", ".htm") or self.out.is_dir():
            raise ValueError(f"--out must be a path that ends in .html, not {self.out}")
        if not self.out.absolute().parent.is_dir():
            raise ValueError(f"--out: there is no folder {self.out.absolute().parent}")


def main(argv: Sequence[str]) -> None:
    """Inspect a run.

    :param argv: the words after ``inspect``
    """
    with plain_errors(ValueError, FloatingPointError, OSError):
        settings = parse_options(InspectCommand, argv, "memagents inspect")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window opens; pygame complains where it finds no screen
        from memagents.experiments.run import Run
        from memagents.experiments.training import prepare
        from memagents.inspection.played import Played
        from memagents.inspection.run_layers import draw_run
        from memagents.inspection.run_page import inspect_run

        run = Run.open(settings.run)
        against = None if settings.against is None else Run.open(settings.against)
        for one in (run, against):
            if one is not None:
                one.check_imports(settings.imports, settings.env)
        prepare(settings.imports, device=settings.device)
        run.say_unfinished()
        if against is not None:
            against.say_unfinished()
        run.say_what_does_not_apply(settings.env)
        env, env_kwargs = run.evaluation_env(settings.env, settings.env_kwargs, settings.split)
        played = Played(
            env, env_kwargs, settings.episodes, settings.seed, settings.stochastic, settings.slots, settings.device
        )
        found = inspect_run(run, against, played, settings.out, settings.max_steps, settings.change, settings.tensors)
        print(f"the page is {found.page}")
        if settings.picture is not None:
            draw_run(settings.picture, found.recording, settings.tensors, found.forked)
            print(f"the picture is {settings.picture}")
