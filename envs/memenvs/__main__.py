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

from memenvs.catalogue import describe, environment_class, environments, find, parameters
from memenvs.keyboard import terminal_keys, window_key
from memenvs.play import Walk

CLEAR = "\x1b[H\x1b[2J\x1b[3J"
# What every walk can be told, with its default and what it means.
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
        walk(spec, vars(tyro.cli(settings_class(spec), prog=f"python -m memenvs {argv[0]}", args=argv[1:])))
    except (ValueError, RuntimeError, NotImplementedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def list_environments() -> None:
    """All ids, with what each is."""
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "what it is", box=None, header_style="bold")
    for name, spec in environments().items():
        table.add_row(name, describe(environment_class(spec)).summary.replace("``", ""))
    Console().print(table)


def settings_class(spec: EnvSpec) -> type:
    """What can be told of a walk: the parameters of the environment and those in ``COMMON``, as a dataclass."""
    cls, own = environment_class(spec), parameters(spec)
    told, hints = describe(cls).parameters, get_type_hints(cls.define)
    fields = [
        (
            name,
            hints.get(name, str),
            dataclasses.MISSING if p.default is p.empty else dataclasses.field(default=p.default),
        )
        for name, p in own.items()
    ]
    fields += [(name, kind, dataclasses.field(default=value)) for name, (kind, value, _) in COMMON.items()]
    meanings = {name: told.get(name, "") for name in own} | {name: text for name, (_, _, text) in COMMON.items()}
    lines = [describe(cls).summary, "", *(f":param {name}: {meaning}" for name, meaning in meanings.items())]
    made = [field if field[2] is not dataclasses.MISSING else field[:2] for field in fields]
    return dataclasses.make_dataclass(cls.__name__, made, kw_only=True, namespace={"__doc__": "\n".join(lines)})


def walk(spec: EnvSpec, told: dict[str, Any]) -> None:
    """Let a person walk in an environment."""
    seed, window = told.pop("seed"), told.pop("window")
    env = environment_class(spec)(render_mode="human" if window else "ansi", **told)
    try:
        if window:
            from memenvs.render import load_pygame

            pygame = load_pygame()
            Walk(env, lambda: window_key(pygame), _write, seed).run()
        else:
            with terminal_keys() as read:
                Walk(env, read, _write, seed).run()
    finally:
        env.close()


def _write(text: str) -> None:
    """A text in place of all that stands in the terminal."""
    sys.stdout.write(f"{CLEAR}{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
