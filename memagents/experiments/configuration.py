"""Settings from the command line, from recipes and from the ``config.yaml`` of runs."""

from __future__ import annotations

import argparse
import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
import yaml

from memagents.experiments.catalogue import of_class
from memagents.experiments.settings import Lesson, Loader, TrainSettings
from memagents.runs import layout
from memagents.runs.files import CheckpointError, write_bytes
from memagents.runs.layout import CONFIG_FILE

RECIPES = Path(__file__).parent / "recipes"

S = TypeVar("S", bound=TrainSettings)


def command_line(cls: type[S], argv: Sequence[str]) -> S:
    """Read settings: a recipe's, overridden by those of the command line; or those of the run that is resumed.

    :param cls: a class of :mod:`memagents.experiments.settings`
    :param argv: the command line without the script's name
    :raises ValueError: for an unknown recipe or a setting that is not allowed; tyro itself answers ``--help`` and what
        is no option at all, and exits
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--recipe", "--resume", "--device"):
        early.add_argument(option)
    early.add_argument("--imports", nargs="*")
    given, others = early.parse_known_args(argv)
    if given.resume is not None and not {"-h", "--help"} & set(others):
        if others or given.recipe is not None:
            raise ValueError(
                f"--resume goes on with the settings in {Path(given.resume) / CONFIG_FILE}; beside it only --device "
                f"and --imports are allowed, not {(['--recipe'] if given.recipe else others)[0]}"
            )
        return _resumed(cls, Path(given.resume), given.device, tuple(given.imports or ()))
    begun = of_recipe(cls, given.recipe) if given.recipe is not None else cls()
    return _merged(begun, tyro.cli(cls, default=begun, args=argv))


def _resumed(cls: type[S], folder: Path, device: str | None, imports: tuple[str, ...]) -> S:
    """Read the settings of an interrupted run, if it is one of this kind."""
    settings = of_run(folder, resume=str(folder))
    if not isinstance(settings, cls):
        raise CheckpointError(f"{folder} is a run of {settings.algorithm}, and this script trains {cls.algorithm}")
    settings = dataclasses.replace(settings, imports=tuple(dict.fromkeys((*settings.imports, *imports))))
    return settings if device is None else dataclasses.replace(settings, device=device)


_OWNERS = (
    *(("env", "env_kwargs"), ("core", "core_kwargs")),
    *(("critic_core", "critic_core_kwargs"), ("bonus", "bonus_kwargs")),
)
"""Settings, and those that hold parameters of what they name."""


def _likeness(settings: TrainSettings, owner: str) -> tuple[str, ...]:
    """Return the setting on which it depends what another one names: a critic's core may be the ``"same"``."""
    return ("core",) if owner == "critic_core" and getattr(settings, owner) == "same" else ()


def _merged(begun: S, given: S) -> S:
    """Put the parameters given on top of the recipe's; those of another environment or core do not apply."""
    changes: dict[str, Any] = {}
    for owner, name in _OWNERS:
        if not hasattr(begun, owner):
            continue
        before, after = getattr(begun, name), getattr(given, name)
        if all(getattr(begun, word) == getattr(given, word) for word in (owner, *_likeness(begun, owner))):
            changes[name] = {**before, **after}
        elif before == after:
            changes[name] = {}
    if begun.env != given.env:
        changes["lessons"] = ()
    changes["policy_kwargs"] = {**begun.policy_kwargs, **given.policy_kwargs}
    return dataclasses.replace(given, **changes)


# --- files ----------------------------------------------------------------------------------------------------------


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the library."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """Return the file of a recipe.

    :param name: of a recipe that comes with the library, or the path of a YAML file
    :raises ValueError: if there is no such recipe; the message lists those there are
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(recipe_names())
        raise ValueError(f"there is no recipe {name!r}; there are: {there}; or give the path of a YAML file")
    return path


