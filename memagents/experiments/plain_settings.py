"""Settings from plain values, as the YAML files of recipes and runs hold them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from memagents.algorithms.sb3_names import option_hint
from memagents.experiments.options import Loader, one_line
from memagents.experiments.settings import Lesson, TrainSettings
from memagents.runs.files import CheckpointError, read_bytes

S = TypeVar("S", bound=TrainSettings)
_LARGEST = 4 << 20  # bytes of settings


def read_values(path: Path) -> dict[str, Any]:
    """Read the plain values of a YAML file by their names.

    :raises CheckpointError: if it holds none
    """
    data = read_bytes(path, most=_LARGEST)
    try:
        values = yaml.load(data, Loader)
    except (UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} is no readable YAML file: {one_line(error)}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise CheckpointError(f"{path} must hold a mapping of settings")
    return values


def from_mapping(cls: type[S], values: Mapping[str, Any], source: str, **changes: Any) -> S:
    """Make settings of plain values, checked.

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
        known = f"{option_hint(unknown[0], hints)}; there are: {', '.join(sorted(hints))}"
        raise ValueError(f"{source}: there is no setting {unknown[0]!r}{known}")
    for name, value in values.items():
        value = values[name] = _whole(value, hints[name])
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
    made = []
    for number, one in enumerate(lessons):
        lesson = Lesson(**{"env_kwargs": {}, **one, "until": _whole(one.get("until"), int)})
        rates = [rate for rate in (lesson.success, lesson.accuracy) if rate is not None]
        good = all(isinstance(rate, int | float) and 0 < rate <= 1 for rate in rates)
        good &= lesson.until is None or (type(lesson.until) is int and lesson.until > 0)
        good &= isinstance(lesson.env_kwargs, dict) and isinstance(lesson.env, str | None)
        if not good or not (lesson.asks or number == len(lessons) - 1):
            raise ValueError(
                f"{source}: lesson {number} needs env_kwargs, a mapping, and success or accuracy, a rate above 0 and "
                f"up to 1, or until, a number of steps (only the last may lack all three), not {one!r}"
            )
        made.append(lesson)
    return tuple(made)


def _whole(value: Any, hint: Any) -> Any:
    """Return a number that YAML reads as 1e6 as an integer, where an annotation wants one; anything else as it is."""
    kinds = {hint, *get_args(hint)}
    whole = isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds
    return int(value) if whole else value


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
