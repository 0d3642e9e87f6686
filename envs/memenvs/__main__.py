"""The environments by hand.

python -m memenvs                             lists them
python -m memenvs TMaze-v0 --length 4         walk in one with the keyboard
python -m memenvs TMaze-v0 --help             its parameters
python -m memenvs my_package:MyEnv-v0         one that a package of yours registers
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

import tyro
from gymnasium.envs.registration import EnvSpec

from memenvs.catalogue import describe, environment_class, environments, find, parameters, summary
from memenvs.play.keyboard import terminal_keys, window_key
from memenvs.play.walk import Walk

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
# Settings of every walk: type, default, meaning.
COMMON: dict[str, tuple[Any, Any, str]] = {
    "split": (str | None, None, "train or test, for levels that the other never has"),
    "seed": (int | None, None, "of the first episode; by default another one each time"),
    "window": (bool, False, "pictures in a window, which then reads the keys, and not in the terminal"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """List the environments, or walk in one.

    :param argv: the command line without the program's name; by default this process's
    :return: the exit code
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv:
        list_environments()
        return 0
    if argv[0].startswith("-"):
        print((__doc__ or "").strip(), file=sys.stdout if argv[0] in ("-h", "--help") else sys.stderr)
        return 0 if argv[0] in ("-h", "--help") else 2
    try:
        if str(Path.cwd()) not in sys.path:  # a program that is installed has not the current folder there
            sys.path.append(str(Path.cwd()))
        spec = find(argv[0])
        settings: Any = tyro.cli(settings_class(spec), prog=f"python -m memenvs {argv[0]}", args=argv[1:])
        walk(spec, dataclasses.asdict(settings))
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def list_environments() -> None:
    """Print all ids with their descriptions."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("id", no_wrap=True), Column("description", ratio=1), box=None, header_style="bold")
    for name, spec in environments().items():
        table.add_row(name, summary(spec).replace("``", ""))
    Console().print(table)


def settings_class(spec: EnvSpec) -> type:
    """Return the settings of a walk as a dataclass: the parameters of the environment and those in ``COMMON``."""
    cls = environment_class(spec)
    described, hints = describe(cls), get_type_hints(cls.define)
    fields: list[Any] = []
    lines = [summary(spec).replace("``", ""), ""]
    for name, parameter in parameters(spec).items():
        kind = hints.get(name, str if parameter.default is parameter.empty else type(parameter.default))
        needed = parameter.default is parameter.empty
        fields.append((name, kind) if needed else (name, kind, dataclasses.field(default=parameter.default)))
        lines.append(f":param {name}: {described.parameters.get(name, '').replace('``', '')}")
    for name, (kind, default, meaning) in COMMON.items():
        fields.append((name, kind, dataclasses.field(default=default)))
        lines.append(f":param {name}: {meaning}")
    return dataclasses.make_dataclass(cls.__name__, fields, kw_only=True, namespace={"__doc__": "\n".join(lines)})


def walk(spec: EnvSpec, settings: dict[str, Any]) -> None:
    """Let a person walk in an environment."""
    seed, window = settings.pop("seed"), settings.pop("window")
    env = environment_class(spec)(render_mode="human" if window else "ansi", **settings)
    try:
        if window:
            Walk(env, window_key, _write, seed).run()
        else:
            with terminal_keys() as read:
                Walk(env, read, _write, seed).run()
    finally:
        env.close()


def _write(text: str) -> None:
    """Show a text in place of everything in the terminal."""
    sys.stdout.write(f"{CLEAR}{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
