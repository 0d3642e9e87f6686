"""Commands ``memagents list`` and ``memagents recipe``: what there is, and what a recipe says."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from memagents.command_line.errors import plain_errors
from memagents.experiments.catalogue import core_beside
from memagents.experiments.configuration import RECIPES, recipe_names, recipe_path
from memagents.runs import layout, pretrained
from memagents.runs.files import CheckpointError, write_bytes
from memagents.runs.lock import is_held

RECIPE_USAGE = """usage: memagents recipe NAME [--copy [FILE.yaml]]

Print a recipe, or copy it to FILE.yaml (by default NAME.yaml in the current folder) to change it there:
memagents train ppo --recipe NAME.yaml"""


def cores() -> Iterator[tuple[str, str]]:
    """Yield the memory cores and the first line of what they say of themselves."""
    from memagents.cores import core_class, core_names

    for name in core_names():
        yield name, _first_sentence(core_class(name).__doc__)


def envs() -> Iterator[tuple[str, str]]:
    """Yield the environments of memenvs and what they are about."""
    from memenvs.catalogue import environments, summary

    for name, spec in environments().items():
        yield name, _first_sentence(summary(spec))


def recipes() -> Iterator[tuple[str, str]]:
    """Yield the recipes that come with the library, with the first line of each."""
    for name in recipe_names():
        yield name, recipe_path(name).read_text().splitlines()[0].lstrip("# ")


def runs() -> Iterator[tuple[str, str]]:
    """Yield the run folders below ``runs``, with algorithm, core and steps."""
    from memagents.runs.agent_files import read_description

    for folder in layout.runs_in(layout.RUNS):
        if layout.without_checkpoint(folder):
            yield str(folder), f"no checkpoint yet{', running' if is_held(folder) else ''}"
            continue
        try:
            description = read_description(folder)
        except CheckpointError as error:
            yield str(folder), f"cannot be read: {error}"
            continue
        algorithm = description["algorithm"]
        words = [algorithm, core_beside(algorithm, description["policy_kwargs"].get("core"))]
        yield str(folder), ", ".join([*filter(None, words), f"{description['num_timesteps']:,} steps"])


def policies() -> Iterator[tuple[str, str]]:
    """Yield the policies that come with the library, with what they do and their scores."""
    for name in pretrained.names():
        card = pretrained.card(name)
        yield pretrained.PREFIX + name, f"{card['about']} ({card['metric']} {card['score']})"


KINDS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "cores": cores,
    "envs": envs,
    "recipes": recipes,
    "runs": runs,
    "pretrained": policies,
}


def main(argv: Sequence[str]) -> None:
    """Print a list of cores, environments, recipes, runs or pretrained policies.

    :param argv: the words after ``list``
    """
    words = list(argv)
    if words in ([], ["-h"], ["--help"]):
        print(f"usage: memagents list {{{','.join(KINDS)}}}")
        raise SystemExit(0 if words else 2)
    with plain_errors(ValueError, OSError):
        if len(words) > 1 or words[0] not in KINDS:
            raise ValueError(f"list must be followed by one of {', '.join(KINDS)}, not {' '.join(words)!r}")
        rows = list(KINDS[words[0]]())
        width = max((len(name) for name, _ in rows), default=0)
        for name, about in rows:
            print(f"{name:<{width}}  {about}".rstrip())
        if not rows:
            print(f"there are no {words[0]} in {layout.RUNS.absolute()}", file=sys.stderr)


def recipe(argv: Sequence[str]) -> None:
    """Print or copy a recipe.

    :param argv: the words after ``recipe``
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--copy=") else [word])]
    copy, names = "--copy" in words, [word for word in words if word != "--copy"]
    if {"-h", "--help"} & set(names) or not 1 <= len(names) <= 1 + copy:
        print(RECIPE_USAGE)
        raise SystemExit(0 if {"-h", "--help"} & set(names) else 2)
    with plain_errors(ValueError, OSError):
        path = recipe_path(names[0])
        if copy:
            copy_recipe(path, Path(names[1]) if len(names) == 2 else None)
        else:
            print(path.read_text(), end="")


def copy_recipe(path: Path, target: Path | None) -> None:
    """Copy a recipe, and say where it is.

    :param path: of the recipe
    :param target: of the copy, a file or a folder; by default a file of the same name in the current folder
    :raises ValueError: if there is something already, or the copy could not be used as a recipe
    """
    if target is None and path.parent != RECIPES:
        raise ValueError(f"recipe {path} is a file of yours already; --copy FILE.yaml copies it")
    if target is None or target.is_dir():
        target = (target or Path()) / path.name
    if target.suffix not in (".yaml", ".yml"):
        raise ValueError(f"--copy must be followed by a path that ends in .yaml, not {target}")
    if target.exists():
        raise ValueError(f"{target} exists already, so nothing is copied")
    write_bytes(target, path.read_bytes())
    print(f"copied to {target}")


def _first_sentence(docstring: str | None) -> str:
    """Return the first sentence of a docstring in one line, without its markup."""
    text = " ".join((docstring or "").strip().split("\n\n")[0].split())
    text = re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")
    return text.rstrip(".")
