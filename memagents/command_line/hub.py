"""Commands ``memagents push`` and ``memagents pull``: run folders to and from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from memagents.command_line.errors import plain_errors
from memagents.experiments.options import parse_options


@dataclass(kw_only=True)
class PushCommand:
    """Upload a run folder to the Hugging Face Hub, with a model card made of it.

    :param run: folder of the run
    :param repo: user/name; it is made where there is none
    :param private: let only its owner see a repository that is made
    :param checkpoint: upload what is needed to go on with the training, too
    :param license: of the policy, as the Hub names licences, such as mit
    """

    run: tyro.conf.Positional[Path]
    repo: tyro.conf.Positional[str]
    private: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    checkpoint: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    license: str | None = None


@dataclass(kw_only=True)
class PullCommand:
    """Make a run folder of a repository on the Hugging Face Hub that memagents push filled.

    :param repo: user/name
    :param run_dir: folder to make
    :param revision: a branch, tag or commit; by default the newest
    """

    repo: tyro.conf.Positional[str]
    run_dir: tyro.conf.Positional[Path]
    revision: str | None = None


def push(argv: Sequence[str]) -> None:
    """Upload a run.

    :param argv: the words after ``push``
    """
    with plain_errors(ValueError, OSError):
        settings = parse_options(PushCommand, argv, "memagents push")
        from memagents.experiments import hub
        from memagents.experiments.run import Run

        run = Run.open(settings.run)
        run.say_unfinished()
        print(hub.push(run, settings.repo, settings.private, settings.checkpoint, settings.license))


def pull(argv: Sequence[str]) -> None:
    """Download a run.

    :param argv: the words after ``pull``
    """
    with plain_errors(ValueError, OSError):
        settings = parse_options(PullCommand, argv, "memagents pull")
        from memagents.experiments import hub

        run = hub.pull(settings.repo, settings.run_dir, settings.revision)
        print(f"{run.folder}: evaluate it with memagents evaluate {run.folder}")
