"""Command ``memagents export``: one step of a run's policy as a file that needs no memagents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from memagents.checks import path_ending
from memagents.command_line.errors import plain_errors
from memagents.experiments.options import parse_options


@dataclass(kw_only=True)
class ExportCommand:
    """Write one step of a run's policy to a file for ONNX Runtime or for torch.export.load, held against the policy.

    The file takes observations as the environment gives them, and gives back actions, values and the memory's state.

    :param run: folder of the run, or pretrained:NAME
    :param path: of the file, which ends in .onnx or .pt2
    :param slots: slots of the memory; by default as many as it was trained with
    :param imports: packages to import first; those that the run's training imported have to be among them
    """

    run: tyro.conf.Positional[Path]
    path: tyro.conf.Positional[Path]
    slots: int | None = None
    imports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        path_ending("path", self.path, ".onnx", ".pt2")


def main(argv: Sequence[str]) -> None:
    """Export a run.

    :param argv: the words after ``export``
    """
    with plain_errors(ValueError, OSError):
        settings = parse_options(ExportCommand, argv, "memagents export")
        from memagents.experiments.run import Run
        from memagents.experiments.training import prepare
        from memagents.export import export_run

        run = Run.open(settings.run)
        run.check_imports(settings.imports)
        prepare(settings.imports)
        run.say_unfinished()
        path, difference = export_run(run, settings.path, settings.slots)
        checked = "not checked, since onnxruntime is not installed"
        if difference is not None:
            checked = f"over 200 steps of 4 environments within {difference.size:.1e} of the policy"
            if difference.ties:
                checked += f", but for {difference.ties} in which rounding decides what the memory does"
        print(f"the policy is in {path}: {checked}")
