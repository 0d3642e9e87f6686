"""Settings from the command line, from recipes and from the ``config.yaml`` of runs."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from memagents.algorithms.sb3_names import alike, option_hint
from memagents.experiments.catalogue import ALGORITHMS, Algorithm, of_class
from memagents.experiments.options import in_words, parse_options
from memagents.experiments.plain_settings import from_mapping, read_values
from memagents.experiments.settings import DistillSettings, TrainSettings, WindowSettings
from memagents.runs import layout
from memagents.runs.checkpoint import holds
from memagents.runs.files import CheckpointError, write_bytes
from memagents.runs.layout import CONFIG_FILE, POLICY_FILE, STATE_FILE, folder_of
from memagents.runs.pretrained import is_pretrained

RECIPES = Path(__file__).parent / "recipes"
_SHOWN = 12  # runs that a message names

S = TypeVar("S", bound=TrainSettings)
D = TypeVar("D", bound=DistillSettings)


def command_line(cls: type[S], argv: Sequence[str]) -> S:
    """Read settings: a recipe's, overridden by those of the command line; or those of the run that is resumed.

    Parameters of the recipe that do not apply any more are left out, which is said on the standard error.

    :param cls: a class of :mod:`memagents.experiments.settings`
    :param argv: the command line without the script's name
    :raises ValueError: for an unknown recipe or a setting that is not allowed; tyro itself answers ``--help`` and what
        is no option at all, and exits
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--recipe", "--resume", "--device", "--teacher"):
        early.add_argument(option)
    early.add_argument("--imports", nargs="*")
    given, others = early.parse_known_args(argv)
    wants_help = bool({"-h", "--help"} & set(others))
    if given.resume is not None and not wants_help:
        refused = [f"--{name}" for name in ("recipe", "teacher") if getattr(given, name) is not None] + others
        if refused:
            raise ValueError(
                f"--resume goes on with the settings in {Path(given.resume) / CONFIG_FILE}; beside it only --device "
                f"and --imports are allowed, not {refused[0]}; a new run begins with its weights by --init-from "
                f"{given.resume}"
            )
        if is_pretrained(given.resume):
            raise ValueError(
                f"resume: {given.resume} came with the library and has nothing to go on with; a new run begins with "
                f"its weights by --init-from {given.resume}"
            )
        return _resumed(cls, Path(given.resume), given.device, tuple(given.imports or ()))
    _check_options(cls, argv)
    begun = of_recipe(cls, given.recipe) if given.recipe is not None else cls()
    if isinstance(begun, DistillSettings) and given.teacher is not None and given.recipe is None:
        begun = of_teacher(begun, folder_of(given.teacher))
    names = [*(name for _, name in _OWNERS), "policy_kwargs"]
    own: dict[str, Any] = {name: {} for name in names if hasattr(begun, name)}
    typed = parse_options(
        cls,
        argv,
        f"memagents train {of_class(cls.algorithm).name}",
        begun if wants_help else dataclasses.replace(begun, **own),
    )
    return _merged(begun, typed)


def _check_options(cls: type[TrainSettings], argv: Sequence[str]) -> None:
    """Refuse options that there are not, with what stands for them here or is spelled alike; tyro names the others."""
    known = {f.name for f in dataclasses.fields(cls)}
    for option in (word.partition("=")[0] for word in argv if word.startswith("--")):
        name = option.removeprefix("--").replace("-", "_")
        hint = "" if name in known else option_hint(name, known)
        near = [] if name.removeprefix("no_") in known | {"help", "help_all"} else alike(name, known)
        if hint or near:
            options = ", ".join(f"--{own.replace('_', '-')}" for own in near)
            raise ValueError(f"there is no setting {option}{hint or f'; spelled alike: {options}'}")


def _resumed(cls: type[S], folder: Path, device: str | None, imports: tuple[str, ...]) -> S:
    """Read the settings of an interrupted run, if it is one of this kind."""
    settings = of_run(folder, resume=str(folder))
    if not isinstance(settings, cls):
        command = f"memagents train {of_class(settings.algorithm).name} --resume {folder}"
        raise CheckpointError(f"{folder} is a run of {settings.algorithm}, which goes on with: {command}")
    check_imports(folder, settings.packages, imports)
    settings = dataclasses.replace(settings, imports=tuple(dict.fromkeys((*settings.imports, *imports))))
    return settings if device is None else dataclasses.replace(settings, device=device)


