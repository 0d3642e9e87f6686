"""The command ``memagents``, also ``python -m memagents``: a table of doors, each loaded when it is opened."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence

from memagents.command_line.errors import plain_ends

DOORS = {
    "train": ("memagents.command_line.train:main", "train an agent: ppo, imitate, distill, nec or mfec"),
    "distill": ("memagents.command_line.train:distill", "put a run's policy into one of another memory: train distill"),
    "evaluate": ("memagents.command_line.evaluate:main", "score a run's agent beside random play and the oracle"),
    "inspect": ("memagents.command_line.inspect:main", "show what the memory of a run's agent does, on one page"),
    "compare": ("memagents.command_line.compare:main", "train several memories with several seeds, with statistics"),
    "tune": ("memagents.command_line.tune:main", "search for hyperparameters with Optuna"),
    "plot": ("memagents.command_line.plot:main", "draw runs: learning curves over seeds, or scores by core and task"),
    "health": ("memagents.command_line.health:main", "say what a run's memory is worth, and what looks wrong about it"),
    "export": ("memagents.command_line.export:main", "write a run's policy to a file for ONNX Runtime or torch.export"),
    "push": ("memagents.command_line.hub:push", "upload a run to the Hugging Face Hub, with a model card"),
    "pull": ("memagents.command_line.hub:pull", "make a run folder of what was pushed"),
    "import": ("memagents.command_line.importing:main", "make a run folder of an agent that sb3-contrib saved"),
    "list": ("memagents.command_line.listing:main", "list cores, envs, recipes, runs or pretrained policies"),
    "recipe": ("memagents.command_line.listing:recipe", "print a recipe, or copy it to change it"),
}
JOINT = ("train", "distill")  # which several processes do together, as torchrun begins them


class Lines(logging.Handler):
    """Messages as lines of what is the error stream at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, unless an application shows it by handlers of its own."""
        if not logging.getLogger().handlers:
            print(self.format(record), file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> None:
    """Open the door that the first word names; the other words are its own.

    :param argv: the words after ``memagents``; by default those of this process
    """
    with plain_ends():
        show_log()
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads: spinning threads starve environments
        open_door(list(sys.argv[1:] if argv is None else argv))


def show_log() -> None:
    """Let all that the library logs be seen, on the error stream."""
    log = logging.getLogger("memagents")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, Lines) for handler in log.handlers):
        log.addHandler(Lines())


def open_door(words: list[str]) -> None:
    """Do what the words after ``memagents`` ask for."""
    name = words[0] if words else "--help"
    if name == "--version":
        from memagents import __version__

        print(f"memagents {__version__}")
    elif name in ("-h", "--help"):
        print(usage())
    elif name not in DOORS:
        print(f"error: memagents has no command {name!r}; it has: {', '.join(DOORS)}", file=sys.stderr)
        raise SystemExit(2)
    elif name not in JOINT and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ:
        print(f"error: memagents {name} runs in one process: begin it without torchrun", file=sys.stderr)
        raise SystemExit(2)
    else:
        module, _, function = DOORS[name][0].partition(":")
        getattr(importlib.import_module(module), function)(words[1:])


def usage() -> str:
    """Return what ``memagents --help`` prints."""
    rows = "\n".join(f"  {name:<10}{about}" for name, (_, about) in DOORS.items())
    return f"""usage: memagents COMMAND …

Reinforcement-learning agents with external memory.

{rows}

memagents COMMAND --help tells more; memagents --version prints the version. For a first look:

  memagents train ppo --recipe tmaze"""


if __name__ == "__main__":
    main()
