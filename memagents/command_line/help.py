"""Help that fits a screen: the common settings one by one, the names of all others in groups."""

from __future__ import annotations

import dataclasses
import textwrap

import docstring_parser

from memagents.experiments.settings import TrainSettings

_WIDTH = 100
_GROUPS = {
    "TrainSettings": "run",
    "GradientSettings": "gradients",
    "WindowSettings": "windows",
    "EpisodicSettings": "episodic control",
}


def short_help(kind: type[TrainSettings], command: str) -> str:
    """Return the help of a training's settings.

    :param kind: the settings' class; its ``common`` names those shown first
    :param command: what a person types before the settings
    """
    about = textwrap.fill((kind.__doc__ or "").strip().splitlines()[0], _WIDTH)
    described, defaults = descriptions(kind), kind()
    lines = [f"usage: {command} [--recipe NAME] [--setting value …]", "", about, "", "common settings:"]
    common = [*kind.common, *(name for name in ("resume",) if name not in kind.common)]
    for name in common:
        text = f"{described[name]} [{_shown(getattr(defaults, name))}]"
        first, *others = textwrap.wrap(text, _WIDTH - 22)
        lines += [f"  {_option(name):<19} {first}", *(f"{'':<22}{line}" for line in others)]
    lines += ["", f"other settings, which {command} --help-all describes:"]
    for group, names in _grouped(kind).items():
        shown = " ".join(_option(name) for name in names if name not in common)
        if shown:
            words = f"{group}: {shown}"
            lines += textwrap.wrap(words, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)


def descriptions(kind: type[TrainSettings]) -> dict[str, str]:
    """Return the first clause of each setting's description, from the docstrings of the class and its bases."""
    found: dict[str, str] = {}
    for cls in kind.__mro__:
        for param in docstring_parser.parse(cls.__doc__ or "").params:
            text = " ".join((param.description or "").split())
            found.setdefault(param.arg_name, text.split("; ")[0].split(", as key=")[0].split(". ")[0])
    return found


def _grouped(kind: type[TrainSettings]) -> dict[str, list[str]]:
    """Return the names of the settings that the command line takes, by the class that defines them."""
    groups: dict[str, list[str]] = {}
    for cls in reversed(kind.__mro__):
        if dataclasses.is_dataclass(cls):
            own = [name for name in cls.__annotations__ if name in {field.name for field in dataclasses.fields(cls)}]
            earlier = {name for names in groups.values() for name in names}
            group = _GROUPS.get(cls.__name__, cls.__name__.removesuffix("Settings"))
            groups[group] = [name for name in own if name not in earlier and name != "lessons"]
    return groups


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(value: object) -> str:
    """Return a default as a person would write it."""
    if value is None or value in ((), {}):
        return "none"
    return f"{value:,}".replace(",", "_") if isinstance(value, int) and not isinstance(value, bool) else str(value)