def of_recipe(cls: type[S], name: str, **changes: Any) -> S:
    """Read the settings of a recipe.

    :param name: of a recipe that comes with the library, or the path of a YAML file
    :param changes: settings that differ from it
    :raises ValueError: if there is no such recipe (the message lists those there are), or it says something wrong
    """
    path = recipe_path(name)
    return from_mapping(cls, {**_read(path), "recipe": name}, str(path), **changes)


def of_run(folder: Path, **changes: Any) -> TrainSettings:
    """Read the settings of a run.

    :param folder: the run's
    :param changes: settings that differ from it
    :raises CheckpointError: if it has none, or they cannot be read
    """
    path = folder / CONFIG_FILE
    if not folder.is_dir():
        raise CheckpointError(layout.unknown(folder))
    if not path.is_file():
        raise CheckpointError(f"{folder} is no run of the training scripts: it has no {CONFIG_FILE}")
    values = _read(path)
    algorithm = values.pop("algorithm", None)
    try:
        return from_mapping(of_class(algorithm).settings, values, str(path), **changes)
    except ValueError as error:
        raise CheckpointError(f"{error}" if str(path) in str(error) else f"{path}: {error}") from error


def write_config(settings: TrainSettings, folder: Path) -> None:
    """Write all settings of a run to its ``config.yaml``."""
    values = {"algorithm": settings.algorithm, **dataclasses.asdict(settings)}
    values |= {name: list(values[name]) for name in ("condition_on", "imports", "lessons")}
    for name in ("resume", "overwrite"):
        del values[name]
    write_bytes(folder / CONFIG_FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())


def from_mapping(cls: type[S], values: Mapping[str, Any], source: str, **changes: Any) -> S:
    """TrainSettings from plain values, checked.

    :param source: what the values are from, for messages
    :raises ValueError: for a setting that does not exist, or a value of a wrong kind
    """
    annotations = get_type_hints(cls)
    hints = {f.name: annotations[f.name] for f in dataclasses.fields(cls)}
    values = dict(values)
    if "lessons" in values:
        values["lessons"] = _lessons(values["lessons"], source)
    unknown = [name for name in values if name not in hints]
    if unknown:
        raise ValueError(f"{source}: there is no setting {unknown[0]!r}; there are: {', '.join(sorted(hints))}")
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{source}: {name} must be {_in_words(hints[name])}, not {value!r}")
        if isinstance(value, list):
            values[name] = tuple(value)
    return cls(**{**values, **changes})


def _lessons(lessons: Any, source: str) -> tuple[Lesson, ...]:
    """Make a curriculum of plain values."""
    known = [f.name for f in dataclasses.fields(Lesson)]
    if not isinstance(lessons, list) or not all(isinstance(one, dict) and set(one) <= set(known) for one in lessons):
        raise ValueError(f"{source}: lessons must be a list of mappings with {' and '.join(known)}, not {lessons!r}")
    made = tuple(Lesson(**{"env_kwargs": {}, **one}) for one in lessons)
    for number, lesson in enumerate(made):
        asked = [rate for rate in (lesson.success, lesson.accuracy) if rate is not None]
        good = all(isinstance(rate, int | float) and 0 < rate <= 1 for rate in asked)
        if not isinstance(lesson.env_kwargs, dict) or not good or not (asked or lesson is made[-1]):
            raise ValueError(
                f"{source}: lesson {number} needs env_kwargs, a mapping, and success or accuracy, a rate above 0 and "
                f"up to 1 (only the last may lack both), not {lessons[number]!r}"
            )
    return made


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} is no readable YAML file: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise CheckpointError(f"{path} must hold a mapping of settings")
    return values


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value read from YAML is of the kind that an annotation wants."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, inner[0]) for one in value)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def _in_words(hint: Any) -> str:
    """Return in words what :func:`_fits` wants."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(one) for one in inner)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return f"a list of {_in_words(inner[0])}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a text", dict: "a mapping"}
    return words.get(origin or hint, "null")