def check_imports(folder: Path, named: Sequence[str], given: Sequence[str]) -> None:
    """Refuse to import what a run folder alone asks for: to import a package is to run it.

    :param folder: of the run
    :param named: packages that it names
    :param given: packages that were named on the command line
    :raises CheckpointError: for those that are neither given nor imported already
    """
    unknown = [name for name in named if name not in given and name not in sys.modules and name != "memenvs"]
    if unknown:
        raise CheckpointError(
            f"{folder} names what it has to import: {', '.join(unknown)}. That would run it; if you know what it is, "
            f"add --imports {' '.join(unknown)}"
        )


_OWNERS = (
    *(("env", "env_kwargs"), ("core", "core_kwargs")),
    *(("critic_core", "critic_core_kwargs"), ("bonus", "bonus_kwargs")),
)
"""Settings by which something is named, and those that hold its parameters."""


def _likeness(settings: TrainSettings, owner: str) -> tuple[str, ...]:
    """Return the setting on which it depends what another one names: a critic's core may be the ``"same"``."""
    return ("core",) if owner == "critic_core" and getattr(settings, owner) == "same" else ()


def _merged(begun: S, typed: S) -> S:
    """Put the parameters typed on top of the recipe's; those of another environment or core do not apply."""
    changes: dict[str, Any] = {}
    for owner, name in _OWNERS:
        if not hasattr(begun, owner):
            continue
        before, after = getattr(begun, name), getattr(typed, name)
        others = [word for word in (owner, *_likeness(begun, owner)) if getattr(begun, word) != getattr(typed, word)]
        if not others:
            changes[name] = {**before, **after}
        elif before:
            say_left_out("the recipe's", name, before, others[0], str(getattr(typed, others[0])))
    reason = _against_lessons(begun, typed)
    if begun.lessons and reason:
        changes["lessons"] = ()
        print(f"note: the recipe's lessons are left out, since {reason}", file=sys.stderr)
    changes["policy_kwargs"] = {**begun.policy_kwargs, **typed.policy_kwargs}
    return dataclasses.replace(typed, **changes)


def _against_lessons(begun: TrainSettings, typed: TrainSettings) -> str:
    """Return why the recipe's lessons do not apply to what was typed; nothing where they do."""
    if begun.env != typed.env:
        return f"--env {typed.env} is another env"
    theirs = {name for lesson in begun.lessons for name in lesson.env_kwargs}
    both = [name for name in typed.env_kwargs if name in theirs]
    return f"they set {both[0]} as --env-kwargs does" if both else ""


def say_left_out(whose: str, name: str, left_out: dict[str, Any], owner: str, value: str) -> None:
    """Say in one line that parameters do not apply.

    :param whose: ``"the recipe's"`` or ``"the run's"``
    :param name: of the parameters, ``"env_kwargs"`` or ``"core_kwargs"``
    :param left_out: the parameters
    :param owner: what they belong to, ``"env"`` or ``"core"``
    :param value: the one that was given
    """
    what = f"{whose} {name} ({in_words(left_out)})"
    option = f"--{owner.replace('_', '-')} {value}"
    print(f"note: {what} are left out, since {option} is another {owner}", file=sys.stderr)


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
        if path.parent != RECIPES:
            raise ValueError(f"recipe {name} does not exist; those of memagents go by their names alone: {there}")
        raise ValueError(f"there is no recipe {name!r}; there are: {there}; or give the path of a YAML file")
    return path


def of_recipe(cls: type[S], name: str, **changes: Any) -> S:
    """Read the settings of a recipe.

    :param name: of a recipe that comes with the library, or the path of a YAML file
    :param changes: settings that differ from it
    :raises ValueError: if there is no such recipe (the message lists those there are), it is one for another command,
        or it says something wrong
    """
    path = recipe_path(name)
    values = read_values(path)
    wanted, ours = values.pop("command", None), of_class(cls.algorithm).name
    if wanted is not None:
        _algorithm(path, wanted)
    if wanted not in (None, ours):
        raise ValueError(
            f"recipe {name} is not one for {ours}; it is used by: memagents train {wanted} --recipe {name}"
        )
    return from_mapping(cls, {**values, "recipe": name}, str(path), **changes)


