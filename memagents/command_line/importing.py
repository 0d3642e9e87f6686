"""Command ``memagents import``: a run folder made of an agent that sb3-contrib's RecurrentPPO saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from memagents.command_line.errors import plain_errors
from memagents.experiments.options import Pairs, parse_options


@dataclass(kw_only=True)
class ImportCommand:
    """Make a run folder of an agent that sb3-contrib's RecurrentPPO saved; it acts and values as it did.

    :param archive: the file, such as model.zip
    :param env: id of an environment of the spaces that it was trained in; "package:Id" imports the package
    :param env_kwargs: its parameters
    :param run_dir: folder to make
    :param trust: that the file is from somebody you trust: the tensors in it are a pickle, of torch's restricted kind
    :param imports: packages to import first, for the environments they register
    """

    archive: tyro.conf.Positional[Path]
    env: str
    run_dir: Path
    env_kwargs: Pairs = field(default_factory=dict)
    trust: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    imports: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> None:
    """Import an agent.

    :param argv: the words after ``import``
    """
    with plain_errors(ValueError, OSError):
        settings = parse_options(ImportCommand, argv, "memagents import")
        from memagents.experiments.from_sb3_contrib import import_run
        from memagents.experiments.training import prepare

        prepare(settings.imports)
        import_run(settings.archive, settings.env, settings.env_kwargs, settings.run_dir, settings.trust)
        print(f"{settings.run_dir}: evaluate it with memagents evaluate {settings.run_dir} --env {settings.env}")
