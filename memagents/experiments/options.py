"""Words of the command line and of recipes as values: integers, pairs, YAML."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import tyro
import yaml
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

K = TypeVar("K")


class Loader(yaml.SafeLoader):
    """Loader of YAML that reads 3e-4 as a number and refuses a key that is there twice, as version 1.2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping of a node."""
        keys = [key.value for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(problem=f"{key!r} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def one_line(error: yaml.YAMLError) -> str:
    """Return the message of an error of YAML in one line."""
    return " ".join(str(error).split())


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_pairs(words: Sequence[str]) -> dict[str, Any]:
    """Parse parameters from the command line: words ``key=value``, or a YAML mapping; values are YAML.

    :raises ValueError: for anything else
    """
    pairs: dict[str, Any] = {}
    for word in words:
        try:
            key, equals, value = word.partition("=")
            mapping = {key: yaml.load(value, Loader)} if key.isidentifier() and equals else yaml.load(word, Loader)
        except yaml.YAMLError as error:
            raise ValueError(f"{word!r} is no YAML: {one_line(error)}") from error
        twice = [name for name in mapping if name in pairs] if isinstance(mapping, dict) else []
        if twice:
            raise ValueError(f"{twice[0]} is given twice: {pairs[twice[0]]!r} and {mapping[twice[0]]!r}")
        if not isinstance(mapping, dict):
            raise ValueError(f"{word!r} must be key=value, or a YAML mapping such as '{{key: value}}'")
        pairs |= mapping
    return pairs


class _RefusedError(Exception):
    """Words that cannot be read, and values that are refused; tyro would draw a box around a ValueError."""


def _pairs(words: Sequence[str]) -> dict[str, Any]:
    try:
        return parse_pairs(words)
    except ValueError as error:
        raise _RefusedError(error) from error


def _of_pairs(parse: Callable[[Sequence[str]], dict[str, Any]]) -> PrimitiveConstructorSpec[dict[str, Any]]:
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEY=VALUE",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda pairs: [f"{k}={yaml.safe_dump(v, default_flow_style=True)}" for k, v in pairs.items()],
    )


Pairs = Annotated[dict[str, Any], _of_pairs(_pairs)]


def some_pairs(name: str, example: str) -> PrimitiveConstructorSpec[dict[str, Any]]:
    """Return how to read pairs of which there must be one at least where the option is given.

    :param name: of the setting
    :param example: a command that gives it one
    """
    return _of_pairs(lambda words: _pairs(_some(name, example, words)))


def some_words(name: str, example: str) -> PrimitiveConstructorSpec[tuple[str, ...]]:
    """Return how to read words of which there must be one at least where the option is given; as :func:`some_pairs`."""
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="[STR [STR ...]]",
        instance_from_str=lambda words: tuple(_some(name, example, words)),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=list,
    )


def _some(name: str, example: str, words: Sequence[str]) -> Sequence[str]:
    if not words:
        raise _RefusedError(f"{name} must be followed by a value: {example}")
    return words


def in_words(pairs: dict[str, Any]) -> str:
    """Return parameters as a person reads them: ``length=5, stations=[4, 6]``."""
    return ", ".join(f"{name}={value}" for name, value in pairs.items())


def as_words(name: str, value: Any) -> list[str]:
    """Return a setting as words of the command line."""
    option = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [option if value else f"--no-{option.removeprefix('--')}"]
    if isinstance(value, dict):
        return [option, *(f"{key}={json.dumps(own)}" for key, own in value.items())]
    return [option, *map(str, value)] if isinstance(value, list | tuple) else [f"{option}={value}"]


def settings_in(words: Sequence[str]) -> set[str]:
    """Return the names of the settings that words of the command line set."""
    options = (word.partition("=")[0] for word in words if word.startswith("--"))
    return {option.removeprefix("--").removeprefix("no-").replace("-", "_") for option in options}


def refuse_words(words: Sequence[str], own: Mapping[str, str], command: str) -> None:
    """Refuse words after ``--`` that set what a command sets itself in every training.

    :param words: after ``--``
    :param own: names of such settings, each with the option of the command for it, or an empty string
    :param command: its name
    :raises ValueError: naming the first
    """
    for name in sorted(settings_in(words) & own.keys()):
        instead = f": give {own[name]} before the --" if own[name] else ""
        raise ValueError(f"--{name.replace('_', '-')} after -- is set by {command} itself{instead}")


def parse_integer(text: str) -> int:
    """Parse an integer that is written as 1000000, 1_000_000 or 1e6.

    :raises ValueError: for anything else, 1.5 among it
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise ValueError(f"it must be an integer, such as 1000000, 1_000_000 or 1e6, not {text!r}")
    return int(number)


_INTEGERS = ConstructorRegistry()


@_INTEGERS.primitive_rule
def _integers(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    """Read every setting that is an integer by :func:`parse_integer`."""
    if kind.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: parse_integer(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def parse_options(kind: type[K], argv: Sequence[str], prog: str, default: K | None = None) -> K:
    """Parse a command line into a dataclass; tyro itself answers ``--help`` and what is no option at all, and exits.

    :param kind: the dataclass
    :param argv: the words behind the command
    :param prog: the command, as a person types it
    :param default: settings where the command line says nothing; by default those of the class
    :raises ValueError: for pairs that cannot be read, and for values that the dataclass refuses
    """
    begun: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with _refusing(kind):
            return tyro.cli(kind, args=argv, prog=prog, registry=_INTEGERS, **begun)
    except _RefusedError as error:
        raise ValueError(str(error)) from error


@contextlib.contextmanager
def _refusing(kind: type) -> Iterator[None]:
    """Let a dataclass that checks its values raise what goes past tyro."""
    check = getattr(kind, "__post_init__", None)
    if check is None:
        yield
        return
    inherited = "__post_init__" not in vars(kind)

    def checked(settings: Any) -> None:
        try:
            check(settings)
        except ValueError as error:
            raise _RefusedError(error) from error

    kind.__post_init__ = checked  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if inherited:
            del kind.__post_init__  # type: ignore[attr-defined]
        else:
            kind.__post_init__ = check  # type: ignore[attr-defined]
