"""Settings from the command line, from recipes and from the ``config.yaml`` of runs."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
import yaml

from memagents.checkpoint import CheckpointError, write_bytes
from memagents.curriculum import Lesson
from memagents.settings import ImitationSettings, Loader, MFECSettings, NECSettings, PPOSettings, Settings

CONFIG_FILE = "config.yaml"

S = TypeVar("S", bound=Settings)


def command_line(cls: type[S], recipes: Path, argv: Sequence[str] | None = None) -> S:
    """The settings a script was given: the recipe's, then those of the command line; or the run's that is resumed.

    :param cls: :class:`PPOSettings` or :class:`ImitationSettings`
    :param recipes: folder of the recipes
    :param argv: the command line without the script's name; by default this process's
    :raises ValueError: for an unknown recipe or a setting that is not allowed; tyro itself answers ``--help`` and what
        is no option at all, and exits
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--recipe", "--resume", "--device"):
        early.add_argument(option)
    given, others = early.parse_known_args(argv)
    if given.resume is not None and not {"-h", "--help"} & set(others):
        if others or given.recipe is not None:
            raise ValueError(
                f"--resume goes on with the settings in {Path(given.resume) / CONFIG_FILE}; beside it only --device is "
                f"allowed, not {(['--recipe'] if given.recipe else others)[0]}"
            )
        return _resumed(cls, Path(given.resume), given.device)
    begun = of_recipe(cls, given.recipe, recipes) if given.recipe is not None else cls()
    return _merged(begun, tyro.cli(cls, default=begun, args=argv))


def _resumed(cls: type[S], folder: Path, device: str | None) -> S:
    """The settings of an interrupted run, if it is one of this kind."""
    settings = of_run(folder, resume=str(folder))
    if not isinstance(settings, cls):
        raise CheckpointError(f"{folder} is a run of {settings.algorithm}, and this script trains {cls.algorithm}")
    return settings if device is None else dataclasses.replace(settings, device=device)


def _merged(begun: S, told: S) -> S:
    """The settings told, their parameters on top of the recipe's; those of another environment or core do not apply."""
    changes: dict[str, Any] = {}
    for owner, name in (("env", "env_kwargs"), ("core", "core_kwargs")):
        if not hasattr(begun, owner):
            continue
        before, after = getattr(begun, name), getattr(told, name)
        if getattr(begun, owner) == getattr(told, owner):
            changes[name] = {**before, **after}
        elif before == after:
            changes[name] = {}
    if begun.env != told.env:
        changes["lessons"] = ()
    changes["policy_kwargs"] = {**begun.policy_kwargs, **told.policy_kwargs}
    return dataclasses.replace(told, **changes)


# --- files ----------------------------------------------------------------------------------------------------------


def of_recipe(cls: type[S], name: str, recipes: Path, **changes: Any) -> S:
    """The settings of a recipe.

    :param name: of a file in ``recipes`` without its ending, or the path of a YAML file
    :param changes: settings that differ from it
    :raises ValueError: if there is no such recipe (the message lists those there are), or it says something wrong
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else recipes / f"{name}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in recipes.glob("*.yaml")))
        raise ValueError(f"there is no recipe {name!r}; there are: {there}; or give the path of a YAML file")
    return from_mapping(cls, {**_read(path), "recipe": name}, str(path), **changes)


def of_run(folder: Path, **changes: Any) -> Settings:
    """The settings of a run.

    :param folder: the run's
    :param changes: settings that differ from it
    :raises CheckpointError: if it has none, or they cannot be read
    """
    path = folder / CONFIG_FILE
    if not folder.is_dir():
        raise CheckpointError(f"there is no run folder {folder}")
    if not path.is_file():
        raise CheckpointError(f"{folder} is no run of the training scripts: it has no {CONFIG_FILE}")
    values = _read(path)
    algorithm = values.pop("algorithm", None)
    kinds: dict[Any, type[Settings]] = {
        kind.algorithm: kind for kind in (PPOSettings, ImitationSettings, NECSettings, MFECSettings)
    }
    if algorithm not in kinds:
        raise CheckpointError(f"{path}: algorithm must be one of {', '.join(kinds)}, not {algorithm!r}")
    try:
        return from_mapping(kinds[algorithm], values, str(path), **changes)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def imports_of_run(folder: Path) -> tuple[str, ...]:
    """The packages a run imported, without which its core or environment may be unknown; none if it does not tell."""
    return of_run(folder).imports if (folder / CONFIG_FILE).is_file() else ()


def write_config(settings: Settings, folder: Path) -> None:
    """All that was asked, as ``config.yaml``."""
    values = {"algorithm": settings.algorithm, **dataclasses.asdict(settings)}
    values |= {name: list(values[name]) for name in ("condition_on", "imports", "lessons")}
    for name in ("resume", "overwrite"):
        del values[name]
    write_bytes(folder / CONFIG_FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())


def from_mapping(cls: type[S], values: Mapping[str, Any], source: str, **changes: Any) -> S:
    """Settings from plain values, checked.

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
    """A curriculum from plain values."""
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
    """Whether a value read from YAML is of the kind that an annotation wants."""
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
    """What :func:`_fits` wants."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(one) for one in inner)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is tuple:
        return f"a list of {_in_words(inner[0])}"
    words = {int: "an integer", float: "a number", bool: "true or false", str: "a text", dict: "a mapping"}
    return words.get(origin or hint, "null")
