"""Command ``memagents train``: an agent from its settings to a run folder with scores and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from memagents.command_line.errors import plain_errors
from memagents.command_line.help import short_help
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line

USAGE = f"""usage: memagents train {{{",".join(ALGORITHMS)}}} [--setting value …]

  ppo      proximal policy optimisation through a memory
  imitate  imitation of the environment's oracle: behaviour cloning, DAgger
  nec      Neural Episodic Control
  mfec     Model-Free Episodic Control, the table without gradients

memagents train ppo --help shows the settings."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train by the algorithm that the first word names.

    :param argv: the words after ``train``; by default those of this process
    """
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else ""
    if name in ("", "-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if name else 2)
    with plain_errors(ValueError):
        if name not in ALGORITHMS:
            raise ValueError(f"train must be followed by one of {', '.join(ALGORITHMS)}, not {name!r}")
    train(name, words[1:])


def train(name: str, argv: Sequence[str] | None = None) -> None:
    """Train by one algorithm, then evaluate.

    :param name: one of :data:`memagents.experiments.catalogue.ALGORITHMS`
    :param argv: its settings; by default the words of this process
    """
    words = list(sys.argv[1:] if argv is None else argv)
    kind = ALGORITHMS[name].settings
    if {"-h", "--help"} & set(words):
        print(short_help(kind, f"memagents train {name}"))
        return
    with plain_errors(ValueError):
        settings = command_line(kind, ["--help" if word == "--help-all" else word for word in words])
        # Loaded late, so that help and mistakes in the settings are shown at once.
        from memagents.experiments.evaluate_run import show_evaluation
        from memagents.experiments.lessons import make_curriculum
        from memagents.experiments.run import Run
        from memagents.experiments.training import learn, make_agent, prepare

        prepare(settings.imports, settings.threads, settings.device)
        curriculum = make_curriculum(settings)  # makes the environments, lesson after lesson
        agent = make_agent(settings, curriculum)
    with plain_errors(FloatingPointError, KeyboardInterrupt):
        learn(agent, settings, curriculum)  # with a progress bar; Ctrl-C saves
    assert agent.run_dir is not None
    show_evaluation(Run.open(agent.run_dir), settings.eval_episodes, settings.device)