def by_recipe(name: str, **changes: Any) -> TrainSettings:
    """Read the settings of a recipe, whatever command it is for.

    :param name: of a recipe that comes with the library, or the path of a YAML file
    :param changes: settings that differ from it
    :raises ValueError: as :func:`of_recipe` does, and if it names no command
    """
    path = recipe_path(name)
    return of_recipe(_algorithm(path, read_values(path).get("command")).settings, name, **changes)


def _algorithm(path: Path, command: Any) -> Algorithm:
    """Return the algorithm that a recipe is for, or refuse what is none."""
    if command not in list(ALGORITHMS):  # a list: a file may name what cannot be hashed
        raise ValueError(f"{path}: command must be one of {', '.join(ALGORITHMS)}, not {command!r}")
    return ALGORITHMS[command]


def of_teacher(settings: D, folder: Path) -> D:
    """Take the environment, and what an agent sees of it, from the run of a teacher, as far as it says that."""
    if not (folder / CONFIG_FILE).is_file():
        return settings
    theirs = of_run(folder)
    env, env_kwargs = theirs.task()
    own = {name: getattr(theirs, name) for name in ("condition_on", "n_envs", "gamma", "imports")}
    if isinstance(theirs, WindowSettings):
        own["n_steps"] = theirs.n_steps
    return dataclasses.replace(settings, env=env, env_kwargs=env_kwargs, **own)


def of_run(folder: Path, **changes: Any) -> TrainSettings:
    """Read the settings of a run.

    :param folder: the run's
    :param changes: settings that differ from it
    :raises CheckpointError: if it has none, or they cannot be read
    """
    path = folder / CONFIG_FILE
    if not folder.is_dir():
        raise CheckpointError(layout.unknown(folder))
    check_folder(folder)
    if not path.is_file():
        raise CheckpointError(f"{folder} is no run of the training scripts: it has no {CONFIG_FILE}")
    values = read_values(path)
    algorithm = values.pop("algorithm", None)
    try:
        kind = of_class(algorithm).settings
        if issubclass(kind, WindowSettings):
            values.setdefault("critic_core", None)  # of a run from before there was the choice
        return from_mapping(kind, values, str(path), **changes)
    except ValueError as error:
        raise CheckpointError(f"{error}" if str(path) in str(error) else f"{path}: {error}") from error


def check_folder(folder: Path) -> None:
    """Refuse a folder that is no run, but holds some.

    :raises CheckpointError: naming them
    """
    if folder.is_dir() and not any((folder / name).is_file() for name in (POLICY_FILE, CONFIG_FILE)):
        inside = layout.runs_in(folder)
        if inside:
            names = ", ".join(map(str, inside[:_SHOWN])) + (", …" if len(inside) > _SHOWN else "")
            raise CheckpointError(f"{folder} is no run, but a folder of runs; give one of them: {names}")


def write_config(settings: TrainSettings, folder: Path) -> None:
    """Write all settings of a run to its ``config.yaml``."""
    write_bytes(folder / CONFIG_FILE, _config(settings))


def begun_by(settings: TrainSettings, folder: Path) -> bool:
    """Return whether the run in a folder was begun with just these settings."""
    path = folder / CONFIG_FILE
    return path.is_file() and path.read_bytes() == _config(settings)


def gone_on_with(settings: S) -> S:
    """Return the settings that go on with the run in ``run_dir``, where just these have begun it and left a checkpoint.

    Else these, which may replace what just these have begun; a run of others is left to be refused.
    """
    folder = None if settings.run_dir is None else Path(settings.run_dir)
    if settings.resume is not None or folder is None or not begun_by(settings, folder):
        return settings
    if not holds(folder, STATE_FILE):
        return dataclasses.replace(settings, overwrite=True)
    return _resumed(type(settings), folder, settings.device, settings.imports)


def _config(settings: TrainSettings) -> bytes:
    """Contents of ``config.yaml``."""
    values = {"algorithm": settings.algorithm, **dataclasses.asdict(settings)}
    values |= {name: list(values[name]) for name in ("condition_on", "imports", "lessons")}
    for name in ("resume", "overwrite"):
        del values[name]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()
