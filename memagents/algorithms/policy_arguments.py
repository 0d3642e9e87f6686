"""Parameters of a policy as people give them: known by their names, classes also by words."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

from memagents.algorithms import sb3_names
from memagents.runs.plain_values import CLASS_ARGUMENTS


class Kind(NamedTuple):
    """Kind of class that a parameter takes: its base, and where plain names are looked up."""

    base: type
    home: ModuleType | None
    examples: str


KINDS = dict(
    zip(
        CLASS_ARGUMENTS,
        (
            Kind(nn.Module, None, "a feature extractor's class, or 'package.module:Class'"),
            Kind(torch.optim.Optimizer, torch.optim, "an optimiser's class, a name such as 'AdamW', or 'module:Class'"),
            Kind(nn.Module, nn, "a torch module's class, a name such as 'ReLU' or 'Tanh', or 'module:Class'"),
        ),
        strict=True,
    )
)


def with_classes(policy_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a policy with the classes that words among them name.

    :raises ValueError: for what is no class, or one of another kind
    """
    named = {name: policy_kwargs[name] for name in KINDS if name in policy_kwargs}
    if named.get("features_extractor_class", "") is None:  # the default
        del named["features_extractor_class"]
    return {**policy_kwargs, **{name: _class_of(name, value) for name, value in named.items()}}


def taken(policy_class: type, names: Collection[str]) -> list[str]:
    """Return those names that a policy takes as parameters, in their order."""
    allowed = inspect.signature(policy_class).parameters
    any_name = any(p.kind == p.VAR_KEYWORD for p in allowed.values())
    return [name for name in names if any_name or name in allowed]


def unset(policy_class: type, names: Collection[str]) -> list[str]:
    """Return those names that a policy takes as parameters and has no default of its own for but None."""
    own = inspect.signature(policy_class).parameters
    return [name for name in taken(policy_class, names) if name not in own or own[name].default is None]


def check_names(policy_class: type, policy_kwargs: Mapping[str, Any]) -> None:
    """Refuse a parameter that a policy does not have.

    :raises ValueError: naming it, and what there is
    """
    unknown = sorted(policy_kwargs.keys() - set(taken(policy_class, policy_kwargs)))
    if unknown:
        names = ", ".join(list(inspect.signature(policy_class).parameters)[3:])  # those before are what it is made for
        known = sb3_names.hint(unknown[0])
        raise ValueError(f"policy_kwargs: the policy has no parameter {unknown[0]!r}{known}; it has: {names}")


def _class_of(name: str, value: Any) -> Any:
    base, home, examples = KINDS[name]
    found = _named(name, value, home) if isinstance(value, str) else value
    # A function that makes one serves as well; a module that is made already does not.
    good = issubclass(found, base) if isinstance(found, type) else callable(found) and not isinstance(found, nn.Module)
    if not good:
        raise ValueError(f"{name} must be {examples}, not {value!r}")
    return found


def _named(name: str, word: str, home: ModuleType | None) -> Any:
    """Return what a word names; None for a plain name that there is not."""
    module, colon, path = word.partition(":")
    if not colon:
        return getattr(home, word, None)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"{name} {word!r}: there is no module {module!r} to import it from") from error
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ValueError(f"{name} {word!r}: the module {module} has no {path!r}")
    return found
