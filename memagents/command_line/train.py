"""Command ``memagents train``: an agent from its settings to a run folder with scores and pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memagents.command_line.errors import plain_errors
from memagents.command_line.help import short_help
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line, gone_on_with
from memagents.experiments.settings import TrainSettings, WindowSettings
from memagents.runs.layout import EVALUATION_FILE

if TYPE_CHECKING:
    from stable_baselines3.common.callbacks import BaseCallback

USAGE = f"""usage: memagents train {{{",".join(ALGORITHMS)}}} [--setting value …]

  ppo      proximal policy optimisation through a memory
  imitate  imitation of the environment's oracle: behaviour cloning, DAgger
  distill  another run's policy, put into one of another memory
  nec      Neural Episodic Control
  mfec     Model-Free Episodic Control, the table without gradients

memagents train ppo --help shows the settings."""


def main(argv: Sequence[str]) -> None:
    """Train by the algorithm that the first word names, then evaluate.

    :param argv: the words after ``train``
    """
    name, words = argv[0] if argv else "", argv[1:]
    if name in ("", "-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if name else 2)
    with plain_errors(ValueError, OSError, KeyboardInterrupt):
        if name not in ALGORITHMS:
            raise ValueError(f"train must be followed by one of {', '.join(ALGORITHMS)}, not {name!r}")
    _train_by(name, words, f"memagents train {name}")


def distill(argv: Sequence[str]) -> None:
    """Do as ``memagents train distill``.

    :param argv: the words after ``distill``
    """
    _train_by("distill", argv, "memagents distill")


def _train_by(name: str, words: Sequence[str], command: str) -> None:
    kind = ALGORITHMS[name].settings
    if {"-h", "--help"} & set(words):
        print(short_help(kind, command))
        return
    with plain_errors(ValueError, OSError, KeyboardInterrupt):
        settings = command_line(kind, ["--help" if word == "--help-all" else word for word in words])
        train(begun_again(settings) if restarted() else settings)


def train(settings: TrainSettings) -> None:
    """Train an agent, or go on with a run, then evaluate.

    :raises ValueError: for what is wrong with the settings, before there is a run folder
    """
    from memagents import ranks

    # Loaded late, so that help and mistakes in the settings are shown at once.
    from memagents.experiments.curriculum import CurriculumError
    from memagents.experiments.evaluate_run import show_evaluation
    from memagents.experiments.lessons import make_curriculum
    from memagents.experiments.run import Run
    from memagents.experiments.training import finished, learn, make_agent, prepare

    prepare(settings.imports if settings.resume is None else settings.packages, settings.threads, settings.device)
    folder = None if settings.resume is None else Path(settings.resume)
    if folder is not None and finished(folder, settings):
        if (folder / EVALUATION_FILE).is_file() or not settings.eval_episodes:
            return
    else:
        with ranks.joined(settings.device):
            curriculum = make_curriculum(settings)  # makes the environments, lesson after lesson
            agent = make_agent(settings, curriculum)
            with plain_errors(FloatingPointError, CurriculumError, OSError):
                learn(agent, settings, curriculum, callbacks_of(settings))  # with a progress bar; Ctrl-C saves
            folder = agent.run_dir
    if folder is not None:
        show_evaluation(Run.open(folder), settings.eval_episodes, settings.device)


def restarted() -> bool:
    """Return whether ``torchrun`` has begun this process again, after one of them ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def begun_again(settings: TrainSettings) -> TrainSettings:
    """Return the settings with which a training that lost a process goes on from its last checkpoint.

    A run that other settings have begun is left as it is.

    :raises ValueError: if they name no folder of the run, so that it is not known
    """
    if settings.resume is None and settings.run_dir is None:
        raise ValueError("run_dir must be given, or a training that torchrun begins again does not find its checkpoint")
    return gone_on_with(settings)


def callbacks_of(settings: TrainSettings) -> list[BaseCallback]:
    """Return what watches a training, as its settings ask for."""
    if not (isinstance(settings, WindowSettings) and settings.health_interval):
        return []
    from memagents.inspection.health import HealthCallback

    return [HealthCallback(settings.health_interval)]
